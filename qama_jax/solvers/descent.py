"""Polish: from the state a solver reached to a local minimum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from qama_jax.problems.base import Bits, Problem


def descend(problem: Problem, bits: Bits, max_steps: int) -> tuple[Bits, Int[Array, ""]]:
    """Moves many bits at once while that lowers the energy, then a few at a time; the energy never rises.

    Args:
      problem: what is minimised.
      bits: where to start.
      max_steps: limit for each of the two kinds of move; a step costs about one `problem.couple`.

    Returns:
      The bits, and the number of steps that changed them.
    """
    bits, steps_together = _repeat(problem.descend_together, bits, max_steps)
    bits, steps = _repeat(problem.descend, bits, max_steps)
    return bits, steps_together + steps


def _repeat(move: Callable[[Bits], Bits], bits: Bits, max_steps: int) -> tuple[Bits, Int[Array, ""]]:
    def unfinished(state):
        _, steps, changed = state
        return changed & (steps < max_steps)

    def step(state):
        bits, steps, _ = state
        moved = move(bits)
        changed = jnp.any(moved != bits)
        return moved, steps + changed.astype(jnp.int32), changed

    bits, steps, _ = jax.lax.while_loop(unfinished, step, (bits, jnp.int32(0), jnp.bool_(True)))
    return bits, steps
