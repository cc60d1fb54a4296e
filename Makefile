# What a person runs. Python 3.11 or newer and make have to be there; the rest is set up here.
#
#   make run ARGS="--tasks my_tasks.py"      more options of `python run.py`
#   make test ARGS="tests/e2e -k login"      more options of pytest
#   make test WORKERS=4                      not as many processes as there are processors
#   make run PYTHON=python3.13 PORT=9000     another Python (for a new .venv), another port

PYTHON ?= python3
PORT ?= 8000
ARGS ?=
# Processes that share the tests out; each starts servers and a browser of its own.
WORKERS ?= logical

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
LOCKED := $(INSTALL) --require-hashes
RESOLVE = $(BIN)/uv pip compile --no-config --system-certs --quiet --python-version 3.11 --universal \
	--generate-hashes --no-header --no-emit-index-url

# Each step leaves an empty file behind, so that it is done once and again only for a reason.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
PROJECT := $(VENV)/.project
TOOLS := $(VENV)/.tools

.PHONY: help run test check format bench fuzz screenshots lock clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

help:
	@echo "make run          start the dashboard with sample jobs at http://127.0.0.1:$(PORT)"
	@echo "make test         run the whole test suite, in a browser and on real databases too"
	@echo "make check        lint, types, layers, templates, weaknesses, migrations"
	@echo "make format       let ruff rewrite the Python code"
	@echo "make bench        print the benchmark table"
	@echo "make fuzz         send a running dashboard ten minutes of requests made up by schemathesis"
	@echo "make faults       kill, freeze and cut off real processes, some hundred times"
	@echo "make screenshots  redraw the pictures in docs/"
	@echo "make lock         refresh requirements/ and package-lock.json (ARGS=--upgrade: newest)"
	@echo "make clean        remove everything that was made here, except instance/"

# `exec`: Ctrl-C and SIGTERM reach the server itself, and make waits until it has stopped cleanly.
run: $(PROJECT)
	@exec $(BIN)/python run.py --demo --port $(PORT) $(ARGS)

test: $(PROJECT) $(TOOLS)
	@$(BIN)/python -m scripts.system_packages
	@exec $(BIN)/python -m pytest --numprocesses=$(WORKERS) --maxprocesses=8 --dist=loadgroup \
		--no-loadscope-reorder $(ARGS)

check: $(PROJECT) $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/bandit --quiet --recursive dashboard --severity-level medium --confidence-level medium
	$(BIN)/python -m scripts.audit_packages
	$(BIN)/python -m dashboard.storage.migrate check

format: $(TOOLS)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(PROJECT) $(TOOLS)
	@exec $(BIN)/python -m bench $(ARGS)

fuzz: $(PROJECT) $(TOOLS)
	@exec $(BIN)/python -m scripts.fuzz_api $(ARGS)

faults: $(PROJECT) $(TOOLS)
	@$(BIN)/python -m scripts.system_packages
	@exec $(BIN)/python -m tests.faults.storm $(ARGS)

screenshots: $(PROJECT) $(TOOLS)
	@$(BIN)/python -m scripts.system_packages
	@exec $(BIN)/python scripts/screenshots.py $(ARGS)

# uv asks the public index only, whatever this machine's pip is configured to use.
lock: $(CREATED)
	$(LOCKED) -r requirements/lock.txt
	$(RESOLVE) $(ARGS) --group lock -o requirements/lock.txt
	$(RESOLVE) $(ARGS) --group build -o requirements/build.txt
	$(RESOLVE) $(ARGS) --group node -o requirements/node.txt
	$(RESOLVE) $(ARGS) pyproject.toml --extra postgresql -o requirements/run.txt
	$(RESOLVE) $(ARGS) pyproject.toml --all-extras --group dev \
		-c requirements/run.txt -c requirements/build.txt -o requirements/test.txt
	npm install --package-lock-only --ignore-scripts --no-audit --no-fund \
		--omit-lockfile-registry-resolved

clean:
	rm -rf $(VENV) static/vendor static/.vendor-* build dist test-results \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------ set-up

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is \
	needed, but %s is %s. Try make PYTHON=python3.12" % (sys.executable, sys.version.split()[0]))'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): $(CREATED) requirements/build.txt requirements/run.txt
	@echo "Installing what the dashboard needs ..."
	@$(LOCKED) -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(TOOLS): $(RUNTIME) requirements/test.txt
	@echo "Installing the tools for tests and checks ..."
	@$(LOCKED) -r requirements/test.txt
	@touch $@

# Without build isolation the build, too, uses only what is locked with hashes. A machine without npm
# gets the one from PyPI. If somebody removed static/vendor/, it is built again.
$(PROJECT): $(RUNTIME) pyproject.toml hatch_build.py package.json package-lock.json
$(PROJECT): $(if $(wildcard static/vendor/stamp.txt),,assets-are-missing)
	@command -v npm >/dev/null || $(LOCKED) -r requirements/node.txt
	@echo "Installing the dashboard and its front-end assets ..."
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

.PHONY: assets-are-missing
assets-are-missing:
