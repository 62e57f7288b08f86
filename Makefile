# Needs Python 3.11 or newer and the package registries; everything else is installed under
# .tools and .venv in this folder. `make help` lists what there is.

UV_VERSION := 0.13.8
VENV       := .venv
BIN        := $(VENV)/bin
UV         := .tools/uv-$(UV_VERSION)/bin/uv
SHELL      := /bin/bash
IMAGE      ?= docker.io/library/aristobot:dev
MAX_LINES  := 600

# The first Python that is new enough; `make PYTHON=/path/to/python ...` names another.
ifdef PYTHON
candidates := $(PYTHON)
else
candidates := python3 python3.13 python3.12 python3.11 python3.14
endif
# Asked for its own path: `python3` may be a shim, or of an activated virtual environment.
find_python = for python in $(candidates); do \
	  found=$$("$$python" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); \
	    print(getattr(sys, "_base_executable", None) or sys.executable)' 2>/dev/null) && break; done; \
	if [[ -z "$${found:-}" ]]; then \
	  echo "Aristobot needs Python 3.11 or newer; tried: $(candidates)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi

# uv keeps to the lock, takes a Python of this machine, and for an environment that is there its own.
sync = $(find_python); chosen=(--python "$$found"); \
	[[ -z "$(PYTHON)" && -x $(BIN)/python ]] && chosen=(); \
	UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) \
	$(UV) sync --quiet --frozen --compile-bytecode "$${chosen[@]}"

.PHONY: help up test test-cluster lint fmt crds chaos bench bench-cluster image clean compile
.DEFAULT_GOAL := help

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.runs compile  ## Install, then start the platform here; ARGS="--detach" and the like.
	@exec $(BIN)/aristobot up $(ARGS)

test: $(VENV)/.develops compile  ## Install, then run all tests that need no cluster and no browser.
	@$(BIN)/pytest -m "not chaos and not cluster" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-cluster: $(VENV)/.develops  ## Bring up a Kubernetes for tests and run those that need one.
	@tests/cluster/run $(ARGS)

lint: $(VENV)/.develops  ## Style, types, import layers, module sizes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! find services operator -name '*.py' -exec awk 'END { if (NR > $(MAX_LINES)) \
	  print FILENAME ": " NR " lines, at most $(MAX_LINES): split it" }' {} \; | grep .

fmt: $(VENV)/.develops  ## Put the code into the house's form.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

crds: $(VENV)/.develops  ## Write crds and its page in docs anew from the models.
	@$(BIN)/python crds/generate.py

chaos: $(VENV)/.develops compile  ## The long fault runs: parts are killed under load.
	@$(BIN)/python -m tests.fault.chaos --exchange-faults $(ARGS)
	@$(BIN)/pytest -m "chaos and not cluster"

bench: $(VENV)/.develops compile  ## Measure throughput, latency, start and memory.
	@$(BIN)/python -m benchmarks $(ARGS)

bench-cluster: $(VENV)/.develops  ## Measure the operator and its pods on the cluster of KUBECONFIG.
	@$(BIN)/python -m benchmarks.cluster $(ARGS)

image:  ## Build the container image (docker, or podman: make image DOCKER=podman).
	$(or $(DOCKER),docker) build --tag $(IMAGE) .

clean:  ## Remove what was installed and built; data folders stay.
	rm -rf $(VENV) .tools dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find services operator tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Our own packages are installed in place, so uv doesn't compile them. Takes a moment when it is done.
compile: | $(VENV)/.runs
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q services operator

$(UV):
	@$(find_python); echo "installing uv $(UV_VERSION) into .tools"; \
	"$$found" -m venv --clear .tools/uv-$(UV_VERSION) || { \
	  echo "$$found can't make a virtual environment: install its venv module" \
	    "(Debian and Ubuntu: python3-venv)" >&2; rm -rf .tools; exit 1; }; \
	.tools/uv-$(UV_VERSION)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	  || { rm -rf .tools; exit 1; }

# To run: without the tools for development, but they stay where they are installed already.
$(VENV)/.runs: pyproject.toml uv.lock | $(UV)
	@echo "installing what the platform needs into $(VENV)"
	@$(sync) --no-dev --inexact
	@touch $@

$(VENV)/.develops: pyproject.toml uv.lock | $(UV)
	@echo "installing what tests and linters need into $(VENV)"
	@$(sync)
	@touch $(VENV)/.runs $@
