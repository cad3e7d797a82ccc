# make quickstart   set up, run the whole pipeline on the committed params.yaml, show the results
# make check        lint, and the tests that are neither slow nor start several processes
# make test         set up, lint and test
# make fuzz         CASES=5000 random damaged inputs, shared among the tests in tests/fuzz
# make profile      the settings for known encoders; with PROFILE=<name>, put one into params.yaml
# make plan         what the present params.yaml takes (steps, tokens, memory, disk), and what can't be reached
# make check-encoder   what params.yaml's encoder loads as, and whether it gives the similarities that its authors published
# make bundle       all that PROFILE=<name> (or params.yaml) reads from outside, in one folder (OUT=...), for use offline
# make bench        benchmarks against named peers
# make ablation     other losses, samplers and fusions on the same data, three seeds each; goes on where it was
# make ablation-queue   the same rows as queued experiments of the whole pipeline (dvc exp run --run-all runs them)
# make repair       put the last whole dvc.lock back, where a kill has left a part of one
# make chaos        KILLS=50 SEED=1: kill the pipeline at random moments, and compare what the next run makes
# make help         this list
# make clean        remove the environment and all results (not data/01_raw)

PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TOKENIZERS_PARALLELISM := false
export DVC_NO_ANALYTICS := 1
DVC := dvc

.PHONY: quickstart help check test fuzz chaos repair lint profile plan check-encoder bundle bench ablation ablation-queue install clean

quickstart: .venv/ready
	@echo "== pipeline: ingest, mine, assemble, train, merge, evaluate, report"
	@python -m codiemb_pipeline.quickstart

help:
	@sed -n '/^#/!q; s/^# //p' $(firstword $(MAKEFILE_LIST))

check: .venv/ready
	@echo "== lint"
	@ruff check src tests perf
	@ruff format --check src tests perf
	@echo "== fast tests"
	@python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not slow and not dist"

test: .venv/ready
	@echo "== lint"
	@ruff check src tests perf
	@ruff format --check src tests perf
	@echo "== test"
	@python -m pytest --cov -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

CASES ?= 5000

fuzz: .venv/ready
	@echo "== fuzz: $(CASES) random inputs"
	@FUZZ_CASES=$(CASES) python -m pytest -n auto --maxprocesses 8 tests/fuzz

KILLS ?= 50
SEED ?= 1

chaos: .venv/ready
	@echo "== chaos: $(KILLS) kills, a minute each"
	@python perf/chaos.py --kills $(KILLS) --seed $(SEED)

repair: .venv/ready
	@python -m codiemb_pipeline.dvc_lock

lint: .venv/ready
	@ruff check --fix src tests perf
	@ruff format src tests perf

profile: .venv/ready
	@python -m codiemb_pipeline.profiles $(if $(PROFILE),use $(PROFILE),list)

plan: .venv/ready
	@python -m codiemb_pipeline.plan

check-encoder: .venv/ready
	@python -m codiemb_pipeline.check_encoder $(if $(MODEL),--model $(MODEL))

bundle: .venv/ready
	@python -m codiemb_pipeline.bundle make $(PROFILE) $(if $(OUT),--out $(OUT))

bench: .venv/ready
	@echo "== benchmarks: each against a named peer, in one run"
	@python perf/train_speed.py
	@python perf/pro_speed.py
	@python perf/plan_speed.py
	@python perf/grad_cache_memory.py
	@python perf/ingest_memory.py

ablation: .venv/ready
	@echo "== ablation: about two hours on two cores; interrupt it as you like"
	@dvc repro conf/ablation/dvc.yaml

ablation-queue: .venv/ready
	@python -m codiemb_pipeline.ablation queue 49 50 51

install: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "codiemb-pipeline needs Python 3.11; name yours: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "== environment: .venv from requirements.lock (about 2 GB, some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	@touch $@

clean:
	rm -rf .venv data/.work data/02_intermediate/* data/03_primary/* data/05_model_input/* data/06_models/* data/07_model_output/*
