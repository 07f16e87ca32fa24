"""Bits by colour, on the host: which of them a sequential solver may move at once."""

from collections.abc import Sequence

import numpy as np

# What starting a step costs, in bits moved.
_STEP_COST = 64


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


def plan_steps(
    neighbors: Sequence[np.ndarray], first_extra: np.ndarray, extra: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The steps of a sweep, each some bits of one colour, and the lists of neighbours that they read.

    Args:
      neighbors: of each bit, the bits that it is coupled to.
      first_extra: [n], of each bit, its first list besides the one of its own number.
      extra: [n], how many such lists follow each other.

    Returns:
      Bits int32 [steps, size], and their lists besides the first int32 [steps, capacity]; -1 where there are fewer.
    """
    colors = color_bits(neighbors)
    counts = np.bincount(colors)
    sizes = np.unique(-(-counts[:, None] // np.arange(1, 33)[None]))
    costs = [np.sum(-(-counts // size)) * (size + _STEP_COST) for size in sizes]
    size = int(sizes[np.argmin(costs)])
    # Few lists a step: all steps are padded to the same number.
    capacity = max(int(extra.max()), min(size, int(extra.sum())))
    steps, lists = [], []
    for color in range(len(counts)):
        steps.append([])
        lists.append([])
        for bit in np.flatnonzero(colors == color).tolist():
            if len(steps[-1]) == size or len(lists[-1]) + extra[bit] > capacity:
                steps.append([])
                lists.append([])
            steps[-1].append(bit)
            lists[-1].extend(range(first_extra[bit], first_extra[bit] + extra[bit]))
    return _padded(steps), _padded(lists)


def _padded(rows: list[list[int]]) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), -1, np.int32)
    for row, entries in zip(padded, rows, strict=True):
        row[: len(entries)] = entries
    return padded
