"""QUBO problems, dense or sparse."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Num
from numpy.typing import ArrayLike

from qama_jax.problems.base import is_concrete, register_pytree
from qama_jax.problems.couplings import Couplings, Matrix, as_couplings, as_matrix, load_couplings
from qama_jax.problems.dense import DenseCouplings
from qama_jax.problems.inputs import (
    check_range,
    check_scalar,
    check_square,
    edge_size,
    load_array,
    pairs_of_matrix,
    refuse_models,
)
from qama_jax.problems.quadratic import Quadratic, SparseMatrix, become
from qama_jax.problems.terms import Terms, make_terms

if TYPE_CHECKING:
    from qama_jax.problems.ising import Ising


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Qubo(Quadratic):
    """Quadratic unconstrained binary optimisation: minimise `xᵀ matrix x + offset` over bits x in {0, 1}.

    Args:
      matrix: real `[n, n]`, triangular or symmetric, of JAX, NumPy or SciPy; kept as its symmetric part, which has
        the same energies. A sparse matrix of SciPy is kept as `SparseCouplings` where products with those are
        faster, beyond 128 bits and below a fifth of the entries. Integers of any size and half precision are
        computed in float32; `exact_energy` has the numbers as they were given.
      offset: constant added to every energy.

    Raises:
      ValueError: if `matrix` is not square, or `offset` is not a scalar; outside of transformations also for entries
        that are not finite, or too large or all too small for the energies to be floats.

    Example:
      >>> import jax, qama_jax
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -1.0]])
      >>> solution = qama_jax.solve(jax.random.key(0), qubo, qama_jax.Exhaustive())
      >>> float(solution.energy)
      -1.0
    """

    matrix: Matrix
    offset: Float[Array, ""] | float = 0.0

    if TYPE_CHECKING:  # what is passed, where the fields are what is kept

        def __init__(self, matrix: ArrayLike | SparseMatrix, offset: ArrayLike = 0.0): ...

    _factor = -2.0
    _spins = False

    def __post_init__(self):
        refuse_models(self.matrix, "matrix", "Qubo")
        if scipy.sparse.issparse(self.matrix):
            check_square(self.matrix, "matrix")
            pairs = pairs_of_matrix(self.matrix)
            names = ("matrix", "matrix", "matrix", "matrix", "offset")
            become(self, make_terms(self.matrix.shape[0], *pairs, None, self.offset, spins=False, names=names))
            return
        couplings, host_matrix = load_couplings(self.matrix, "matrix")
        check_square(couplings, "matrix")
        offset, host_offset = load_array(self.offset, "offset")
        check_scalar(offset, "offset")
        if isinstance(couplings, DenseCouplings):
            matrix = couplings.matrix
            if is_concrete(matrix):
                check_range({"matrix": matrix if host_matrix is None else host_matrix}, matrix.dtype)
            couplings = DenseCouplings((matrix + matrix.T) / 2)
        object.__setattr__(self, "matrix", as_matrix(couplings))
        object.__setattr__(self, "offset", offset.astype(couplings.dtype))
        if host_matrix is not None or host_offset is not None:
            host = (
                (self.matrix if host_matrix is None else host_matrix),
                (offset if host_offset is None else host_offset),
            )
            object.__setattr__(self, "_host", host)

    @property
    def _couplings(self) -> Couplings:
        return as_couplings(self.matrix)

    @property
    def linear(self) -> Float[Array, "n"]:  # pyright: ignore[reportIncompatibleVariableOverride]  # problems are frozen
        return -self._couplings.diagonal

    def couple(self, bits: Num[Array, "n"]) -> Float[Array, "n"]:
        return -2 * self._couplings.product(bits.astype(self.dtype))

    def relative_energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        return self._couplings.quadratic_form(bits.astype(self.dtype))

    def to_ising(self) -> "Ising":
        """The same problem over spins σ = 2x - 1, equation (11): equal energies, state by state."""
        couplings = self._couplings
        diagonal, sums = couplings.diagonal, couplings.row_sums(couplings.entries)
        offset = self.offset + jnp.sum(diagonal) / 2 + jnp.sum(sums) / 4
        halved = as_matrix(couplings.scaled(-0.5, jnp.zeros_like(diagonal)))
        return self._converted(halved, -(diagonal + sums) / 2, offset)

    def to_dense(self) -> "Qubo":
        """The same problem with its matrix as an array.

        Raises:
          ValueError: where that would take more than 2 GiB.
        """
        return self._with_host_of(self, Qubo(self._couplings.to_dense(), self.offset)) if self.is_sparse else self

    @classmethod
    def from_edges(
        cls,
        rows: Any,
        columns: Any,
        values: Any,
        linear: Any = None,
        offset: Any = 0.0,
        *,
        size: int | None = None,
    ) -> "Qubo":
        """The problem of energy `Σ_k values_k x_rows_k x_columns_k + Σ_i linear_i x_i + offset`.

        Args:
          rows: [m] integers from 0.
          columns: [m] integers; a pair of equal ones is a linear term.
          values: [m] real numbers; those of repeated pairs, in either order, are summed.
          linear: [n], zero by default.
          offset: constant added to every energy.
          size: n; by default the length of `linear`, or one more than the largest index.

        Raises:
          ValueError: if shapes do not fit, an index is out of range, or a number is not finite.

        Example:
          >>> import qama_jax
          >>> qubo = qama_jax.Qubo.from_edges([0, 1], [1, 2], [3.0, -2.0])
          >>> qubo.exact_energy([1, 1, 1])
          1
        """
        size = edge_size(rows, columns, linear, size)
        return cls.from_terms(make_terms(size, rows, columns, values, linear, offset, spins=False))

    @classmethod
    def _from_own_terms(cls, terms: Terms, kind: type[Couplings], dtype: jnp.dtype) -> "Qubo":
        couplings = kind.from_pairs(terms.linear, terms.rows, terms.columns, terms.values / 2, dtype)
        return cls(as_matrix(couplings), np.asarray(terms.offset, dtype))

    @staticmethod
    def _terms_of(fields: tuple[Any, ...]) -> Terms:
        matrix, offset = fields
        couplings = as_couplings(matrix)
        diagonal = np.asarray(couplings.diagonal)
        return make_terms(len(diagonal), *couplings.to_pairs(), diagonal, np.asarray(offset), spins=False)
