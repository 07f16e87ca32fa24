import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qama_jax
from experiments.benchmarks import rounding

pytestmark = pytest.mark.usefixtures("strict")


def problem(tokens):
    query, key, value = jax.random.normal(jax.random.key(0), (3, tokens, 3, 8))
    return qama_jax.attention_hamiltonian(query, key, value, jnp.ones(8))


@pytest.mark.parametrize("tokens", [16, 17])
def test_couplings_of_both_forms_are_the_hamiltonians_but_for_rounding(tokens, monkeypatch):
    hamiltonian = problem(tokens)
    x = jax.random.normal(jax.random.key(1), hamiltonian.shape)
    exact = hamiltonian.couple(x)
    rounded = rounding.rounded(hamiltonian)
    error = np.max(np.abs(rounded.couple_roughly(x) - exact)) / np.max(np.abs(exact))
    assert 2**-12 < error < 2**-6
    np.testing.assert_array_equal(rounded.couple(x), exact)
    monkeypatch.setitem(rounding._BFLOAT16, "mantissa_bits", 23)
    np.testing.assert_allclose(rounded.couple_roughly(x), exact, rtol=1e-4, atol=1e-4)


def test_operands_are_rounded_to_the_nearest_bfloat16():
    x, y = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    near_x, near_y = (np.asarray(jnp.asarray(a).astype(jnp.bfloat16), np.float64) for a in (x, y))
    np.testing.assert_allclose(rounding._product("hd,hd->h", x, y), (near_x * near_y).sum(1), rtol=1e-6)
