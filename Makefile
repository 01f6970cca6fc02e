# Every target sets up what it needs: .venv from the lock files, nothing outside this folder.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/runtime ## Six clusters of live telemetry on this machine; ARGS=--once shows three answers and ends
	@$(BIN)/appsentry demo $(ARGS)

test: $(VENV)/test ## Lint, types and every test; names at its end what this machine made it skip
	@PYTHON=$(BIN)/python tests/run.sh $(ARGS)

lint: $(VENV)/test ## Style, types and import rules alone
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m pytest -q tests/unit/test_architecture.py

bench: $(VENV)/test ## Measure the budgets; keeps the figures in bench/latest.json
	@$(BIN)/python -m tests.bench $(ARGS)

LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-package pip --no-header --extra build

lock: $(VENV)/test ## Resolve the lock files anew from setup.cfg, for Python 3.11 to 3.13
	@$(BIN)/python -m pip install -q uv
	@$(LOCK) -o requirements.lock setup.cfg
	@$(LOCK) --extra flower -c requirements.lock -o requirements-flower.lock setup.cfg
	@$(LOCK) --extra test -c requirements-flower.lock -o requirements-test.lock setup.cfg

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.lock setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing what is locked in requirements.lock into $(VENV) (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test: $(VENV)/runtime requirements-test.lock
	@echo "Installing what is locked in requirements-test.lock into $(VENV) (once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@
