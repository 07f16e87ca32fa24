"""QPLIB's format, of unconstrained binary problems: types QBN and QBB, and those of simpler objectives."""

import itertools
import re
from collections.abc import Iterator

from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Line, Source, format_number, parse_number
from qama_jax.problems.terms import make_terms

# Objective, variables and constraints; of these, binary ones without constraints are read.
_TYPE = re.compile("[LDCQ][CBMIG][NBLDCQ]")
_READ = re.compile("[LDCQ]B[NB]")


def _detect(source: Source) -> bool:
    """Whether the second line is a type."""
    if not source.is_text:
        return False
    lines = _lines(source)
    next(lines, None)
    _, words = next(lines, (0, [""]))
    return _TYPE.fullmatch(words[0].upper()) is not None


class _Records:
    """The lines one after another: each has a record, its first words, and after it any remark."""

    def __init__(self, source: Source, lines: Iterator[Line]):
        self.source = source
        self.lines = lines

    def has_more(self) -> bool:
        """Whether there is another line."""
        line = next(self.lines, None)
        if line is not None:
            self.lines = itertools.chain([line], self.lines)
        return line is not None

    def take(self, num_words: int) -> tuple[str, list[str]]:
        """The name of the next line, and so many words of it."""
        number, words = next(self.lines, (0, []))
        if not words:
            raise ValueError(f"{self.source.name} ends too early; it is truncated, fetch it again")
        where = self.source.where(number)
        if len(words) < num_words:
            raise ValueError(f"{where}: expected {num_words} words, got {' '.join(words)[:80]!r}")
        return where, words[:num_words]

    def number(self) -> int | float:
        where, (word,) = self.take(1)
        return parse_number(where, word)

    def count(self) -> int:
        where, (word,) = self.take(1)
        if not word.isdecimal():
            raise ValueError(f"{where}: expected a count, got {word[:80]!r}")
        return int(word)

    def entry(self, num_indices: int, size: int) -> tuple[str, list[int], str]:
        """The name of the line, indices from 0, and the word after them."""
        where, (*words, value) = self.take(num_indices + 1)
        for word in words:
            if not word.isdecimal() or not 1 <= int(word) <= size:
                raise ValueError(f"{where}: expected an index between 1 and {size}, got {word[:80]!r}")
        return where, [int(word) - 1 for word in words], value


def _read(source: Source) -> Model:
    """The objective `½ xᵀQ x + bᵀx + q`, the lower triangle of the symmetric Q being listed."""
    records = _Records(source, _lines(source))
    records.take(1)
    _, (kind,) = records.take(1)
    if not _READ.fullmatch(kind.upper()):
        raise ValueError(f"{source.name} is of type {kind}; only binary problems without constraints, QBN, are read")
    where, (sense,) = records.take(1)
    if sense.lower() not in ("minimize", "maximize"):
        raise ValueError(f"{where}: expected minimize or maximize, got {sense!r}")
    size = records.count()
    if size < 1:
        raise ValueError(f"{source.name}: the number of variables must be at least 1")
    entries: dict[tuple[int, int], int | float] = {}
    for _ in range(0 if kind[0].upper() == "L" else records.count()):
        where, indices, word = records.entry(2, size)
        pair = min(indices), max(indices)
        if pair in entries:
            raise ValueError(f"{where}: {indices[0] + 1} {indices[1] + 1} is listed a second time; list it once")
        entries[pair] = parse_number(where, word)
    linear = [records.number()] * size
    for _ in range(records.count()):
        where, (index,), word = records.entry(1, size)
        linear[index] = parse_number(where, word)
    offset = records.number()
    labels = _names(records, size)

    rows, columns = [pair[0] for pair in entries], [pair[1] for pair in entries]
    values = [_half(weight) if row == column else weight for (row, column), weight in entries.items()]
    terms = make_terms(size, rows, columns, values, linear, offset, spins=False)
    maximize = sense.lower() == "maximize"
    return Model(terms.negated() if maximize else terms, labels, maximize)


def _write(model: Model) -> str:
    """The content of a file, with the names of variables where these are not their numbers."""
    terms = model.terms.to_bits()
    terms = terms.negated() if model.maximize else terms
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    quadratic = [f"{j + 1} {i + 1} {format_number(w)}" for i, j, w in entries]
    linear = [f"{i + 1} {format_number(w)}" for i, w in enumerate(terms.linear.tolist()) if w != 0]
    named = [(i, label) for i, label in enumerate(model.labels, start=1) if label != i]
    are_words = all(isinstance(label, str) and label.split("#")[0].split() == [label] for _, label in named)
    refuse_loss("qplib", labels_other_than_words=not are_words)
    names = [f"{i} {label}" for i, label in named]
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


def _lines(source: Source) -> Iterator[Line]:
    """The words of each line that has some before a comment."""
    for number, words in source.lines("!"):
        kept = [] if words[0].startswith("%") else " ".join(words).split("#")[0].split()
        if kept:
            yield number, kept


def _half(number: int | float) -> int | float:
    return number // 2 if isinstance(number, int) and number % 2 == 0 else number / 2


def _names(records: _Records, size: int) -> tuple[str | int, ...]:
    """The names of variables, which come after infinity, starts and duals; their numbers where there are none."""
    labels: list[str | int] = list(range(1, size + 1))
    if not records.has_more():
        return tuple(labels)
    records.number()
    for _ in range(2):
        records.number()
        for _ in range(records.count()):
            records.take(2)
    for _ in range(records.count()):
        _, (index,), name = records.entry(1, size)
        labels[index] = name
    return tuple(labels)


QPLIB = Format("qplib", _read, _detect, _write, first_index=1, labels=True, maximize=True)
