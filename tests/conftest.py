"""Settings of the suite: no implicit promotion of types or ranks in the library's own code."""

import jax
import pytest


@pytest.fixture
def strict():
    """Implicit dtype or rank promotion is an error; Flax and Optax themselves do not hold to it."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="module")
def quick_compilation():
    """For modules that compile much and compute little: XLA optimises less, in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Compiled programs stay mapped in memory; those of the whole suite would be more maps than a process may have."""
    yield
    jax.clear_caches()
