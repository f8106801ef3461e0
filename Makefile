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

# The virtual environment: pinned with hashes, made anew when the pins change. The pins are complete, so pip resolves
# nothing (--no-deps): its resolver looks at the newest release of a requirement with extras before the pinned one,
# and then refuses it for having no hash.
$(READY): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check >/dev/null
	touch $@

.PHONY: venv
venv: $(READY)  ## the virtual environment

.PHONY: pins
pins:  ## resolve the dependencies anew into constraints.txt, and those of the images out of it
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/python -m pip install --quiet uv
	.venv-pins/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --group dev --group examples pyproject.toml -o constraints.txt
	$(MAKE) image-pins
	rm -rf .venv-pins

.PHONY: image-pins
image-pins:
	test -x .venv-pins/bin/uv || { $(PYTHON) -m venv .venv-pins && .venv-pins/bin/python -m pip install --quiet uv; }
	compile=".venv-pins/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --constraints constraints.txt"
	$$compile pyproject.toml -o images/operator.txt
	$$compile --group image -o images/build.txt
	$$compile --group docs -o website/pins.txt

.PHONY: generate
generate: $(READY)  ## write the CRD, the references and the chart's values from the models and the commands
	$(BIN)/python -m flowy_operator.adapters.crd
	$(BIN)/python -m flowy_cli.reference
	$(BIN)/python -m charts.generator

.PHONY: check
check: $(READY)  ## formatting, lint, types, layers, dependencies, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry cli operator runtime
	$(BIN)/python -m flowy_operator.adapters.crd --check
	$(BIN)/python -m flowy_cli.reference --check
	$(BIN)/python -m charts.generator --check

.PHONY: format
format: $(READY)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: cluster
cluster:  ## start the embedded cluster (or check the one that KUBECONFIG names)
	$(PYTHON) -m tests.cluster up

.PHONY: cluster-stop
cluster-stop:  ## stop the embedded cluster and clean up after it
	$(PYTHON) -m tests.cluster down

.PHONY: images
images: cluster  ## build Flowy's and the examples' images and import them into the embedded cluster
	$(PYTHON) -m tests.cluster.example_images
	$(PYTHON) -m tests.cluster.flowy_images

# Those on the cluster, which wait most of the time, in one process; the others beside them (tests/conftest.py).
SIDE_BY_SIDE := -n 2 --dist loadscope

.PHONY: test
test: check chromium  ## everything: checks, the site, unit tests, and the tests on the embedded cluster
	$(MAKE) images
	$(BIN)/pytest $(SIDE_BY_SIDE) --durations=25 --durations-min=3 $(PYTEST_ARGS)

.PHONY: unit
unit: $(READY)  ## the tests that need no cluster
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not cluster" $(PYTEST_ARGS)

# Without Chromium the tests of the HTML report are skipped; so it is put there where that is possible.
.PHONY: chromium
chromium:
	if [ -n "$$(command -v chromium chromium-browser google-chrome)" ]; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && [ -n "$$(command -v apt-get)" ]; then
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
	else
	  echo "no Chromium here, and no right to install it: the browser's tests are skipped" >&2
	fi

SEEDS ?= 0:10000

.PHONY: sim
sim: $(READY)  ## run the operator with faults, simulated, for SEEDS=0:10000; a seed that fails is made smaller
	$(BIN)/python -m tests.sim $(SEEDS)

.PHONY: mutants
mutants: $(READY)  ## show that the simulator finds each of its deliberate bugs
	$(BIN)/python -m tests.sim --mutants

SEED ?= 1

.PHONY: chaos
chaos: $(READY) cluster  ## kill and starve operators, API server, etcd while 520 workflows run; writes docs/reliability.md
	$(BIN)/python -m tests.chaos --seed $(SEED)

MINUTES ?= 5

.PHONY: fuzz
fuzz: $(READY)  ## try hostile objects, requests and files for MINUTES=5; a case that breaks something is made smaller
	$(BIN)/python -m tests.fuzz $(MINUTES)

.PHONY: golden
golden: $(READY)  ## record runs for tests/golden that aren't there yet; those that are there are never touched
	$(BIN)/python -m tests.golden

.PHONY: browser
browser: $(READY) chromium  ## the tests of the HTML report in Chromium, which it installs (Debian, 100 MB)
	$(BIN)/pytest -m browser $(PYTEST_ARGS)

SITE := .venv-docs
$(SITE)/.ready: website/pins.txt | $(READY)
	test -x $(SITE)/bin/python || $(PYTHON) -m venv --without-pip $(SITE)
	$(BIN)/python -m pip --python $(SITE)/bin/python install --no-compile --quiet --disable-pip-version-check \
	  --no-deps --require-hashes -r website/pins.txt
	touch $@

.PHONY: docs
docs: $(SITE)/.ready  ## the documentation as a site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs --quiet build --strict --config-file website/mkdocs.yml
	@echo "build/site; to read it: python3 -m http.server --directory build/site"

.PHONY: pictures
pictures: $(READY)  ## draw the documentation's pictures anew
	$(BIN)/python -m tests.pictures.images

.PHONY: demo
demo: $(READY) images  ## install Flowy by its chart on a real Kubernetes, and send a video through a workflow
	$(BIN)/python -m examples.demo

.PHONY: demo-local
demo-local: $(READY)  ## the video workflow without a cluster: one after the other, as a workflow, and a picture of why
	$(BIN)/python -m examples.demo_local

.PHONY: bench
bench: $(READY) cluster  ## dead time, chains, fan-outs beside bare Jobs …; writes docs/performance.*; BENCH_ARGS="--only fake laptop"
	$(BIN)/python -m compileall -q cli operator runtime  # as pip leaves what it installs
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

.PHONY: bench-scale
bench-scale: $(READY) cluster  ## 1,000 open workflows beside one of 10,000 tasks and a chain of 5,000; BENCH_ARGS="--open 100 …"
	$(BIN)/python -m tests.bench.large $(BENCH_ARGS)

.PHONY: bench-linear
bench-linear: $(READY)  ## what a task costs among many, without a cluster; writes its part of docs/performance.*
	$(BIN)/python -m tests.bench.linear

.PHONY: bench-ranges
bench-ranges: $(READY)  ## take the figures of docs/performance.json into the ranges, as one more run that was as it should be
	$(BIN)/python -m tests.bench.moved --widen
