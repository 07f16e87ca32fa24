"""Markov transitions that leave the Boltzmann distribution of a problem invariant, for many replicas at once."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from qama_jax.checks import check_choice
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling import noise
from qama_jax.sampling.arrangement import make_blocks, make_sweeper
from qama_jax.sampling.blocks import Blocks, BlockState
from qama_jax.sampling.sparse_sweeps import SparseSweeper
from qama_jax.sampling.sweeps import Sweeper

# How a sweep moves the bits: by flips, one colour after another, or all of them in two blocks.
Update = Literal["metropolis", "heat_bath", "block"]


class Transition(Protocol):
    """One sweep over the bits of a problem, at an inverse temperature for each replica."""

    @property
    def problem(self) -> Problem:
        """The problem whose bits are swept."""
        ...

    def arrange(self, bits: Bits) -> Any:
        """A state from bits [replicas, *problem.shape]."""
        ...

    def restore(self, state: Any) -> Bits:
        """Bits [replicas, *problem.shape] from a state."""
        ...

    def __call__(self, key: Key[Array, ""], state: Any, beta: Float[Array, "replicas"]) -> Any:
        """The state after a sweep."""
        ...

    def exchange(self, state: Any, order: Array) -> Any:
        """The state with its replicas in another order."""
        ...

    def energies(self, state: Any) -> Float[Array, "replicas"]:
        """Of each replica, without the problem's offset."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class _Sweep:
    """Single flips, colour by colour."""

    problem: Problem
    sweeper: Sweeper | SparseSweeper

    def arrange(self, bits: Bits) -> Array:
        return self.sweeper.arrange(bits)

    def restore(self, state: Array) -> Bits:
        return self.sweeper.restore(state, self.problem.shape)

    def exchange(self, state: Array, order: Array) -> Array:
        return state[:, order]

    def energies(self, state: Array) -> Float[Array, "replicas"]:
        return jax.vmap(self.problem.relative_energy)(self.restore(state))

    def _sweep(
        self, key: Key[Array, ""], state: Array, draw: Callable[..., Array], rule: Callable[..., Array]
    ) -> Array:
        seeds = noise.draw_seeds(key, self.sweeper.shape[0])
        if isinstance(self.sweeper, Sweeper):
            # Steps are so small that each operation more in them costs: all numbers at once.
            drawn = jax.vmap(lambda seed: draw(seed, state.shape[1:], state.dtype))(seeds)
            return self.sweeper.sweep(state, drawn, rule)

        def choose(seed, bits, field):
            return rule(draw(seed, bits.shape, field.dtype), bits, field)

        return self.sweeper.sweep(state, seeds, choose)


class HeatBath(_Sweep):
    """Every bit drawn from its distribution given all others: 1 with probability `1 / (1 + exp(-β field))`."""

    def __call__(self, key: Key[Array, ""], state: Array, beta: Float[Array, "replicas"]) -> Array:
        return self._sweep(key, state, noise.logistic, functools.partial(heat_bath, beta))


class Metropolis(_Sweep):
    """Every bit proposed to flip, accepted with probability `min(1, exp(-β ΔE))`."""

    def __call__(self, key: Key[Array, ""], state: Array, beta: Float[Array, "replicas"]) -> Array:
        return self._sweep(key, state, noise.exponential, functools.partial(metropolis, beta))


def heat_bath(beta: Float[Array, "replicas"], noise: Array, bits: Array, field: Array) -> Array:
    """New bits [replicas, heads] from standard logistic noise."""
    del bits
    return (beta[:, None] * field + noise > 0).astype(field.dtype)


def metropolis(beta: Float[Array, "replicas"], noise: Array, bits: Array, field: Array) -> Array:
    """New bits [replicas, heads] from standard exponential noise."""
    flips = beta[:, None] * (2 * bits - 1) * field <= noise
    return jnp.where(flips, 1 - bits, bits)


@dataclasses.dataclass(frozen=True, eq=False)
class BlockUpdate:
    """All tokens at once, see `qama_jax.sampling.blocks`."""

    problem: Problem
    blocks: Blocks

    def arrange(self, bits: Bits) -> BlockState:
        return self.blocks.arrange(bits)

    def restore(self, state: BlockState) -> Bits:
        return self.blocks.restore(state, self.problem.shape)

    def exchange(self, state: BlockState, order: Array) -> BlockState:
        return BlockState(state.bits[order], state.mean[order])

    def energies(self, state: BlockState) -> Float[Array, "replicas"]:
        return self.blocks.energies(state)

    def __call__(self, key: Key[Array, ""], state: BlockState, beta: Float[Array, "replicas"]) -> BlockState:
        return self.blocks.update(key, state, beta)


def check_update(update: Update) -> None:
    """Raises `ValueError` unless it is a transition's name."""
    check_choice(get_args(Update), update=update)


def make_transition(problem: Problem, update: Update) -> Transition:
    """The transition by its name; "block" is "heat_bath" for problems other than attention."""
    if update == "block" and isinstance(problem, AttentionHamiltonian):
        return BlockUpdate(problem, make_blocks(problem))
    # For couplings that are no square, Gaussian variables would need a shift of the diagonal by the lowest eigenvalue,
    # which holds every bit where it is. Bits of one colour are independent of each other without any.
    return (Metropolis if update == "metropolis" else HeatBath)(problem, make_sweeper(problem))
