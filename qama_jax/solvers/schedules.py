"""Schedules: how a setting changes over a run."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qama_jax.problems.base import Problem

# A function of the fraction of the run that is done, in [0, 1], or values at equal distances between which the
# schedule is linear. Functions compare by identity: pass the same one again, and nothing compiles anew.
Schedule = Callable[[Float[Array, ""]], Float[Array, ""]] | tuple[float, ...]

# Inverse temperatures: between the limits of a range, or a schedule of their values.
BetaSchedule = Literal["geometric", "linear"] | Schedule


def evaluate(schedule: Schedule, num_steps: int, dtype: jnp.dtype) -> Float[Array, "num_steps"]:
    """The schedule at the steps of a run, both ends included; a single step is the end."""
    # By NumPy, so that compiled programs find the values and not the search for them; and not by `np.interp`, which
    # rounds in another type than `jnp.interp`.
    fractions = _fractions(num_steps, dtype)
    if callable(schedule):
        return jax.vmap(lambda fraction: jnp.asarray(schedule(fraction), dtype))(jnp.asarray(fractions, dtype))
    values = np.asarray(schedule if len(schedule) > 1 else 2 * schedule, fractions.dtype)
    places = _fractions(len(values), dtype)
    after = np.clip(np.searchsorted(places, fractions, side="right"), 1, len(values) - 1)
    before = after - 1
    share = (fractions - places[before]) / (places[after] - places[before])
    return jnp.asarray(values[before] + share * (values[after] - values[before]), dtype)


def _fractions(count: int, dtype: jnp.dtype) -> np.ndarray:
    """Equal distances from 0 to 1, in float32 or wider; one alone is 1."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return np.ones(1, wide) if count == 1 else np.arange(count, dtype=wide) / np.asarray(count - 1, wide)


def beta_range(problem: Problem) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Inverse temperatures at which nearly every flip is accepted, and nearly none that raises the energy.

    The rule of dwave-samplers: hot, where the largest flip energy is accepted by Metropolis every second time; cold,
    where the smallest is accepted once in a hundred times. A problem without energies gets (1, 1).
    """
    smallest, largest = problem.flip_energy_range()
    hot = jnp.where(largest > 0, math.log(2) / jnp.where(largest > 0, largest, 1), 1)
    cold = jnp.where(smallest > 0, math.log(100) / jnp.where(smallest > 0, smallest, 1), 1)
    return hot, jnp.maximum(hot, cold)


def beta_limits(problem: Problem, limits: tuple[float, float] | None) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The limits that a solver was given, in the problem's type, or those of `beta_range`."""
    if limits is None:
        return beta_range(problem)
    hot, cold = limits
    return jnp.asarray(hot, problem.dtype), jnp.asarray(cold, problem.dtype)


def betas(
    problem: Problem,
    num_betas: int,
    limits: tuple[float, float] | None,
    schedule: BetaSchedule,
) -> Float[Array, "num_betas"]:
    """Inverse temperatures from hot to cold; `limits` None are those of `beta_range`."""
    if not isinstance(schedule, str):
        return evaluate(schedule, num_betas, problem.dtype)
    hot, cold = beta_limits(problem, limits)
    fractions = evaluate((0.0, 1.0), num_betas, problem.dtype)
    return hot + (cold - hot) * fractions if schedule == "linear" else hot * (cold / hot) ** fractions


def check_betas(beta_range: tuple[float, float] | None, beta_schedule: BetaSchedule) -> None:
    """Raises `ValueError` unless the two fit together and are of the right form."""
    if isinstance(beta_schedule, str):
        if beta_schedule not in ("geometric", "linear"):
            raise ValueError(
                "beta_schedule must be 'geometric', 'linear', a tuple of inverse temperatures or a function of the "
                f"fraction done, got {beta_schedule!r}"
            )
    else:
        check_schedule("beta_schedule", beta_schedule)
        if beta_range is not None:
            raise ValueError("beta_range has no effect on a beta_schedule that gives inverse temperatures; drop one")
    if beta_range is not None:
        check_schedule("beta_range", beta_range)
        if callable(beta_range) or len(beta_range) != 2 or min(beta_range) <= 0:
            raise ValueError(f"beta_range must be a pair of positive numbers (hot, cold), got {beta_range!r}")


def check_schedule(name: str, schedule: Schedule) -> None:
    """Raises `ValueError` unless `schedule` is a function or a tuple of numbers."""
    if callable(schedule):
        return
    if not isinstance(schedule, tuple) or not schedule:
        raise ValueError(f"{name} must be a function of the fraction done or a tuple of numbers, got {schedule!r}")
    for value in schedule:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must hold Python numbers, got {value!r} in {schedule!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must hold finite numbers, got {value!r} in {schedule!r}")
