"""Problems from files and to files: the formats in which people have them, told by what is in the file."""

import gzip
import os
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qama_jax.problems.formats import READERS, WRITERS
from qama_jax.problems.formats.coo import VARTYPE
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.qplib import is_qplib
from qama_jax.problems.formats.text import Source
from qama_jax.problems.ising import Ising
from qama_jax.problems.qubo import Qubo


class ProblemFile(NamedTuple):
    """A problem, and what else its file says.

    Attributes:
      problem: what to minimise: an `Ising` where the file has spins or cuts, else a `Qubo`.
      format: name of the format, of those of `read_problem`.
      labels: names of the variables, in the order of the bits.
      maximize: whether the file's objective is maximised, as cuts are; it is minus the energy then.
    """

    problem: Qubo | Ising
    format: str
    labels: tuple[Hashable, ...]
    maximize: bool

    def objective(self, bits: Any) -> int | float | np.ndarray:
        """The file's objective, its constant included, of bits [n] or [reads, n]; exact, see `exact_energy`."""
        energy = self.problem.exact_energy(bits)
        return 0 - energy if self.maximize else energy


def read_problem(path: str | os.PathLike[str], format: str | None = None) -> ProblemFile:
    """Reads a problem from a file of any of the formats, also compressed by gzip.

    | format | what it is | told by |
    |---|---|---|
    | rudy | MAX-CUT, G-set: `n m`, then `i j` or `i j w` | no other; without an entry `i i w` |
    | biqmac | QUBO of Biq Mac: `n m`, then `i j w` of a symmetric matrix | an entry `i i w`, or the suffix .sparse |
    | qs | QUBO of QOBLIB: as biqmac, with a constant | `# ObjectiveOffset` or `# Vars Non-zeros` |
    | qbsolv | QUBO of qbsolv | `p qubo` |
    | coo | D-Wave's COO text | `# vartype=` |
    | bqm, json | dimod's `bqm.to_file()` and `bqm.to_serializable()` | their first bytes |
    | qplib | QPLIB, binary without constraints | the type, such as QBN, in the second line |
    | matrix-market, npy, npz | a matrix M of `xᵀ M x` | their first bytes |

    Args:
      path: the file, or "-" for standard input.
      format: its format; by default told from its content.

    Returns:
      A `ProblemFile`.

    Raises:
      ValueError: if the file is not of the format, is truncated or has an entry twice; with its name and the line.

    Example:
      >>> import pathlib, tempfile, qama_jax
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "triangle.txt"
      >>> _ = path.write_text("3 3\\n1 2 1\\n2 3 2\\n1 3 -1\\n")
      >>> file = qama_jax.read_problem(path)
      >>> file.format, file.labels, file.objective([0, 0, 1])
      ('rudy', (1, 2, 3), 1)
    """
    if format is not None and format not in READERS:
        raise ValueError(f"format must be one of {', '.join(READERS)}, got {format!r}")
    source = _load(path)
    format = format or detect_format(source)
    terms, labels, maximize = READERS[format](source)
    problem = (Ising if terms.spins else Qubo).from_terms(terms)
    return ProblemFile(problem, format, labels, maximize)


def write_problem(
    problem: Qubo | Ising,
    path: str | os.PathLike[str],
    format: str,
    *,
    labels: Sequence[Hashable] | None = None,
    maximize: bool = False,
) -> None:
    """Writes a problem to a file that `read_problem` reads as the same problem.

    Args:
      problem: what is minimised.
      path: the file; compressed where it ends in .gz.
      format: one of the formats of `read_problem`.
      labels: names of the variables; by default their numbers, from 1 or 0 as the format has them.
      maximize: for qplib, to write the negative, which is to be maximised.

    Raises:
      ValueError: if the format cannot hold all of the problem, such as its offset, names, or linear terms of a cut.
    """
    if format not in WRITERS:
        raise ValueError(f"format must be one of {', '.join(WRITERS)}, got {format!r}")
    if maximize and format != "qplib":
        raise ValueError(f"maximize cannot be written in format {format!r}; choose 'qplib', or leave it out")
    size = problem.shape[0]
    first = 1 if format in ("rudy", "biqmac", "qs", "qplib") else 0
    numbers = tuple(range(first, first + size))
    names = numbers if labels is None else tuple(labels)
    if len(names) != size or len(set(names)) != size:
        raise ValueError(f"labels must be {size} different ones, got {len(names)}; pass one for each bit")
    if names != numbers and format not in ("coo", "bqm", "json", "qplib"):
        raise ValueError(f"format {format!r} holds no labels; choose 'bqm', 'json' or 'qplib', or leave them out")
    content = WRITERS[format](Model(problem.terms(), names, maximize))
    data = content.encode() if isinstance(content, str) else content
    path = Path(path)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read_rudy(path: str | os.PathLike[str]) -> Ising:
    """Reads a MAX-CUT problem, in the format of rudy and of the G-set, as the Ising problem of energy -cut.

    The first line is `n m`, vertices and edges; each of the next m is `i j` or `i j w`, an edge between vertices 1
    to n and its weight, by default 1. Vertices whose bits differ are on different sides of the cut. Empty lines, and
    lines that start with #, are skipped; a word that is no number may follow `n m`, as in the G-set's G1.

    Args:
      path: the file.

    Returns:
      An Ising problem of n spins, `E = Σ_{i<j} w_ij (σ_i σ_j - 1) / 2 = -cut`. Energies of integer weights are exact
      in float32 while the weights' absolute values sum to at most 2**23; beyond, `exact_energy` has them.

    Raises:
      ValueError: if the file is not of this format, is truncated or has an edge twice; with its name and the line.

    References:
      Rinaldi, "Rudy, a graph generator" (1998); Helmberg and Rendl, "A spectral bundle method for semidefinite
      programming", SIAM J. Optim. 10, 673 (2000), for the G-set.
    """
    return Ising.from_terms(READERS["rudy"](_load(path)).terms)


def read_biqmac(path: str | os.PathLike[str]) -> Qubo:
    """Reads a QUBO in the sparse format of the Biq Mac library.

    The first line is `n m`, bits and entries; each of the next m is `i j w`, an entry of the symmetric matrix, rows
    and columns from 1 to n, each pair once: an entry off the diagonal counts twice. Empty lines, and lines that
    start with #, are skipped.

    Args:
      path: the file.

    Returns:
      A QUBO of n bits, `E = Σ_i w_ii x_i + 2 Σ_{i<j} w_ij x_i x_j`, to be minimised as in the library. Energies of
      integer entries are exact in float32 while their absolute values sum to at most 2**23; beyond, `exact_energy`
      has them.

    Raises:
      ValueError: if the file is not of this format, is truncated or has an entry twice; with its name and the line.

    References:
      Wiegele, "Biq Mac Library: a collection of Max-Cut and quadratic 0-1 programming instances of medium size" (2007).
    """
    return Qubo.from_terms(READERS["biqmac"](_load(path)).terms)


def detect_format(source: Source) -> str:
    """The name of the format, from what is in the file; from its suffix only between rudy and biqmac.

    Raises:
      ValueError: if it is none of them.
    """
    for first, format in ((b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz"), (b"DIMODBQM", "bqm")):
        if source.data.startswith(first):
            return format
    text = source.text()
    if text.lstrip().startswith("{"):
        return "json"
    if text.startswith("%%MatrixMarket"):
        return "matrix-market"
    if any(line.startswith("p qubo") for line in text.split("\n")):
        return "qbsolv"
    if VARTYPE.search(text):
        return "coo"
    comments = [line for line in text.split("\n") if line.startswith("#")]
    if any("ObjectiveOffset" in line or "Vars Non-zeros" in line for line in comments):
        return "qs"
    if is_qplib(source):
        return "qplib"
    lines = [words for _, words in source.lines()]
    if not lines or len(lines[0]) < 2 or not all(word.isdecimal() for word in lines[0][:2]):
        first = " ".join(lines[0])[:80] if lines else ""
        raise ValueError(f"{source.name} is of no known format, it starts with {first!r}; pass {', '.join(READERS)}")
    if len(lines[0]) == 3 and len({len(words) for words in lines}) == 1 and not lines[0][2].isalpha():
        raise ValueError(
            f"{source.name} has no line `n m`; if it lists `i j bias`, write `# vartype=BINARY` or `# vartype=SPIN` "
            "in its first line"
        )
    is_qubo = any(len(words) == 3 and words[0] == words[1] for words in lines[1:])
    return "biqmac" if is_qubo or ".sparse" in Path(source.name).suffixes else "rudy"


def _load(path: str | os.PathLike[str]) -> Source:
    name, data = (
        ("standard input", sys.stdin.buffer.read()) if str(path) == "-" else (str(path), Path(path).read_bytes())
    )
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise ValueError(f"{name} is no complete gzip file: {error}; fetch it again") from error
    return Source(name, data)
