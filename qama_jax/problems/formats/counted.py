"""What rudy, Biq Mac, QOBLIB's .qs and Qubist share: a line `n m`, and m lines `i j w` below it."""

from typing import NamedTuple

import numpy as np

from qama_jax.problems.formats.coo import is_coo
from qama_jax.problems.formats.entries import Entries, check_entries, line_of_entry, read_entries
from qama_jax.problems.formats.text import Source, format_number, is_number

# Suffixes that say which of them a file is.
_SUFFIXES = {".rudy": "rudy", ".rud": "rudy", ".mc": "rudy", ".sparse": "biqmac", ".qh": "qubist", ".qs": "qs"}


class Shape(NamedTuple):
    """What tells these formats apart.

    Attributes:
      says: the format that a comment or the suffix of the file's name says; None if they say none.
      is_damaged: whether the header or a line below it cannot be read; then nothing else is known.
      has_loops: whether there is an entry `i i w`.
      fits_zero: whether all indices are from 0 to n - 1.
      has_zero: whether 0 is among them.
      is_plain: whether every entry has a weight, and no remark follows `n m`.
      is_bare: whether the first entry has no weight.
      is_complete: whether there are m entries, all indices at most n.
    """

    says: str | None
    is_damaged: bool = False
    has_loops: bool = False
    fits_zero: bool = False
    has_zero: bool = False
    is_plain: bool = False
    is_bare: bool = False
    is_complete: bool = False


class Counted(NamedTuple):
    """A file of `n m` and entries."""

    header: int
    size: int
    num_entries: int
    has_remark: bool
    entries: Entries


def shape(source: Source) -> Shape | None:
    """None where the file does not start with a line `n m`."""
    words = source.first_words()
    are_counts = len(words) > 1 and all(word.isdecimal() for word in words[:2]) and int(words[0]) >= 1
    if not are_counts or any(map(is_number, words[2:])) or is_coo(source):
        return None
    says = "qs" if is_qs(source) else _SUFFIXES.get(source.suffix)
    try:
        _, size, count, has_remark, (rows, columns, _, first_bare) = source.once(_parse)
    except ValueError:
        return Shape(says, is_damaged=True)
    lowest, highest = (min(rows.min(), columns.min()), max(rows.max(), columns.max())) if len(rows) else (1, size)
    return Shape(
        says,
        has_loops=bool(np.any(rows == columns)),
        fits_zero=bool(lowest >= 0 and highest < size),
        has_zero=bool(lowest == 0),
        is_plain=first_bare is None and not has_remark,
        is_bare=first_bare == 0,
        is_complete=bool(count == len(rows) and highest <= size),
    )


def is_qs(source: Source) -> bool:
    """Whether there is a comment of Zimpl's QUBO files."""
    return any(words[:1] == ["ObjectiveOffset"] or words[:2] == ["Vars", "Non-zeros"] for _, words in source.comments())


def read_counted(source: Source, first: int, *, weights: bool) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Size, rows and columns from 0, and weights; each pair once.

    Args:
      source: the file.
      first: the lowest index.
      weights: whether each entry must have one, and nothing may follow `n m`; else they are 1 by default.
    """
    header, size, count, has_remark, entries = source.once(_parse)
    if weights and has_remark:
        raise ValueError(f"{source.where(header)}: expected `n m`, two counts with n >= 1, and nothing else")
    if weights and entries.first_bare is not None:
        raise ValueError(f"{line_of_entry(source, entries.first_bare, header)}: expected `i j w`, got no weight")
    if len(entries.rows) < count:
        raise ValueError(
            f"{source.name} ends after {len(entries.rows)} of {count} entries; it is truncated, fetch it again"
        )
    if len(entries.rows) > count:
        raise ValueError(
            f"{line_of_entry(source, count, header)}: one entry more than the {count} of line {header}; correct the "
            "count there"
        )
    check_entries(source, entries, first, first + size - 1, header)
    return size, entries.rows - first, entries.columns - first, entries.weights


def write_counted(first: int, size: int, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> str:
    """`n m`, and the entries."""
    entries = zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True)
    lines = (f"{i + first} {j + first} {format_number(w)}" for i, j, w in entries)
    return "\n".join([f"{size} {len(rows)}", *lines]) + "\n"


def _parse(source: Source) -> Counted:
    line = next(source.lines(), None)
    if line is None:
        raise ValueError(f"{source.name} is empty; its first line must be `n m`")
    header, words = line
    try:
        size, count = int(words[0]), int(words[1])
    except (IndexError, ValueError):
        size, count = 0, 0
    if size < 1 or count < 0 or any(map(is_number, words[2:])):
        raise ValueError(
            f"{source.where(header)}: expected `n m`, two counts with n >= 1, got {' '.join(words)[:80]!r}"
        )
    return Counted(header, size, count, len(words) > 2, read_entries(source, header))
