# Every target builds .venv from requirements.lock first, where it is missing or older.

PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready
PEERS := $(patsubst tests/benchmarks/peers/%.txt,.peers/%/.ready,$(wildcard tests/benchmarks/peers/*.txt))

.PHONY: demo test test-slow check format bench bench-peers setup browser

demo: $(READY) ## the main job: from instructions to a win-rate curve
	$(PY) -m farm.run method=ppo

test: $(READY) ## all tests but the slow ones, by two workers; needs no network
	$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY) ## the tests that take minutes
	$(PY) -m pytest -m slow

check: $(READY) ## lint, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY) ## rewrite what `check` would complain about, where a tool can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(READY) ## side-by-side measurements; compares with the peers that are installed
	set -e; for script in tests/benchmarks/bench_*.py; do $(PY) $$script; done

bench-peers: $(PEERS) ## the peers' own environments, .peers/NAME

setup: $(READY) ## the environment alone

browser: ## Debian's chromium, where there is none: tests of pages skip without it
	command -v chromium || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)

$(READY): requirements.lock pyproject.toml
	@echo "Setting up .venv from requirements.lock (minutes, once)"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --requirement requirements.lock
	$(PY) -m pip install --quiet --no-deps --editable .
	touch $@

.peers/%/.ready: tests/benchmarks/peers/%.txt
	$(PYTHON) -m venv .peers/$*
	.peers/$*/bin/python -m pip install --quiet --requirement $<
	touch $@
