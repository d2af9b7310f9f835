# Two commands do all the set-up on a machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

.PHONY: demo test test-slow test-browser lint format schema leaderboard published install clean

demo: $(VENV)/runnable  ## run the main job on the embedded default
	$(BIN)/bench run --defense key-lora --threat adaptive

test: install  ## the tests that CI runs
	$(PYTEST) $(PYTEST_ARGS)

test-slow: install  ## the long ones too
	$(PYTEST) -m "not gpu and not browser" $(PYTEST_ARGS)

test-browser: install  ## the leaderboard's site in a real browser (Debian: apt-get install chromium)
	$(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: install  ## docs/record.schema.json, from the code
	$(BIN)/python -m bench.store.schema docs/record.schema.json

leaderboard: install  ## the site, from the records in results/: leaderboard/site
	$(BIN)/bench leaderboard build

published: install  ## what is committed and computed from results/published: tables, figures, standings
	$(BIN)/bench reproduce table1 --render-only
	$(BIN)/bench reproduce fig4 --render-only
	$(BIN)/bench leaderboard standings --out leaderboard/standings.csv

install: $(VENV)/installed

# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every command would compile torch again.
# uv takes the torch build that has a torchvision beside it; plain pip may take one that has none.
UV_INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable

$(VENV)/uv:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	touch $@

# What a run needs.
$(VENV)/runnable: pyproject.toml constraints.txt | $(VENV)/uv
	@echo "installing into $(VENV): about 3 GB to download and 6 GB on disk on Linux, where torch comes with CUDA; less elsewhere."
	@echo "Downloads are kept in uv's cache ($$($(UV) cache dir)); trained models and images in BENCH_HOME, the run in results/."
	$(UV_INSTALL) .
	$(BIN)/python -m compileall -q bench
	touch $@

# What the tests need besides.
$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/uv
	$(UV_INSTALL) '.[dev]'
	$(BIN)/python -m compileall -q bench
	touch $@ $(VENV)/runnable

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
