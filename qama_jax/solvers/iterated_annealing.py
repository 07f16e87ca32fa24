"""Annealing again and again from the best state so far."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from qama_jax.checks import check_count, check_flag
from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.clusters import recombine
from qama_jax.sampling.transitions import Transition, Update, check_update, make_transition
from qama_jax.solvers.base import start_bits
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.schedules import beta_limits, check_betas, check_schedule, evaluate


@dataclasses.dataclass(frozen=True)
class IteratedAnnealing(IterativeSolver):
    """Simulated annealing whose chains start over from the best state so far, not quite from the hot end.

    In each round several chains are annealed, and what any of them has improved is taken over: the best state exchanges
    with each chain, in turn, every cluster of bits in which the two differ and that lowers its energy. On a sparse
    problem these clusters are many, and improvements of all chains add up. On a dense one they are one, so that the
    lower state stays.

    The chains of the first round start at the hot end. In later ones each has a temperature of its own to start from,
    so that some change much and some a little. A warm start serves as the best state before the first round.

    Args:
      num_rounds: how often the chains are annealed.
      num_sweeps: visits of every bit in a round.
      num_chains: chains of each read.
      num_reads: independent runs, each with chains of its own; the best is the solution.
      beta_range: inverse temperatures (hot, cold) in 1/energy; None finds them from the problem, as for
        `SimulatedAnnealing`.
      reheating: where on the geometric way from hot, 0, to cold, 1, the first and the last chain start over; the other
        chains lie evenly between them.
      update: as for `SimulatedAnnealing`.
      record_energy: adds `energy_trace` [num_reads, num_rounds], of the best state after each round, to the info.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Lourenço, Martin, Stützle, "Iterated local search", Handbook of Metaheuristics (2003); `recombine`.
    """

    num_rounds: int = 4
    num_sweeps: int = 256
    num_chains: int = 16
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    reheating: tuple[float, float] = (0.2, 0.5)
    update: Update = "metropolis"
    record_energy: bool = False
    reads_together = True

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_rounds=self.num_rounds, num_sweeps=self.num_sweeps)
        check_count(num_chains=self.num_chains, num_reads=self.num_reads)
        check_betas(self.beta_range, "geometric")
        check_update(self.update)
        check_schedule("reheating", self.reheating)
        if callable(self.reheating) or len(self.reheating) != 2 or not 0 <= self.reheating[0] <= self.reheating[1] <= 1:
            raise ValueError(
                f"reheating must be a pair (first, last) with 0 <= first <= last <= 1, got {self.reheating}"
            )

    def arrange(self, problem: Problem) -> Transition:
        return make_transition(problem, self.update)

    def schedule(self, problem: Problem) -> Float[Array, "num_rounds num_sweeps num_chains"]:
        hot, cold = beta_limits(problem, self.beta_range)
        first, last = self.reheating
        start = jnp.broadcast_to(jnp.linspace(first, last, self.num_chains), (self.num_rounds, 1, self.num_chains))
        start = start.at[0].set(0).astype(problem.dtype)
        done = evaluate((0.0, 1.0), self.num_sweeps, problem.dtype)[None, :, None]
        return hot * (cold / hot) ** (start + (1 - start) * done)

    def init(self, key: Key[Array, ""], transition: Transition, bits: Bits | None) -> Bits:
        return start_bits(key, transition.problem, self.num_reads, bits)

    def step(
        self, key: Key[Array, ""], transition: Transition, state: Bits, row: Float[Array, "num_sweeps num_chains"]
    ) -> tuple[Bits, None]:
        def sweep(chains, now):
            index, beta = now
            return transition(jax.random.fold_in(key, index), chains, jnp.tile(beta, self.num_reads)), None

        start = transition.arrange(jnp.repeat(state, self.num_chains, axis=0))
        chains, _ = jax.lax.scan(sweep, start, (jnp.arange(self.num_sweeps), row))
        chains = transition.restore(chains).reshape(self.num_reads, self.num_chains, *transition.problem.shape)

        def take_over(best, chain):
            return jax.vmap(functools.partial(recombine, transition.problem))(best, chain), None

        return jax.lax.scan(take_over, state, jnp.swapaxes(chains, 0, 1))[0], None

    def bits(self, transition: Transition, state: Bits) -> Bits:
        return state
