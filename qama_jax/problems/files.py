"""Problems from files and to files: the formats in which people have them, told by what is in the file."""

import gzip
import os
import sys
import warnings
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qama_jax.problems.formats import FORMATS, Format
from qama_jax.problems.formats.model import Model
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
      is_cut: whether the objective is the weight of a cut.
    """

    problem: Qubo | Ising
    format: str
    labels: tuple[Hashable, ...]
    maximize: bool
    is_cut: bool = False

    def objective(self, bits: Any) -> int | float | np.ndarray:
        """The file's objective, its constant included, of bits [n] or [reads, n]; exact, see `exact_energy`."""
        energy = self.problem.exact_energy(bits)
        return 0 - energy if self.maximize else energy


def read_problem(path: str | os.PathLike[str], format: str | None = None, *, graph: bool = False) -> ProblemFile:
    """Reads a problem from a file of any of the formats, also compressed by gzip.

    | format | what it is | told by |
    |---|---|---|
    | rudy | MAX-CUT, G-set: `n m`, then `i j` or `i j w`, from 1 | no entry `i i w` |
    | biqmac | QUBO of Biq Mac: `n m`, then `i j w` of a symmetric matrix, from 1 | an entry `i i w`; .sparse |
    | qs | QUBO of QOBLIB: as biqmac, with a constant | `# ObjectiveOffset` or `# Vars Non-zeros` |
    | qubist | Ising problem of Qubist: `n m`, then `i i h` and `i j J`, from 0 | an entry `0 0 h`; .qh |
    | qbsolv | QUBO of qbsolv, with the scale and offset of bqpjson's comments | `p qubo` |
    | coo | D-Wave's COO text | `# vartype=` |
    | bqm, json | dimod's `bqm.to_file()` and `bqm.to_serializable()` | their first bytes |
    | bqpjson | bqpjson, with its scale and offset | `"variable_domain"` |
    | lp | LP as dimod reads it, binary without constraints | Minimize or Maximize, the first word |
    | qplib | QPLIB, binary without constraints | the type, such as QBN, in the second line |
    | matrix-market, npy, npz, csv | a matrix M of `xᵀ M x` | their first bytes, or commas; with a diagonal |
    | kaiwu | .csv of an Ising matrix M of Kaiwu, `-σᵀ M σ` | nothing, as it may be csv |
    | dimacs, edge-list | `p edge` with `e i j`; `i j` or `i j w` alone | only with `graph` |

    What can be of two formats, such as indices that are neither 0 nor n, is refused with their names. So is a matrix
    whose diagonal is 0, which is a QUBO or a graph: name its format for the QUBO.

    Args:
      path: the file, or "-" for standard input.
      format: its format; by default told from its content.
      graph: to read a matrix or a list of edges as the graph whose largest cut is sought: symmetric matrices or one
        half of them, with weights as entries; rudy also with vertices from 0.

    Returns:
      A `ProblemFile`.

    Raises:
      ValueError: if the file is not of the format, may be of several, is truncated or has an entry twice; with its
        name and the line.

    Example:
      >>> import pathlib, tempfile, qama_jax
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "triangle.txt"
      >>> _ = path.write_text("3 3\\n1 2 1\\n2 3 2\\n1 3 -1\\n")
      >>> file = qama_jax.read_problem(path)
      >>> file.format, file.labels, file.objective([0, 0, 1])
      ('rudy', (1, 2, 3), 1)
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    source = _load(path)
    form = _detect(source, graph) if format is None else FORMATS[format]
    try:
        model = _read(form, source, graph)
        if model.may_be_graph and format is None:
            raise ValueError(
                f"{source.name} has a matrix M whose diagonal is 0, of a graph or of a QUBO; pass graph=True (--graph) "
                f"for the largest cut, or format={form.name!r} (--format {form.name}) for the lowest xᵀ M x"
            )
        problem = (Ising if model.terms.spins else Qubo).from_terms(model.terms)
    except ValueError as error:
        if str(error).startswith(source.name):
            raise
        raise ValueError(f"{source.name}: {error}") from error
    return ProblemFile(problem, form.name, model.labels, model.maximize, model.is_cut)


def write_problem(
    problem: Qubo | Ising,
    path: str | os.PathLike[str],
    format: str,
    *,
    labels: Sequence[Hashable] | None = None,
    maximize: bool = False,
) -> None:
    """Writes a problem to a file that `read_problem`, told the same format, reads as the same problem.

    Args:
      problem: what is minimised.
      path: the file; compressed where it ends in .gz.
      format: one of the formats of `read_problem`.
      labels: names of the variables; by default their numbers, from 1 or 0 as the format has them.
      maximize: for qplib and lp, to write the negative, which is to be maximised.

    Raises:
      ValueError: if the format cannot hold all of the problem, such as its offset, names, or linear terms of a cut.
    """
    form = FORMATS.get(format)
    if form is None or form.write is None:
        writers = ", ".join(name for name, other in FORMATS.items() if other.write is not None)
        raise ValueError(f"format must be one of {writers}, got {format!r}")
    if maximize and not form.maximize:
        others = " or ".join(repr(name) for name, other in FORMATS.items() if other.maximize)
        raise ValueError(f"maximize cannot be written in format {format!r}; choose {others}, or leave it out")
    size = problem.shape[0]
    numbers = tuple(range(form.first_index, form.first_index + size))
    names = numbers if labels is None else tuple(labels)
    if len(names) != size or len(set(names)) != size:
        raise ValueError(f"labels must be {size} different ones, got {len(names)}; pass one for each bit")
    if names != numbers and not form.labels:
        raise ValueError(f"format {format!r} holds no labels; choose 'bqm', 'json' or 'qplib', or leave them out")
    content = form.write(Model(problem.terms(), names, maximize))
    data = content.encode() if isinstance(content, str) else content
    path = Path(path)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read_rudy(path: str | os.PathLike[str]) -> Ising:
    """Deprecated: `read_problem(path, format="rudy").problem`, the Ising problem of energy -cut."""
    return _deprecated_reader("rudy", path)


def read_biqmac(path: str | os.PathLike[str]) -> Qubo:
    """Deprecated: `read_problem(path, format="biqmac").problem`, the QUBO of Biq Mac's sparse format."""
    return _deprecated_reader("biqmac", path)


def _deprecated_reader(form: str, path: str | os.PathLike[str]) -> Any:
    replacement = f'read_problem(path, format="{form}").problem'
    message = f"read_{form} is deprecated and will be removed in the next version; use {replacement}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return read_problem(path, form).problem


def _read(form: Format, source: Source, graph: bool) -> Model:
    if not graph:
        return form.read(source)
    if form.read_graph is None:
        graphs = ", ".join(name for name, other in FORMATS.items() if other.read_graph is not None)
        raise ValueError(
            f"{source.name} is of format {form.name}, which holds no graph, as {graphs} do; leave out graph"
        )
    return form.read_graph(source)


def _detect(source: Source, graph: bool) -> Format:
    """The format of a file, from what is in it; of those that hold graphs, if it is to be one.

    Raises:
      ValueError: if it is of none of them, or may be of several.
    """
    found = [form for form in FORMATS.values() if form.detect(source)]
    if graph and any(form.read_graph for form in found):
        found = [form for form in found if form.read_graph]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(form.name for form in found)
        remedies = [f"format={form.name!r} (--format {form.name})" for form in found]
        if not graph and any(form.read_graph for form in found):
            remedies.append("graph=True (--graph) for the largest cut of a graph")
        raise ValueError(f"{source.name} may be of format {names}; pass {', or '.join(remedies)}")
    first = " ".join(source.first_words())[:80] if source.is_text else source.data[:16]
    raise ValueError(
        f"{source.name} is of no known format, it starts with {first!r}; pass one of {', '.join(FORMATS)}, or convert "
        "it: biases h and J of spins by dimod.BinaryQuadraticModel.from_ising(h, J).to_file(), constraints by "
        "dimod.cqm_to_bqm, other graphs by networkx.to_scipy_sparse_array and scipy.sparse.save_npz"
    )


def _load(path: str | os.PathLike[str]) -> Source:
    name, data = (
        ("standard input", sys.stdin.buffer.read()) if str(path) == "-" else (str(path), Path(path).read_bytes())
    )
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise ValueError(f"{name} is not a complete gzip file: {error}; fetch it again") from error
    return Source(name, data)
