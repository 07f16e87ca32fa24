"""A matrix by its rows, numbers with commas between them: that of a QUBO, or the weights of a graph."""

import numpy as np

from qama_jax.problems.formats.matrix import matrix_format, upper_triangle
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source, format_number, is_number, parse_number
from qama_jax.problems.terms import as_numbers


def is_csv(source: Source) -> bool:
    """Whether the first line is numbers with commas between them."""
    cells = " ".join(source.first_words()).split(",")
    return len(cells) > 1 and all(is_number(cell) for cell in cells)


def load_csv(source: Source) -> np.ndarray:
    """The numbers, integers where all are.

    Raises:
      ValueError: if the lines are not of equally many.
    """
    rows = []
    for number, words in source.lines():
        rows.append([parse_number(source.where(number), cell.strip()) for cell in " ".join(words).split(",")])
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"{source.where(number)}: expected {len(rows[0])} numbers with commas, got {len(rows[-1])}"
            )
    return as_numbers(rows, "matrix")


def write_rows(matrix: np.ndarray) -> str:
    """The rows as lines."""
    return "".join(",".join(map(format_number, row)) + "\n" for row in matrix.tolist())


def _write(model: Model) -> str:
    return write_rows(upper_triangle("csv", model).toarray())


CSV = matrix_format("csv", lambda source: source.once(load_csv), is_csv, _write)
