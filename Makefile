# Muster's commands. `make` or `make help` lists them.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools
CACHE := .cache

HOST ?=
PORT ?=
DATA_DIR ?=
DEVICES ?= 100
ORGANIZATION ?= demo
ONLY ?=
ARGS ?=

# One more than there are cores, since many tests wait for servers of their own; above four the databases are the limit.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
# A test that fails once and not again is listed, with why; tests/conftest.py names those that are not tried again.
TRIES := --reruns 1 --rerun-show-tracebacks -r fER
TEST_DATABASE_URL ?= postgres://postgres@127.0.0.1:5432/muster
TEST_REDIS_URL ?= redis://127.0.0.1:6379/8

# Lint loads the settings, which want a data directory: not the one `make run` uses.
LINT := MUSTER_DATA_DIR=$(CURDIR)/$(CACHE)/lint
TEMPLATES = $(wildcard */templates)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-services test-browser lint format bench simulate schema check clean

help: ## List these commands
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(TOOLS) ## Make .venv with everything, tools included (the other commands do it when needed)

run: $(RUNTIME) ## Start Muster on http://127.0.0.1:8000 (HOST=0.0.0.0 PORT=8000 DATA_DIR=var)
	@exec $(PY) manage.py up $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) \
		$(if $(DATA_DIR),--data-dir $(DATA_DIR))

test: $(TOOLS) ## Run the tests on SQLite (ARGS="tests/core -k clock" for some)
	$(PY) -m pytest -n $(WORKERS) --maxprocesses=4 --dist worksteal $(TRIES) -m "not browser and not services" $(ARGS)

# What brings its own server on SQLite, or needs no database, would only say the same once more.
test-services: $(TOOLS) ## Run the same tests on PostgreSQL and Redis (TEST_DATABASE_URL=… TEST_REDIS_URL=…)
	MUSTER_DATABASE_URL=$(TEST_DATABASE_URL) MUSTER_REDIS_URL=$(TEST_REDIS_URL) \
		$(PY) -m pytest -n $(WORKERS) --maxprocesses=4 --dist worksteal $(TRIES) \
		-m "not browser and not standalone" $(ARGS)

# Each file starts a Chromium, and waits for it most of the time.
test-browser: $(TOOLS) ## Run the tests that drive Chromium
	$(PY) -m pytest -n $(WORKERS) --maxprocesses=2 --dist loadfile $(TRIES) -m browser $(ARGS)

lint: $(TOOLS) ## Style, types, floors, migrations, templates, and the committed API document
	@mkdir -p $(CACHE)/lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(LINT) $(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file= --strict --cache-dir=$(CACHE)/mypy-agent agent/muster_agent
	PYTHONPATH=.:agent $(VENV)/bin/lint-imports --cache-dir $(CACHE)/import-linter
	$(LINT) $(PY) manage.py makemigrations --check --dry-run
	$(VENV)/bin/djlint --lint --quiet $(TEMPLATES)
	$(LINT) $(PY) manage.py spectacular --validate --fail-on-warn --file $(CACHE)/openapi.yaml
	diff -u docs/openapi.yaml $(CACHE)/openapi.yaml || { echo "docs/openapi.yaml is out of date: make schema"; exit 1; }

format: $(TOOLS) ## Lay the code out as lint wants it
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(TOOLS) ## Measure against design targets (ONLY=name for one)
	$(PY) -m benchmarks $(ONLY) $(ARGS)

simulate: $(RUNTIME) ## Let devices talk to a running server (DEVICES=100 ORGANIZATION=demo)
	$(PY) manage.py simulate --devices $(DEVICES) --organization $(ORGANIZATION) $(ARGS)

schema: $(TOOLS) ## Write docs/openapi.yaml from the code
	@mkdir -p docs $(CACHE)/lint
	$(LINT) $(PY) manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

check: lint test ## Lint and test: what a change must pass

clean: ## Remove .venv and caches; data in var/ stays
	rm -rf $(VENV) $(CACHE) .pytest_cache .ruff_cache .hypothesis

$(MADE): deploy/make_venv.py
	$(PYTHON) deploy/make_venv.py $(VENV)
	@touch $@

$(RUNTIME): $(MADE) requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(TOOLS): $(MADE) requirements.txt requirements-scale.txt requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(RUNTIME) $@
