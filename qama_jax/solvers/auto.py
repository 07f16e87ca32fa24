"""Which solver suits a problem."""

from qama_jax.problems.base import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.base import Solver
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation


def auto_solver(problem: Problem, time_limit_s: float | None = None) -> Solver:
    """The solver that suits a problem, and the time there is, by what was measured.

    Args:
      problem: what is minimised.
      time_limit_s: seconds that `search` will have; None for a single call.

    Returns:
      `SimulatedBifurcation`: with its defaults for attention, which they are made for, else discrete.
    """
    if not isinstance(problem, Quadratic):
        return SimulatedBifurcation()
    return SimulatedBifurcation(
        num_steps=1000, num_reads=64, mode="discrete", coupling_strength=1.0, pump=(0.0, 1.0), initial_amplitude=0.1
    )
