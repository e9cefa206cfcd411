# `make demo` runs the main job; `make test` is the whole check; `make bench` measures how fast it is, some parts of it with
# `make bench PARTS="imports memory"`; `make pictures` draws the pictures of README and docs, those of the board in a browser; `make docs`
# builds the site. All set up what they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Whatever is started here starts more processes, and each would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE
# What trains convolutions is tested twice: the second time as on a CPU without AVX-512, in memory that is never clean.
OLDER_CPU := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MALLOC_PERTURB_=85 \
	$(if $(filter x86_64,$(shell uname -m)),NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=)
CONVOLVE = $(shell grep -rl --include='*.py' mark.convolutions tests)

.PHONY: demo test checks tests gpu fuzz bench pictures docs format clean

demo: $(VENV)/.ready
	$(BIN)/oneticket demo

# Types are checked beside the tests, since one alone leaves a core idle.
test: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --jobs 2 checks tests

checks: $(VENV)/.ready-dev
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/.ready-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not gpu and not fuzz"
	$(OLDER_CPU) $(BIN)/pytest -n 2 --dist worksteal -m "convolutions and not gpu" $(CONVOLVE)

gpu: $(VENV)/.ready-dev
	$(BIN)/pytest -m gpu

fuzz: $(VENV)/.ready-dev
	$(BIN)/pytest -m fuzz

bench: $(VENV)/.ready-bench
	$(BIN)/python -m benchmarks.bench $(PARTS) $(if $(RESUME),--resume $(RESUME))

pictures: $(VENV)/.ready-dev
	$(BIN)/python results/pictures.py
	$(BIN)/python results/board.py

docs: $(VENV)/.ready-dev
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .oneticket demo docs/_build

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("oneticket needs Python 3.11 or newer, got " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lab]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

# The report is tested in a real browser where one is there or can be had; those tests say why they skip.
$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@command -v chromium >/dev/null || (apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null 2>&1 || true)
	@touch $@
