"""The instances of at most 250 bits with what the command line runs by default, one call, and its time."""

import statistics

import jax

from experiments.benchmarks import instances
from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table
from qama_jax import auto_solver, search

MOST_BITS = 250


def measure(found: instances.Found, lines: ResultLines, seed: int) -> None:
    """Adds the instances that the file lacks."""
    for name, (problem, best) in found.items():
        header = {"part": "optima", "name": name, "seed": seed}
        if lines.find(header) is not None:
            continue
        solver = auto_solver(problem)
        result = search(jax.random.key(seed), problem, solver, max_calls=1)
        lines.add(
            header
            | {
                "bits": problem.shape[0],
                "best": best,
                "energy": result.energy,
                "reached": bool(result.energy <= best),
                "seconds": result.run_seconds,
                "compile_s": result.compile_seconds,
                "solver": repr(solver),
            }
        )
        print(f"{name}: {result.energy} of {best} in {result.run_seconds:.2f} s", flush=True)


def make_table(lines: list[Result]) -> Table:
    """What was found, and how long it took."""
    missed = [f"{line['name']} ({line['energy']:g} of {line['best']:g})" for line in lines if not line["reached"]]
    slowest = max(lines, key=lambda line: line["seconds"])
    rows = [
        ("optima found", f"{len(lines) - len(missed)} of {len(lines)}"),
        ("missed", ", ".join(missed) or "none"),
        ("seconds, median", f"{statistics.median(line['seconds'] for line in lines):.2f}"),
        ("slowest", f"{slowest['name']}, {slowest['seconds']:.2f} s"),
    ]
    return Table(("instances of at most 250 bits", ""), rows)


def table() -> Table:
    """Of the result file."""
    return table_of("optima", make_table)
