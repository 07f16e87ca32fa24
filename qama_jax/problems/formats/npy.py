"""NumPy's .npy: the matrix of a QUBO, or the weights of a graph."""

import io
import zipfile

import numpy as np

from qama_jax.problems.formats.matrix import matrix_format, upper_triangle
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


def _load(source: Source) -> np.ndarray:
    try:
        matrix = np.load(io.BytesIO(source.data), allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source.name} is not a .npy file of numbers; write it by numpy.save") from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "biufc":
        raise ValueError(f"{source.name} does not hold one array of numbers; write the matrix by numpy.save")
    return matrix


def _write(model: Model) -> bytes:
    stream = io.BytesIO()
    np.save(stream, upper_triangle("npy", model).toarray())
    return stream.getvalue()


NPY = matrix_format("npy", _load, lambda source: source.data.startswith(b"\x93NUMPY"), _write)
