# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := core $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/*/pyproject.toml))
STAMP := $(VENV)/installed
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)

.PHONY: install demo test lint format site release clean

install: $(STAMP)

# The build backend is installed first, so that no project builds in an environment of its own.
$(STAMP): pyproject.toml constraints.txt requirements-dev.txt $(PROJECTS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		$(PROJECTS:%=-e ./%) -r requirements-dev.txt
	touch $@

demo: install
	$(BIN)/vidgen-run recipes/quickstart.yaml

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(subst $(SPACE),:,$(PROJECTS:%=%/src)) $(BIN)/mypy $(PROJECTS:%=%/src)
	$(BIN)/python -m pytest tests/test_workspace.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site, in outputs/site.
site: install
	$(BIN)/mkdocs build

# Wheels of all distributions in dist/, tried out in an environment of their own.
release: install
	$(BIN)/python release.py dist

clean:
	rm -rf $(VENV) outputs
