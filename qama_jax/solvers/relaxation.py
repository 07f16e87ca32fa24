"""The force of a problem on relaxed spins, which continuous dynamics follow."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.problems.base import Problem


class Relaxation(NamedTuple):
    """A problem seen by spins x that may be any real numbers.

    Attributes:
      problem: what is minimised.
      bias: four times the force at x = 0.
      strength: what forces are multiplied by, over four times the scale of the couplings of spins.
    """

    problem: Problem
    bias: Float[Array, "..."]
    strength: Float[Array, ""]

    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """`c F(x)`: F half the field at the bits (1 + x)/2, c the strength over the scale of the spins' couplings."""
        return self.strength * (self.bias + self.problem.couple_roughly(x))


def relax(problem: Problem, strength: float) -> Relaxation:
    """Forces of `strength` over the root-mean-square row norm of the couplings, so that one serves every problem."""
    # Fields are linear, so one constant and the bare couplings of x give the field at (1 + x)/2.
    scale = problem.coupling_scale()
    return Relaxation(problem, 2 * problem.linear + problem.coupling_sums(), strength / jnp.where(scale > 0, scale, 1))
