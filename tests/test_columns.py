"""The bits of a token in all heads, drawn together, against sums over all of their states in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from qama_jax.sampling.columns import draw_columns

pytestmark = pytest.mark.usefixtures("strict")


def column(drive, cost, noise):
    """The bits of one token; a head is drawn given those before it, all states of those after it summed up."""
    bits = []
    for head in range(len(drive)):
        exponents = {0: [], 1: []}
        for rest in itertools.product((0, 1), repeat=len(drive) - head):
            state = np.array([*bits, *rest])
            selecting = state.sum()
            exponents[rest[0]].append(drive @ state - cost * selecting * (selecting - 1) / 2)
        log_odds = scipy.special.logsumexp(exponents[1]) - scipy.special.logsumexp(exponents[0])
        bits.append(int(log_odds + noise[head] > 0))
    return bits


def columns(drive, cost, noise):
    """Those of all tokens of all replicas, from arrays [replicas, heads, tokens]."""
    expected = np.zeros(drive.shape, int)
    for replica, token in np.ndindex(drive.shape[0], drive.shape[2]):
        expected[replica, :, token] = column(drive[replica, :, token], cost[replica], noise[replica, :, token])
    return expected


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_columns(heads):
    """With penalties from none to some that allow one head alone, and fields of all sizes."""
    rng = np.random.default_rng(heads)
    cost = np.array([0, 0.4, 2, 300], np.float32)
    scale = np.array([1, 3, 10, 400])[:, None, None]
    drive = (scale * rng.normal(0.3, 1, (4, heads, 40))).astype(np.float32)
    noise = rng.logistic(size=drive.shape).astype(np.float32)
    drawn = jax.jit(draw_columns)(drive, jnp.asarray(cost), noise)
    wide = (array.astype(np.float64) for array in (drive, cost, noise))
    expected = columns(*wide)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(drawn, expected)
