"""What solvers share that are one Markov chain a read, at falling temperature."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.transitions import Transition, Update, make_transition
from qama_jax.solvers.base import start_bits
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.schedules import BetaSchedule, betas


class AnnealedChains(IterativeSolver):
    """One transition at each inverse temperature, for all reads at once; `update` says which."""

    num_sweeps: int
    beta_range: tuple[float, float] | None
    beta_schedule: BetaSchedule
    update: Update
    reads_together = True

    def arrange(self, problem: Problem) -> Transition:
        return make_transition(problem, self.update)

    def schedule(self, problem: Problem) -> Float[Array, "num_sweeps"]:
        return betas(problem, self.num_sweeps, self.beta_range, self.beta_schedule)

    def init(self, key: Key[Array, ""], transition: Transition, bits: Bits | None) -> Any:
        return transition.arrange(start_bits(key, transition.problem, self.num_reads, bits))

    def step(self, key: Key[Array, ""], transition: Transition, state: Any, beta: Float[Array, ""]) -> tuple[Any, None]:
        return transition(key, state, jnp.broadcast_to(beta, self.num_reads)), None

    def bits(self, transition: Transition, state: Any) -> Bits:
        return transition.restore(state)

    def report(
        self, transition: Transition, rows: Float[Array, "num_sweeps"], state: Any, infos: None
    ) -> dict[str, Array]:
        return {"beta": rows}
