"""QUBO in the format of qbsolv: `p qubo 0 n nodes couplers`, then `i i w` and `i j w`, indices from 0."""

import numpy as np

from qama_jax.problems.formats.entries import check_entries, line_of_entry, read_entries
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source, format_number, parse_number
from qama_jax.problems.terms import make_terms


def _detect(source: Source) -> bool:
    return source.first_words("c")[:2] == ["p", "qubo"]


def _read(source: Source) -> Model:
    """The energy `Σ_i w_ii x_i + Σ_{i<j} w_ij x_i x_j`; with the scale and offset of bqpjson's comments."""
    number, header = next(source.lines("c"), (1, []))
    try:
        size, nodes, couplers = (int(word) for word in header[3:])
        if header[:2] != ["p", "qubo"] or min(size - 1, nodes, couplers) < 0:
            raise ValueError
    except ValueError as error:
        got = " ".join(header)[:80]
        raise ValueError(f"{source.where(number)}: expected `p qubo 0 n nodes couplers`, got {got!r}") from error
    entries = read_entries(source, number, "c")
    rows, columns, weights, first_bare = entries
    if first_bare is not None:
        raise ValueError(f"{line_of_entry(source, first_bare, number, 'c')}: expected `i j w`, numbers, got no weight")
    if len(rows) != nodes + couplers:
        raise ValueError(
            f"{source.name} has {len(rows)} entries, but {nodes} nodes and {couplers} couplers are announced; it is "
            "truncated, or correct the counts"
        )
    check_entries(source, entries, 0, size - 1, number, "c")
    misplaced = (rows == columns) != (np.arange(len(rows)) < nodes)
    if misplaced.any():
        where = line_of_entry(source, int(np.argmax(misplaced)), number, "c")
        raise ValueError(f"{where}: nodes `i i w` come first, {nodes} of them, then couplers of two nodes")
    scale, offset = _named_number(source, "scale", 1), _named_number(source, "offset", 0)
    weights = weights if scale == 1 else scale * weights.astype(object)
    terms = make_terms(size, rows, columns, weights, None, scale * offset, spins=False)
    return Model(terms, tuple(range(size)))


def _named_number(source: Source, name: str, default: int) -> int | float:
    """The number of a comment `c name : number`, an integer where it is whole."""
    for number, words in source.comments("c") if name in source.text else ():
        if words[:2] == [name, ":"]:
            value = parse_number(source.where(number), " ".join(words[2:]))
            return int(value) if float(value).is_integer() else value
    return default


def _write(model: Model) -> str:
    """Nodes, then couplers."""
    terms = model.terms.to_bits()
    refuse_loss("qbsolv", offset=terms.offset != 0)
    nodes = [f"{i} {i} {format_number(w)}" for i, w in enumerate(terms.linear.tolist())]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    couplers = [f"{i} {j} {format_number(w)}" for i, j, w in entries]
    return "\n".join([f"p qubo 0 {terms.size} {len(nodes)} {len(couplers)}", *nodes, *couplers]) + "\n"


QBSOLV = Format("qbsolv", _read, _detect, _write)
