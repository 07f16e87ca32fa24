"""QUBO in the sparse format of Biq Mac: `n m`, then `i j w` of a symmetric matrix, each pair once, from 1."""

import numpy as np

from qama_jax.problems.formats.counted import is_qs, read_counted, shape, write_counted
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import halved
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.terms import Terms, make_terms


def read_symmetric(source: Source, offset: float) -> Model:
    """The entries of a symmetric matrix: those off the diagonal count twice."""
    size, rows, columns, weights = read_counted(source, 1, weights=True)
    values = np.where(rows == columns, 1, 2) * weights
    return Model(make_terms(size, rows, columns, values, None, offset, spins=False), tuple(range(1, size + 1)))


def write_symmetric(terms: Terms) -> str:
    """The upper triangle of the symmetric matrix."""
    diagonal = np.flatnonzero(terms.linear)
    rows, columns = np.concatenate([diagonal, terms.rows]), np.concatenate([diagonal, terms.columns])
    halves = halved("the problem", terms.values)
    weights = np.concatenate([terms.linear[diagonal].astype(object), halves.astype(object)])
    return write_counted(1, terms.size, rows, columns, weights)


def _detect(source: Source) -> bool:
    found = shape(source)
    if found is None or found.says is not None:
        return found is not None and found.says == "biqmac"
    return found.has_loops and not (found.has_zero and found.fits_zero)


def _read(source: Source) -> Model:
    if is_qs(source):
        raise ValueError(
            f"{source.name} has comments of QOBLIB's files, whose constant 'biqmac' does not know; read it as 'qs'"
        )
    return read_symmetric(source, 0)


def _write(model: Model) -> str:
    terms = model.terms.to_bits()
    refuse_loss("biqmac", offset=terms.offset != 0)
    return write_symmetric(terms)


BIQMAC = Format("biqmac", _read, _detect, _write, first_index=1)
