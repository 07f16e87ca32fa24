"""Random numbers of sweeps: their distributions, and that no place, step or seed tells of another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from qama_jax.sampling import noise

pytestmark = pytest.mark.usefixtures("strict")

SHAPE = (512, 64)


def draws(seeds):
    """Uniform numbers [seeds, *SHAPE]."""
    return np.asarray(jax.jit(jax.vmap(lambda seed: noise.uniform(seed, SHAPE)))(jnp.asarray(seeds, jnp.uint32)))


def test_numbers_are_odd_multiples_of_a_power_of_two():
    drawn = draws(noise.draw_seeds(jax.random.key(0), 4)).astype(np.float64) * 2**24
    assert drawn.min() >= 1
    assert drawn.max() <= 2**24 - 1
    np.testing.assert_array_equal(drawn % 2, 1)


@pytest.mark.parametrize("discarded_bits", [0, 8, 15])
def test_bits_are_uniform(discarded_bits):
    """The leading byte of what is left without the leading bits; false alarms 1 in 10,000."""
    drawn = draws(noise.draw_seeds(jax.random.key(1), 32)).astype(np.float64)
    bytes_ = (drawn * 2**discarded_bits % 1 * 256).astype(int)
    assert scipy.stats.chisquare(np.bincount(bytes_.reshape(-1), minlength=256)).pvalue > 1e-4


@pytest.mark.parametrize("seeds", ["drawn", "first word counts", "second word counts"])
def test_numbers_are_independent(seeds):
    """Correlations, also of squares, between neighbours in a step and between steps; false alarms 1 in 10,000."""
    steps = 64
    counting = np.arange(steps)[:, None] * np.array([[1, 0] if seeds == "first word counts" else [0, 1]]) + 12345
    drawn = draws(noise.draw_seeds(jax.random.key(2), steps) if seeds == "drawn" else counting) - 0.5
    for values in (drawn, drawn**2 - 1 / 12):
        for axis in range(3):
            for lag in (1, 2, 16):
                products = values * np.roll(values, lag, axis)
                z = products.mean() / (values.var() / np.sqrt(values.size))
                assert abs(z) < scipy.stats.norm.isf(0.5e-4 / 18)


def test_serial_pairs_fill_the_square():
    """Pairs of neighbours, and the same place in successive steps, over 64 x 64 cells."""
    drawn = draws(noise.draw_seeds(jax.random.key(3), 64))
    for first, second in ((drawn[..., ::2], drawn[..., 1::2]), (drawn[::2], drawn[1::2])):
        cells = (64 * first).astype(int) * 64 + (64 * second).astype(int)
        assert scipy.stats.chisquare(np.bincount(cells.reshape(-1), minlength=4096)).pvalue > 1e-4


@pytest.mark.parametrize("name", ["exponential", "logistic", "normal"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_distributions(name, dtype):
    """Kolmogorov-Smirnov."""
    drawn = getattr(noise, name)(noise.draw_seeds(jax.random.key(4), 1)[0], SHAPE, jnp.dtype(dtype))
    assert drawn.dtype == dtype
    law = {"exponential": scipy.stats.expon, "logistic": scipy.stats.logistic, "normal": scipy.stats.norm}[name]
    assert scipy.stats.kstest(np.asarray(drawn, np.float64).reshape(-1), law.cdf).pvalue > 1e-4
