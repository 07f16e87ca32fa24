"""Timing of compiled functions, side by side."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np


def interleave(functions: Mapping[Any, Callable[[], Any]], repeats: int) -> dict[Any, list[float]]:
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


def compare(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """The same in summary, each with its `ratio` to "softmax", the median over the rounds."""
    seconds = interleave(functions, repeats)
    ratios = {name: np.median(np.array(values) / np.array(seconds["softmax"])) for name, values in seconds.items()}
    return {name: summary(values) | {"ratio": float(ratios[name])} for name, values in seconds.items()}


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def exponent(values: Mapping[str, float]) -> float:
    """Slope of the logarithm over that of the length, between the ends of what was measured."""
    lengths = sorted(values, key=int)
    ratio = np.log(values[lengths[-1]] / values[lengths[0]])
    return float(ratio / np.log(int(lengths[-1]) / int(lengths[0])))
