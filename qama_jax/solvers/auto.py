"""Which solver runs where none is named: the one place that says so."""

import dataclasses
import math

from qama_jax.problems.base import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.base import Solver
from qama_jax.solvers.iterated_annealing import IteratedAnnealing
from qama_jax.solvers.schedules import beta_range
from qama_jax.solvers.simulated_annealing import SimulatedAnnealing
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation

# A network learns as much from selections of fewer steps, which cost a third.
_ATTENTION, _IN_TRAINING = SimulatedBifurcation(), SimulatedBifurcation(num_steps=10, max_descent_steps=4)

# Dense problems of more bits are better served by products with the whole matrix than by a flip at a time.
_LARGEST_DENSE = 256

# Rounds of more sweeps gain less than calls that follow each other, each from the best state so far.
_LONGEST_ROUND = 1024


def attention_solver(*, training: bool = False) -> SimulatedBifurcation:
    """The default of attention: in evaluation `SimulatedBifurcation()`, in training the same with fewer steps.

    How many steps evaluation makes is up to the solver, see `SimulatedBifurcation.num_steps`.
    """
    return _IN_TRAINING if training else _ATTENTION


def auto_solver(problem: Problem) -> IteratedAnnealing | SimulatedAnnealing | SimulatedBifurcation:
    """The solver that suits a problem, by what was measured.

    Args:
      problem: what is minimised.

    Returns:
      `SimulatedBifurcation` with its defaults for attention, which they are made for; the same, heated and for longer,
      for dense problems of more than 256 bits; `SimulatedAnnealing` for smaller ones. `IteratedAnnealing` for sparse
      problems, which starts and ends colder than by default, as its range of temperatures is read from the problem: not
      under `jax.jit`.
    """
    if not isinstance(problem, Quadratic):
        return attention_solver()
    if not problem.is_sparse and problem.shape[0] > _LARGEST_DENSE:
        return SimulatedBifurcation(
            num_steps=1024, num_reads=16, heating=0.2, coupling_strength=0.5, pump=(0.0, 1.0), initial_amplitude=0.1
        )
    if not problem.is_sparse:
        return SimulatedAnnealing(num_sweeps=1024, num_reads=16)
    hot, cold = map(float, beta_range(problem))
    # Where even the bit of most neighbours flips freely, sweeps pass before anything is decided; where the fields of a
    # random state spread by twice the temperature, half of `coupling_scale`, nothing is frozen yet.
    scale = float(problem.coupling_scale())
    hot = max(hot, 4 / scale) if scale > 0 else hot
    # Where each of n bits is excited once in a hundred times, n/100 always are; this cold, in all one.
    cold *= max(1, math.log(problem.shape[0]) / math.log(100))
    return IteratedAnnealing(num_sweeps=512, beta_range=(hot, max(hot, cold)))


def lengthened(solver: Solver, factor: float) -> Solver:
    """A solver of `auto_solver` with more steps or fewer: by a power of two, so that few programs are compiled."""
    factor = 2.0 ** math.floor(math.log2(factor))
    if isinstance(solver, IteratedAnnealing):
        return dataclasses.replace(solver, num_sweeps=max(1, min(_LONGEST_ROUND, int(factor * solver.num_sweeps))))
    if isinstance(solver, SimulatedAnnealing):
        return dataclasses.replace(solver, num_sweeps=max(1, int(factor * solver.num_sweeps)))
    if isinstance(solver, SimulatedBifurcation) and solver.num_steps is not None:
        return dataclasses.replace(solver, num_steps=max(1, int(factor * solver.num_steps)))
    return solver
