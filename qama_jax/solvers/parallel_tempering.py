"""Parallel tempering."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.transitions import Transition, Update, make_transition
from qama_jax.solvers.base import check_choice, check_count, start_bits
from qama_jax.solvers.iterative import IterativeSolver, lower
from qama_jax.solvers.schedules import BetaSchedule, betas, check_betas


class _Ladder(NamedTuple):
    transition: Transition
    beta: Float[Array, "replicas"]


class _State(NamedTuple):
    chains: Array
    best: Bits
    lowest: Float[Array, "reads"]


@dataclasses.dataclass(frozen=True)
class ParallelTempering(IterativeSolver):
    """Replica exchange: chains at a ladder of temperatures that swap states with their neighbours.

    After every sweep the pairs (0, 1), (2, 3), ... or, in turn, (1, 2), (3, 4), ... exchange with probability
    `min(1, exp((β_i - β_j)(E_i - E_j))`. A read is the lowest state that any of its replicas was in after a sweep.

    Args:
      num_sweeps: visits of every bit, each followed by an exchange.
      num_replicas: temperatures of the ladder.
      num_reads: independent ladders; the best read is the solution.
      beta_range: ends (hot, cold) of the ladder in 1/energy; None finds them from the problem.
      beta_schedule: the ladder between the ends, as for `SimulatedAnnealing`.
      update: "metropolis" or "heat_bath" flips, or "block" as `BlockGibbs`.
      record_energy: adds `energy_trace` [num_reads, num_sweeps], the lowest so far, to the info.

    Info: `beta` [num_replicas]; `exchange_rate` [num_replicas - 1], the share of accepted exchanges between
    neighbours; `replicas` [num_reads, num_replicas, *problem.shape], samples of the Boltzmann distribution at each
    temperature once the chains have mixed, and `replica_energies`.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Hukushima and Nemoto, "Exchange Monte Carlo method", Journal of the Physical Society of Japan 65, 1604 (1996).
    """

    num_sweeps: int = 100
    num_replicas: int = 8
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    beta_schedule: BetaSchedule = "geometric"
    update: Update = "metropolis"
    record_energy: bool = False
    reads_together = True

    def __post_init__(self):
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_count(2, num_replicas=self.num_replicas)
        check_betas(self.beta_range, self.beta_schedule)
        check_choice(("metropolis", "heat_bath", "block"), update=self.update)

    def arrange(self, problem: Problem) -> _Ladder:
        ladder = betas(problem, self.num_replicas, self.beta_range, self.beta_schedule)
        return _Ladder(make_transition(problem, self.update), ladder)

    def schedule(self, problem: Problem) -> Int[Array, "num_sweeps"]:
        return jnp.arange(self.num_sweeps) % 2

    def init(self, key: Key[Array, ""], ladder: _Ladder, bits: Bits | None) -> _State:
        problem = ladder.transition.problem
        if bits is not None:
            bits = jnp.repeat(bits, self.num_replicas, axis=0)
        bits = start_bits(key, problem, self.num_reads * self.num_replicas, bits)
        start = jax.vmap(problem.clamp)(bits)[:: self.num_replicas]
        return _State(ladder.transition.arrange(bits), start, jax.vmap(problem.energy)(start))

    def step(
        self, key: Key[Array, ""], ladder: _Ladder, state: _State, parity: Int[Array, ""]
    ) -> tuple[_State, Int[Array, "reads pairs"]]:
        flip_key, exchange_key = jax.random.split(key)
        chains = ladder.transition(flip_key, state.chains, jnp.tile(ladder.beta, self.num_reads))
        bits, energies = self._replicas(ladder, chains)
        best, lowest = jax.vmap(_lowest)(state.best, state.lowest, bits, energies)
        order, accepted = jax.vmap(_exchanges, in_axes=(0, None, 0, None))(
            jax.random.split(exchange_key, self.num_reads), ladder.beta, energies, parity
        )
        first_chain = jnp.arange(self.num_reads)[:, None] * self.num_replicas
        chains = ladder.transition.exchange(chains, (order + first_chain).reshape(-1))
        return _State(chains, best, lowest), accepted

    def bits(self, ladder: _Ladder, state: _State) -> Bits:
        return state.best

    def report(
        self,
        ladder: _Ladder,
        rows: Int[Array, "num_sweeps"],
        state: _State,
        infos: Int[Array, "num_sweeps reads pairs"],
    ) -> dict[str, Array]:
        replicas, energies = self._replicas(ladder, state.chains)
        pairs = jnp.arange(self.num_replicas - 1)
        tried = self.num_reads * jnp.sum(rows[:, None] == pairs[None] % 2, axis=0)
        return {
            "beta": ladder.beta,
            "exchange_rate": jnp.sum(infos, axis=(0, 1)) / jnp.maximum(tried, 1),
            "replicas": replicas,
            "replica_energies": energies,
        }

    def _replicas(self, ladder: _Ladder, chains: Array) -> tuple[Bits, Float[Array, "reads replicas"]]:
        """The bits of all replicas [reads, replicas, *problem.shape] and their energies."""
        problem, shape = ladder.transition.problem, (self.num_reads, self.num_replicas)
        bits = ladder.transition.restore(chains)
        return bits.reshape(*shape, *problem.shape), jax.vmap(problem.energy)(bits).reshape(shape)


def _lowest(
    best: Bits, lowest: Float[Array, ""], replicas: Bits, energies: Float[Array, "replicas"]
) -> tuple[Bits, Float[Array, ""]]:
    """The lowest state so far."""
    index = jnp.argmin(energies)
    return lower(best, lowest, replicas[index], energies[index])


def _exchanges(
    key: Key[Array, ""], beta: Float[Array, "replicas"], energies: Float[Array, "replicas"], parity: Int[Array, ""]
) -> tuple[Int[Array, "replicas"], Int[Array, "pairs"]]:
    """The order of the states after the exchanges of one parity, and which neighbours exchanged."""
    pairs = jnp.arange(beta.size - 1)
    gain = (beta[:-1] - beta[1:]) * (energies[:-1] - energies[1:])
    accepted = (pairs % 2 == parity) & (-jax.random.exponential(key, pairs.shape, beta.dtype) < gain)
    swaps = accepted.astype(jnp.int32)
    return jnp.arange(beta.size) + jnp.pad(swaps, (0, 1)) - jnp.pad(swaps, (1, 0)), swaps
