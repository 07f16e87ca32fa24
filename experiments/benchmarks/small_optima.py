"""The instances of at most 250 bits with what the command line runs by default, one call, and its time."""

import statistics
from functools import partial

import jax

from experiments.benchmarks import instances
from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table
from qama_jax import Ising, Qubo, auto_solver, search

MOST_BITS = 250


def measure(found: instances.Found, lines: ResultLines, seed: int) -> None:
    """Adds the instances that the file lacks."""
    for name, instance in found.items():
        lines.fill({"part": "optima", "name": name, "seed": seed}, partial(_solve, *instance, seed))


def _solve(problem: Qubo | Ising, best: float, seed: int) -> Result:
    solver = auto_solver(problem)
    result = search(jax.random.key(seed), problem, solver, max_calls=1)
    found = {"best": best, "energy": result.energy, "reached": bool(result.energy <= best)}
    seconds = {"seconds": result.run_seconds, "compile_s": result.compile_seconds}
    return {"bits": problem.shape[0]} | found | seconds | {"solver": repr(solver)}


def make_table(lines: list[Result]) -> Table:
    """What was found, and how long it took."""
    missed = [f"{line['name']} ({line['energy']:g} of {line['best']:g})" for line in lines if not line["reached"]]
    slowest = max(lines, key=lambda line: line["seconds"])
    rows = [
        f"optima found | {len(lines) - len(missed)} of {len(lines)}",
        f"missed | {', '.join(missed) or 'none'}",
        f"seconds, median | {statistics.median(line['seconds'] for line in lines):.2f}",
        f"slowest | {slowest['name']}, {slowest['seconds']:.2f} s",
    ]
    return Table.of("instances of at most 250 bits | ", rows)


TABLES = {"general_optima": partial(table_of, "optima", make_table)}
