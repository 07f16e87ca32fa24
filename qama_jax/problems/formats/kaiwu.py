"""Ising matrices M of the Kaiwu SDK and its machines as .csv: the energy `-σᵀ M σ`, M symmetric without a diagonal.

There are no linear terms: where a QUBO was converted, its last spin is an auxiliary one, and bit i of the QUBO is
whether spin i equals that.
"""

import numpy as np

from qama_jax.problems.formats.csv import is_csv, load_csv, write_rows
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import halved
from qama_jax.problems.formats.matrix import check_matrix
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.terms import make_terms


def _detect(source: Source) -> bool:
    if not is_csv(source):
        return False
    try:
        matrix = source.once(load_csv)
    except ValueError:
        return False
    return matrix.shape[0] == matrix.shape[1] and _is_ising(matrix)


def _is_ising(matrix: np.ndarray) -> bool:
    return bool(np.array_equal(matrix, matrix.T) and not np.any(np.diagonal(matrix)))


def _read(source: Source) -> Model:
    matrix = check_matrix(source.name, source.once(load_csv))
    if not _is_ising(matrix):
        raise ValueError(
            f"{source.name} is not an Ising matrix of Kaiwu, which is symmetric and 0 on its diagonal; read a QUBO "
            "as 'csv'"
        )
    rows, columns = np.nonzero(np.triu(matrix))
    terms = make_terms(len(matrix), rows, columns, -2 * matrix[rows, columns].astype(object), spins=True)
    return Model(terms, tuple(range(len(matrix))))


def _write(model: Model) -> str:
    terms = model.terms.to_spins()
    refuse_loss("kaiwu", linear_term=bool(np.any(terms.linear != 0)), offset=terms.offset != 0)
    matrix = np.zeros((terms.size, terms.size), object)
    matrix[terms.rows, terms.columns] = matrix[terms.columns, terms.rows] = -halved("the problem", terms.values)
    return write_rows(matrix)


KAIWU = Format("kaiwu", _read, _detect, _write)
