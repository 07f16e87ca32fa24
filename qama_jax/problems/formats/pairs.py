"""Formats that list `i j w` after a line `n m`: rudy (MAX-CUT), Biq Mac and QOBLIB's .qs (QUBO)."""

import numpy as np

from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source, format_number, parse_number
from qama_jax.problems.terms import Terms, make_terms


def read_rudy(source: Source) -> Model:
    """MAX-CUT: the energy `Σ_{i<j} w_ij (σ_i σ_j - 1) / 2 = -cut`."""
    size, rows, columns, weights = _read(source, default_weight=1)
    loops = np.flatnonzero(rows == columns)
    if loops.size:
        raise ValueError(
            f"{source.name}: vertex {rows[loops[0]] + 1} has an edge to itself, which no cut has; "
            "remove it, or read the file as biqmac if it is a QUBO"
        )
    halves = weights / 2
    terms = make_terms(size, rows, columns, halves, None, -sum(halves.tolist()), spins=True)
    return Model(terms, tuple(range(1, size + 1)), maximize=True)


def write_rudy(model: Model) -> str:
    """The edges, where the problem is a cut."""
    terms = model.terms.to_spins()
    offset = terms.offset + sum(terms.values.tolist())
    refuse_loss("rudy", linear_term=bool(np.any(terms.linear != 0)), offset=offset != 0)
    return _write(terms.size, terms.rows, terms.columns, 2 * terms.values)


def read_biqmac(source: Source) -> Model:
    """QUBO by the entries of a symmetric matrix, each pair once: those off the diagonal count twice."""
    size, rows, columns, weights = _read(source, default_weight=None)
    values = np.where(rows == columns, 1, 2) * weights
    return Model(make_terms(size, rows, columns, values, spins=False), tuple(range(1, size + 1)))


def write_biqmac(model: Model) -> str:
    """The upper triangle of the symmetric matrix."""
    terms = model.terms.to_bits()
    refuse_loss("biqmac", offset=terms.offset != 0)
    return _write(*_triangle(terms))


def read_qs(source: Source) -> Model:
    """As Biq Mac, with the constant in a comment `# ObjectiveOffset c`."""
    offset = 0
    for number, line in enumerate(source.text().split("\n"), start=1):
        words = line.split()
        if words[:2] == ["#", "ObjectiveOffset"]:
            offset = parse_number(source.where(number), words[2] if len(words) == 3 else line)
    model = read_biqmac(source)
    terms = model.terms
    linear, rows, columns, values = terms.linear, terms.rows, terms.columns, terms.values
    return model._replace(terms=make_terms(terms.size, rows, columns, values, linear, offset, spins=False))


def write_qs(model: Model) -> str:
    """With the comments of Zimpl, by which the format is told from Biq Mac's."""
    terms = model.terms.to_bits()
    return f"# ObjectiveOffset {format_number(terms.offset)}\n# Vars Non-zeros\n" + _write(*_triangle(terms))


def _triangle(terms: Terms) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    diagonal = np.flatnonzero(terms.linear)
    rows, columns = np.concatenate([diagonal, terms.rows]), np.concatenate([diagonal, terms.columns])
    return terms.size, rows, columns, np.concatenate([terms.linear[diagonal], terms.values / 2])


def _write(size: int, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> str:
    entries = zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True)
    return "\n".join([f"{size} {len(rows)}", *(f"{i + 1} {j + 1} {format_number(w)}" for i, j, w in entries)]) + "\n"


def _read(source: Source, default_weight: int | None) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    lines = source.lines()
    if not lines:
        raise ValueError(f"{source.name} is empty; its first line must be `n m`")
    (number, header), *body = lines
    size, count = _parse_header(source.where(number), header, remark=default_weight is not None)
    if len(body) < count:
        raise ValueError(f"{source.name} ends after {len(body)} of {count} entries; it is truncated, fetch it again")
    if len(body) > count:
        raise ValueError(
            f"{source.where(body[count][0])}: an entry more than the {count} of line {number}; correct the count there"
        )
    entries: dict[tuple[int, int], int | float] = {}
    for number, words in body:
        where = source.where(number)
        row, column, weight = _parse_entry(where, words, size, default_weight)
        pair = min(row, column), max(row, column)
        if pair in entries:
            raise ValueError(f"{where}: {row} {column} is there for the second time; list each pair once")
        entries[pair] = weight
    pairs = np.array(list(entries), int).reshape(-1, 2) - 1
    return size, pairs[:, 0], pairs[:, 1], np.array(list(entries.values()), None if entries else float)


def _parse_header(where: str, words: list[str], remark: bool) -> tuple[int, int]:
    try:
        size, count = int(words[0]), int(words[1])
    except (IndexError, ValueError):
        size, count = 0, 0
    extra = [word for word in words[2:] if not remark or _is_number(word)]
    if size < 1 or count < 0 or extra:
        raise ValueError(f"{where}: expected `n m`, two counts with n >= 1, got {' '.join(words)[:80]!r}")
    return size, count


def _parse_entry(where: str, words: list[str], size: int, default_weight: int | None) -> tuple[int, int, int | float]:
    expected = "`i j w`" if default_weight is None else "`i j` or `i j w`"
    if len(words) == 2 and default_weight is not None:
        words = [*words, str(default_weight)]
    try:
        row, column, last = words
        row, column = int(row), int(column)
        float(last)
    except ValueError as error:
        raise ValueError(f"{where}: expected {expected}, numbers, got {' '.join(words)[:80]!r}") from error
    if not (1 <= row <= size and 1 <= column <= size):
        raise ValueError(f"{where}: {row} {column} is out of range; indices must be between 1 and {size}")
    return row, column, parse_number(where, last)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
