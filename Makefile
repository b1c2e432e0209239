# Feilun: everything a newcomer needs. Only python3, make and gcc must be there already.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := benchmarks/.venv
STAMP := $(VENV)/.ready
BENCH_STAMP := $(BENCH)/.ready
PREPARE := benchmarks/.venv-prepare
PREPARE_STAMP := $(PREPARE)/.ready
SERVE := benchmarks/.venv-serve
SERVE_STAMP := $(SERVE)/.ready
INSTALLED_FROM := pyproject.toml constraints.txt hatch_build.py

.PHONY: help setup check test reliability demo bench native messages format clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
	@printf 'bench-NAME  run one benchmark; QUICK=1 for its quick form\n'

setup: $(STAMP) native ## make .venv with everything in it

$(STAMP): $(INSTALLED_FROM)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

native: $(STAMP) ## compile the C kernels and the message catalogues
	@$(BIN)/python hatch_build.py

check: setup ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup ## every test
	$(BIN)/python -m pytest

reliability: setup ## the tests against faults and attacks, and docs/reliability.md
	$(BIN)/python -m pytest -m reliability --evidence

demo: setup ## the main job on real data
	$(BIN)/feilun demo

format: setup ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BENCH_STAMP): $(INSTALLED_FROM) benchmarks/requirements.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[train]' --requirement benchmarks/requirements.txt
	@touch $@

# The peers of benchmarks/prepare.py, in an environment without Feilun.
$(PREPARE_STAMP): benchmarks/peers/requirements.txt
	@test -x $(PREPARE)/bin/python || $(PYTHON) -m venv $(PREPARE)
	$(PREPARE)/bin/python -m pip install --quiet --requirement benchmarks/peers/requirements.txt
	@touch $@

# The servers of benchmarks/serve.py, in an environment without Feilun.
$(SERVE_STAMP): benchmarks/serve_peers/requirements.txt
	@test -x $(SERVE)/bin/python || $(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/python -m pip install --quiet --requirement benchmarks/serve_peers/requirements.txt
	@touch $@

# Not benchmarks, or (the last two) run by another one.
NOT_ALONE := harness served people_daily quality_data quality_peers train_peers privacy_texts \
	prepare_corpus prepare_growth near_duplicates serve_load serve_processes soak_traffic
BENCHMARKS := $(filter-out $(NOT_ALONE),$(basename $(notdir $(wildcard benchmarks/*.py))))

bench: $(BENCH_STAMP) $(PREPARE_STAMP) $(SERVE_STAMP) ## every benchmark; results are kept in benchmarks/results
	@missed=0; for name in $(BENCHMARKS); do \
		$(BENCH)/bin/python benchmarks/$$name.py --save || missed=1; \
	done; exit $$missed

bench-prepare: $(PREPARE_STAMP)
bench-serve: $(SERVE_STAMP)

bench-%: $(BENCH_STAMP)
	@$(BENCH)/bin/python benchmarks/$*.py $(if $(QUICK),--quick)

clean: ## remove what make made
	rm -rf $(VENV) $(BENCH) $(PREPARE) $(SERVE) build dist demo
	find . -name __pycache__ -prune -exec rm -rf {} +
