"""Graphs of the DIMACS challenges on cliques and colouring: `p edge n m` or `p col n m`, then `e i j`, from 1."""

import numpy as np

from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.graph import cut_of_edges
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source

_KINDS = ("edge", "edges", "col")


def _detect(source: Source) -> bool:
    words = source.first_words("c")
    return len(words) > 1 and words[0] == "p" and words[1] in _KINDS


def _read(source: Source) -> Model:
    raise ValueError(
        f"{source.name} is a graph of DIMACS, for cliques or colourings, and does not say what to solve; for its "
        "largest cut, pass graph=True (--graph)"
    )


def _read_graph(source: Source) -> Model:
    """Every edge has weight 1; an edge that is there in both directions counts once."""
    lines = source.lines("c")
    number, header = next(lines, (1, []))
    try:
        size, count = (int(word) for word in header[2:])
        if header[0] != "p" or header[1] not in _KINDS or size < 1 or count < 0:
            raise ValueError
    except (ValueError, IndexError) as error:
        got = " ".join(header)[:80]
        raise ValueError(f"{source.where(number)}: expected `p edge n m`, two counts, got {got!r}") from error
    edges = set()
    num_lines = 0
    for number, words in lines:
        where = source.where(number)
        if words[0] in ("d", "v", "x"):  # dimensions and embeddings, for generators
            continue
        try:
            kind, row, column = words
            pair = int(row), int(column)
        except ValueError as error:
            raise ValueError(f"{where}: expected `e i j`, got {' '.join(words)[:80]!r}") from error
        if kind != "e":
            raise ValueError(f"{where}: expected `e i j`, got {' '.join(words)[:80]!r}, which no cut knows; remove it")
        if min(pair) < 1 or max(pair) > size:
            raise ValueError(f"{where}: {row} {column} is out of range; indices must be between 1 and {size}")
        edges.add((min(pair), max(pair)))
        num_lines += 1
    if count not in (num_lines, len(edges)):
        raise ValueError(f"{source.name} has {num_lines} edges of {count}; it is truncated, or correct the count")
    rows, columns = np.array(sorted(edges), np.int64).reshape(-1, 2).T - 1
    return cut_of_edges(source.name, rows, columns, np.ones(len(edges), np.int64), tuple(range(1, size + 1)))


DIMACS = Format("dimacs", _read, _detect, read_graph=_read_graph, first_index=1)
