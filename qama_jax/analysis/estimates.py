"""How often and how fast solutions are found, and how far they are from the best."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from qama_jax.analysis.arguments import for_each_row, with_last_axis
from qama_jax.problems.base import as_float_array, check_values


class Estimate(NamedTuple):
    """A mean and its standard error, the sample standard deviation over `√n`; NaN for a single value."""

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]


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
    energies = with_last_axis(read_energies, "read_energies", "reads")
    target = for_each_row(target, "target", energies)
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
    check_values(
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
    energies = with_last_axis(read_energies, "read_energies", "reads")
    return _estimate(energies - for_each_row(reference, "reference", energies))


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
    energies = with_last_axis(energies, "energies", "problems")
    best = as_float_array(best_energies, "best_energies").astype(energies.dtype)
    if best.shape != energies.shape:
        raise ValueError(
            f"best_energies must have the shape of energies {energies.shape}, one for each problem, got {best.shape}"
        )
    excess = energies - best
    return _estimate(jnp.where(excess == 0, 0, excess / jnp.abs(best)))


def _estimate(values: Float[Array, "*batch n"]) -> Estimate:
    return Estimate(jnp.mean(values, axis=-1), jnp.std(values, axis=-1, ddof=1) / math.sqrt(values.shape[-1]))
