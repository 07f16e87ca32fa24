"""Annealed block Gibbs sampling."""

import dataclasses

import jax
from jaxtyping import Array, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.base import check_count, start_bits
from qama_jax.solvers.schedules import BetaSchedule, betas, check_betas
from qama_jax.solvers.transitions import anneal, make_transition


@dataclasses.dataclass(frozen=True)
class BlockGibbs:
    """Gibbs sampling in two blocks, annealed: every token at once, without a loop over bits.

    The couplings are a square but for their diagonal, so that Gaussian variables, one for each of its columns, make
    the tokens independent (Hubbard-Stratonovich): D + 1 a head on attention problems, where an update costs two
    products with Q. The chain is exact at any fixed temperature. Dense problems need the eigenvalues of their matrix,
    O(n³) once, and a shift of its diagonal by the lowest one, which slows the chain.

    Args:
      num_sweeps: updates of all bits; one at each inverse temperature.
      num_reads: independent runs; the best is the solution.
      beta_range: inverse temperatures (hot, cold) in 1/energy; None finds them from the problem.
      beta_schedule: as for `SimulatedAnnealing`.
      record_energy: adds `energy_trace` [num_reads, num_sweeps] to the info.

    Info: `beta` [num_sweeps].

    Raises:
      ValueError: if a setting is out of range.

    References:
      Hubbard, "Calculation of partition functions", Physical Review Letters 3, 77 (1959).
      Martens and Sutskever, "Parallelizable sampling of Markov random fields", AISTATS (2010).
    """

    num_sweeps: int = 100
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    beta_schedule: BetaSchedule = "geometric"
    record_energy: bool = False

    def __post_init__(self):
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_betas(self.beta_range, self.beta_schedule)

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        start_key, key = jax.random.split(key)
        bits = start_bits(start_key, problem, self.num_reads, initial_bits)
        schedule = betas(problem, self.num_sweeps, self.beta_range, self.beta_schedule)
        return anneal(key, problem, make_transition(problem, "block"), bits, schedule, self.record_energy)
