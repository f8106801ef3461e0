#!/bin/sh
# Fetches the packages on this machine (a Linux one: ffmpeg is a binary), for builds without a network. Optional: see the
# Dockerfile.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m pip download --no-deps --only-binary :all: --dest packages -r requirements.txt
