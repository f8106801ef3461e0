#!/bin/sh
# Compiles the activity on this machine, for builds without a Go image. Optional: see the Dockerfile.
set -eu
cd "$(dirname "$0")"
CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-s -w" -o square .
