# `make demo` and `make test` work alone on a machine with Python >= 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OLDEST := .venv-oldest
COMPILERS := .venv-compilers

.PHONY: install demo test test-oldest test-slow mutants lint docs gpu benchmark-solver benchmark-family benchmark-peers benchmark-layer benchmark-readouts benchmark-causal benchmark-mechanisms benchmark-general benchmark-precision compiled

install: $(VENV)/.installed

# kaiwu-community demands one version of numpy, and works with others.
$(VENV)/.installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[test]'
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps kaiwu-community==1.0.7
	touch $@

demo: install
	$(RUN) -m experiments.demo

# The tests of a file share what they compile, and so a process.
test: install
	$(RUN) -m pytest -n 2 --dist loadfile

# With the lowest versions that pyproject.toml allows of what the package itself needs, on any Python >= 3.11.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadfile

$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" | sed 's/>=/==/' > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(OLDEST)/constraints.txt --editable '.[test]'
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps kaiwu-community==1.0.7
	touch $@

# Long tests run optimised programs, as users do.
test-slow: install
	XLA_FLAGS= $(RUN) -m pytest -m slow

# On a machine with an NVIDIA GPU: the library's tests there, and the benchmarks, whose files stand beside those of CPUs.
# Where JAX finds none, its own error says so before anything runs.
gpu: install
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[bench,cuda]'
	$(RUN) -c "import jax; jax.devices('gpu')"
	XLA_FLAGS= $(RUN) -m pytest $(addprefix tests/test_,$(addsuffix .py,attention dropout gradient hamiltonian nnx readouts solvers sparse))
	for name in layer drop_in readout_cost solver; do \
		$(RUN) -m experiments.benchmarks.$$name --result experiments/results/gpu/benchmark_$$name.json || exit 1; \
	done
	$(RUN) -m experiments.benchmarks.peers --result experiments/results/gpu/benchmark_peers.jsonl

docs: install
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[docs]'
	$(RUN) -W error -W "ignore:Error parsing type annotation" -m pdoc --docformat google --output-directory runs/docs qama_jax $(addprefix qama_jax.,nnx linen problems solvers dimod)

# Breaks the package in one place at a time; what the tests let pass is in the file.
mutants: install
	$(RUN) tests/mutants.py --json tests/mutants.json

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

benchmark-solver: install
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[bench]'
	$(RUN) -m experiments.benchmarks.solver
	$(RUN) -m experiments.benchmarks.token_kinds
	$(RUN) -m experiments.benchmarks.rounding

benchmark-family: install
	$(RUN) -m experiments.benchmarks.family
	$(RUN) -m experiments.benchmarks.sweep

benchmark-peers: install
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[bench]'
	$(RUN) -m experiments.benchmarks.peers

benchmark-layer: install
	$(RUN) -m experiments.benchmarks.layer
	$(RUN) -m experiments.benchmarks.drop_in

benchmark-readouts: install
	$(RUN) -m experiments.benchmarks.readout_cost

benchmark-causal: install
	$(RUN) -m experiments.benchmarks.causal

benchmark-mechanisms: install
	$(RUN) -m experiments.benchmarks.mechanism_cost

benchmark-general: install
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[bench]'
	$(RUN) -m experiments.benchmarks.general

benchmark-precision: install
	$(RUN) -m experiments.benchmarks.precision

# With the compilers of TPUs and NVIDIA's GPUs, 5 GB, which need no device.
compiled: $(COMPILERS)/.installed
	$(COMPILERS)/bin/python -m experiments.benchmarks.compiled

$(COMPILERS)/.installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(COMPILERS)
	$(COMPILERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[compiled]'
	touch $@
