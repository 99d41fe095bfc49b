# On a fresh clone, `make demo` and `make test` are enough: both set up .venv first.
# PYTHON= names another interpreter, WORKERS= the number of test processes, TESTS= what to run.

PYTHON ?= python3
WORKERS ?= 2
TESTS ?= tests
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
MODEL := demo/digit-3.h5

.PHONY: help demo test lint types docs node reproduce lock clean

help:
	@echo "make demo    train on MNIST's digit 3, evaluate, and score ten images, in demo/"
	@echo "make test    run the test suite"
	@echo "make lint    check style"
	@echo "make types   check types"
	@echo "make docs    build the documentation as a site, in site/; a broken link is an error"
	@echo "make node    fetch ONNX Runtime for Node, with which the suite runs exported graphs"
	@echo "make reproduce NAME=table1   a table or figure of the paper: table1, table2, fig3, fig5,"
	@echo "             fig6, fig7, fig8a, fig8b; goes on where it stopped; ARGS= passes options"
	@echo "make lock    renew requirements.lock, the versions of constraints.txt with hashes; needs uv"
	@echo "make clean   remove .venv, demo/ and what tools leave behind"

demo: $(VENV)/installed
	mkdir -p demo
	$(BIN)/anoean train --dataset mnist --normal 3 --model $(MODEL) --force
	$(BIN)/anoean evaluate --model $(MODEL)
	$(BIN)/python benchmarks/demo_images.py $(MODEL) demo/images
	$(BIN)/anoean score demo/images --model $(MODEL)

# Tests start the command a thousand times: its byte code is made before, once.
test: $(VENV)/installed-dev
	$(BIN)/python -m compileall -q anoean_cli plugins
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

node: $(VENV)/node/installed

reproduce: $(VENV)/installed-dev
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/paper/$(NAME).py $(ARGS)

# Of torch the index may know the builds with CUDA only: the CPU build that the suite ran with
# (Linux x86-64, Python 3.11) is allowed as well.
TORCH_CPU := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

lock:
	rm -f requirements.lock
	uv pip compile --quiet --no-deps --generate-hashes --no-annotate --no-header \
		--python-version 3.11 \
		constraints.txt --output-file requirements.lock
	sed -i 's/^torch==.*/&\n    --hash=sha256:$(TORCH_CPU) \\/' requirements.lock

clean:
	rm -rf $(VENV) demo build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) -e '.[dev]'
	@touch $@

# Its install script would fetch GPU libraries, and without it nothing is lacking.
$(VENV)/node/installed: tests/node/package.json tests/node/package-lock.json
	@mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier \
		--prefer-offline --fetch-timeout=60000 --fetch-retries=1
	@touch $@
