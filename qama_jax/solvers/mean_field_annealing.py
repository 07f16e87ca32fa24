"""Mean-field annealing."""

import dataclasses

import jax
from jaxtyping import Array, Bool, Float, Key

from qama_jax.checks import check_count, check_flag, check_positive
from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.schedules import BetaSchedule, betas, check_betas


@dataclasses.dataclass(frozen=True)
class MeanFieldAnnealing(IterativeSolver):
    """Deterministic annealing: the means of all bits follow their mean-field equation at falling temperature.

        m += damping · (σ(β f(m)) - m),    σ(u) = 1/(1 + exp(-u))

    f being the field of the problem at the means. A step costs one product with the couplings and no random numbers;
    the bits are the means rounded, then descent. Reads differ by their start.

    Args:
      num_steps: steps, one at each inverse temperature.
      num_reads: independent runs; the best is the solution.
      beta_range: inverse temperatures (hot, cold) in 1/energy; None finds them from the problem.
      beta_schedule: as for `SimulatedAnnealing`.
      damping: share of the way to the mean-field value; 1 may oscillate where couplings are negative.
      initial_spread: means start uniform in ½ ± this; in a warm start they lie this far from ½.
      max_descent_steps: limit of the descent.
      record_energy: adds `energy_trace` [num_reads, num_steps], of the rounded means, to the info.

    Info: `descent_steps` [num_reads].

    Raises:
      ValueError: if a setting is out of range.

    References:
      Peterson and Anderson, "A mean field theory learning algorithm for neural networks", Complex Systems 1 (1987).
    """

    num_steps: int = 50
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    beta_schedule: BetaSchedule = "geometric"
    damping: float = 0.8
    initial_spread: float = 0.1
    max_descent_steps: int = 32
    record_energy: bool = False
    random_steps = False
    unroll = 10

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_steps=self.num_steps, num_reads=self.num_reads)
        check_count(0, max_descent_steps=self.max_descent_steps)
        check_betas(self.beta_range, self.beta_schedule)
        check_positive(damping=self.damping, initial_spread=self.initial_spread)
        if self.damping > 1:
            raise ValueError(f"damping must be at most 1, got {self.damping!r}")
        if self.initial_spread > 0.5:
            raise ValueError(f"initial_spread must be at most 0.5, got {self.initial_spread!r}")

    def schedule(self, problem: Problem) -> Float[Array, "num_steps"]:
        return betas(problem, self.num_steps, self.beta_range, self.beta_schedule)

    def init(self, key: Key[Array, ""], problem: Problem, bits: Bits | None) -> Float[Array, "..."]:
        if bits is None:
            offset = jax.random.uniform(key, problem.shape, problem.dtype, -1, 1)
        else:
            offset = 2 * bits.astype(problem.dtype) - 1
        return 0.5 + self.initial_spread * offset

    def step(
        self, key: None, problem: Problem, means: Float[Array, "..."], beta: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], None]:
        return means + self.damping * (jax.nn.sigmoid(beta * problem.field(means)) - means), None

    def bits(self, problem: Problem, means: Float[Array, "..."]) -> Bool[Array, "..."]:
        return means > 0.5
