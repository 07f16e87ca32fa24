"""Readers of the two text formats in which public instances come: rudy (MAX-CUT) and Biq Mac (QUBO)."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qama_jax.problems.ising import Ising
from qama_jax.problems.qubo import Qubo
from qama_jax.problems.terms import make_terms


def read_rudy(path: str | os.PathLike[str]) -> Ising:
    """Reads a MAX-CUT problem, in the format of rudy and of the G-set, as the Ising problem of energy -cut.

    The first line is `n m`, vertices and edges; each of the next m is `i j` or `i j w`, an edge between vertices 1
    to n and its weight, by default 1. Vertices whose bits differ are on different sides of the cut. Empty lines, and
    lines that start with #, are skipped; a word that is no number may follow `n m`, as in the G-set's G1.

    Args:
      path: the file.

    Returns:
      An Ising problem of n spins, `E = Σ_{i<j} w_ij (σ_i σ_j - 1) / 2 = -cut`. Energies of integer weights are exact
      in float32 while the weights' absolute values sum to at most 2**23; beyond, set `jax_enable_x64`.

    Raises:
      ValueError: if the file is not of this format, is truncated or has an edge twice; with its name and the line.

    References:
      Rinaldi, "Rudy, a graph generator" (1998); Helmberg and Rendl, "A spectral bundle method for semidefinite
      programming", SIAM J. Optim. 10, 673 (2000), for the G-set.
    """
    path = Path(path)
    entries = _read_entries(path, default_weight=1.0)
    loops = np.flatnonzero(entries.rows == entries.columns)
    if loops.size:
        raise ValueError(
            f"{path}: vertex {entries.rows[loops[0]] + 1} has an edge to itself, which no cut has; "
            "remove it, or pass the file to read_biqmac if it is a QUBO"
        )
    halves = entries.weights / 2
    offset = -float(halves.sum())
    return Ising.from_terms(make_terms(entries.size, entries.rows, entries.columns, halves, None, offset, spins=True))


def read_biqmac(path: str | os.PathLike[str]) -> Qubo:
    """Reads a QUBO in the sparse format of the Biq Mac library.

    The first line is `n m`, bits and entries; each of the next m is `i j w`, an entry of the symmetric matrix, rows
    and columns from 1 to n, each pair once: an entry off the diagonal counts twice. Empty lines, and lines that
    start with #, are skipped.

    Args:
      path: the file.

    Returns:
      A QUBO of n bits, `E = Σ_i w_ii x_i + 2 Σ_{i<j} w_ij x_i x_j`, to be minimised as in the library. Energies of
      integer entries are exact in float32 while their absolute values sum to at most 2**23; beyond, set
      `jax_enable_x64`.

    Raises:
      ValueError: if the file is not of this format, is truncated or has an entry twice; with its name and the line.

    References:
      Wiegele, "Biq Mac Library: a collection of Max-Cut and quadratic 0-1 programming instances of medium size" (2007).
    """
    entries = _read_entries(Path(path), default_weight=None)
    values = np.where(entries.rows == entries.columns, 1, 2) * entries.weights
    return Qubo.from_terms(make_terms(entries.size, entries.rows, entries.columns, values, spins=False))


class _Entries(NamedTuple):
    size: int
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


def _read_entries(path: Path, default_weight: float | None) -> _Entries:
    lines = _content_lines(path)
    if not lines:
        raise ValueError(f"{path} is empty; its first line must be `n m`")
    (number, header), *body = lines
    size, count = _parse_header(f"{path}, line {number}", header, remark=default_weight is not None)
    if len(body) < count:
        raise ValueError(f"{path} ends after {len(body)} of {count} entries; it is truncated, fetch it again")
    if len(body) > count:
        raise ValueError(
            f"{path}, line {body[count][0]}: an entry more than the {count} of line {number}; correct the count there"
        )
    entries: dict[tuple[int, int], float] = {}
    for number, words in body:
        where = f"{path}, line {number}"
        row, column, weight = _parse_entry(where, words, size, default_weight)
        pair = min(row, column), max(row, column)
        if pair in entries:
            raise ValueError(f"{where}: {row} {column} is there for the second time; list each pair once")
        entries[pair] = weight
    pairs = np.array(list(entries), int).reshape(-1, 2) - 1
    return _Entries(size, pairs[:, 0], pairs[:, 1], np.array(list(entries.values()), float))


def _content_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The words of each line that has some, with its number from 1, without comments."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file; pass one whose first line is `n m`") from error
    lines = ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, words) for number, words in lines if words and not words[0].startswith("#")]


def _parse_header(where: str, words: list[str], remark: bool) -> tuple[int, int]:
    try:
        size, count = int(words[0]), int(words[1])
    except (IndexError, ValueError):
        size, count = 0, 0
    extra = [word for word in words[2:] if not remark or _is_number(word)]
    if size < 1 or count < 0 or extra:
        raise ValueError(f"{where}: expected `n m`, two counts with n >= 1, got {' '.join(words)[:80]!r}")
    return size, count


def _parse_entry(where: str, words: list[str], size: int, default_weight: float | None) -> tuple[int, int, float]:
    expected = "`i j w`" if default_weight is None else "`i j` or `i j w`"
    if len(words) == 2 and default_weight is not None:
        words = [*words, str(default_weight)]
    try:
        row, column, weight = int(words[0]), int(words[1]), float(words[2])
        complete = len(words) == 3
    except (IndexError, ValueError):
        complete = False
    if not complete:
        raise ValueError(f"{where}: expected {expected}, numbers, got {' '.join(words)[:80]!r}")
    if not (1 <= row <= size and 1 <= column <= size):
        raise ValueError(f"{where}: {row} {column} is out of range; indices must be between 1 and {size}")
    if not math.isfinite(weight):
        raise ValueError(f"{where}: the weight is {weight}; it must be finite")
    return row, column, weight


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
