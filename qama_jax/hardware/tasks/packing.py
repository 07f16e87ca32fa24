"""Several small problems in one task, where every task is paid for."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num

from qama_jax.hardware.backend import MachineProblem


def group_by_size(sizes: Sequence[int], capacity: int | None) -> list[list[int]]:
    """Indices of the problems that share a task: each goes into the first task that has room for its spins.

    Args:
      sizes: spins of each problem.
      capacity: spins of the machine. None: each problem is a task of its own.

    Raises:
      ValueError: if a problem has more spins than the machine.
    """
    if capacity is None:
        return [[index] for index in range(len(sizes))]
    groups: list[list[int]] = []
    left: list[int] = []
    for index, size in enumerate(sizes):
        if size > capacity:
            raise ValueError(f"problem {index} has {size} spins, the machine {capacity}; take fewer heads or tokens")
        task = next((task for task, room in enumerate(left) if room >= size), None)
        if task is None:
            groups.append([index])
            left.append(capacity - size)
        else:
            groups[task].append(index)
            left[task] -= size
    return groups


def pack(problems: Sequence[MachineProblem]) -> MachineProblem:
    """One problem of independent blocks, in order; its energy is the sum of theirs. The seed is that of the first."""
    num_spins = sum(problem.num_spins for problem in problems)
    couplings = np.zeros((num_spins, num_spins), problems[0].couplings.dtype)
    start = 0
    for problem in problems:
        block = slice(start, start + problem.num_spins)
        couplings[block, block] = problem.couplings
        start += problem.num_spins
    return MachineProblem(couplings, np.concatenate([problem.biases for problem in problems]), problems[0].seed)


def unpack(
    spins: Num[np.ndarray, "reads total"], problems: Sequence[MachineProblem]
) -> list[Num[np.ndarray, "reads m"]]:
    """The spins of each problem of a `pack`, all reads."""
    ends = np.cumsum([problem.num_spins for problem in problems])
    return np.split(spins, ends[:-1], axis=1)
