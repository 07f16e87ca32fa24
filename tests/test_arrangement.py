"""A problem of a user's own kind: what it must define, and that every sampler takes it."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qama_jax
from qama_jax.problems.base import register_pytree

pytestmark = pytest.mark.usefixtures("strict")


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Grid(qama_jax.Problem):
    """Bits on a grid, coupled along its rows; the last column is held at 0."""

    linear: jax.Array
    strength: jax.Array

    @property
    def shape(self):
        return self.linear.shape

    def couple(self, bits):
        x = self.clamp(bits.astype(self.dtype))
        return self.strength * (jnp.roll(x, 1, axis=1) + jnp.roll(x, -1, axis=1))

    def as_matrix(self):
        unit = jnp.eye(self.linear.size).reshape(-1, *self.shape)
        return jax.vmap(self.couple)(unit).reshape(self.linear.size, -1)

    def energy(self, bits):
        x = bits.astype(self.dtype)
        return -jnp.sum(x * (self.linear + self.couple(x) / 2))

    def coupling_scale(self):
        return jnp.abs(self.strength) * jnp.sqrt(2.0)

    def flip_energy_range(self):
        return jnp.abs(self.strength), 2 * jnp.abs(self.strength) + jnp.max(jnp.abs(self.linear))

    def clamp(self, bits):
        return bits.at[..., -1].set(0)


LINEAR = np.array([[0.3, -1.2, 0.9, 2.0, 5.0], [-0.4, 0.8, -0.2, 0.5, 5.0]])
STRENGTH = -0.7


def lowest_energy() -> float:
    """By enumeration, in float64."""
    energies = []
    for free in itertools.product((0, 1), repeat=8):
        x = np.zeros(LINEAR.shape)
        x[:, :4] = np.reshape(free, (2, 4))
        pairs = sum(x[row, i] * x[row, (i + 1) % 5] for row in range(2) for i in range(5))
        energies.append(-np.sum(LINEAR * x) - STRENGTH * pairs)
    return min(energies)


@pytest.mark.parametrize(
    "solver",
    [
        qama_jax.SimulatedAnnealing(num_sweeps=50, num_reads=4),
        qama_jax.ParallelTempering(num_sweeps=50),
        qama_jax.PathIntegralAnnealing(num_sweeps=50),
        qama_jax.BlockGibbs(num_sweeps=50, num_reads=4),
        qama_jax.SimulatedBifurcation(num_reads=4),
        qama_jax.Exhaustive(),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_any_problem_is_solved(solver):
    grid = Grid(jnp.asarray(LINEAR, jnp.float32), jnp.asarray(STRENGTH, jnp.float32))
    solution = qama_jax.solve(jax.random.key(0), grid, solver)
    np.testing.assert_allclose(solution.energy, lowest_energy(), rtol=1e-5)
    assert not np.any(solution.reads[..., -1])


def test_a_missing_method_shows_at_once():
    @dataclasses.dataclass(frozen=True)
    class Partial(qama_jax.Problem):
        linear: jax.Array

        @property
        def shape(self):
            return self.linear.shape

    with pytest.raises(TypeError, match="as_matrix"):
        Partial(jnp.ones(3))  # pyright: ignore[reportAbstractUsage]
