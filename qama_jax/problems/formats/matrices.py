"""Files of one QUBO matrix: NumPy's .npy, SciPy's sparse .npz, and MatrixMarket."""

import io
import zipfile
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.inputs import check_square, pairs_of_matrix
from qama_jax.problems.terms import as_numbers, make_terms


def read_npy(source: Source) -> Model:
    """The energy `xᵀ matrix x`."""
    try:
        matrix = np.load(io.BytesIO(source.data), allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source.name} is no .npy file of numbers; write it by numpy.save") from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "biufc":
        raise ValueError(f"{source.name} does not hold one array of numbers; write the matrix by numpy.save")
    return _model(matrix)


def read_npz(source: Source) -> Model:
    """The energy `xᵀ matrix x` of a sparse matrix."""
    try:
        matrix = scipy.sparse.load_npz(io.BytesIO(source.data))
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source.name} holds no sparse matrix; write it by scipy.sparse.save_npz") from error
    return _model(matrix)


def read_matrix_market(source: Source) -> Model:
    """The energy `xᵀ matrix x`; symmetric files have both halves of the matrix."""
    try:
        matrix = scipy.io.mmread(io.BytesIO(source.data.removeprefix(b"\xef\xbb\xbf")))
    except (ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"{source.name} is no matrix in MatrixMarket's format: {error}") from error
    return _model(scipy.sparse.coo_array(matrix) if scipy.sparse.issparse(matrix) else matrix)


def write_npy(model: Model) -> bytes:
    """The upper triangle, as an array."""
    stream = io.BytesIO()
    np.save(stream, _matrix("npy", model).toarray())
    return stream.getvalue()


def write_npz(model: Model) -> bytes:
    """The upper triangle, compressed rows."""
    stream = io.BytesIO()
    scipy.sparse.save_npz(stream, _matrix("npz", model).tocsr())
    return stream.getvalue()


def write_matrix_market(model: Model) -> bytes:
    """The upper triangle, coordinates, in as many digits as a float has."""
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, _matrix("matrix-market", model), precision=17, symmetry="general")
    return stream.getvalue()


def _model(matrix: Any) -> Model:
    check_square(matrix, "matrix")
    if not scipy.sparse.issparse(matrix):
        matrix = as_numbers(matrix, "matrix")
    size = matrix.shape[0]
    names = ("matrix", "matrix", "matrix", "matrix", "offset")
    return Model(make_terms(size, *pairs_of_matrix(matrix), spins=False, names=names), tuple(range(size)))


def _matrix(form: str, model: Model) -> scipy.sparse.coo_array:
    terms = model.terms.to_bits()
    refuse_loss(form, offset=terms.offset != 0)
    diagonal = np.arange(terms.size)
    rows, columns = np.concatenate([diagonal, terms.rows]), np.concatenate([diagonal, terms.columns])
    values = np.concatenate([terms.linear, terms.values]).astype(np.float64)
    return scipy.sparse.coo_array((values, (rows, columns)), shape=(terms.size, terms.size))
