# make demo   run a real A/B on the built-in model
# make test   pass the tests (format, lint, types, layers, docs in step, behaviour)
# make check  the quick half of the tests
# make bench  the benchmarks (about 50 minutes on 2 cores)
# make fuzz   20,000 random texts through every scorer (a few minutes)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench fuzz docs clean

demo: $(VENV)/.demo
	$(BIN)/lem ab --max-tokens 256

test: $(VENV)/.test check
	$(BIN)/python -m pytest

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python benchmarks/score_validity.py
	$(BIN)/python benchmarks/reasoning_weights.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/v2_throughput.py
	$(BIN)/python benchmarks/grammar_throughput.py
	$(BIN)/python benchmarks/grammar_wide.py
	$(BIN)/python benchmarks/ab_speed.py
	$(BIN)/python benchmarks/ab_speed.py --engine transformers
	$(BIN)/python benchmarks/bf16_divergence.py --probes 4 --max-tokens 64
	$(BIN)/python benchmarks/engines_agree.py --max-tokens 48
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/duplicate_detection.py
	$(BIN)/python benchmarks/planted_study.py
	$(BIN)/python benchmarks/report_size.py
	$(BIN)/python benchmarks/reanalysis.py --no-figure

fuzz: $(VENV)/.test
	LEM_FUZZ=20000 $(BIN)/python -m pytest tests/test_fuzz.py -k every_scorer

docs: $(VENV)/.test
	$(BIN)/python docs/make_cli.py

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lem needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[llama]'
	touch $@

$(VENV)/.test: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lem needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
