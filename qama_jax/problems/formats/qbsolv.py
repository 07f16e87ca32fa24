"""The format of qbsolv, `p qubo 0 n nodes couplers`: QUBO with indices from 0."""

from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source, format_number, parse_number
from qama_jax.problems.terms import make_terms


def read_qbsolv(source: Source) -> Model:
    """The energy `Σ_i w_ii x_i + Σ_{i<j} w_ij x_i x_j`."""
    lines = source.lines(comment="c")
    if not lines:
        raise ValueError(f"{source.name} is empty; its first line must be `p qubo 0 n nodes couplers`")
    (number, header), *body = lines
    try:
        size, nodes, couplers = (int(word) for word in header[3:])
        if header[:2] != ["p", "qubo"] or min(size - 1, nodes, couplers) < 0:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"{source.where(number)}: expected `p qubo 0 n nodes couplers`, got {' '.join(header)[:80]!r}"
        ) from error
    if len(body) != nodes + couplers:
        raise ValueError(
            f"{source.name} has {len(body)} entries, {nodes} nodes and {couplers} couplers are announced; it is "
            "truncated, or correct the counts"
        )
    entries: dict[tuple[int, int], int | float] = {}
    for index, (number, words) in enumerate(body):
        where = source.where(number)
        try:
            row, column = sorted(int(word) for word in words[:2])
            (weight,) = words[2:]
        except ValueError as error:
            raise ValueError(f"{where}: expected `i j w`, numbers, got {' '.join(words)[:80]!r}") from error
        if not 0 <= row <= column < size:
            raise ValueError(f"{where}: {row} {column} is out of range; indices must be between 0 and {size - 1}")
        if (row == column) != (index < nodes):
            raise ValueError(f"{where}: nodes `i i w` come first, {nodes} of them, then couplers of two nodes")
        if (row, column) in entries:
            raise ValueError(f"{where}: {row} {column} is there for the second time; list each pair once")
        entries[row, column] = parse_number(where, weight)
    rows, columns = [pair[0] for pair in entries], [pair[1] for pair in entries]
    return Model(make_terms(size, rows, columns, list(entries.values()), spins=False), tuple(range(size)))


def write_qbsolv(model: Model) -> str:
    """Nodes, then couplers."""
    terms = model.terms.to_bits()
    refuse_loss("qbsolv", offset=terms.offset != 0)
    nodes = [f"{i} {i} {format_number(w)}" for i, w in enumerate(terms.linear.tolist())]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    couplers = [f"{i} {j} {format_number(w)}" for i, j, w in entries]
    return "\n".join([f"p qubo 0 {terms.size} {len(nodes)} {len(couplers)}", *nodes, *couplers]) + "\n"
