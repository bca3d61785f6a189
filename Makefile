# Every target of this file is said by `make help`.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV ?= .venv
# what pip is asked for in place of the build of torch that requirements/torch.sh chooses
TORCH ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Models here are small: a second thread costs more than it gives, and one thread leaves the other cores to other runs.
export OMP_NUM_THREADS ?= 1

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(INSTALLED) ## make .venv with everything that the lock names (PYTHON=python3.12 chooses another Python)
	@if [ -n '$(TORCH)' ]; then \
	  $(BIN)/python -c 'import importlib.metadata as m; print("torch", m.version("torch"), "is in $(VENV) and stays;", \
	    "for another build: rm -r $(VENV), then make install TORCH=...")'; fi

$(INSTALLED): pyproject.toml requirements/dev.lock requirements/torch.in requirements/torch.sh
	@$(PYTHON) -c 'import sys; sys.exit("mer-bench needs Python 3.11 or newer: make install PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.lock
	bash requirements/torch.sh $(BIN)/python '$(TORCH)'
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@

DEMO := demo
DEMO_DATA := $(DEMO)/features/iemocap.h5
DEMO_METHODS := foal majority unimodal concat
DEMO_FIT := --data.modalities '[audio, vision]' --trainer.max_epochs 10 --data.root $(DEMO)/features --runs $(DEMO)/runs

.PHONY: demo
demo: $(INSTALLED) ## the main job without any data: synthetic features, Foal-Net, three controls, leaderboard
	$(BIN)/mer-bench data synth iemocap --items 3000 --seconds 1 --out $(DEMO_DATA)
	for method in $(DEMO_METHODS); do $(BIN)/mer-bench fit --config iemocap_$$method.yaml $(DEMO_FIT); done
	$(BIN)/mer-bench leaderboard --records $(DEMO)/runs --out $(DEMO)/board
	@echo "The leaderboard: $(DEMO)/board/synthetic/README.md (synthetic features: it says nothing about any corpus)"

# a night's options, such as NIGHT="--data.root /data/features --slots-per-gpu 8"
NIGHT ?=

.PHONY: nightly
nightly: $(INSTALLED) ## configs/sweep/nightly.yaml, the leaderboard and a summary of the night (NIGHT="--data.root DIR")
	$(BIN)/mer-bench nightly nightly $(NIGHT)

.PHONY: test
test: $(INSTALLED) ## the tests, without the slow ones
	$(BIN)/pytest

.PHONY: test-all
test-all: $(INSTALLED) ## all tests, README commands and the wheel included
	$(BIN)/pytest -m ""

.PHONY: board
board: $(INSTALLED) ## whether the pages of leaderboards/ are what their records say (writes nothing)
	$(BIN)/mer-bench leaderboard --check

.PHONY: lint
lint: $(INSTALLED) ## ruff, mypy, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(INSTALLED) ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(INSTALLED) ## the aims for speed beside what this machine does (benchmarks/README.md has the longer stories)
	$(BIN)/python benchmarks/table.py

.PHONY: wheel
wheel: $(INSTALLED) ## the wheel, in dist/
	$(BIN)/python -m build --wheel --no-isolation

.PHONY: lock
lock: $(INSTALLED) ## resolve requirements/dev.lock again, to the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-package torch \
	  --override requirements/no-torch.in --custom-compile-command "make lock" --extra dev \
	  --output-file requirements/dev.lock pyproject.toml requirements/torch-needs.in

.PHONY: clean
clean: ## remove .venv, caches, builds and the demo
	rm -rf $(VENV) $(DEMO) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
