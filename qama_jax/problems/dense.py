"""Dense symmetric matrices, with the methods that `SparseCouplings` has."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True, eq=False)
class DenseCouplings:
    """A symmetric [n, n] matrix as an array.

    Attributes:
      matrix: [n, n].
    """

    matrix: Float[Array, "n n"]

    @classmethod
    def from_pairs(cls, diagonal: np.ndarray, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, dtype):
        """Couplings with values at (row, column) and (column, row); each pair is there once."""
        matrix = np.diag(diagonal).astype(dtype)
        matrix[rows, columns] = values
        matrix[columns, rows] = values
        return cls(jnp.asarray(matrix))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, n), after the axes of a batch."""
        return self.matrix.shape

    @property
    def ndim(self) -> int:
        """2, and more for a batch."""
        return self.matrix.ndim

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the entries."""
        return self.matrix.dtype

    @property
    def diagonal(self) -> Float[Array, "n"]:
        """The diagonal."""
        return self.matrix.diagonal()

    @property
    def entries(self) -> Float[Array, "n n"]:
        """The matrix with zeros on its diagonal."""
        return jnp.where(jnp.eye(self.matrix.shape[0], dtype=bool), 0, self.matrix)

    def product(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        """The product with x, without the diagonal."""
        return self._whole_product(x) - self.diagonal * x

    def quadratic_form(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """`xᵀ matrix x`, with the diagonal."""
        return jnp.sum(self._whole_product(x) * x)

    def scaled(self, factor: float, diagonal: Float[Array, "n"]) -> "DenseCouplings":
        """The entries times a factor, with another diagonal."""
        return DenseCouplings(factor * self.entries + jnp.diag(diagonal))

    def row_sums(self, values: Float[Array, "n n"]) -> Float[Array, "n"]:
        """Sums over the rows of a function of the entries."""
        return jnp.sum(values, axis=1)

    def to_dense(self) -> Float[Array, "n n"]:
        """The matrix as an array."""
        return self.matrix

    def to_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, larger columns, and the sums of the two entries of each pair, on the host in float64 or as integers."""
        matrix = np.asarray(self.matrix)
        if matrix.dtype.kind == "f":
            matrix = matrix.astype(np.float64)
        both = np.triu(matrix + matrix.T, 1)
        rows, columns = np.nonzero(both)
        return rows, columns, both[rows, columns]

    def _whole_product(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        # The matrix first: with reads as columns, a product with few of them takes less than half of the time on CPUs.
        return jnp.matmul(self.matrix, x, precision=jax.lax.Precision.HIGHEST)
