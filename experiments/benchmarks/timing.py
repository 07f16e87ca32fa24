"""Timing of compiled functions, side by side."""

import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

import jax


def interleave(functions: dict[Hashable, Callable[[], Any]], repeats: int) -> dict[Any, list[float]]:
    """Seconds of every function in turn, A B A B.

    Each turn calls the function twice and times the second call: the first finds the caches and the memory as the
    other function left them, and in the first round it compiles.
    """
    seconds: dict[Hashable, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            jax.block_until_ready(function())
            start = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}
