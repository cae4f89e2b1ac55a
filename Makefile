# Every target makes the environment first, if it is not there or older than pyproject.toml.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST ?= -n 2

.PHONY: demo test test-lowest bench conformance docs check format clean

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST)

# The oldest versions allowed, in an environment of their own: what depends on them most.
$(LOWEST)/.installed: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip install --quiet --requirement $(LOWEST)/requirements.txt \
		hypothesis pyarrow 'pylibjpeg[all]' pytest pytest-asyncio pytest-xdist scikit-image zarr
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest $(PYTEST) -o filterwarnings=default tests/layout \
		tests/test_indexes.py tests/end_to_end/test_generated_slides.py \
		tests/end_to_end/test_several_files.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

conformance: $(INSTALLED)
	$(BIN)/python -m conformance

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check: $(INSTALLED) docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(LOWEST) site .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
