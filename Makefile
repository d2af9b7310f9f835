# Two commands do all the set-up on a machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

.PHONY: demo test test-slow test-browser lint format schema leaderboard published install clean

demo: install  ## run the main job on the embedded default
	$(BIN)/bench run --defense key-lora --threat adaptive

test: install  ## the tests that CI runs
	$(PYTEST) $(PYTEST_ARGS)

test-slow: install  ## the long ones too
	$(PYTEST) -m "not gpu and not ray and not browser" $(PYTEST_ARGS)

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
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q bench
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
