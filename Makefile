# The only commands that a fresh machine needs: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DOCS_STAMP := .venv/.installed-docs
# One process more than cores, up to eight, for tests wait for programs; the tests of a file share a
# process and what they set up. The order is that of tests/conftest.py.
PROCESSES := $(shell $(PYTHON) -c 'import os; print(min(8, 1 + (os.cpu_count() or 1)))')
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder
# Compiled once, though the caller's environment says not to: else each of a thousand processes that
# the tests start compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet install --constraint constraints.txt

.PHONY: help demo test test-fast lint docs check lock

help:
	@echo "make demo       track the rabbit of a real video; the result is out/demo.mp4"
	@echo "make test       run the tests"
	@echo "make test-fast  run those that are not slow and need no whole system and no network"
	@echo "make lint       check style, types and the direction of imports"
	@echo "make docs       build the documentation into out/docs"
	@echo "make check      lint, docs, then test"
	@echo "make lock       write requirements-serve.txt: what a daemon is installed from, with hashes"

demo: $(STAMP)
	@$(BIN)/python -m tools.demo

test: $(STAMP)
	@$(PYTEST)

test-fast: $(STAMP)
	@$(PYTEST) -m "not slow and not system and not network"

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# A page may load nothing from another host.
docs: $(DOCS_STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@! grep -rnE '<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//' out/docs --include=*.html
	@echo "out/docs/index.html"

check: lint docs test

# The versions of constraints.txt, with the hashes of all files that the package index has of them.
lock: $(STAMP)
	@$(PIP) pip-tools
	@SAM2_BUILD_CUDA=0 CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --allow-unsafe \
		--generate-hashes --no-build-isolation --no-emit-find-links --no-emit-index-url \
		--strip-extras --constraint constraints.txt --output-file requirements-serve.txt pyproject.toml

# sam2 is built from source, and its build asks for torch: without build isolation it uses the
# torch that is already installed in place of a second copy. The CUDA extension is optional.
$(STAMP): pyproject.toml constraints.txt
	@rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "trackd needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making .venv: about 4 minutes the first time"
	@$(PYTHON) -m venv .venv
	@echo "  1 of 3: torch (the large one)"
	@$(PIP) torch setuptools wheel
	@echo "  2 of 3: sam2"
	@SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation sam2
	@echo "  3 of 3: trackd and the rest"
	@$(PIP) --editable '.[dev,demo,studio,parquet,record,fleet,transformers,mqtt]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@$(PIP) --editable '.[docs]'
	@touch $@
