"""Annealed block Gibbs sampling."""

import dataclasses

from qama_jax.checks import check_count
from qama_jax.solvers.annealed_chains import AnnealedChains
from qama_jax.solvers.schedules import BetaSchedule, check_betas


@dataclasses.dataclass(frozen=True)
class BlockGibbs(AnnealedChains):
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
    update = "block"

    def __post_init__(self):
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_betas(self.beta_range, self.beta_schedule)
