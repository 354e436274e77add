# Everything a person types. `make` alone lists the targets.
# On a system without make the README gives the plain pip lines.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup test soak frameworks check lint format-check types imports spelling generated format demo example bench bench-checkpoint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv and install the pinned dependencies (a second call installs nothing)

# Only what decides the installation makes it run again.
$(STAMP): pyproject.toml constraints.txt scripts/install.py
	@$(PYTHON) scripts/install.py $(VENV)
	@touch $(STAMP)

test: $(STAMP) ## all tests but the soak
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -m "not slow"

soak: $(STAMP) ## the long tests: many kills, many seeds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -m slow --timeout 3600

frameworks: $(STAMP) ## each adapter's tests with the oldest and the newest version of its framework
	$(BIN)/python scripts/try_framework_versions.py

check: lint format-check types imports spelling generated ## everything that needs no test run

lint: $(STAMP) ## ruff
	$(BIN)/ruff check

format-check: $(STAMP)
	$(BIN)/ruff format --check

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

imports: $(STAMP) ## the direction of imports
	$(BIN)/lint-imports --no-logo

spelling: $(STAMP)
	$(BIN)/codespell

generated: $(STAMP) ## generated pages are current
	$(BIN)/python scripts/write_cli_docs.py --check
	$(BIN)/python scripts/write_troubleshooting.py --check
	$(BIN)/python scripts/write_api_docs.py --check

format: $(STAMP) ## put the code into shape, and the generated pages too
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python scripts/write_cli_docs.py
	$(BIN)/python scripts/write_troubleshooting.py
	$(BIN)/python scripts/write_api_docs.py

demo: $(STAMP) ## train, kill, go on exactly, speak (QUICK=1: the short one)
	$(BIN)/unbroken-tts demo $(if $(QUICK),--quick)

example: $(STAMP) ## small real files under the names the guide uses
	$(BIN)/unbroken-tts example

bench: $(STAMP) ## our training beside the earlier trainer's way
	$(BIN)/python benchmarks/train.py

bench-checkpoint: $(STAMP) ## our saving and restoring beside other ways (8 GB of disk, 8 GB of memory)
	$(BIN)/python benchmarks/checkpoint.py

clean: ## remove caches and build products; data, runs and .venv stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests trainers scripts -name __pycache__ -type d -prune -exec rm -rf {} +
