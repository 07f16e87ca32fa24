"""Paths of single flips between two states, and the barriers on them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qama_jax.analysis.arguments import checked_state
from qama_jax.analysis.flips import free_flip_energy
from qama_jax.problems.base import Bits, Problem, check_values

_MAX_BITS = 16


class MinimalBarrier(NamedTuple):
    """The least that every flip path between two states has to overcome, in units of energy.

    Attributes:
      barrier: least possible `path_barrier`, equation (15).
      climb: least possible `path_climb`, equation (16).
    """

    barrier: Float[Array, ""]
    climb: Float[Array, ""]


def flip_path(problem: Problem, start: Bits, order: Int[Array, "steps"]) -> Float[Array, "steps"]:
    """Energy change of each step of a path that flips one bit after another, equations (12) and (13).

    Args:
      problem: the energy.
      start: bits of shape `problem.shape`, the state before the first flip.
      order: which bit each step flips, by its index in `start.reshape(-1)`; a bit may flip more than once, and -1
        flips none. Flips of bits that the problem holds fixed change nothing.

    Returns:
      [steps], the change of each step; 0 where none is flipped. The sum is the difference of the ends.

    Raises:
      ValueError: if `start` does not fit the problem or has other values than bits, or `order` holds no indices.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> analysis.flip_path(Qubo([[1.0, -3.0], [0.0, 1.0]]), [0, 0], [0, 1]).tolist()
      [1.0, -2.0]
    """
    start = checked_state(problem, start, "start")
    order = jnp.asarray(order)
    if order.ndim != 1 or not jnp.issubdtype(order.dtype, jnp.integer):
        raise ValueError(
            f"order must be integers [steps], indices of bits, got {order.dtype} {order.shape}; for a batch, jax.vmap"
        )
    check_values(
        order,
        lambda place: (place >= -1) & (place < start.size),
        f"order must lie in [-1, {start.size - 1}]",
        "its entries are indices of start.reshape(-1), and -1 flips none",
    )
    return _flip_path(problem, start, order)


def path_barrier(changes: Float[Array, "*batch steps"]) -> Float[Array, "*batch"]:
    """`B(π) = max(0, max_r ΔH_r)`, equation (14): the largest rise of a single step of a path.

    This is the paper's barrier, one step at a time. It is not the height of the path, the largest sum of
    changes since the start, which consecutive rises make larger, and which `path_climb` bounds from above.

    Args:
      changes: [*batch, steps], from `flip_path`.
    """
    return jnp.max(changes, axis=-1, initial=0)


def path_climb(changes: Float[Array, "*batch steps"]) -> Float[Array, "*batch"]:
    """`Σ_r max(0, ΔH_r)`: the sum of the rises of a path, which equation (16) minimises.

    Args:
      changes: [*batch, steps], from `flip_path`.
    """
    return jnp.sum(jnp.maximum(changes, 0), axis=-1)


def greedy_path(problem: Problem, start: Bits, target: Bits) -> Int[Array, "bits"]:
    """A path that flips each bit in which two states differ once, the cheapest first.

    Each step flips that differing bit whose flip changes the energy least, given the flips before. The barrier and the
    climb of this path are upper bounds of `minimal_barrier`, at any number of bits.

    Args:
      problem: the energy.
      start: bits of shape `problem.shape`.
      target: bits of shape `problem.shape`.

    Returns:
      The `order` of `flip_path`, of one entry for each bit of the problem: first the differing bits, then -1.

    Raises:
      ValueError: if a state does not fit the problem or has other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> qubo = Qubo([[3.0, 0.0, -4.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
      >>> analysis.greedy_path(qubo, [0, 0, 0], [1, 0, 1]).tolist()
      [2, 0, -1]
    """
    return _greedy_path(problem, checked_state(problem, start, "start"), checked_state(problem, target, "target"))


def minimal_barrier(problem: Problem, start: Bits, target: Bits) -> MinimalBarrier:
    """The least barrier and the least climb of all single-flip paths between two states, equations (15) and (16).

    The minima are exact over all paths of any length, including paths that flip bits in which the two states agree.
    They are the costs of cheapest paths on the hypercube of all states, where the cost is the largest rise so far (15)
    or the sum of rises so far (16). The two minima may belong to different paths. As in `path_barrier`, a rise is that
    of one step.

    Args:
      problem: the energy, over at most 16 bits.
      start: bits of shape `problem.shape`.
      target: bits of shape `problem.shape`, such as the ground state.

    Raises:
      ValueError: if the problem has more than 16 bits, or a state does not fit it or has other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> found = analysis.minimal_barrier(Qubo([[1.0, -3.0], [0.0, 2.0]]), [0, 0], [1, 1])
      >>> float(found.barrier), float(found.climb)
      (1.0, 1.0)

    References:
      arXiv:2504.11083v2, equations (14) to (16).
    """
    start, target = checked_state(problem, start, "start"), checked_state(problem, target, "target")
    if start.size > _MAX_BITS:
        raise ValueError(
            f"minimal_barrier takes problems of at most {_MAX_BITS} bits, problem has {start.size}: 2**{start.size} "
            "states; flip_path along greedy_path gives an upper bound instead"
        )
    return _minimal_barrier(problem, start, target)


@jax.jit
def _flip_path(problem: Problem, start: Bits, order: Int[Array, "steps"]) -> Float[Array, "steps"]:
    places = jnp.arange(start.size, dtype=order.dtype).reshape(start.shape)

    def step(bits, place):
        flips = places == place
        change = jnp.sum(jnp.where(flips, free_flip_energy(problem, bits), 0))
        return bits ^ flips.astype(bits.dtype), change

    return jax.lax.scan(step, start, order)[1]


@jax.jit
def _greedy_path(problem: Problem, start: Bits, target: Bits) -> Int[Array, "bits"]:
    places = jnp.arange(start.size, dtype=jnp.int32).reshape(start.shape)

    def step(bits, _):
        differs = bits != target
        cheapest = jnp.argmin(jnp.where(differs, free_flip_energy(problem, bits), jnp.inf)).astype(jnp.int32)
        place = jnp.where(jnp.any(differs), cheapest, -1)
        return bits ^ (places == place).astype(bits.dtype), place

    return jax.lax.scan(step, start, length=start.size)[1]


@jax.jit
def _minimal_barrier(problem: Problem, start: Bits, target: Bits) -> MinimalBarrier:
    size, shape = start.size, start.shape
    places = jnp.arange(size, dtype=jnp.int32)
    states = jnp.arange(2**size, dtype=jnp.int32)
    bits = ((states[:, None] >> places[None]) & 1).astype(start.dtype)
    neighbours = states[:, None] ^ (1 << places)[None]
    changes = jax.vmap(lambda state: free_flip_energy(problem, state.reshape(shape)).reshape(-1))(bits)
    # Arriving at a state over a flip undoes the change that the same flip would make there.
    rises = jnp.maximum(-changes, 0)

    def number(state):
        return jnp.sum(state.reshape(-1).astype(jnp.int32) << places)

    def cheapest(combine):
        def relax(search):
            cost, _ = search
            lower = jnp.minimum(cost, jnp.min(combine(cost[neighbours], rises), axis=1))
            return lower, jnp.any(lower < cost)

        cost = jnp.full(2**size, jnp.inf, changes.dtype).at[number(start)].set(0)
        cost, _ = jax.lax.while_loop(lambda search: search[1], relax, (cost, jnp.bool_(True)))
        return cost[number(target)]

    return MinimalBarrier(cheapest(jnp.maximum), cheapest(jnp.add))
