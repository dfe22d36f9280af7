# Needs Python 3.11 or later and make, nothing else: each target builds its own environment (.venv, .venv-latest, ...).
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
# The lowest versions have wheels for Python 3.11 only.
PYTHON_OLDEST ?= $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
LATEST := .venv-latest
OLDEST := .venv-oldest
UV := .venv-uv
PIP := -m pip --disable-pip-version-check install --quiet
# Tests start hundreds of processes: without bytecode each of them compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests at a time: two fill two cores, and leave the servers and processes that tests start enough of them.
TWO := --numprocesses 2 --dist worksteal

.DEFAULT_GOAL := demo
.PHONY: demo test check lint types golden bench lock test-latest test-oldest clean help python

# The locked versions first, their hashes checked; then the package itself, built by what the lock holds.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.locked: $(LOCK) | python
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) --require-hashes --only-binary :all: --requirement $(LOCK)
	@touch $@

$(UV)/bin/uv: | python
	$(PYTHON) -m venv --clear $(UV)
	$(UV)/bin/python $(PIP) --upgrade 'uv>=0.9'

python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Loadstone needs Python 3.11 or later: install it, or say make PYTHON=/path/to/it"; exit 2; }

demo: $(VENV)/.installed  ## run a load test against the built-in server
	$(BIN)/loadstone run -c 16 -n 200

test: $(VENV)/.installed  ## run all tests, with the locked versions
	$(BIN)/python -m pytest $(TWO)

check: lint types test  ## check formatting, lint and types, then run all tests

lint: $(VENV)/.installed  ## check formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed  ## check types
	$(BIN)/mypy

golden: $(VENV)/.installed  ## rewrite the committed example reports and the expected records
	$(BIN)/python -m pytest --golden

bench: $(VENV)/.installed  ## measure cost, errors and maxima against other clients, then a long run: five minutes on two free cores
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/large.py

lock: $(UV)/bin/uv  ## renew requirements-dev.lock with the newest versions that pyproject.toml allows
	$(UV)/bin/uv pip compile --quiet --upgrade --extra dev pyproject.toml --output-file $(LOCK) \
	  --universal --python-version 3.11 --only-binary :all: --generate-hashes \
	  --default-index https://pypi.org/simple --no-annotate --custom-compile-command 'make lock'

test-latest: python  ## run all tests with the newest versions that pyproject.toml allows, without the lock
	$(PYTHON) -m venv --clear $(LATEST)
	$(LATEST)/bin/python $(PIP) --upgrade --editable '.[dev]'
	$(LATEST)/bin/python -m pytest $(TWO)

test-oldest: $(UV)/bin/uv  ## run all tests with the lowest versions that pyproject.toml allows, on Python 3.11
	@test -n "$(PYTHON_OLDEST)" || { echo "make test-oldest needs Python 3.11: install it, or say make PYTHON_OLDEST=/path/to/it"; exit 2; }
	$(PYTHON_OLDEST) -m venv --clear $(OLDEST)
	$(UV)/bin/uv --no-config pip compile --quiet --extra dev pyproject.toml --output-file $(OLDEST)/requirements.txt \
	  --resolution lowest-direct --python-version 3.11 --only-binary :all: --default-index https://pypi.org/simple
	$(OLDEST)/bin/python $(PIP) --only-binary :all: --requirement $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	$(OLDEST)/bin/python -m pytest $(TWO)

clean:  ## remove the environments
	rm -rf $(VENV) $(LATEST) $(OLDEST) $(UV)

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1: \2/p' $(firstword $(MAKEFILE_LIST)) | awk -F': ' '{ printf "%-12s %s\n", $$1, substr($$0, length($$1) + 3) }'
