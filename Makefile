# `make demo` and `make test` need Python 3.11 or newer and nothing else:
# each sets up its own virtual environment in .venv first. `make test-napari` has
# .venv-napari, so that the viewer and Qt stay out of the other tests; `make test-oldest` has
# .venv-oldest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
NAPARI := .venv-napari
OLDEST := .venv-oldest

.PHONY: demo test test-napari test-oldest torture lint docs gallery bench bench-check clean

demo: $(READY)
	$(BIN)/fastseg demo --overwrite demo

# A file of tests goes to one process, so that what it needs is compiled once.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

# For hours: faults, bad input and load, whose figures go into the documentation.
torture: $(READY)
	mkdir -p build
	$(BIN)/python -m pytest tests/reliability --torture -n auto --junitxml build/reliability.xml
	$(BIN)/python tests/reliability/report.py build/reliability.xml

# Without a screen; what the system lacks, if anything, is named.
test-napari: $(NAPARI)/ready
	$(NAPARI)/bin/python -m pytest tests/napari_plugin

# With the lowest versions that pyproject.toml allows, of the package and of its tests. What lies
# below them is new, and they warn of that.
OLD := -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning

test-oldest: $(OLDEST)/ready
	NUMBA_CACHE_DIR=$(abspath $(OLDEST)/kernels) $(OLDEST)/bin/python -m pytest -n auto \
		--dist loadfile $(OLD)

# mypy reads the package as a user has it, from the built wheel: an editable
# install maps kernels/ through an import hook that type checkers cannot follow.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(VENV)/wheel build
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/wheel .
	cd $(VENV)/wheel && ../bin/mypy --config-file ../../pyproject.toml \
		--cache-dir ../mypy_cache -p fastseg

# Into build/docs; a warning is an error, such as a link that leads nowhere.
docs: $(READY)
	$(BIN)/python -m sphinx -q -a -E -W --keep-going docs build/docs

# The pictures of the examples in the documentation.
gallery: $(READY)
	$(BIN)/python docs/make_gallery.py

# The kernels, which `--benchmark-compare` compares with earlier runs; then all on all cases.
RESULTS ?= .benchmarks/compare.json

bench: $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[peers]"
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-disable-gc \
		--benchmark-warmup=on --benchmark-group-by=group --benchmark-autosave
	mkdir -p $(dir $(RESULTS))
	$(BIN)/python benchmarks/compare.py --save $(RESULTS)

# The kernels against the machine's own pace, in one run, and that against the committed.
bench-check: $(READY)
	$(BIN)/python benchmarks/check.py

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test,lint,docs]"
	touch $(READY)

$(NAPARI)/ready: pyproject.toml
	$(PYTHON) -m venv $(NAPARI)
	$(NAPARI)/bin/python -m pip install --quiet --no-compile --editable ".[test-napari]"
	touch $(NAPARI)/ready

$(OLDEST)/ready: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
		--resolution lowest-direct --editable ".[test]"
	touch $(OLDEST)/ready

clean:
	rm -rf $(VENV) $(NAPARI) $(OLDEST) build dist demo *.egg-info
