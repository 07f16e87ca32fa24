"""Parallel tempering."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from qama_jax.checks import check_count, check_flag
from qama_jax.problems.base import Bits, Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.problems.sparse import SparseCouplings
from qama_jax.sampling.clusters import exchange_clusters
from qama_jax.sampling.transitions import Transition, Update, check_update, make_transition
from qama_jax.solvers.base import start_bits
from qama_jax.solvers.iterative import IterativeSolver, lower
from qama_jax.solvers.schedules import BetaSchedule, betas, check_betas

# Steps of stochastic approximation fall with the index to this power: between ½ and 1 they converge.
_TUNING_DECAY = 0.6

# Of neighbours in the logarithm of a temperature, so that a tuned ladder can start from equal ones.
_CLOSEST = 1e-6


class _Ladder(NamedTuple):
    transition: Transition
    couplings: SparseCouplings | None  # whose clusters are exchanged
    beta: Float[Array, "replicas"]


class _State(NamedTuple):
    chains: Any
    spacing: Float[Array, "pairs"]
    best: Bits
    lowest: Float[Array, "reads"]


@dataclasses.dataclass(frozen=True)
class ParallelTempering(IterativeSolver):
    """Replica exchange: chains at a ladder of temperatures that swap states with their neighbours.

    After every sweep the pairs (0, 1), (2, 3), ... or, in turn, (1, 2), (3, 4), ... exchange with probability
    `min(1, exp((β_i - β_j)(E_i - E_j))`. A read is the lowest state that any of its replicas was in after a sweep.

    With `cluster_interval`, reads are no longer independent: replicas of two reads at the same temperature exchange
    the clusters of bits in which they differ, each with probability ½. The sum of their energies stays as it is, so
    that nothing is rejected; where couplings are sparse, and clusters therefore many, replicas cross barriers that
    single flips do not.

    Args:
      num_sweeps: visits of every bit, each followed by an exchange.
      num_replicas: temperatures of the ladder.
      num_reads: independent ladders; the best read is the solution.
      beta_range: ends (hot, cold) of the ladder in 1/energy; None finds them from the problem.
      beta_schedule: the ladder between the ends, as for `SimulatedAnnealing`.
      update: "metropolis" or "heat_bath" flips; or "block", the choice for attention on accelerators: all bits at once
        as by `BlockGibbs`, in about 20 GPU kernels a sweep. On other problems "block" is "heat_bath".
      num_tuning_sweeps: so many of the sweeps, from the first, move the temperatures between the ends of the ladder
        until all neighbours exchange equally often; the replicas are samples of the later ones.
      cluster_interval: sweeps from one exchange of clusters to the next; None exchanges none. It is for sparse problems
        and an even number of reads.
      record_energy: adds `energy_trace` [num_reads, num_sweeps], the lowest so far, to the info.

    Info: `beta` [num_replicas], at the end; `exchange_rate` [num_replicas - 1], the share of accepted exchanges
    between neighbours, after the tuning; `replicas` [num_reads, num_replicas, *problem.shape], samples of the Boltzmann
    distribution at each temperature once the chains have mixed, and `replica_energies`.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Hukushima and Nemoto, "Exchange Monte Carlo method", Journal of the Physical Society of Japan 65, 1604 (1996);
      Miasojedow, Moulines, Vihola, "An adaptive parallel tempering algorithm", Journal of Computational and Graphical
      Statistics 22, 649 (2013); Zhu, Ochoa, Katzgraber, "Efficient cluster algorithm for spin glasses in any space
      dimension", Physical Review Letters 115, 077201 (2015), after Houdayer.
    """

    num_sweeps: int = 100
    num_replicas: int = 8
    num_reads: int = 1
    beta_range: tuple[float, float] | None = None
    beta_schedule: BetaSchedule = "geometric"
    update: Update = "metropolis"
    num_tuning_sweeps: int = 0
    cluster_interval: int | None = None
    record_energy: bool = False
    reads_together = True
    unroll = 2

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_count(2, num_replicas=self.num_replicas)
        check_betas(self.beta_range, self.beta_schedule)
        check_update(self.update)
        check_count(0, num_tuning_sweeps=self.num_tuning_sweeps)
        if self.num_tuning_sweeps >= self.num_sweeps:
            raise ValueError(
                f"num_tuning_sweeps must be below num_sweeps={self.num_sweeps}, got {self.num_tuning_sweeps}"
            )
        if self.num_tuning_sweeps and not isinstance(self.beta_schedule, str):
            raise ValueError(
                "num_tuning_sweeps must be 0 for a beta_schedule of inverse temperatures, which tuning moves; give "
                "a beta_range"
            )
        if self.cluster_interval is not None:
            check_count(cluster_interval=self.cluster_interval)
            if self.num_reads % 2:
                raise ValueError(
                    f"num_reads must be even for a cluster_interval, as reads exchange in pairs, got {self.num_reads}"
                )

    def arrange(self, problem: Problem) -> _Ladder:
        couplings = None
        if self.cluster_interval is not None:
            if not isinstance(problem, Quadratic) or not problem.is_sparse:
                raise ValueError(
                    "cluster_interval must be None for dense couplings, with which all bits that differ are one cluster"
                )
            couplings = problem.as_sparse()
        ladder = betas(problem, self.num_replicas, self.beta_range, self.beta_schedule)
        return _Ladder(make_transition(problem, self.update), couplings, ladder)

    def schedule(self, problem: Problem) -> Int[Array, "num_sweeps"]:
        return jnp.arange(self.num_sweeps)

    def init(self, key: Key[Array, ""], ladder: _Ladder, bits: Bits | None) -> _State:
        problem = ladder.transition.problem
        if bits is not None:
            bits = jnp.repeat(bits, self.num_replicas, axis=0)
        bits = start_bits(key, problem, self.num_reads * self.num_replicas, bits)
        start = jax.vmap(problem.clamp)(bits)[:: self.num_replicas]
        spacing = jnp.zeros(self.num_replicas - 1, problem.dtype)
        if self.num_tuning_sweeps:
            spacing = jnp.log(jnp.maximum(jnp.diff(jnp.log(ladder.beta)), _CLOSEST))
        return _State(ladder.transition.arrange(bits), spacing, start, jax.vmap(problem.relative_energy)(start))

    def step(
        self, key: Key[Array, ""], ladder: _Ladder, state: _State, index: Int[Array, ""]
    ) -> tuple[_State, Int[Array, "reads pairs"]]:
        flip_key, exchange_key = jax.random.split(key)
        beta = self._betas(ladder, state)
        chains = ladder.transition(flip_key, state.chains, jnp.tile(beta, self.num_reads))
        bits, energies = self._replicas(ladder, chains)
        best, lowest = jax.vmap(_lowest)(state.best, state.lowest, bits, energies)
        order, accepted = jax.vmap(_exchanges, in_axes=(0, None, 0, None))(
            jax.random.split(exchange_key, self.num_reads), beta, energies, index % 2
        )
        first_chain = jnp.arange(self.num_reads)[:, None] * self.num_replicas
        chains = ladder.transition.exchange(chains, (order + first_chain).reshape(-1))
        if self.cluster_interval is not None and ladder.couplings is not None:
            cluster_key = jax.random.fold_in(exchange_key, self.num_reads)
            move = functools.partial(self._exchange_clusters, cluster_key, ladder.transition, ladder.couplings)
            chains = jax.lax.cond((index + 1) % self.cluster_interval == 0, move, lambda chains: chains, chains)
        spacing = state.spacing
        if self.num_tuning_sweeps:
            spacing = jnp.where(index < self.num_tuning_sweeps, _tuned(spacing, beta, energies, index), spacing)
        return _State(chains, spacing, best, lowest), accepted

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
        counted = (rows >= self.num_tuning_sweeps)[:, None]
        tried = self.num_reads * jnp.sum(counted & (rows[:, None] % 2 == pairs[None] % 2), axis=0)
        return {
            "beta": self._betas(ladder, state),
            "exchange_rate": jnp.sum(infos, axis=(0, 1), where=counted[:, None]) / jnp.maximum(tried, 1),
            "replicas": replicas,
            "replica_energies": energies + ladder.transition.problem.offset,
        }

    def _betas(self, ladder: _Ladder, state: _State) -> Float[Array, "replicas"]:
        if not self.num_tuning_sweeps:
            return ladder.beta
        hot, cold = jnp.log(ladder.beta[0]), jnp.log(ladder.beta[-1])
        return jnp.exp(hot + (cold - hot) * jnp.pad(jnp.cumsum(jax.nn.softmax(state.spacing)), (1, 0)))

    def _exchange_clusters(
        self, key: Key[Array, ""], transition: Transition, couplings: SparseCouplings, chains: Array
    ) -> Array:
        bits = transition.restore(chains)
        pairs = jnp.swapaxes(bits.reshape(-1, 2, self.num_replicas, bits.shape[-1]), 0, 1)
        first, second = pairs.reshape(2, -1, bits.shape[-1])
        keys = jax.random.split(key, len(first))
        exchanged = jax.vmap(exchange_clusters, (0, None, 0, 0))(keys, couplings, first, second)
        pairs = jnp.swapaxes(jnp.stack(exchanged).reshape(pairs.shape), 0, 1)
        return transition.arrange(pairs.reshape(bits.shape))

    def _replicas(self, ladder: _Ladder, chains: Any) -> tuple[Bits, Float[Array, "reads replicas"]]:
        """The bits of all replicas [reads, replicas, *problem.shape] and their energies without the offset."""
        shape = (self.num_reads, self.num_replicas)
        bits, energies = ladder.transition.restore(chains), ladder.transition.energies(chains)
        return bits.reshape(*shape, *ladder.transition.problem.shape), energies.reshape(shape)


def _lowest(
    best: Bits, lowest: Float[Array, ""], replicas: Bits, energies: Float[Array, "replicas"]
) -> tuple[Bits, Float[Array, ""]]:
    """The lowest state so far."""
    index = jnp.argmin(energies)
    return lower(best, lowest, replicas[index], energies[index])


def _tuned(
    spacing: Float[Array, "pairs"],
    beta: Float[Array, "replicas"],
    energies: Float[Array, "reads replicas"],
    index: Int[Array, ""],
) -> Float[Array, "pairs"]:
    """Wider where neighbours would exchange more often than on average, by steps whose sum is infinite."""
    accepted = jnp.mean(jnp.exp(jnp.minimum(jax.vmap(_gain, (None, 0))(beta, energies), 0)), axis=0)
    return spacing + (accepted - jnp.mean(accepted)) / (1 + index.astype(beta.dtype)) ** _TUNING_DECAY


def _gain(beta: Float[Array, "replicas"], energies: Float[Array, "replicas"]) -> Float[Array, "pairs"]:
    """The logarithm of how much more probable the states of neighbours are once exchanged."""
    return (beta[:-1] - beta[1:]) * (energies[:-1] - energies[1:])


def _exchanges(
    key: Key[Array, ""], beta: Float[Array, "replicas"], energies: Float[Array, "replicas"], parity: Int[Array, ""]
) -> tuple[Int[Array, "replicas"], Int[Array, "pairs"]]:
    """The order of the states after the exchanges of one parity, and which neighbours exchanged."""
    pairs = jnp.arange(beta.size - 1)
    threshold = -jax.random.exponential(key, pairs.shape, beta.dtype)
    accepted = (pairs % 2 == parity) & (threshold < _gain(beta, energies))
    swaps = accepted.astype(jnp.int32)
    return jnp.arange(beta.size) + jnp.pad(swaps, (0, 1)) - jnp.pad(swaps, (1, 0)), swaps
