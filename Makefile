# Every target makes what it needs in the virtual environment .venv of this directory.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint peers-test cuda-test conformance bench notebook clean

help:
	@echo "make demo        train a network on handwritten digits, eager and compiled"
	@echo "make test        lint, types, all tests"
	@echo "make lint        lint and types only"
	@echo "make bench       the benchmarks; make bench ARGS='--only softmax --peers numpy'"
	@echo "make notebook    run examples/first_steps.ipynb"
	@echo "make peers-test  the tests that compare with torch and jax (a large download)"
	@echo "make cuda-test   the tests of NVIDIA's compilers, which need no GPU (a download of 130 MB)"
	@echo "make conformance ARRAY_API_TESTS=path  the array API's conformance suite, from a checkout of it"
	@echo "make clean       remove the virtual environment and what tools left behind"

demo: $(VENV)/.demo
	$(BIN)/python examples/digits.py $(ARGS)

test: lint
	$(BIN)/python -m pytest -q -m "not peers" $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

peers-test: $(VENV)/.test $(VENV)/.peers
	$(BIN)/python -m pytest -q -m peers $(ARGS)

# Small kernels and the limit on compile time (by LLVM) are in every run of the tests: here is
# what skips where the compilers are missing.
cuda-test: $(VENV)/.test $(VENV)/.cuda-test
	$(BIN)/python -m pytest -q tests/codegen/test_numba_intrinsic.py tests/codegen/test_numba_cuda.py \
	    tests/codegen/test_gpu_halves.py::test_no_spills tests/test_gpu_workloads.py \
	    -k "not test_small and not soon" $(ARGS)

# A checkout of github.com/data-apis/array-api-tests, tag 2026.02.26, with its submodule. There are no
# complex numbers: their special cases have names that end with j or j/2, j/4.
conformance: $(VENV)/.test
	@test -f "$(ARRAY_API_TESTS)/array_api_tests/__init__.py" || { echo "name a checkout of" \
	    "data-apis/array-api-tests: make conformance ARRAY_API_TESTS=path" >&2; exit 1; }
	@$(PIP) --requirement "$(ARRAY_API_TESTS)/requirements.txt"
	cd "$(ARRAY_API_TESTS)" && ARRAY_API_TESTS_MODULE=fusegrad ARRAY_API_TESTS_VERSION=2024.12 \
	    ARRAY_API_TESTS_SKIP_DTYPES=complex64,complex128 $(abspath $(BIN))/python -m pytest -q \
	    -c pytest.ini -p no:cacheprovider --max-examples 100 --disable-deadline --disable-extension fft \
	    --skips-file $(CURDIR)/tests/conformance/skips.txt -k "not fft and (conj or not j] and not j/)" \
	    array_api_tests $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

notebook: $(VENV)/.test
	$(BIN)/jupyter-execute examples/first_steps.ipynb

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- the virtual environment ----------------------------------------------------------------------

# The first of these that runs, is new enough and can make an environment.
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
CHECK := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	    if "$$python" -c "$(CHECK)" >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$("$$python" --version)"; \
	        exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	done; \
	echo "fusegrad needs Python 3.11 or newer with the modules venv and ensurepip" >&2; \
	echo "(on Debian and Ubuntu: the package python3-venv); none of these is one:" >&2; \
	echo "    $(CANDIDATES)" >&2; \
	echo "Name another one with: make PYTHON=/path/to/python" >&2; \
	exit 1

# A stamp for each extra, so that nothing is installed twice.
$(VENV)/.demo $(VENV)/.test $(VENV)/.peers $(VENV)/.cuda-test: $(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "installing fusegrad[$*] into $(VENV)"
	@$(PIP) --editable ".[$*]"
	@touch $@
