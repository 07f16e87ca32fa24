"""MAX-CUT in the format of rudy and the G-set: `n m`, then `i j` or `i j w`, vertices from 1."""

import numpy as np

from qama_jax.problems.formats.counted import read_counted, shape, write_counted
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import cut_of_edges, exact_sum
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source


def _detect(source: Source) -> bool:
    found = shape(source)
    if found is None or found.says is not None:
        return found is not None and found.says == "rudy"
    return not found.has_loops


def _read(source: Source) -> Model:
    return _read_from(source, 1)


def _read_graph(source: Source) -> Model:
    """A graph of any origin, also where vertices count from 0."""
    found = shape(source)
    return _read_from(source, 0 if found is not None and found.has_zero and found.fits_zero else 1)


def _read_from(source: Source, first: int) -> Model:
    size, rows, columns, weights = read_counted(source, first, weights=False)
    return cut_of_edges(source.name, rows, columns, weights, tuple(range(first, first + size)))


def _write(model: Model) -> str:
    terms = model.terms.to_spins()
    offset = terms.offset + exact_sum(terms.values)
    refuse_loss("rudy", linear_term=bool(np.any(terms.linear != 0)), offset=offset != 0)
    return write_counted(1, terms.size, terms.rows, terms.columns, 2 * terms.values)


RUDY = Format("rudy", _read, _detect, _write, _read_graph, first_index=1)
