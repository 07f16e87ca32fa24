"""Ising problems, dense or sparse."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
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
    refuse_triangular,
)
from qama_jax.problems.quadratic import Quadratic, SparseMatrix, become
from qama_jax.problems.terms import Terms, as_numbers, halved, make_terms

if TYPE_CHECKING:
    from qama_jax.problems.qubo import Qubo


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Ising(Quadratic):
    """An Ising problem: minimise `-½ σᵀ couplings σ - biasesᵀ σ + offset` over spins σ in {-1, +1}.

    The signs are those of the paper's equation (1): positive couplings align spins, positive biases turn
    them up; `from_ising` takes h and J in the opposite signs of dimod. Every method takes bits x, as for all problems;
    the spins are `σ = 2x - 1`.

    Args:
      couplings: real `[n, n]`, symmetric, of JAX, NumPy or SciPy; its diagonal is a constant and is ignored. Kept in
        the forms that `Qubo` has. A triangular matrix is refused, as its pairs would count by half.
      biases: real `[n]`, zero by default.
      offset: constant added to every energy.

    Raises:
      ValueError: if `couplings` is not square, or the other shapes do not fit it; outside of transformations also if
        `couplings` is triangular, or for entries that are not finite, or too large or all too small for the energies
        to be floats.
    """

    couplings: Matrix
    biases: Float[Array, "n"] = None  # pyright: ignore[reportAssignmentType]  # zeros, once constructed
    offset: Float[Array, ""] | float = 0.0

    if TYPE_CHECKING:  # what is passed, where the fields are what is kept

        def __init__(
            self, couplings: ArrayLike | SparseMatrix, biases: ArrayLike | None = None, offset: ArrayLike = 0.0
        ): ...

    _factor = 4.0
    _spins = True

    def __post_init__(self):
        refuse_models(self.couplings, "couplings", "Ising")
        if scipy.sparse.issparse(self.couplings):
            become(self, _terms_of_sparse_couplings(self.couplings, self.biases, self.offset))
            return
        couplings, host_couplings = load_couplings(self.couplings, "couplings")
        check_square(couplings, "couplings")
        n, dtype = couplings.shape[0], couplings.dtype
        biases, host_biases = load_array(jnp.zeros(n, dtype) if self.biases is None else self.biases, "biases")
        if biases.shape != (n,):
            raise ValueError(f"biases must have shape ({n},) to fit couplings {couplings.shape}, got {biases.shape}")
        offset, host_offset = load_array(self.offset, "offset")
        check_scalar(offset, "offset")
        given = as_matrix(couplings), biases, offset
        rounded = host_couplings, host_biases, host_offset
        host = tuple(array if own is None else own for array, own in zip(given, rounded, strict=True))
        if isinstance(couplings, DenseCouplings):
            matrix = couplings.matrix
            if is_concrete(matrix) and is_concrete(biases):
                check_range({"couplings": host[0], "biases": host[1]}, dtype)
                refuse_triangular(*np.nonzero(np.asarray(matrix)))
            couplings = DenseCouplings(DenseCouplings(matrix + matrix.T).entries / 2)
        object.__setattr__(self, "couplings", as_matrix(couplings))
        object.__setattr__(self, "biases", biases.astype(dtype))
        object.__setattr__(self, "offset", offset.astype(dtype))
        if any(own is not None for own in rounded):
            object.__setattr__(self, "_host", host)

    @property
    def _couplings(self) -> Couplings:
        return as_couplings(self.couplings)

    @property
    def linear(self) -> Float[Array, "n"]:  # pyright: ignore[reportIncompatibleVariableOverride]  # problems are frozen
        couplings = self._couplings
        return 2 * self.biases - 2 * couplings.row_sums(couplings.entries)

    def couple(self, bits: Num[Array, "n"]) -> Float[Array, "n"]:
        return 4 * self._couplings.product(bits.astype(self.dtype))

    def relative_energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        spins = 2 * bits.astype(self.dtype) - 1
        return -jnp.sum((self._couplings.product(spins) / 2 + self.biases) * spins)

    def to_qubo(self) -> "Qubo":
        """The same problem over bits x = (1 + σ)/2, equation (11): equal energies, state by state."""
        couplings = self._couplings
        matrix = as_matrix(couplings.scaled(-2.0, -self.linear))
        return self._converted(matrix, self.offset + jnp.sum(self.biases) - jnp.sum(couplings.entries) / 2)

    def to_dense(self) -> "Ising":
        """The same problem with its couplings as an array.

        Raises:
          ValueError: where that would take more than 2 GiB.
        """
        if not self.is_sparse:
            return self
        return self._with_host_of(self, Ising(self._couplings.to_dense(), self.biases, self.offset))

    @classmethod
    def from_edges(
        cls,
        rows: Any,
        columns: Any,
        couplings: Any,
        biases: Any = None,
        offset: Any = 0.0,
        *,
        size: int | None = None,
    ) -> "Ising":
        """The problem of energy `-Σ_k couplings_k σ_rows_k σ_columns_k - Σ_i biases_i σ_i + offset`.

        Args:
          rows: [m] integers from 0.
          columns: [m] integers, each different from the one of the same row.
          couplings: [m] real numbers; those of repeated pairs, in either order, are summed.
          biases: [n], zero by default.
          offset: constant added to every energy.
          size: n; by default the length of `biases`, or one more than the largest index.

        Raises:
          ValueError: if shapes do not fit, an index is out of range, or a number is not finite.

        Example:
          >>> import qama_jax
          >>> ising = qama_jax.Ising.from_edges([0, 1], [1, 2], [1.0, -2.0])
          >>> ising.exact_energy([1, 1, 0])
          -3
        """
        size = edge_size(rows, columns, biases, size)
        couplings = -as_numbers(couplings, "couplings")
        biases = None if biases is None else -as_numbers(biases, "biases")
        names = ("rows", "columns", "couplings", "biases", "offset")
        return cls.from_terms(make_terms(size, rows, columns, couplings, biases, offset, spins=True, names=names))

    @classmethod
    def from_ising(
        cls,
        h: Mapping[int, float] | Sequence[float],
        J: Mapping[tuple[int, int], float],
        offset: float = 0.0,
        *,
        size: int | None = None,
    ) -> "Ising":
        """The problem of energy `Σ_i h_i σ_i + Σ_ij J_ij σ_i σ_j + offset`, as dimod and D-Wave's tools write it.

        Their signs are opposite to those of `couplings` and `biases`: here a positive J sets spins against each other.

        Args:
          h: [n], or a dict from indices of spins, counted from 0; those that are not there have none.
          J: a dict from pairs of different indices; those of repeated pairs, (0, 1) and (1, 0), are summed.
          offset: constant added to every energy.
          size: n; by default the length of `h`, or one more than the largest index.

        Raises:
          ValueError: if a key is no index, or a pair of equal ones; an index is out of range, or a number is not
            finite.

        Example:
          >>> import qama_jax
          >>> ising = qama_jax.Ising.from_ising({0: -1.0}, {(0, 1): 2.0})
          >>> ising.exact_energy([1, 0])
          -3
        """
        return cls.from_terms(_terms_of_dimod(h, J, offset, size))

    @classmethod
    def _from_own_terms(cls, terms: Terms, kind: type[Couplings], dtype: jnp.dtype) -> "Ising":
        couplings = kind.from_pairs(np.zeros(terms.size), terms.rows, terms.columns, -terms.values, dtype)
        return cls(as_matrix(couplings), (-terms.linear).astype(dtype), np.asarray(terms.offset, dtype))

    @staticmethod
    def _terms_of(fields: tuple[Any, ...]) -> Terms:
        couplings, biases, offset = fields
        rows, columns, values = as_couplings(couplings).to_pairs()
        linear = -as_numbers(biases, "biases")
        return make_terms(len(linear), rows, columns, -halved(values), linear, np.asarray(offset), spins=True)


def _terms_of_sparse_couplings(couplings: Any, biases: Any, offset: Any) -> Terms:
    check_square(couplings, "couplings")
    rows, columns, values = pairs_of_matrix(couplings)
    values = -halved(as_numbers(values, "couplings"))
    refuse_triangular(rows[values != 0], columns[values != 0])
    biases = None if biases is None else -as_numbers(biases, "biases")
    pairs = rows != columns
    names = "couplings", "couplings", "couplings", "biases", "offset"
    size = couplings.shape[0]
    return make_terms(size, rows[pairs], columns[pairs], values[pairs], biases, offset, spins=True, names=names)


def _terms_of_dimod(h: Any, J: Any, offset: Any, size: int | None) -> Terms:
    if not isinstance(J, Mapping):
        raise ValueError(f"J must be a dict from pairs of indices, got {type(J).__name__}; see Ising.from_edges")
    if not isinstance(h, Mapping):
        h = dict(enumerate(as_numbers(h, "h").tolist()))
        size = max(len(h), 1) if size is None else size
    pairs: list[Any] = [key if isinstance(key, tuple) and len(key) == 2 else (key, None) for key in J]
    for index in itertools.chain(h, *pairs):
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise ValueError(
                f"h and J must have indices of spins as keys, got {index!r}; for labels, pass "
                "qama_jax.Ising.from_bqm(dimod.BinaryQuadraticModel.from_ising(h, J))"
            )
    rows, columns = ([int(pair[side]) for pair in pairs] for side in (0, 1))
    size = edge_size([*rows, *h], columns, None, size)
    names = ("J", "J", "J", "h", "offset")
    spins, values = [int(index) for index in h], as_numbers(list(h.values()), "h")
    if spins and not 0 <= min(spins) <= max(spins) < size:
        raise ValueError(f"h must have indices between 0 and {size - 1}, got {min(spins)} to {max(spins)}")
    linear = np.zeros(size, values.dtype)
    linear[spins] = values
    couplings = as_numbers(list(J.values()), "J")
    return make_terms(size, rows, columns, couplings, linear, offset, spins=True, names=names)
