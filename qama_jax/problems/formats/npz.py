"""SciPy's sparse .npz: the matrix of a QUBO, or the weights of a graph."""

import io
import zipfile
from typing import Any

import scipy.sparse

from qama_jax.problems.formats.matrix import matrix_format, upper_triangle
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


def _load(source: Source) -> Any:
    try:
        return scipy.sparse.load_npz(io.BytesIO(source.data))
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source.name} holds no sparse matrix; write it by scipy.sparse.save_npz") from error


def _write(model: Model) -> bytes:
    stream = io.BytesIO()
    scipy.sparse.save_npz(stream, upper_triangle("npz", model).tocsr())
    return stream.getvalue()


NPZ = matrix_format("npz", _load, lambda source: source.data.startswith(b"PK\x03\x04"), _write)
