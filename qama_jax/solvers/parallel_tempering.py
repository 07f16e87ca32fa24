"""Parallel tempering."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.base import check_choice, check_count, start_bits
from qama_jax.solvers.schedules import BetaSchedule, betas, check_betas
from qama_jax.solvers.transitions import Update, make_transition


@dataclasses.dataclass(frozen=True)
class ParallelTempering:
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

    def __post_init__(self):
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_count(2, num_replicas=self.num_replicas)
        check_betas(self.beta_range, self.beta_schedule)
        check_choice(("metropolis", "heat_bath", "block"), update=self.update)

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        ladder = betas(problem, self.num_replicas, self.beta_range, self.beta_schedule)
        chains = (self.num_reads, self.num_replicas)
        transition = make_transition(problem, self.update)
        beta = jnp.tile(ladder, self.num_reads)
        start_key, key = jax.random.split(key)
        if initial_bits is not None:
            initial_bits = jnp.repeat(initial_bits, self.num_replicas, axis=0)
        bits = start_bits(start_key, problem, self.num_reads * self.num_replicas, initial_bits)
        start = jax.vmap(problem.clamp)(bits)[:: self.num_replicas]

        def step(carry, index):
            state, best, lowest = carry
            flip_key, exchange_key = jax.random.split(jax.random.fold_in(key, index))
            state = transition(flip_key, state, beta)
            bits = transition.restore(state, problem.shape)
            energies = jax.vmap(problem.energy)(bits).reshape(chains)
            by_read = bits.reshape(*chains, *problem.shape)
            best, lowest = jax.vmap(_lower)(best, lowest, by_read, energies)
            order, accepted = jax.vmap(_exchanges, in_axes=(0, None, 0, None))(
                jax.random.split(exchange_key, self.num_reads), ladder, energies, index % 2
            )
            first_chain = jnp.arange(self.num_reads)[:, None] * self.num_replicas
            state = transition.exchange(state, (order + first_chain).reshape(-1))
            return (state, best, lowest), (accepted, lowest if self.record_energy else None)

        carry = transition.arrange(bits), start, jax.vmap(problem.energy)(start)
        (state, best, _), (accepted, trace) = jax.lax.scan(step, carry, jnp.arange(self.num_sweeps))
        replicas = transition.restore(state, problem.shape)
        tried = self.num_reads * ((self.num_sweeps + 1 - jnp.arange(self.num_replicas - 1) % 2) // 2)
        info = {
            "beta": ladder,
            "exchange_rate": jnp.sum(accepted, axis=(0, 1)) / jnp.maximum(tried, 1),
            "replicas": replicas.reshape(*chains, *problem.shape),
            "replica_energies": jax.vmap(problem.energy)(replicas).reshape(chains),
        }
        return best, info | ({"energy_trace": trace.T} if self.record_energy else {})


def _lower(
    best: Bits, lowest: Float[Array, ""], replicas: Bits, energies: Float[Array, "replicas"]
) -> tuple[Bits, Float[Array, ""]]:
    """The lowest state so far."""
    index = jnp.argmin(energies)
    lower = energies[index] < lowest
    return jnp.where(lower, replicas[index], best), jnp.where(lower, energies[index], lowest)


def _exchanges(
    key: Key[Array, ""], beta: Float[Array, "replicas"], energies: Float[Array, "replicas"], parity: Int[Array, ""]
) -> tuple[Int[Array, "replicas"], Int[Array, "pairs"]]:
    """The order of the states after the exchanges of one parity, and which neighbours exchanged."""
    pairs = jnp.arange(beta.size - 1)
    gain = (beta[:-1] - beta[1:]) * (energies[:-1] - energies[1:])
    accepted = (pairs % 2 == parity) & (-jax.random.exponential(key, pairs.shape, beta.dtype) < gain)
    swaps = accepted.astype(jnp.int32)
    return jnp.arange(beta.size) + jnp.pad(swaps, (0, 1)) - jnp.pad(swaps, (1, 0)), swaps
