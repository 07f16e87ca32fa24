"""Settings of the suite: quick compilation, and no implicit promotion of types or ranks in the library's own code."""

import os
from pathlib import Path

# The tests compile much and compute little: XLA compiles in a fifth of the time, what it then runs slowly.
# `make test-slow` sets other flags, none, and so tests what users run.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest


@pytest.fixture
def strict():
    """Implicit dtype or rank promotion is an error; Flax and Optax themselves do not hold to it."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def prepared_mnist():
    """Skips where tensorflow-datasets would have to download it."""
    data_dir = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if not any(data_dir.glob("mnist/*/dataset_info.json")):
        pytest.skip("mnist is not prepared: set TFDS_DATA_DIR to a folder prepared by tensorflow-datasets")


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Compiled programs stay mapped in memory; those of the whole suite would be more maps than a process may have."""
    yield
    jax.clear_caches()
