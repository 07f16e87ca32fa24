"""Annealed Gibbs sampling, of attention problems in two blocks."""

import dataclasses

from qama_jax.checks import check_count, check_flag
from qama_jax.solvers.annealed_chains import AnnealedChains
from qama_jax.solvers.schedules import BetaSchedule, check_betas


@dataclasses.dataclass(frozen=True)
class BlockGibbs(AnnealedChains):
    """Gibbs sampling, annealed; on attention problems in two blocks: every token at once, without a loop over bits.

    The couplings of attention are a square but for their diagonal, so that Gaussian variables, D + 1 per head, make the
    tokens independent (Hubbard-Stratonovich); the bits of a token are then drawn together, the heads after each summed
    out. An update costs two products with Q and O(H) operations a bit, and compiles to about 10 GPU kernels where a
    sweep of single flips takes several for each of its N + H - 1 steps. So this is the way to sample and to anneal
    attention problems on accelerators, and other solvers have it as `update="block"`. The chain is exact at any fixed
    temperature.

    The Gaussian variables remember the bits, which therefore move more slowly than by single flips where it is cold; but
    heads exchange a token at once, where single flips have to pay the penalty in between. So the longer the sequence
    and the stronger the penalty, the better: with 8 heads of 256 tokens, sweep for sweep, the gap is below that of
    single flips by half; with 8 heads of 64 it takes twice the sweeps. A read is not always a local minimum;
    `SteepestDescent` from the reads ends in one.

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
