# Each target does all of its own set-up; nothing is needed but Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
JOBS ?= auto
SHARED ?= auto
SEED ?= 2026
CAMPAIGN_JOBS ?= 2

.PHONY: demo reference test test-slow test-gpu campaign coverage lint format docs docs-serve clean

demo: $(STAMP)
	rm -rf $(DEMO)
	$(BIN)/mnbatch simulate $(DEMO) --donors 4 --slides 2 --cells 150 --seed 1 --dose 0,1,2,4
	$(BIN)/mnbatch run $(DEMO)/export --out $(DEMO)/results --layout donor-slide-folders --samples $(DEMO)/samples.csv
	@echo
	@echo "Open $(CURDIR)/$(DEMO)/results/index.html in a browser."

# Tests run in one process a core (JOBS=1: in one). SHARED=without: as in a clone that has no ../shared; only: just the tests
# that ask for it.
test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --shared $(SHARED)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

# All faults of disks, kills, damaged and hostile inputs; killed, it goes on where it was (docs/reliability.md).
campaign: $(STAMP)
	$(BIN)/python -m tests.campaign.run --jobs $(CAMPAIGN_JOBS) --seed $(SEED) --verbose

# Pages of docs/ that the code says itself: columns, commands, library.
reference: $(STAMP)
	$(BIN)/python docs/reference.py

# Prints the share of lines and branches that the tests run; fails below the floor in pyproject.toml ([tool.coverage.report]).
coverage: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --shared $(SHARED) --cov --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in site/. --strict: a broken link or anchor is an error. tests/test_docs.py also checks README.md and the commands that
# the pages name.
docs: $(STAMP)
	$(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest -q tests/test_docs.py

docs-serve: $(STAMP)
	$(BIN)/mkdocs serve

# torch and torchvision come together from the registry, so that their binaries match. setuptools warns of editable
# installs in general, which says nothing to a newcomer.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(DEMO) campaign site build dist .coverage .coverage.* *.egg-info
