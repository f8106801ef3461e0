# Every command that a developer and CI run. Each target installs what it needs and skips what is there.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

# The virtual environment: pinned with hashes, made anew when the pins change.
$(READY): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: venv
venv: $(READY)  ## the virtual environment

.PHONY: pins
pins:  ## resolve the dependencies anew into constraints.txt
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/python -m pip install --quiet uv
	.venv-pins/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --group dev --group examples pyproject.toml -o constraints.txt
	rm -rf .venv-pins
