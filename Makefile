# The work is done by mae-book, pytest and ruff; this file makes the environment for them.
# Python 3.11 with its venv module is all that must be there.

PYTHON ?= python3.11
BIN := .venv/bin
# A new stamp, and thus a refreshed environment, whenever one of these files changes.
PINS := .venv/pins-$(firstword $(shell cksum < requirements.txt))
PACKAGE := .venv/package-$(firstword $(shell cksum < pyproject.toml))

.PHONY: help book test smoke lint clean
help:
	@echo "make book    environment, chapters that are out of date, pages in _build/html"
	@echo "make test    the same, then all tests"
	@echo "make smoke   the whole book at toy size, everything trained anew"
	@echo "make lint    ruff"
	@echo "make clean   remove what was built (not .venv)"

book: $(PACKAGE)
	$(BIN)/mae-book build --tier laptop

test: book
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

smoke: $(PACKAGE)
	MAE_LIB_FRESH_SINCE=$$(date +%s) $(BIN)/mae-book build --tier smoke --force

lint: $(PACKAGE)
	$(BIN)/ruff check .

clean:
	rm -rf _build

$(PACKAGE): $(PINS) pyproject.toml
	@rm -f .venv/package-*
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(PINS): requirements.txt
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	  echo "error: '$(PYTHON)' with its venv module is needed; on Debian:" \
	    "apt-get install python3.11 python3.11-venv, or make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "error: '$(PYTHON)' is older than Python 3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@rm -f .venv/pins-*
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@
