"""The command `qama-jax`: solves a file, and lists the solvers."""

import argparse
import ast
import dataclasses
import importlib.metadata
import inspect
import json
import re
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import qama_jax.solvers
from qama_jax.problems import Problem, Qubo, read_biqmac, read_rudy
from qama_jax.seeds import choose_seed
from qama_jax.solvers import Solver, solve

_SUFFIXES = {".sparse": "biqmac", ".npy": "npy", ".rud": "rudy", ".rudy": "rudy", ".mc": "rudy"}
_READS_PER_CALL = 16  # enough to fill the matrix products, few enough for the progress bar to move


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; the arguments are by default those of the process.

    Raises:
      SystemExit: with code 2, and one line on stderr, where the arguments or the file are not as they should be.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, MemoryError) as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("qama-jax", description="Minimises QUBO, Ising and MAX-CUT problems with JAX.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    solving = commands.add_parser("solve", help="solve the problem in a file and print the result as JSON")
    solving.set_defaults(run=_solve_file)
    solving.add_argument("file", type=Path, help="a MAX-CUT (rudy), a QUBO (Biq Mac), or a QUBO matrix (.npy)")
    solving.add_argument("--format", choices=_READERS, help="by default told from the file's suffix")
    solving.add_argument("--solver", choices=_solvers(), default="simulated-bifurcation", metavar="NAME")
    solving.add_argument("--reads", type=int, metavar="N", help="independent runs; by default the solver's number")
    solving.add_argument("--seed", type=int, help="integer below 2**32; by default a fresh one")
    solving.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the solver")
    solving.add_argument("--output", type=Path, metavar="FILE", help="where to write the JSON, instead of stdout")

    listing = commands.add_parser("solvers", help="list the solvers, or the settings of one")
    listing.set_defaults(run=_list_solvers)
    listing.add_argument("name", nargs="?", choices=_solvers(), metavar="NAME")
    return parser


def _solvers() -> dict[str, type]:
    """The solvers of `qama_jax.solvers` by their names in kebab-case."""
    return {
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower(): value
        for name, value in vars(qama_jax.solvers).items()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__dataclass_params__.frozen
        and (hasattr(value, "num_reads") or "num_reads" in value.__dataclass_fields__)
        and hasattr(value, "sample")
    }


def _list_solvers(options: argparse.Namespace) -> None:
    solvers = _solvers()
    if options.name is None:
        width = max(map(len, solvers))
        for name, solver in solvers.items():
            print(f"{name:{width}}  {inspect.getdoc(solver).splitlines()[0]}")
        return
    fields = dataclasses.fields(solvers[options.name])
    for field in fields:
        print(f"{field.name} = {_default(field)}")
    if not fields:
        print(f"{options.name} has no settings")


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "(required)" if field.default is dataclasses.MISSING else repr(field.default)


def _solve_file(options: argparse.Namespace) -> None:
    if options.output is not None and (options.output.is_dir() or not options.output.parent.is_dir()):
        raise ValueError(f"--output: cannot write {options.output}; name a file in an existing folder")
    solver = _make_solver(options)
    seed = choose_seed(options.seed)
    form = options.format or _guess_format(options.file)
    with np.errstate(over="ignore"):  # an entry beyond the float type shows in the energies, below
        problem = _READERS[form](options.file)
    reads, energies, seconds = _run(jax.random.key(seed), problem, solver)
    if not np.all(np.isfinite(energies)):
        raise ValueError(f"energies overflow {energies.dtype}; scale the problem down or set JAX_ENABLE_X64=1")
    best = int(np.argmin(energies))
    device = jax.devices()[0]
    report = {
        "file": str(options.file),
        "format": form,
        "num_bits": problem.shape[0],
        "energy": float(energies[best]),
        **({"cut": 0.0 - float(energies[best])} if form == "rudy" else {}),
        "bits": reads[best].tolist(),
        "read_energies": energies.tolist(),
        "solver": repr(solver),
        "seed": seed,
        "seconds": seconds,
        "versions": {"qama-jax": importlib.metadata.version("qama-jax"), "jax": jax.__version__},
        "device": {"platform": device.platform, "kind": device.device_kind},
    }
    text = "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in report.items()) + "\n}"
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text + "\n", encoding="utf-8")


def _make_solver(options: argparse.Namespace) -> Solver:
    solver_class = _solvers()[options.solver]
    names = [field.name for field in dataclasses.fields(solver_class)]
    settings = dict(_parse_setting(text, names, options.solver) for text in options.set)
    if len(settings) < len(options.set):
        raise ValueError("--set: a setting is there twice; keep one")
    if options.reads is not None:
        if "num_reads" not in names:
            raise ValueError(f"--reads: {options.solver} makes {solver_class.num_reads} by its nature; leave it out")
        if "num_reads" in settings:
            raise ValueError("--reads and --set num_reads say the same; keep one")
        settings["num_reads"] = options.reads
    try:
        solver = solver_class(**settings)
        hash(solver)
    except TypeError as error:
        raise ValueError(
            f"--set: {options.solver} does not take these settings ({error}); "
            f"see `qama-jax solvers {options.solver}`, and write sequences as tuples"
        ) from error
    return solver


def _parse_setting(text: str, names: list[str], solver: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: expected NAME=VALUE")
    if name not in names:
        raise ValueError(f"--set: {solver} has no setting {name!r}; it has {', '.join(names) or 'none'}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"--set: the value of {name} is no Python literal: {value}; write strings in quotes, \"{name}='text'\""
        ) from error


def _guess_format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"the suffix of {path} does not tell its format; pass --format {', '.join(_READERS)}")
    return _SUFFIXES[suffix]


def _read_matrix(path: Path) -> Qubo:
    try:
        with path.open("rb") as file:
            matrix = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npy file of numbers; write it by numpy.save") from error
    if not isinstance(matrix, np.ndarray) or not np.issubdtype(matrix.dtype, np.number):
        raise ValueError(f"{path} does not hold one array of numbers; write the matrix by numpy.save")
    if not np.all(np.isfinite(matrix)):
        raise ValueError(f"{path} has entries that are not finite; replace them")
    return Qubo(matrix)


_READERS = {"rudy": read_rudy, "biqmac": read_biqmac, "npy": _read_matrix}


def _run(key: jax.Array, problem: Problem, solver: Solver) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Reads, their energies, and the seconds that compiling and running took, with a bar on a terminal's stderr.

    Reads run in calls of one size, compiled once; what the last call makes beyond the number asked for is dropped.
    Up to `_READS_PER_CALL` reads are one call, and the result that of `qama_jax.solve` with this key.
    """
    num_reads = solver.num_reads
    num_calls = -(-num_reads // _READS_PER_CALL)
    keys = [key]
    if num_calls > 1:
        keys = jax.random.split(key, num_calls)
        solver = dataclasses.replace(solver, num_reads=-(-num_reads // num_calls))

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("compiling", total=num_reads)
        start = time.perf_counter()
        compiled = jax.jit(solve, static_argnums=2).lower(key, problem, solver).compile()
        compiled_at = time.perf_counter()
        progress.update(bar, description="reads")
        solutions = []
        for key in keys:
            solutions.append(jax.device_get(compiled(key, problem)))
            progress.update(bar, completed=min(len(solutions) * solver.num_reads, num_reads))
        seconds = {"compile": compiled_at - start, "run": time.perf_counter() - compiled_at}
    reads = np.concatenate([solution.reads for solution in solutions])[:num_reads]
    energies = np.concatenate([solution.read_energies for solution in solutions])[:num_reads]
    return reads, energies, seconds
