# Verbs that people need. Everything happens in .venv, which is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin
# Wheels are not byte-compiled at installation: Python compiles what it imports, which is a fraction of them.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint requirements.lock

# One thread a worker: two workers that wait for each other's threads are slower than one. A file stays with one worker,
# so that what its tests share is set up once.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The Python that `make gpu` runs with: that of .venv if it is there, so that a bare machine needs no network.
GPU_PYTHON ?= $(firstword $(wildcard $(BIN)/python) $(PYTHON))

.PHONY: env dev quickstart test test-all exports lint format docs bench gpu calibrate study torture lock clean

env: .venv/.runtime

dev: .venv/.dev

.venv/.runtime: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/.dev: .venv/.runtime
	$(INSTALL) --editable '.[dev]'
	touch $@

quickstart: env
	$(BIN)/layersig run recipes/quickstart.toml

test: dev
	$(PYTEST)

test-all: dev lint
	$(PYTEST) -m ''

# The parsers of training tools, without what they depend on: several ask for other versions of torch and transformers.
EXPORT_TOOLS = axolotl llamafactory omegaconf pillow sentencepiece tiktoken torchao==0.9.0 torchtune trl

exports: dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/exports $(EXPORT_TOOLS)
	PYTHONPATH=.venv/exports DISABLE_VERSION_CHECK=1 $(BIN)/python -m pytest -rs tests/exporting

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site, docs/_build/index.html; a warning is an error.
docs: env
	$(INSTALL) --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

calibrate: dev
	$(BIN)/python -m tests.calibration

# The replication, hours; interrupt and continue as you like. DATA=folder has files in place of hub data sets, PARTS="claim-6
# fraction" picks (tests/replication/parts.py), RUNS=folder is where runs go.
study: dev
	$(BIN)/python -m tests.replication $(PARTS) $(if $(DATA),--data $(DATA)) $(if $(RUNS),--runs $(RUNS))

# An hour; KINDS="recipes folders" picks.
torture: dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture $(KINDS)

# Hours; DATA="a.jsonl b.jsonl" trains on these files instead of the embedded sample, CASES="training gates" picks.
bench: dev
	$(INSTALL) --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks $(CASES) --data $(DATA)

# Two halves of at most ten minutes; HALF=tests or HALF=speed runs one, CASES="peak training" some tables, OUT=folder
# writes there instead of docs/.
gpu:
	$(GPU_PYTHON) -m tests.gpu $(HALF) $(if $(CASES),--cases $(CASES)) $(if $(OUT),--out $(OUT))

# The pins that the environment is built from; packages that only CUDA builds of torch bring are left open.
lock: dev
	$(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(nvidia|triton|cuda)' | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf docs/_build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
