"""Graphs whose largest cut is sought."""

import math
from collections.abc import Hashable

import numpy as np

from qama_jax.problems.formats.model import Model
from qama_jax.problems.terms import make_terms


def cut_of_edges(
    name: str, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, labels: tuple[Hashable, ...]
) -> Model:
    """MAX-CUT, the energy `Σ_{i<j} w_ij (σ_i σ_j - 1) / 2 = -cut`; an error calls the file by its name."""
    loops = np.flatnonzero(rows == columns)
    if loops.size:
        raise ValueError(
            f"{name}: vertex {labels[rows[loops[0]]]} has an edge to itself, which no cut has; remove it, or name the "
            "format of the file, such as biqmac, if it is a QUBO"
        )
    halves = halved(name, weights)
    terms = make_terms(len(labels), rows, columns, halves, None, -exact_sum(halves), spins=True)
    return Model(terms, labels, maximize=True, is_cut=True)


def halved(name: str, values: np.ndarray) -> np.ndarray:
    """Half of each number, integers where all are even.

    Raises:
      ValueError: for odd integers whose half no float holds.
    """
    if values.dtype != np.float64 and np.all(values % 2 == 0):
        return values // 2
    halves = values.astype(np.float64) / 2
    if values.dtype != np.float64:
        long = np.abs(values) > 2**53
        for value, half in zip(values[long], halves[long], strict=True):
            if int(2 * half) != value:
                raise ValueError(f"{name}: half of {value} is not a float; divide all weights by the same number")
    return halves


def exact_sum(values: np.ndarray) -> int | float:
    """The sum, rounded once if at all, so that it does not depend on the order."""
    return math.fsum(values) if values.dtype == np.float64 else sum(values.tolist())
