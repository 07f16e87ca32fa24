"""Steepest descent, alone or after another solver."""

import dataclasses

import jax
from jaxtyping import Array, Key

from qama_jax.checks import check_count
from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.descent import descend
from qama_jax.solvers.base import map_reads, start_bits


@dataclasses.dataclass(frozen=True)
class SteepestDescent:
    """Descent to a local minimum under single flips, and on attention problems under moves of a token's whole column.

    Each step makes as many moves at once as lower the energy together, so that the number of steps hardly grows with
    the problem. To polish after any other solver, call `solve(key, problem, SteepestDescent(num_reads=n),
    initial_bits=solution.reads)`; without a warm start it begins at random bits.

    Args:
      num_reads: independent starts; the best is the solution.
      max_steps: limit; a step costs one product with the couplings.

    Info: `descent_steps` [num_reads].

    Raises:
      ValueError: if a setting is out of range.
    """

    num_reads: int = 1
    max_steps: int = 1000

    def __post_init__(self):
        check_count(num_reads=self.num_reads, max_steps=self.max_steps)

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        def read(key, initial_bits):
            del key
            bits, steps = descend(problem, initial_bits, self.max_steps)
            return bits, {"descent_steps": steps}

        bits = jax.vmap(problem.clamp)(start_bits(key, problem, self.num_reads, initial_bits))
        return map_reads(read, key, self.num_reads, bits)
