"""Polish: from the state a solver reached to a local minimum."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qama_jax.problems.base import Bits, Problem

# So few steps are nearly always all made, by the slowest of a batch at least: accelerators do not look whether they
# have to be.
_FEW = 4

# Once the share of the best gain that a move must have reaches this, only the best move is left.
_ONE_BY_ONE = 0.9


class _State(NamedTuple):
    bits: Float[Array, "..."]
    coupled: Float[Array, "..."]
    energy: Float[Array, ""]
    caution: Float[Array, ""]
    steps: Int[Array, ""]
    done: Bool[Array, ""]


def descend(problem: Problem, bits: Bits, max_steps: int) -> tuple[Bits, Int[Array, ""]]:
    """Steepest descent that makes as many moves at once as lower the energy together.

    A step proposes every move that gains at least `caution` times the best one. Moves interact, so the proposal is
    tried: where it lowers the energy, it is taken and caution falls, else caution rises, up to 1, the single
    best move, which cannot fail. A step costs one `problem.couple` whichever way it ends. Far from a
    minimum, many moves are made at once, so that the number of steps hardly grows with the problem.

    Args:
      problem: what is minimised.
      bits: where to start.
      max_steps: limit; without it, the end is a state that no single move of `problem.best_moves` improves.

    Returns:
      The bits, of an energy not above that of the start, and the number of steps.
    """
    tolerance = 16 * jnp.finfo(problem.dtype).eps * (problem.coupling_scale() + jnp.max(jnp.abs(problem.linear)))

    def quadratic_energy(bits, coupled):
        return -jnp.sum(bits * (coupled / 2 + problem.linear))

    def step(state: _State) -> _State:
        moved, gain = problem.best_moves(state.bits, problem.linear + state.coupled)
        best = jnp.max(gain)
        single = jnp.arange(gain.size).reshape(gain.shape) == jnp.argmax(gain)
        chosen = jnp.where(state.caution < 1, gain >= state.caution * best, single) & (gain > tolerance)
        proposal = jnp.where(chosen, moved, state.bits)
        coupled = problem.couple(proposal)
        energy = quadratic_energy(proposal, coupled)
        lower = energy < state.energy
        raised = jnp.where(state.caution < _ONE_BY_ONE, (1 + state.caution) / 2, 1)
        return _State(
            jnp.where(lower, proposal, state.bits),
            jnp.where(lower, coupled, state.coupled),
            jnp.where(lower, energy, state.energy),
            jnp.where(lower, jnp.maximum(2 * state.caution - 1, 0), raised),
            state.steps + 1,
            (best <= tolerance) | (~lower & (state.caution >= 1)),
        )

    start = bits.astype(problem.dtype)
    coupled = problem.couple(start)
    energy = quadratic_energy(start, coupled)
    # Like the energy, so that `jax.shard_map` knows them to vary as it does.
    caution, steps, done = (jnp.zeros_like(energy, dtype=dtype) for dtype in (problem.dtype, jnp.int32, bool))
    state = _State(start, coupled, energy, caution, steps, done)
    if isinstance(max_steps, int) and max_steps <= _FEW:
        until_done, all_steps = (functools.partial(loop, step, max_steps) for loop in (_until_done, _all_steps))
        state = jax.lax.platform_dependent(state, cpu=until_done, default=all_steps)
    else:
        state = _until_done(step, max_steps, state)
    return state.bits.astype(bits.dtype), state.steps


def _until_done(step: Callable[[_State], _State], max_steps: int, state: _State) -> _State:
    return jax.lax.while_loop(lambda state: ~state.done & (state.steps < max_steps), step, state)


def _all_steps(step: Callable[[_State], _State], max_steps: int, state: _State) -> _State:
    """The same; no host and no other device waits for the flag of each step."""

    def unless_done(_, state: _State) -> _State:
        return jax.tree.map(functools.partial(jnp.where, state.done), state, step(state))

    return jax.lax.fori_loop(0, max_steps, unless_done, state)
