"""What to ask of solutions: how often and how fast they are found, what surrounds them, what the heads selected.

Pure functions of arrays, usable under `jax.jit` and `jax.vmap`. Arguments that are wrong by value (a probability of
50, spins in place of bits) raise `ValueError` where the values are known, outside of transformations.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num
from numpy.typing import ArrayLike

from qama_jax.problems.base import Bits, Problem, as_float_array, is_concrete

_MAX_BITS = 16


class Estimate(NamedTuple):
    """A mean and its standard error, the sample standard deviation over `√n`; NaN for a single value."""

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]


class MinimalBarrier(NamedTuple):
    """What every flip path between two states has to overcome at least, in units of energy.

    Attributes:
      barrier: least possible `path_barrier`, equation (15).
      climb: least possible `path_climb`, equation (16).
    """

    barrier: Float[Array, ""]
    climb: Float[Array, ""]


class FlipStatistics(NamedTuple):
    """Energy changes of the single flips of a state, over the bits that the problem does not hold fixed.

    Attributes:
      minimum: the lowest change.
      mean: their mean.
      std: their (population) standard deviation.
      share_negative: share of flips that lower the energy; 0 at a local minimum.
    """

    minimum: Float[Array, ""]
    mean: Float[Array, ""]
    std: Float[Array, ""]
    share_negative: Float[Array, ""]


class FlipLandscape(NamedTuple):
    """A state and its neighbours.

    Attributes:
      energy: energy of the state.
      flipped: energy after the flip of each bit alone, of the shape of the bits.
    """

    energy: Float[Array, ""]
    flipped: Float[Array, "..."]


def success_probability(
    read_energies: ArrayLike, target: ArrayLike, *, tolerance: float = 1e-5
) -> Float[Array, "*batch"]:
    """Share of reads that reach the target: `E <= target + tolerance · max(|target|, 1)`.

    Rounding is relative to the energy, so the tolerance is too; within 1 of zero, where that would leave none, it is
    absolute. The default is far above the rounding of float32 and tells integer energies apart up to 5·10⁴ (pass
    less beyond). If the target is small against the terms that add up to it, as with an offset that makes the ground
    energy 0, pass more: their rounding, as a share of max(|target|, 1).

    Args:
      read_energies: [*batch, reads], such as `Solution.read_energies`; a NaN counts as a failure.
      target: scalar or [*batch], the ground energy or the best known one.
      tolerance: how far above the target still counts, as a share of max(|target|, 1).

    Raises:
      ValueError: if there are no reads, `target` does not fit them, or `tolerance` is negative.

    Example:
      >>> from qama_jax import analysis
      >>> float(analysis.success_probability([-7.0, -8.0, -8.0, -6.0], -8.0))
      0.5
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance!r}")
    energies = _with_last_axis(read_energies, "read_energies", "reads")
    target = _for_each_row(target, "target", energies)
    reached = energies <= target + tolerance * jnp.maximum(jnp.abs(target), 1)
    return jnp.mean(reached.astype(energies.dtype), axis=-1)


def time_to_solution(
    run_time: ArrayLike,
    success_probability: ArrayLike,
    *,
    confidence: float = 0.99,
) -> Float[Array, "*batch"]:
    """Expected time until independent runs succeed at least once with the given confidence, equation (18):

        T_sol = T_run ln(1 - confidence) / ln(1 - p)

    The number of runs is not rounded up, as in OpenJij's benchmarks; it is infinite at p = 0. At p = confidence it is
    one run, and for p above the time falls below that of one run, down to 0 at p = 1. Where no fraction of
    a run can be had, `jnp.maximum(run_time, ...)` of the result is the time to report.

    Args:
      run_time: scalar or [*batch], time of one run, in any unit.
      success_probability: scalar or [*batch], p, the probability that one run succeeds.
      confidence: the probability of success to reach.

    Returns:
      The time, in the unit of `run_time`.

    Raises:
      ValueError: if `success_probability` is outside [0, 1] or `confidence` outside (0, 1).

    Example:
      >>> from qama_jax import analysis
      >>> round(float(analysis.time_to_solution(2.0, 0.5)), 2)
      13.29

    References:
      arXiv:2504.11083v2, equation (18).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, both excluded, got {confidence!r}")
    probability = as_float_array(success_probability, "success_probability")
    _check_values(
        probability,
        lambda p: (p >= 0) & (p <= 1),
        "success_probability must lie in [0, 1]",
        "divide percents by 100",
    )
    run_time = as_float_array(run_time, "run_time").astype(probability.dtype)
    possible = probability > 0
    runs = math.log1p(-confidence) / jnp.log1p(-jnp.where(possible, probability, 0.5))
    return jnp.where(possible, run_time * runs, jnp.inf)


def residual_energy(read_energies: ArrayLike, reference: ArrayLike) -> Estimate:
    """Mean of `E - E_ref` over the reads of a problem, with its standard error.

    Args:
      read_energies: [*batch, reads].
      reference: scalar or [*batch], the ground energy or the best known one.

    Raises:
      ValueError: if there are no reads, or `reference` does not fit them.

    Example:
      >>> from qama_jax import analysis
      >>> residual = analysis.residual_energy([-7.0, -8.0, -8.0, -5.0], -8.0)
      >>> float(residual.mean), round(float(residual.standard_error), 3)
      (1.0, 0.707)
    """
    energies = _with_last_axis(read_energies, "read_energies", "reads")
    return _estimate(energies - _for_each_row(reference, "reference", energies))


def relative_gap(energies: ArrayLike, best_energies: ArrayLike) -> Estimate:
    """Mean of the gap `(E - E_best) / |E_best|` over problems, with its standard error.

    Args:
      energies: [*batch, problems], one energy for each problem.
      best_energies: [*batch, problems], the best known ones. The gap to `E_best = 0` is 0 at 0, else infinite.

    Raises:
      ValueError: if there are no problems, or the shapes differ.

    Example:
      >>> from qama_jax import analysis
      >>> gap = analysis.relative_gap([-99.0, -50.0, -4.0], [-100.0, -50.0, -4.0])
      >>> round(float(gap.mean), 5), round(float(gap.standard_error), 5)
      (0.00333, 0.00333)
    """
    energies = _with_last_axis(energies, "energies", "problems")
    best = as_float_array(best_energies, "best_energies").astype(energies.dtype)
    if best.shape != energies.shape:
        raise ValueError(
            f"best_energies must have the shape of energies {energies.shape}, one for each problem, got {best.shape}"
        )
    excess = energies - best
    return _estimate(jnp.where(excess == 0, 0, excess / jnp.abs(best)))


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
    start = _state(problem, start, "start")
    order = jnp.asarray(order)
    if order.ndim != 1 or not jnp.issubdtype(order.dtype, jnp.integer):
        raise ValueError(
            f"order must be integers [steps], indices of bits, got {order.dtype} {order.shape}; for a batch, jax.vmap"
        )
    _check_values(
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
    return _greedy_path(problem, _state(problem, start, "start"), _state(problem, target, "target"))


def minimal_barrier(problem: Problem, start: Bits, target: Bits) -> MinimalBarrier:
    """The least barrier and the least climb of all single-flip paths between two states, equations (15) and (16).

    Exact, over all paths of any length, those through states outside of the differing bits included: cheapest paths on
    the hypercube of all states, a cost being the largest rise so far (15), or the sum of rises so far (16). The
    two minima may belong to different paths. As in `path_barrier`, a rise is that of one step.

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
    start, target = _state(problem, start, "start"), _state(problem, target, "target")
    if start.size > _MAX_BITS:
        raise ValueError(
            f"minimal_barrier takes problems of at most {_MAX_BITS} bits, problem has {start.size}: 2**{start.size} "
            "states; flip_path along greedy_path gives an upper bound instead"
        )
    return _minimal_barrier(problem, start, target)


def flip_statistics(problem: Problem, bits: Bits) -> FlipStatistics:
    """Minimum, mean and spread of the energy changes of all single flips of a state.

    Args:
      problem: the energy.
      bits: of shape `problem.shape`.

    Raises:
      ValueError: if `bits` do not fit the problem or have other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> statistics = analysis.flip_statistics(Qubo([[1.0, -3.0], [0.0, 2.0]]), [1, 0])
      >>> float(statistics.minimum), float(statistics.share_negative)
      (-1.0, 1.0)

    References:
      arXiv:2504.11083v2, equations (12) and (13).
    """
    bits = _state(problem, bits, "bits")
    changes, free = _flip_energy(problem, bits), _free(problem)
    return FlipStatistics(
        jnp.min(changes, where=free, initial=jnp.inf),
        jnp.mean(changes, where=free),
        jnp.std(changes, where=free),
        jnp.mean((changes < 0).astype(changes.dtype), where=free),
    )


def flip_landscape(problem: Problem, bits: Bits) -> FlipLandscape:
    """The energy of a state beside the energies after each single flip, the surface of the paper's Figure 5.

    Args:
      problem: the energy.
      bits: of shape `problem.shape`.

    Returns:
      The `FlipLandscape`; where the problem holds a bit fixed, `flipped` is the energy of the state itself.

    Raises:
      ValueError: if `bits` do not fit the problem or have other values than bits.

    Example:
      >>> from qama_jax import Qubo, analysis
      >>> landscape = analysis.flip_landscape(Qubo([[1.0, -3.0], [0.0, 2.0]]), [1, 1])
      >>> float(landscape.energy), landscape.flipped.tolist()
      (0.0, [2.0, 1.0])

    References:
      arXiv:2504.11083v2, Figure 5.
    """
    bits = _state(problem, bits, "bits")
    energy = problem.energy(bits)
    return FlipLandscape(energy, energy + _flip_energy(problem, bits))


def head_overlap(bits: Num[Array, "*batch heads tokens"]) -> Float[Array, "*batch heads heads"]:
    """Jaccard overlap of what each two heads select, `|A ∩ B| / |A ∪ B|`.

    It is 1 for equal selections, two empty ones included, so that the diagonal is 1; 0 for disjoint ones.

    Args:
      bits: [*batch, H, N], such as `AttentionDiagnostics.bits`, whose padded tokens no head selects.

    Raises:
      ValueError: if `bits` have no axes of heads and tokens, or other values than bits.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.head_overlap([[1, 1, 0], [0, 1, 0]]).tolist()
      [[1.0, 0.5], [0.5, 1.0]]
    """
    selected = _selection(bits)
    common = jnp.einsum("...tn,...un->...tu", selected, selected)
    size = jnp.sum(selected, axis=-1)
    union = size[..., :, None] + size[..., None, :] - common
    return jnp.where(union > 0, common / jnp.maximum(union, 1), 1)


def selection_density(
    bits: Num[Array, "*batch heads tokens"], mask: Bool[Array, "*batch tokens"] | None = None
) -> Float[Array, "*batch heads"]:
    """Share of the valid tokens that each head selects; 0 where no token is valid.

    Args:
      bits: [*batch, H, N].
      mask: bool [*batch, N], true for valid tokens; all are by default.

    Raises:
      ValueError: if `bits` have no axes of heads and tokens or other values than bits, or `mask` does not fit them.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.selection_density([[1, 1, 0, 0], [0, 1, 0, 0]]).tolist()
      [0.5, 0.25]
    """
    selected = _selection(bits)
    valid, count = _valid_tokens(selected, mask)
    return jnp.einsum("...tn,...n->...t", selected, valid) / count


def heads_per_token(
    bits: Num[Array, "*batch heads tokens"], mask: Bool[Array, "*batch tokens"] | None = None
) -> Float[Array, "*batch heads_plus_one"]:
    """Share of the valid tokens that exactly k heads select, for k = 0 to H; all 0 where no token is valid.

    The penalty of equation (3) is λ k (k - 1)/2 for each token: it moves tokens from k >= 2 to k = 1.

    Args:
      bits: [*batch, H, N].
      mask: bool [*batch, N], true for valid tokens; all are by default.

    Returns:
      [*batch, H + 1].

    Raises:
      ValueError: if `bits` have no axes of heads and tokens or other values than bits, or `mask` does not fit them.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.heads_per_token([[1, 1, 0, 0], [0, 1, 0, 0]]).tolist()
      [0.5, 0.25, 0.25]
    """
    selected = _selection(bits)
    valid, count = _valid_tokens(selected, mask)
    heads = jax.nn.one_hot(jnp.sum(selected, axis=-2).astype(jnp.int32), selected.shape[-2] + 1, dtype=selected.dtype)
    return jnp.einsum("...nk,...n->...k", heads, valid) / count


@jax.jit
def _flip_path(problem: Problem, start: Bits, order: Int[Array, "steps"]) -> Float[Array, "steps"]:
    places = jnp.arange(start.size, dtype=order.dtype).reshape(start.shape)

    def step(bits, place):
        flips = places == place
        change = jnp.sum(jnp.where(flips, _flip_energy(problem, bits), 0))
        return bits ^ flips.astype(bits.dtype), change

    return jax.lax.scan(step, start, order)[1]


@jax.jit
def _greedy_path(problem: Problem, start: Bits, target: Bits) -> Int[Array, "bits"]:
    places = jnp.arange(start.size, dtype=jnp.int32).reshape(start.shape)

    def step(bits, _):
        differs = bits != target
        cheapest = jnp.argmin(jnp.where(differs, _flip_energy(problem, bits), jnp.inf)).astype(jnp.int32)
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
    changes = jax.vmap(lambda state: _flip_energy(problem, state.reshape(shape)).reshape(-1))(bits)
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


def _free(problem: Problem) -> Bool[Array, "..."]:
    return problem.clamp(jnp.ones(problem.shape, jnp.int8)) == 1


def _flip_energy(problem: Problem, bits: Bits) -> Float[Array, "..."]:
    """Energy change of each single flip, 0 for bits held fixed."""
    return jnp.where(_free(problem), problem.flip_energy(problem.clamp(bits)), 0)


def _state(problem: Problem, bits: Any, name: str) -> Bits:
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem must be a Qubo, an Ising or an AttentionHamiltonian, got {type(problem).__name__}; "
            "wrap a matrix as qama_jax.Qubo(matrix)"
        )
    bits = jnp.asarray(bits)
    if bits.shape != problem.shape:
        raise ValueError(
            f"{name} must have the shape of the problem {problem.shape}, got {bits.shape}; for a batch, jax.vmap"
        )
    _check_bits(bits, name)
    return problem.clamp(bits.astype(jnp.int8))


def _selection(bits: Any) -> Float[Array, "*batch heads tokens"]:
    bits = jnp.asarray(bits)
    if bits.ndim < 2:
        raise ValueError(f"bits must be [*batch, heads, tokens], got shape {bits.shape}")
    _check_bits(bits, "bits")
    return bits.astype(jnp.float32)


def _valid_tokens(
    selected: Float[Array, "*batch heads tokens"], mask: Any
) -> tuple[Float[Array, "*batch tokens"], Float[Array, "*batch 1"]]:
    """1 for valid tokens, and their number, at least 1."""
    shape = (*selected.shape[:-2], selected.shape[-1])
    valid = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask)
    if valid.shape != shape or valid.dtype != jnp.bool_:
        raise ValueError(
            f"mask must be boolean of shape {shape}, true for valid tokens, got {valid.dtype} {valid.shape}"
        )
    valid = valid.astype(selected.dtype)
    return valid, jnp.maximum(jnp.sum(valid, axis=-1, keepdims=True), 1)


def _with_last_axis(values: Any, name: str, axis: str) -> Float[Array, "*batch n"]:
    array = as_float_array(values, name)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must be [*batch, {axis}] with at least one of them, got shape {array.shape}")
    return array


def _for_each_row(value: Any, name: str, rows: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    array = as_float_array(value, name).astype(rows.dtype)
    if array.shape not in ((), rows.shape[:-1]):
        raise ValueError(
            f"{name} must be a scalar or of shape {rows.shape[:-1]}, one for each problem, got shape {array.shape}"
        )
    return jnp.broadcast_to(array, rows.shape[:-1])[..., None]


def _estimate(values: Float[Array, "*batch n"]) -> Estimate:
    return Estimate(jnp.mean(values, axis=-1), jnp.std(values, axis=-1, ddof=1) / math.sqrt(values.shape[-1]))


def _check_bits(bits: Num[Array, "..."], name: str) -> None:
    _check_values(bits, lambda x: (x == 0) | (x == 1), f"{name} must be 0 or 1", "from spins, pass (1 + spins) // 2")


def _check_values(array: Num[Array, "..."], allowed: Callable[[Any], Any], rule: str, remedy: str) -> None:
    """Raises `ValueError` for values that are not allowed; under a transformation, none are known."""
    if not is_concrete(array):
        return
    values = np.asarray(array)
    if not allowed(values).all():
        raise ValueError(f"{rule}, got {values[~allowed(values)].flat[0]}; {remedy}")
