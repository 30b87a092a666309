# openoee: `make demo` shows it, `make test` proves it. Everything lands in .venv and .openoee, both git-ignored.

PYTHON ?= python3
BIN := .venv/bin
OPENOEE := $(BIN)/openoee

.DEFAULT_GOAL := help
.PHONY: help setup demo stop status test check lint types trials faults soak fuzz bench bench-full clean distclean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## install Python packages into .venv (once)

.venv/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "openoee needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing Python packages into .venv (about a minute, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[local,dev]'
	@echo "Compiling the detectors (some seconds, once) ..."
	@$(BIN)/python -c 'from pipeline.partition import warm_up; from pipeline.settings import load; from pipeline.codec import Codec; warm_up(load(), Codec())'
	@touch $@

demo: setup      ## one simulated shift of 12 machines through the whole line, then the plant runs on live
	@$(OPENOEE) demo

stop: setup      ## stop the plant and the local stack; data survive
	@$(OPENOEE) stop

status: setup    ## every part of the local stack, its health and lag
	@$(OPENOEE) status

test: setup      ## all tests, on real Kafka and a real store (about half an hour)
	@$(BIN)/python -m pytest

trials: setup    ## the long proofs: real machines, a simulated week, twenty kills (half an hour)
	@$(BIN)/python tests/trials/nist.py
	@$(BIN)/python tests/trials/simulated.py --signal-period 10
	@$(BIN)/python tests/trials/kills.py

fuzz: setup      ## a million inputs that nobody should send, through readers, worker, sink and adapters
	@$(BIN)/python tests/trials/fuzz.py

faults: setup    ## every fault that the line survives, tried for real; prints a table (about an hour)
	@$(BIN)/python tests/faults

HOURS ?= 1
soak: setup      ## HOURS=n under load: memory, lag, handles, parts of the store; flat or not
	@$(BIN)/python tests/faults/soak.py --hours $(HOURS)

bench: setup    ## the same job by everybody, then the whole line: tables, JSON and pictures (under 20 minutes)
	@$(BIN)/python -m bench

bench-full: setup  ## the same with five times as much (an hour and a half)
	@$(BIN)/python -m bench --full

check: lint types  ## ruff and mypy --strict

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

clean: setup     ## stop everything and remove its data (downloads stay)
	@$(OPENOEE) stop
	@find .openoee -mindepth 1 -maxdepth 1 ! -name lib -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## remove downloads and Python packages, too
	@rm -rf .openoee .venv
