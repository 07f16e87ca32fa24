"""The names of the package, and those that it is about to lose."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

import qama_jax
from qama_jax.readouts.distribution import distribute_energy

pytestmark = pytest.mark.usefixtures("strict")


def test_all_names_what_is_exported():
    """But for the modules of the layers: `from qama_jax import *` must not replace Flax's `nnx` and `linen`."""
    tree = ast.parse(Path(qama_jax.__file__).read_text())
    exported = [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {"nnx", "linen"} < set(exported)
    assert sorted([*set(filter(None, exported)) - {"nnx", "linen"}, "__version__"]) == sorted(qama_jax.__all__)
    assert len(set(qama_jax.__all__)) == len(qama_jax.__all__)
    assert all(hasattr(qama_jax, name) for name in qama_jax.__all__)


def test_the_version_is_that_of_the_installed_package():
    assert qama_jax.__version__ == importlib.metadata.version("qama-jax")


def test_base_classes_and_what_fix_returns_are_public():
    assert issubclass(qama_jax.SimulatedAnnealing, qama_jax.IterativeSolver)
    assert isinstance(qama_jax.Qubo([[1.0, 0.0], [0.0, 1.0]]).fix([1, 0], [True, False]), qama_jax.FixedProblem)


def test_a_deprecated_name_works_and_says_what_to_use():
    with pytest.warns(DeprecationWarning, match=r"use qama_jax\.EnergyDistribution"):
        assert qama_jax.distribute_energy is distribute_energy
    assert "distribute_energy" not in qama_jax.__all__
    with pytest.raises(AttributeError, match="module 'qama_jax' has no attribute 'missing'"):
        qama_jax.missing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
