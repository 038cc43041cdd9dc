# Works with GNU make 3.81 (macOS) and newer.

PYTHON ?= python3
PUZZLE ?= examples/demo-puzzle
ARGS ?=
TORCH ?= yes

VENV := .venv
SHELL := /bin/sh
.DEFAULT_GOAL := help

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Where bytecode is not kept, every process compiles what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

# A stamp says that its set-up was finished with pyproject.toml and constraints.txt as they are. Everything begins with
# the set-up without PyTorch, which is all that solving and the documentation need; the main one adds PyTorch, the others
# add to that one.
# For other Pythons tests/pythons.py makes further ones without PyTorch, with VENV and PYTHON.
TORCHLESS_STAMP := $(VENV)/.installed-without-torch
MAIN_STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
TEST_STAMP := $(VENV)/.installed-test
AUDIT_STAMP := $(VENV)/.installed-audit

# Stamps of an environment whose Python is gone (removed, or replaced by a newer one) say nothing.
ifeq ($(wildcard $(VENV)/bin/python),)
$(TORCHLESS_STAMP) $(MAIN_STAMP) $(DOCS_STAMP) $(TEST_STAMP) $(AUDIT_STAMP): AGAIN
endif

.PHONY: help solve docs test check check-code check-tests bench bench-full bench-table faults soak containers services odd-puzzles pythons audit clean AGAIN

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-18s %s\n", $$1, $$2 }'

ifeq ($(TORCH),no)
SOLVE_STAMP := $(TORCHLESS_STAMP)
else ifeq ($(TORCH),yes)
SOLVE_STAMP := $(MAIN_STAMP)
else
$(error TORCH is '$(TORCH)': say yes, or no to set up without PyTorch)
endif

solve: $(SOLVE_STAMP) ## Solve a puzzle: PUZZLE=folder (default: the demonstration), ARGS='further options', TORCH=no
	@$(VENV)/bin/pairing solve "$(PUZZLE)" $(ARGS)

docs: $(DOCS_STAMP) ## Build the documentation: docs/_build/index.html
	@$(VENV)/bin/python -m sphinx -q -W --keep-going -d docs/_build/.doctrees docs docs/_build
	@echo docs/_build/index.html

# Most tests wait for servers and workers; by file and in their order, because fleets are shared within one, and long ones come first.
test: $(TEST_STAMP) ## Run the whole test suite, a part of it under the newest other Python too
	@$(VENV)/bin/python -m tests.pythons --set-up
	@$(VENV)/bin/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: ## Run the quick part: linters, types, import contracts, quick unit and property tests
	@$(MAKE) --no-print-directory -j2 check-code check-tests

check-code: $(TEST_STAMP)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

check-tests: $(TEST_STAMP)
	@$(VENV)/bin/python -m pytest --quiet --numprocesses 2 -m "not slow" tests/unit tests/property $(ARGS)

bench: $(TEST_STAMP) ## Run the benchmarks on few samples, in at most 15 minutes; ARGS='--case NAME' for some of them
	@$(VENV)/bin/python -m tests.benchmarks $(ARGS)

bench-full: $(TEST_STAMP) ## Run the benchmarks on all samples, for hours; called again, it goes on where it stopped
	@$(VENV)/bin/python -m tests.benchmarks --full $(ARGS)

bench-table: $(TEST_STAMP) ## Put the last full run's table into docs/benchmarks.md
	@$(VENV)/bin/python -m tests.benchmarks --table $(ARGS)

faults: $(TEST_STAMP) ## Do the damage that docs/reliability.md lists, in at most 40 minutes; ARGS='--scenario NAME' for some
	@$(VENV)/bin/python -m tests.faults $(ARGS)

soak: $(TEST_STAMP) ## Keep a fleet at work with a fault every minute; ARGS='--minutes 30'
	@$(VENV)/bin/python -m tests.soak $(ARGS)

containers: $(TEST_STAMP) ## Run image and compose file on a real daemon, in at most 15 minutes (root, Debian); ARGS='--scenario NAME'
	@$(VENV)/bin/python -m tests.containers $(ARGS)

services: $(TEST_STAMP) ## Run the services on two booted hosts, in at most 15 minutes (root, Debian); ARGS='--scenario NAME'
	@$(VENV)/bin/python -m tests.hosts $(ARGS)

odd-puzzles: $(TEST_STAMP) ## Solve 2,000 valid puzzles of every odd kind, others every day: is all that is reported true? ARGS='--count N'
	@$(VENV)/bin/python -m tests.robustness $(ARGS)

pythons: $(TEST_STAMP) ## Run the unit tests and the real puzzle under each other Python found, 3.11 to 3.14, without PyTorch
	@$(VENV)/bin/python -m tests.pythons

audit: $(AUDIT_STAMP) ## Look for known holes in what is installed, and for careless code; prints what it finds, and ends with 0
	@$(VENV)/bin/python -m pip_audit --skip-editable --progress-spinner off || true
	@$(VENV)/bin/python -m bandit --quiet --recursive pairing tasks config || true

clean: ## Remove the environment and everything else that is made again; results stay
	rm -rf $(VENV) $(VENV)-3.* build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment

define NO_PYTHON
'$(PYTHON)' is not Python 3.11 or newer, which Pairing needs. Install one, or name the one that you have:
  make $(or $(MAKECMDGOALS),solve) PYTHON=/path/to/python3.11
endef

define NO_VENV
'$(PYTHON)' lacks the module venv or ensurepip, which set-up needs. Debian and Ubuntu keep them apart:
  sudo apt-get install python3-venv
endef

define INTEL_MAC
Numba and PyTorch have no builds for Intel Macs any more: use a Mac with Apple silicon, or Linux.
endef

define SIZE
Setting up in $(VENV), once: about 0.25 GB of downloads, then 0.9 GB on disk.
endef

define TORCH_SIZE_DARWIN
Adding PyTorch, once: about 0.1 GB of downloads, then 0.5 GB on disk.
endef

define TORCH_SIZE_LINUX
Adding PyTorch, once, which trains networks and exports them. Solving needs none: stop here, and leave it out with
  make solve TORCH=no
Linux gets its CUDA build by default: about 3 GB of downloads, then 5 GB on disk. Pairing needs the CPU-only build:
0.2 GB, then 0.9 GB on disk. pip takes that from the index whose address pytorch.org's "Get started" page shows
(Linux, Pip, CPU):
  PIP_EXTRA_INDEX_URL=<that address> make $(or $(MAKECMDGOALS),solve)
endef

define TORCH_SIZE_LINUX_INDEX
Adding PyTorch, once: about 0.2 GB of downloads, then 0.9 GB on disk, if your extra index has its CPU-only build;
about 3 GB, then 5 GB on disk, if not. Solving needs none: make solve TORCH=no
endef

SYSTEM := $(shell uname -s)
ifeq ($(SYSTEM),Darwin)
TORCH_SIZE := $(TORCH_SIZE_DARWIN)
else ifneq ($(PIP_EXTRA_INDEX_URL),)
TORCH_SIZE := $(TORCH_SIZE_LINUX_INDEX)
else
TORCH_SIZE := $(TORCH_SIZE_LINUX)
endif
export NO_PYTHON NO_VENV INTEL_MAC SIZE TORCH_SIZE

# What pyproject.toml says that the project depends on, without PyTorch.
define TORCHLESS_REQUIREMENTS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*(name for name in project["dependencies"] if not name.startswith("torch>")), sep="\n")
endef
define DOCS_REQUIREMENTS
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")
endef
export TORCHLESS_REQUIREMENTS DOCS_REQUIREMENTS

# A person sees pip's progress, a log only what went wrong.
INSTALL := quiet=--quiet; test ! -t 1 || quiet=; $(VENV)/bin/python -m pip install $$quiet --constraint constraints.txt

$(TORCHLESS_STAMP): pyproject.toml constraints.txt
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "$$NO_PYTHON" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { echo "$$NO_VENV" >&2; exit 1; }
	@test "$$(uname -sm)" != 'Darwin x86_64' || { echo "$$INTEL_MAC" >&2; exit 1; }
	@{ test -f $@ && test -x $(VENV)/bin/python; } || echo "$$SIZE"
	@test -x $(VENV)/bin/python || '$(PYTHON)' -m venv --clear $(VENV)
	@$(VENV)/bin/python -c "$$TORCHLESS_REQUIREMENTS" > $(VENV)/torchless.txt
	@$(INSTALL) --requirement $(VENV)/torchless.txt
	@$(INSTALL) --no-deps --editable .
	@touch $@

$(DOCS_STAMP): $(TORCHLESS_STAMP)
	@$(VENV)/bin/python -c "$$DOCS_REQUIREMENTS" > $(VENV)/docs.txt
	@$(INSTALL) --requirement $(VENV)/docs.txt
	@touch $@

$(MAIN_STAMP): $(TORCHLESS_STAMP)
	@test -f $@ || echo "$$TORCH_SIZE"
	@$(INSTALL) --editable .
	@touch $@

$(TEST_STAMP): $(MAIN_STAMP)
	@$(INSTALL) --editable '.[test]'
	@touch $@

$(AUDIT_STAMP): $(MAIN_STAMP)
	@$(INSTALL) --editable '.[audit]'
	@touch $@
