"""What surrounds a solution: energies after single flips."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.analysis.arguments import checked_state
from qama_jax.problems.base import Bits, Problem


class FlipStatistics(NamedTuple):
    """Energy changes of the single flips of a state, over the bits that the problem does not hold fixed.

    Attributes:
      minimum: the lowest change.
      mean: their mean.
      std: their (population) standard deviation.
      share_negative: share of flips that lower the energy; 0 at a local minimum.
    """

    minimum: Float[Array, ""]
    mean: Float[Array, ""]
    std: Float[Array, ""]
    share_negative: Float[Array, ""]


class FlipLandscape(NamedTuple):
    """A state and its neighbours.

    Attributes:
      energy: energy of the state.
      flipped: energy after the flip of each bit alone, of the shape of the bits.
    """

    energy: Float[Array, ""]
    flipped: Float[Array, "..."]


def flip_statistics(problem: Problem, bits: Bits) -> FlipStatistics:
    """Minimum, mean and spread of the energy changes of all single flips of a state.

    Args:
      problem: the energy.
      bits: of shape `problem.shape`.

    Raises:
      ValueError: if `bits` do not fit the problem or have other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> statistics = analysis.flip_statistics(Qubo([[1.0, -3.0], [0.0, 2.0]]), [1, 0])
      >>> float(statistics.minimum), float(statistics.share_negative)
      (-1.0, 1.0)

    References:
      arXiv:2504.11083v2, equations (12) and (13).
    """
    bits = checked_state(problem, bits, "bits")
    changes, free = free_flip_energy(problem, bits), free_bits(problem)
    return FlipStatistics(
        jnp.min(changes, where=free, initial=jnp.inf),
        jnp.mean(changes, where=free),
        jnp.std(changes, where=free),
        jnp.mean((changes < 0).astype(changes.dtype), where=free),
    )


def flip_landscape(problem: Problem, bits: Bits) -> FlipLandscape:
    """The energy of a state beside the energies after each single flip, the surface of the paper's Figure 5.

    Args:
      problem: the energy.
      bits: of shape `problem.shape`.

    Returns:
      The `FlipLandscape`; where the problem holds a bit fixed, `flipped` is the energy of the state itself.

    Raises:
      ValueError: if `bits` do not fit the problem or have other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> landscape = analysis.flip_landscape(Qubo([[1.0, -3.0], [0.0, 2.0]]), [1, 1])
      >>> float(landscape.energy), landscape.flipped.tolist()
      (0.0, [2.0, 1.0])

    References:
      arXiv:2504.11083v2, Figure 5.
    """
    bits = checked_state(problem, bits, "bits")
    energy = problem.energy(bits)
    return FlipLandscape(energy, energy + free_flip_energy(problem, bits))


def free_bits(problem: Problem) -> Bool[Array, "..."]:
    """Where bits are not held fixed."""
    return problem.clamp(jnp.ones(problem.shape, jnp.int8)) == 1


def free_flip_energy(problem: Problem, bits: Bits) -> Float[Array, "..."]:
    """Energy change of each single flip, 0 for bits held fixed."""
    return jnp.where(free_bits(problem), problem.flip_energy(problem.clamp(bits)), 0)
