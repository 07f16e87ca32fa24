"""The subcommand `solve`."""

import argparse
import dataclasses
import importlib.metadata
import json
import sys
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from qama_jax.cli.cache import keep_programs
from qama_jax.cli.solvers import AUTO, make_solver
from qama_jax.problems.files import ProblemFile, read_problem
from qama_jax.seeds import choose_seed
from qama_jax.solvers import Solver
from qama_jax.solvers.search import Call, SearchResult, search

_READS_PER_CALL = 16  # enough to fill the matrix products, few enough for the progress bar to move


def solve_file(options: argparse.Namespace) -> None:
    """Solves the problem of a file as the options say, and prints or writes the result as JSON.

    Raises:
      ValueError: if the options, or the content of the file, are not as they should be.
    """
    if options.output is not None and (options.output.is_dir() or not options.output.parent.is_dir()):
        raise ValueError(f"--output: cannot write {options.output}; name a file in an existing folder")
    if not options.no_cache:
        keep_programs(options.compilation_cache)
    seed = choose_seed(options.seed)
    file = read_problem(options.file, options.format, graph=options.graph)
    if options.maximize and not file.maximize:
        file = file._replace(problem=type(file.problem).from_terms(file.problem.terms().negated()), maximize=True)
    key = jax.random.key(seed)
    limited = options.time_limit is not None or options.target is not None
    # Within limits, the search itself chooses a solver and adapts it; not with reads of one's own.
    adapts = limited and options.solver == AUTO and options.reads is None and not options.set
    solver = None if adapts else make_solver(options, file.problem)
    if solver is None or limited:
        found, reads = _search_with_limit(options, key, file, solver)
    else:
        found, reads = _search_for_reads(key, file, solver)
    device = jax.devices()[0]
    report = {
        "file": options.file,
        "format": file.format,
        "num_bits": file.problem.shape[0],
        **_result(file, found, reads, limited, options.states),
        "solver": repr(found.solver if limited else solver),
        "seed": seed,
        "stopped": found.stopped,
        "seconds": {"compile": found.compile_seconds, "run": found.run_seconds, "to_best": found.seconds_to_best},
        "versions": {"qama-jax": importlib.metadata.version("qama-jax"), "jax": jax.__version__},
        "device": {"platform": device.platform, "kind": device.device_kind},
    }
    lines = (f" {json.dumps(name)}: {json.dumps(value, default=str)}" for name, value in report.items())
    text = "{\n" + ",\n".join(lines) + "\n}"
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text + "\n", encoding="utf-8")


def _search_for_reads(key: jax.Array, file: ProblemFile, solver: Solver) -> tuple[SearchResult, np.ndarray]:
    """As many reads as the solver makes.

    They run in calls of one size, and what the last call makes beyond that number is dropped. Up to `_READS_PER_CALL`
    reads are one call, and the result that of `qama_jax.solve` with this key.
    """
    num_reads = solver.num_reads
    num_calls = -(-num_reads // _READS_PER_CALL)
    if num_calls > 1:
        solver = dataclasses.replace(solver, num_reads=-(-num_reads // num_calls))
    reads = []
    with _Bar(file, total=num_calls) as bar:

        def on_call(call: Call) -> None:
            reads.append(call.solution.reads)
            bar.show(call, call.index + 1)

        found = search(key, file.problem, solver, max_calls=num_calls, on_call=on_call)
    return found, np.concatenate(reads)[:num_reads]


def _search_with_limit(
    options: argparse.Namespace, key: jax.Array, file: ProblemFile, solver: Solver | None
) -> tuple[SearchResult, np.ndarray]:
    """Until time or target are reached; reads are kept where states are asked for, else the best alone."""
    target = -options.target if options.target is not None and file.maximize else options.target
    reads = []
    with _Bar(file, total=options.time_limit) as bar:

        def on_call(call: Call) -> None:
            if options.states:
                reads.append(call.solution.reads)
            bar.show(call, call.run_seconds)

        found = search(key, file.problem, solver, time_limit_s=options.time_limit, target=target, on_call=on_call)
    return found, np.concatenate(reads) if reads else found.bits[None]


class _Bar:
    """A progress bar on a terminal's stderr, with the best so far."""

    def __init__(self, file: ProblemFile, total: float | None):
        self.sign = -1 if file.maximize else 1
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        self.progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self.task = self.progress.add_task("compiling", total=total)

    def __enter__(self) -> "_Bar":
        if not self.progress.disable:  # where older versions of rich print a line
            self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.progress.disable:
            self.progress.stop()

    def show(self, call: Call, completed: float) -> None:
        """Shows the state after a call."""
        if not np.all(np.isfinite(call.solution.read_energies)):
            dtype = call.solution.read_energies.dtype
            raise ValueError(f"energies overflow {dtype}; scale the problem down or set JAX_ENABLE_X64=1")
        self.progress.update(self.task, description=f"best {self.sign * call.energy:,}", completed=completed)


def _result(
    file: ProblemFile, found: SearchResult, reads: np.ndarray, limited: bool, with_states: bool
) -> dict[str, Any]:
    energies = file.problem.terms().energies(reads)
    best = np.argmin(energies)
    result: dict[str, Any] = {"energy": energies[best].item()}
    if file.maximize:
        result["cut" if file.is_cut else "objective"] = 0 - result["energy"]
    result["bits"] = reads[best].tolist()
    if file.labels not in (tuple(range(len(file.labels))), tuple(range(1, len(file.labels) + 1))):
        result["labels"] = list(file.labels)
    result |= {"call_energies": found.call_energies} if limited else {"read_energies": energies.tolist()}
    if with_states:
        states, first, counts = np.unique(reads, axis=0, return_index=True, return_counts=True)
        result["states"] = [
            {"energy": energies[first[i]].item(), "count": int(counts[i]), "bits": states[i].tolist()}
            for i in np.argsort(energies[first], kind="stable")
        ]
    return result
