"""Couplings that a problem keeps: as an array, or as lists of neighbours."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float

from qama_jax.problems.dense import DenseCouplings
from qama_jax.problems.inputs import load_array
from qama_jax.problems.sparse import SparseCouplings

# As problems keep them: users read and differentiate an array where couplings are dense.
Matrix = Float[Array, "n n"] | SparseCouplings

Couplings = DenseCouplings | SparseCouplings


def as_couplings(matrix: Matrix | Couplings) -> Couplings:
    """What is kept, with the methods that both kinds have."""
    return matrix if isinstance(matrix, Couplings) else DenseCouplings(matrix)


def as_matrix(couplings: Couplings) -> Matrix:
    """What is kept of couplings."""
    return couplings.matrix if isinstance(couplings, DenseCouplings) else couplings


def load_couplings(value: Any, name: str) -> tuple[Couplings, np.ndarray | None]:
    """An argument as couplings, not yet symmetric, and the host's numbers where those are not the same."""
    if isinstance(value, SparseCouplings):
        return value, None
    array, host = load_array(value.matrix if isinstance(value, DenseCouplings) else value, name)
    return DenseCouplings(array), host
