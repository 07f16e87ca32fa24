"""Arguments of problems: arrays of the host and of JAX, what they must not hold, and the remedy."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import JAXSparse
from jaxtyping import Array, Float

from qama_jax.problems.base import as_float_array, is_concrete
from qama_jax.problems.terms import as_numbers, check_finite, holds

# Share of the range of exponents that coefficients may take, so that sums and squares of sums stay within it.
_SAFE_EXPONENTS = 0.8


def load_array(value: Any, name: str) -> tuple[Float[Array, "..."], np.ndarray | None]:
    """An argument as an array for JAX, and the host's numbers where those are not the same.

    Raises `ValueError` for JAX's sparse matrices; outside of transformations also for entries that are not finite, or
    too large or small for floats.
    """
    if isinstance(value, JAXSparse):
        raise ValueError(
            f"{name} must be dense, or sparse in SciPy's forms, got {type(value).__name__}; pass {name}.todense(), or "
            f"scipy.sparse.coo_array(({name}.data, {name}.indices.T), {name}.shape) of a BCOO"
        )
    array = as_float_array(value, name) if _has_jax_arrays(value) else None
    if array is not None:
        if is_concrete(array):
            check_finite(np.asarray(array), name)
        return array, None
    numbers = as_numbers(value, name)
    given = getattr(value, "dtype", None)
    is_narrow = given is not None and jnp.issubdtype(given, jnp.floating) and jnp.dtype(given).itemsize <= 4
    dtype = jnp.dtype(jnp.float32 if is_narrow else jnp.result_type(float))
    with np.errstate(over="ignore", under="ignore"):  # refused by `check_range`, which knows all coefficients
        rounded = numbers.astype(np.float64).astype(dtype)
    return jnp.asarray(rounded), None if holds(dtype, numbers) else numbers.copy()


def check_range(coefficients: dict[str, Any], dtype: jnp.dtype) -> None:
    """Raises `ValueError` where energies of these coefficients would overflow, or all vanish; by name."""
    limits = jnp.finfo(dtype)
    high, low = float(limits.max) ** _SAFE_EXPONENTS, float(limits.tiny) ** _SAFE_EXPONENTS
    largest = {name: float(np.max(np.abs(values), initial=0)) for name, values in coefficients.items()}
    name = max(largest, key=largest.__getitem__)
    if largest[name] > high:
        raise ValueError(
            f"{name} has coefficients up to {largest[name]:.3g}, whose energies overflow {dtype}; divide all "
            f"coefficients by {largest[name]:.0e}, or set jax_enable_x64"
        )
    if 0 < largest[name] < low:
        raise ValueError(
            f"{name} has no coefficient above {largest[name]:.3g}, and {dtype} loses such small energies; divide all "
            f"coefficients by {largest[name]:.0e}, or set jax_enable_x64"
        )


def pairs_of_matrix(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of every entry of a sparse matrix of SciPy that is stored, or of a dense array."""
    if scipy.sparse.issparse(matrix):
        entries = scipy.sparse.coo_array(matrix)
        return entries.coords[0], entries.coords[1], entries.data
    rows, columns = np.nonzero(matrix)
    return rows, columns, matrix[rows, columns]


def refuse_models(value: Any, name: str, cls: str) -> None:
    """Raises `ValueError` with the remedy where `value` is a dict of terms or a model of dimod."""
    if isinstance(value, dict) and not scipy.sparse.issparse(value):
        make = "from_bqm(dimod.BinaryQuadraticModel.from_qubo(Q))" if cls == "Qubo" else "from_ising(h, J)"
        raise ValueError(f"{name} must be a matrix, got a dict; pass qama_jax.{cls}.{make}")
    if hasattr(value, "vartype") or (isinstance(value, Mapping) and not scipy.sparse.issparse(value)):
        raise ValueError(f"{name} must be a matrix, got {type(value).__name__}; pass qama_jax.{cls}.from_bqm(model)")


def refuse_triangular(rows: np.ndarray, columns: np.ndarray) -> None:
    """Raises `ValueError` where all entries off the diagonal are on one side of it."""
    if np.any(rows != columns) and (np.all(rows <= columns) or np.all(rows >= columns)):
        raise ValueError(
            "couplings is triangular, so that -½ σᵀ couplings σ would count each pair by half; pass "
            "couplings + couplings.T for -Σ_{i<j} couplings_ij σ_i σ_j"
        )


def check_square(matrix: Any, name: str) -> None:
    """Raises `ValueError` unless `matrix` is [n, n] with n >= 1."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(
            f"{name} must be square, [n, n] with n >= 1, got shape {matrix.shape}; "
            "for a batch of problems, jax.vmap over the leading axis"
        )


def check_scalar(value: Any, name: str) -> None:
    """Raises `ValueError` unless `value` has shape ()."""
    if np.shape(value) != ():
        raise ValueError(f"{name} must be a scalar, got shape {np.shape(value)}")


def _has_jax_arrays(value: Any) -> bool:
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value))


def edge_size(rows: Any, columns: Any, linear: Any, size: int | None) -> int:
    """How many bits there are."""
    if size is None and linear is not None:
        return len(linear)
    if size is None:
        size = 1 + max((int(np.max(index)) for index in (rows, columns) if len(index)), default=-1)
    if size < 1:
        raise ValueError("size must be at least 1; pass it where there are no pairs")
    return size
