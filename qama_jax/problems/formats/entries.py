"""Lists of entries, a line `i j w` each: by NumPy where every line is alike, else word by word."""

import io
import itertools
import warnings
from typing import NamedTuple

import numpy as np

from qama_jax.problems.formats.text import Source, parse_number

# Integers from which on products by small factors could leave int64 are Python's.
_SAFE = 2**60


class Entries(NamedTuple):
    """The entries of a file, in order.

    Attributes:
      rows: int64 [m], as the file has them.
      columns: int64 [m].
      weights: int64, Python's integers (dtype object) or float64 [m]; 1 where a line has none.
      first_bare: the first entry without a weight; None if there is none.
    """

    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    first_bare: int | None


def read_entries(source: Source, after: int = 0, comment: str = "#") -> Entries:
    """The entries below a line, `i j` or `i j w` each, indices being any integers.

    Raises:
      ValueError: if a line is not an entry.
    """
    return _read_uniform(source, after, comment) or _read_line_by_line(source, after, comment)


def line_of_entry(source: Source, index: int, after: int = 0, comment: str = "#") -> str:
    """The name of the line of an entry."""
    numbers = (number for number, _ in source.lines(comment) if number > after)
    return source.where(next(itertools.islice(numbers, index, None)))


def check_entries(
    source: Source,
    entries: Entries,
    lowest: int,
    highest: int | None,
    after: int = 0,
    comment: str = "#",
    *,
    repeats: bool = False,
) -> None:
    """Raises `ValueError` with the line of the first index out of range, or pair that is there twice and must not."""
    low, high = np.minimum(entries.rows, entries.columns), np.maximum(entries.rows, entries.columns)
    outside = (low < lowest) if highest is None else (low < lowest) | (high > highest)
    if outside.any():
        index = int(np.argmax(outside))
        where, pair = line_of_entry(source, index, after, comment), f"{entries.rows[index]} {entries.columns[index]}"
        limits = "must not be negative" if highest is None else f"must be between {lowest} and {highest}"
        raise ValueError(f"{where}: {pair} is out of range; indices {limits}")
    if repeats:
        return
    order = np.lexsort((high, low))  # stable, so that the second of a pair comes second
    same = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    if same.any():
        index = int(np.min(order[1:][same]))
        where, pair = line_of_entry(source, index, after, comment), f"{entries.rows[index]} {entries.columns[index]}"
        raise ValueError(f"{where}: {pair} is listed a second time; list each pair once")


def _read_uniform(source: Source, after: int, comment: str) -> Entries | None:
    """All at once; None where lines differ, a comment is between them, or a number is out of the usual."""
    stream = io.BytesIO(source.data)
    for _ in range(after):
        stream.readline()
    start, line = stream.tell(), stream.readline()
    while line and (not line.strip() or line.lstrip().startswith(comment.encode())):
        start, line = stream.tell(), stream.readline()
    num_words = len(line.split())
    if num_words not in (2, 3):
        return None
    for weight in (np.int64, np.float64):
        stream.seek(start)
        fields = [("row", np.int64), ("column", np.int64), ("weight", weight)][:num_words]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as of an index that is no integer
                table = np.loadtxt(stream, dtype=fields, comments=None, encoding="utf-8", ndmin=1)
        except (ValueError, OverflowError, Warning):
            continue
        weights = table["weight"].copy() if num_words == 3 else np.ones(len(table), np.int64)
        largest = 2**53 if weight is np.float64 else _SAFE  # beyond, an integer among them may be rounded
        if not np.all(np.abs(weights) < largest):
            return None
        return Entries(table["row"].copy(), table["column"].copy(), weights, 0 if num_words == 2 else None)
    return None


def _read_line_by_line(source: Source, after: int, comment: str) -> Entries:
    rows, columns, weights = [], [], []
    first_bare = None
    for number, words in source.lines(comment):
        if number <= after:
            continue
        where = source.where(number)
        if len(words) == 2:
            first_bare = len(rows) if first_bare is None else first_bare
            words = [*words, "1"]
        try:
            if "_" in "".join(words):  # which Python takes within numbers
                raise ValueError
            row, column, weight = words
            rows.append(int(row))
            columns.append(int(column))
            float(weight)
        except ValueError as error:
            expected = "`i j w` or `i j`, numbers"
            raise ValueError(f"{where}: expected {expected}, got {' '.join(words)[:80]!r}") from error
        if max(abs(rows[-1]), abs(columns[-1])) >= _SAFE:
            raise ValueError(f"{where}: {row} {column} is out of range")
        weights.append(parse_number(where, weight))
    is_large = all(isinstance(weight, int) for weight in weights) and any(abs(weight) >= _SAFE for weight in weights)
    as_array = np.array(weights, object if is_large else None) if weights else np.zeros(0)
    return Entries(np.array(rows, np.int64), np.array(columns, np.int64), as_array, first_bare)
