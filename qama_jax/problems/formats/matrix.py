"""What the formats of one matrix share: the QUBO `xᵀ matrix x`, and the graph whose weights the matrix has."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import cut_of_edges
from qama_jax.problems.formats.model import Model, has_long_integers, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.inputs import pairs_of_matrix
from qama_jax.problems.terms import as_numbers, make_terms


def check_matrix(name: str, matrix: Any) -> Any:
    """A square matrix of finite real numbers, dense or sparse.

    Raises:
      ValueError: with the name of the file, if it is not such a matrix.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{name} has an array of shape {matrix.shape}; its matrix must be square, [n, n]")
    return scipy.sparse.coo_array(matrix) if scipy.sparse.issparse(matrix) else as_numbers(matrix, "matrix")


def qubo_of_matrix(name: str, matrix: Any) -> Model:
    """The energy `xᵀ matrix x`. With a diagonal of zeros, it may as well be meant as a graph."""
    matrix = check_matrix(name, matrix)
    size = matrix.shape[0]
    names = ("matrix", "matrix", "matrix", "matrix", "offset")
    terms = make_terms(size, *pairs_of_matrix(matrix), spins=False, names=names)
    may_be_graph = not np.any(terms.linear) and len(terms.values) > 0
    return Model(terms, tuple(range(size)), may_be_graph=may_be_graph)


def graph_of_matrix(name: str, matrix: Any) -> Model:
    """The largest cut of the graph whose weights are the entries: of a symmetric matrix, or of one half of it."""
    matrix = check_matrix(name, matrix)
    rows, columns, weights = pairs_of_matrix(matrix)
    weights = as_numbers(weights, "matrix")
    there = weights != 0
    rows, columns, weights = rows[there], columns[there], weights[there]
    if not (np.all(rows <= columns) or np.all(rows >= columns)):
        if (matrix != matrix.T).sum():
            raise ValueError(f"{name} has a matrix that is not symmetric, of a directed graph; write matrix + matrix.T")
        upper = rows <= columns
        rows, columns, weights = rows[upper], columns[upper], weights[upper]
    return cut_of_edges(name, rows, columns, weights, tuple(range(matrix.shape[0])))


def upper_triangle(form: str, model: Model) -> scipy.sparse.coo_array:
    """The matrix of a QUBO in float64, which must have no offset."""
    terms = model.terms.to_bits()
    refuse_loss(form, offset=terms.offset != 0, integer_beyond_53_bits=has_long_integers(terms))
    diagonal = np.arange(terms.size)
    rows, columns = np.concatenate([diagonal, terms.rows]), np.concatenate([diagonal, terms.columns])
    values = np.concatenate([terms.linear, terms.values]).astype(np.float64)
    return scipy.sparse.coo_array((values, (rows, columns)), shape=(terms.size, terms.size))


def matrix_format(
    name: str,
    load: Callable[[Source], Any],
    detect: Callable[[Source], bool],
    write: Callable[[Model], str | bytes],
) -> Format:
    """A format whose files hold one matrix, which `load` reads: of a QUBO, or the weights of a graph."""
    return Format(
        name,
        lambda source: qubo_of_matrix(source.name, load(source)),
        detect,
        write,
        lambda source: graph_of_matrix(source.name, load(source)),
    )
