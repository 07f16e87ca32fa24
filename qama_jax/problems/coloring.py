"""Bits by colour, on the host: which of them a sequential solver may move at once."""

from collections.abc import Sequence

import jax
import numpy as np

# What moving a bit and starting a step cost, in neighbours read. An accelerator reads hundreds of thousands of them in
# the time of the launches of a step, so that there a step is a colour, unless one is far larger than the others.
_BIT_COST = 8
_STEP_COST, _STEP_COST_OF_LAUNCHES = 512, 2**18


def color_bits(neighbors: Sequence[np.ndarray]) -> np.ndarray:
    """Greedy colouring, bits of many neighbours first: coupled bits have different colours.

    Args:
      neighbors: of each bit, the bits that it is coupled to.

    Returns:
      The colour of each bit, from 0.

    References:
      Welsh and Powell, "An upper bound for the chromatic number of a graph", The Computer Journal 10, 85 (1967).
    """
    lists = [bits.tolist() for bits in neighbors]
    colors = [-1] * len(lists)
    for bit in sorted(range(len(lists)), key=lambda bit: -len(lists[bit])):
        taken = {colors[other] for other in lists[bit]}
        color = 0
        while color in taken:
            color += 1
        colors[bit] = color
    return np.array(colors)


def plan_steps(neighbors: Sequence[np.ndarray]) -> np.ndarray:
    """The steps of a sweep, each some bits of one colour and of about as many neighbours, for JAX's default device.

    Args:
      neighbors: of each bit, the bits that it is coupled to.

    Returns:
      Bits int32 [steps, size], -1 where there are fewer.
    """
    colors, degrees = color_bits(neighbors), np.array([len(bits) for bits in neighbors])
    # Most neighbours first, so that the longest list of a step is hardly longer than the shortest.
    order = np.lexsort((-degrees, colors))
    by_color = np.split(order, np.cumsum(np.bincount(colors))[:-1])
    largest = max(map(len, by_color))
    sizes = np.unique(-(-largest // 2 ** np.arange(largest.bit_length() + 1)))
    step_cost = _STEP_COST if jax.default_backend() == "cpu" else _STEP_COST_OF_LAUNCHES
    costs = [_cost(degrees, _cut(by_color, size), size, step_cost) for size in sizes.tolist()]
    size = int(sizes[np.argmin(costs)])
    steps = _cut(by_color, size)
    padded = np.full((len(steps), size), -1, np.int32)
    for row, bits in zip(padded, steps, strict=True):
        row[: len(bits)] = bits
    return padded


def _cut(by_color: list[np.ndarray], size: int) -> list[np.ndarray]:
    return [bits[start : start + size] for bits in by_color for start in range(0, len(bits), size)]


def _cost(degrees: np.ndarray, steps: list[np.ndarray], size: int, step_cost: int) -> int:
    """Neighbours read, those of padding included, and what else a bit and a step take."""
    return sum(size * (int(degrees[bits[0]]) + _BIT_COST) + step_cost for bits in steps)
