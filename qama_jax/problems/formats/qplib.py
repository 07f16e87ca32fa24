"""QPLIB's format, of unconstrained binary problems: types QBN and QBB, and those of simpler objectives."""

import re
from collections.abc import Iterator

from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Line, Source, format_number, parse_number
from qama_jax.problems.terms import make_terms

# Objective, variables and constraints; of these, binary ones without constraints are read.
_TYPE = re.compile("[LDCQ][CBMIG][NBLDCQ]")
_READ = re.compile("[LDCQ]B[NB]")


def is_qplib(source: Source) -> bool:
    """Whether the second line is the type of a problem of QPLIB."""
    lines = _lines(source)
    return len(lines) > 1 and _TYPE.fullmatch(lines[1][1][0]) is not None


def read_qplib(source: Source) -> Model:
    """The objective `½ xᵀQ x + bᵀx + q`, the lower triangle of the symmetric Q being listed.

    Numbers are read as words, whatever their lines; what follows #, ! or % is a comment.
    """
    lines = _lines(source)
    if len(lines) < 3:
        raise ValueError(f"{source.name} ends too early; it is truncated, fetch it again")
    _, (_, kind), (number, sense), *body = lines
    if not _READ.fullmatch(kind[0]):
        raise ValueError(f"{source.name} is of type {kind[0]}; only binary problems without constraints, QBN, are read")
    if sense[0] not in ("minimize", "maximize"):
        raise ValueError(f"{source.where(number)}: expected minimize or maximize, got {sense[0]!r}")
    words = ((source.where(number), word) for number, line in body for word in line)

    size = _count(words, source)
    if size < 1:
        raise ValueError(f"{source.name}: the number of variables must be at least 1")
    entries: dict[tuple[int, int], int | float] = {}
    for _ in range(0 if kind[0][0] == "L" else _count(words, source)):
        row, column = sorted((_index(words, source, size), _index(words, source, size)))
        where, word = _next(words, source)
        if (row, column) in entries:
            raise ValueError(f"{where}: {row + 1} {column + 1} is there for the second time; list each pair once")
        entries[row, column] = parse_number(where, word)
    linear = [parse_number(*_next(words, source))] * size
    for _ in range(_count(words, source)):
        index = _index(words, source, size)
        linear[index] = parse_number(*_next(words, source))
    offset = parse_number(*_next(words, source))
    labels = _names(words, source, size)

    rows, columns = [pair[0] for pair in entries], [pair[1] for pair in entries]
    values = [weight / 2 if row == column else weight for (row, column), weight in entries.items()]
    terms = make_terms(size, rows, columns, values, linear, offset, spins=False)
    maximize = sense[0] == "maximize"
    return Model(terms.negated() if maximize else terms, labels, maximize)


def write_qplib(model: Model) -> str:
    """With the names of the variables, where they are not their numbers."""
    terms = model.terms.to_bits()
    terms = terms.negated() if model.maximize else terms
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    quadratic = [f"{j + 1} {i + 1} {format_number(w)}" for i, j, w in entries]
    linear = [f"{i + 1} {format_number(w)}" for i, w in enumerate(terms.linear.tolist()) if w != 0]
    names = [f"{i + 1} {label}" for i, label in enumerate(model.labels) if label != i + 1]
    lines = [
        "problem",
        "QBN",
        "maximize" if model.maximize else "minimize",
        f"{terms.size} # variables",
        f"{len(quadratic)} # quadratic terms",
        *quadratic,
        "0 # default linear coefficient",
        f"{len(linear)} # linear coefficients",
        *linear,
        f"{format_number(terms.offset)} # constant",
        "1e30 # infinity",
        *("0 # default start", "0 # starts", "0 # default dual of bounds", "0 # duals of bounds"),
        f"{len(names)} # names of variables",
        *names,
        "0 # names of constraints",
    ]
    return "\n".join(lines) + "\n"


def _lines(source: Source) -> list[Line]:
    """The words of each line that has some before a comment."""
    lines = (
        (number, [] if line.lstrip().startswith(("!", "%")) else line.split("#")[0].split())
        for number, line in enumerate(source.text().split("\n"), start=1)
    )
    return [(number, words) for number, words in lines if words]


def _names(words: Iterator[tuple[str, str]], source: Source, size: int) -> tuple[str | int, ...]:
    """The names of variables, which come after infinity, starts and duals; their numbers where there are none."""
    labels: list[str | int] = list(range(1, size + 1))
    if next(words, None) is None:
        return tuple(labels)
    for _ in range(2):
        _next(words, source)
        for _ in range(2 * _count(words, source)):
            _next(words, source)
    for _ in range(_count(words, source)):
        index = _index(words, source, size)
        labels[index] = _next(words, source)[1]
    return tuple(labels)


def _next(words: Iterator[tuple[str, str]], source: Source) -> tuple[str, str]:
    for word in words:
        return word
    raise ValueError(f"{source.name} ends too early; it is truncated, fetch it again")


def _count(words: Iterator[tuple[str, str]], source: Source) -> int:
    where, word = _next(words, source)
    if not word.isdecimal():
        raise ValueError(f"{where}: expected a count, got {word[:80]!r}")
    return int(word)


def _index(words: Iterator[tuple[str, str]], source: Source, size: int) -> int:
    where, word = _next(words, source)
    if not word.isdecimal() or not 1 <= int(word) <= size:
        raise ValueError(f"{where}: expected an index between 1 and {size}, got {word[:80]!r}")
    return int(word) - 1
