"""Graphs by their edges alone, `i j` or `i j w` a line, as NetworkX writes weighted ones; only to be cut."""

import numpy as np

from qama_jax.problems.formats.coo import is_coo
from qama_jax.problems.formats.counted import shape
from qama_jax.problems.formats.entries import check_entries, read_entries
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import cut_of_edges
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source, is_number


def _detect(source: Source) -> bool:
    """Two numbers in the first line are `n m` where they fit, or where the others have weights."""
    words = source.first_words()
    if len(words) not in (2, 3) or not all(map(is_number, words)) or is_coo(source):
        return False
    found = shape(source)
    return found is None or (found.says is None and found.is_bare and not found.is_complete)


def _read(source: Source) -> Model:
    raise ValueError(
        f"{source.name} has no line `n m`; if it lists `i j bias`, write `# vartype=BINARY` or `# vartype=SPIN` in its "
        "first line; if it lists the edges of a graph to cut, pass graph=True (--graph)"
    )


def _read_graph(source: Source) -> Model:
    """Vertices are the numbers that occur, in order."""
    entries = read_entries(source)
    check_entries(source, entries, 0, None)
    if not len(entries.rows):
        raise ValueError(f"{source.name} is empty; it must have a line `i j` or `i j w`")
    vertices, places = np.unique(np.concatenate([entries.rows, entries.columns]), return_inverse=True)
    rows, columns = np.split(places, 2)
    return cut_of_edges(source.name, rows, columns, entries.weights, tuple(vertices.tolist()))


EDGE_LIST = Format("edge-list", _read, _detect, read_graph=_read_graph, labels=True)
