# Needs Python 3.11 or later and make, nothing else: each target builds its own environment in .venv.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests start hundreds of processes: without bytecode each of them compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests at a time: two fill two cores, and leave the servers and processes that tests start enough of them.
TWO := --numprocesses 2 --dist worksteal

.PHONY: demo test check golden bench clean

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Loadstone needs Python 3.11 or later: install it, or say make PYTHON=/path/to/it"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## a load test against the built-in server
	$(BIN)/loadstone run -c 16 -n 200

test: $(STAMP)  ## all tests
	$(BIN)/python -m pytest $(TWO)

check: $(STAMP)  ## formatting, lint, types and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(TWO)

golden: $(STAMP)  ## rewrite the committed example reports and the expected records
	$(BIN)/python -m pytest --golden

bench: $(STAMP)  ## cost, errors and ceilings against other clients, and the end of a long run; two free cores and five minutes
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/large.py

clean:
	rm -rf $(VENV)
