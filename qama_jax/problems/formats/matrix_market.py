"""MatrixMarket: the matrix of a QUBO, or the weights of a graph; symmetric files have both halves."""

import io
from typing import Any

import scipy.io
import scipy.sparse

from qama_jax.problems.formats.matrix import matrix_format, upper_triangle
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _load(source: Source) -> Any:
    try:
        return scipy.io.mmread(io.BytesIO(source.data.removeprefix(_BYTE_ORDER_MARK)))
    except (ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"{source.name} is not a matrix in MatrixMarket's format: {error}") from error


def _write(model: Model) -> bytes:
    """The content of a file, with as many digits as a float has."""
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, upper_triangle("matrix-market", model), precision=17, symmetry="general")
    return stream.getvalue()


MATRIX_MARKET = matrix_format(
    "matrix-market",
    _load,
    lambda source: source.data.removeprefix(_BYTE_ORDER_MARK).startswith(b"%%MatrixMarket"),
    _write,
)
