"""Which solver suits a problem."""

from qama_jax.problems.base import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.base import Solver
from qama_jax.solvers.exhaustive import Exhaustive
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation

# Below, every state is tried.
_EXHAUSTIVE = 16

# Reads of one call: enough to fill the products.
_READS = 64


def auto_solver(problem: Problem, time_limit_s: float | None = None) -> Solver:
    """The solver and the settings that measurements suggest for a problem, and for the time there is.

    Args:
      problem: what is minimised.
      time_limit_s: seconds that `search` will have; None for a single call.

    Returns:
      `Exhaustive` for a handful of bits, `SimulatedBifurcation` with its defaults for attention, which they are made
      for, and discrete bifurcation for all else.
    """
    if not isinstance(problem, Quadratic):
        return SimulatedBifurcation()
    if problem.shape[0] <= _EXHAUSTIVE:
        return Exhaustive()
    return SimulatedBifurcation(
        num_steps=1000, num_reads=_READS, mode="discrete", coupling_strength=1.0, pump=(0.0, 1.0), initial_amplitude=0.1
    )
