"""Annealed Gibbs sampling, of attention problems in two blocks."""

import dataclasses

from qama_jax.checks import check_count, check_flag
from qama_jax.solvers.annealed_chains import AnnealedChains
from qama_jax.solvers.schedules import BetaSchedule, check_betas


@dataclasses.dataclass(frozen=True)
class BlockGibbs(AnnealedChains):
    """Gibbs sampling, annealed; on attention problems in two blocks: every token at once, without a loop over bits.

    The couplings of attention are a square but for their diagonal, so that Gaussian variables, D + 1 per head, make the
    tokens independent (Hubbard-Stratonovich), and an update costs two products with Q. The chain is exact at any fixed
    temperature.

    **Other problems get no block updates.** Their couplings are no square; Gaussian variables would need the lowest
    eigenvalue on the diagonal, which holds every bit where it is. A sweep is then one of single bits by heat-bath, the
    same chain as `SimulatedAnnealing(update="heat_bath")`, so that one solver serves every problem.

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
    update = "block"

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_betas(self.beta_range, self.beta_schedule)
