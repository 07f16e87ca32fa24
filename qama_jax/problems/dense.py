"""Matrices of couplings as arrays, where they are not `SparseCouplings`."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qama_jax.problems.sparse import SparseCouplings

Matrix = Float[Array, "n n"] | SparseCouplings


def as_dense(matrix: Matrix) -> Float[Array, "n n"]:
    """The matrix as an array, see `SparseCouplings.to_dense`."""
    return matrix.to_dense() if isinstance(matrix, SparseCouplings) else matrix


def dense_product(x: Float[Array, "n"], matrix: Float[Array, "n n"]) -> Float[Array, "n"]:
    """The product with a symmetric matrix."""
    # The matrix first: with reads as columns, a product with few of them takes less than half of the time on CPUs.
    return jnp.matmul(matrix, x, precision=jax.lax.Precision.HIGHEST)


def without_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The matrix with zeros on its diagonal."""
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


def dense_from_pairs(diagonal, rows, columns, values, dtype) -> np.ndarray:
    """Of values at (row, column) and (column, row), as `SparseCouplings.from_pairs`."""
    matrix = np.diag(diagonal).astype(dtype)
    matrix[rows, columns] = values
    matrix[columns, rows] = values
    return matrix
