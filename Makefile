# Needs Python 3.11 or newer with pip, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PURE := src/kat_workflow/program/*,src/kat_workflow/language/*,src/kat_workflow/enrollment/*

.PHONY: demo demo-cluster test bench crash fuzz clean

demo: $(VENV)/demo-ready
	$(BIN)/kat demo

demo-cluster: $(VENV)/test-ready
	$(BIN)/python -m examples.cluster.demo

test: $(VENV)/test-ready
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/coverage erase
	$(BIN)/coverage run --branch -m pytest
	$(BIN)/coverage report --include='src/kat_workflow/*'
	@echo "The definition, the language and the enrollment are covered wholly:"
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100

bench: $(VENV)/test-ready
	$(BIN)/python -m benchmarks

crash: $(VENV)/test-ready
	$(BIN)/python -m tests.crash

fuzz: $(VENV)/test-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python tests/fuzz.py 15

clean:
	rm -rf $(VENV) build dist .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-ready: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/test-ready: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@
