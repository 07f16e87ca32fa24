"""Simulated annealing."""

import dataclasses

from qama_jax.checks import check_count, check_flag
from qama_jax.sampling.transitions import Update, check_update
from qama_jax.solvers.annealed_chains import AnnealedChains
from qama_jax.solvers.schedules import BetaSchedule, check_betas


@dataclasses.dataclass(frozen=True)
class SimulatedAnnealing(AnnealedChains):
    """Simulated annealing: sweeps over all bits at falling temperature. The paper's training solver.

    By default a sweep is one of single flips. On attention problems a step of it flips one bit of every head, H at once
    and exactly (they share no edge), at O(D) per bit; a sweep is N + H - 1 such steps. Accelerators want few and large
    steps: for them choose `update="block"`, all bits of an attention problem at once as by `BlockGibbs`, which says how
    far such sweeps go.

    At a fixed temperature, `beta_range=(β, β)`, the reads are samples of the Boltzmann distribution, once `num_sweeps`
    is long enough. The state at the end is returned; warm starts begin at the hot end unless `beta_range` says
    otherwise.

    Args:
      num_sweeps: visits of every bit; one at each inverse temperature.
      num_reads: independent runs; the best is the solution.
      beta_range: inverse temperatures (hot, cold) in 1/energy; None finds them from the problem, as
        dwave-samplers does.
      beta_schedule: "geometric" or "linear" between the ends of the range; or the inverse temperatures themselves,
        as a tuple, interpolated linearly, or as a function of the fraction of sweeps done.
      update: "metropolis" or "heat_bath" flips; or "block", which is "heat_bath" on problems other than attention.
      record_energy: adds `energy_trace` [num_reads, num_sweeps] to the info.

    Info: `beta` [num_sweeps].

    Raises:
      ValueError: if a setting is out of range.

    References:
      Kirkpatrick, Gelatt, Vecchi, "Optimization by simulated annealing", Science 220, 671 (1983).
    """

    num_sweeps: int = 200
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    beta_schedule: BetaSchedule = "geometric"
    update: Update = "metropolis"
    record_energy: bool = False

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_betas(self.beta_range, self.beta_schedule)
        check_update(self.update)
