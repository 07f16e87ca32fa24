"""Every solver of the family at its default budget, on attention problems and on public instances.

    python -m experiments.benchmarks.family --instances DIR

DIR, by default the environment variable QAMA_INSTANCES, holds the instances and their `manifest.json`; without it only
attention problems are measured. Attention: one read, mean gap and time a problem in batches of 64. Instances: 16
reads, whether the best read is the known optimum, and its gap; and K2000 and G22 with a stated budget of their own.
"""

import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import qama_jax
from experiments.benchmarks import instances
from experiments.benchmarks.harness import make_parser
from experiments.benchmarks.solver import LONG, SHAPES, random_problems, solve_each
from experiments.result_files import RESULTS, Result, ResultLines, load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import SimulatedBifurcation

SOLVERS = (
    qama_jax.SimulatedBifurcation(),
    qama_jax.MeanFieldAnnealing(),
    qama_jax.SteepestDescent(),
    qama_jax.SimulatedAnnealing(),
    qama_jax.IteratedAnnealing(),
    qama_jax.ParallelTempering(),
    qama_jax.PathIntegralAnnealing(),
    qama_jax.BlockGibbs(),
    qama_jax.CoherentIsingMachine(),
)
BATCH = 64
READS = 16
# Large cuts: the couplings and the pump of the literature, more heating.
CUT_SOLVER = SimulatedBifurcation(
    num_steps=1000, num_reads=128, coupling_strength=0.5, pump=(0.0, 1.0), heating=0.2, initial_amplitude=0.1
)
_FILE = "benchmark_family.jsonl"
LARGE = ("K2000", "G22", "G1", "G11")


def on_attention(solver: Any, shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Gap to the stored annealed energies and to 64 reads of bifurcation, and time."""
    annealed = load("benchmark_solver")["annealed"]["x".join(map(str, shape))]
    problems = jax.tree.map(lambda leaf: leaf[:BATCH], random_problems(shape, SHAPES[shape], 0))
    size = min(BATCH, SHAPES[shape])
    keys = jax.random.split(jax.random.key(0), (2, size))
    own = solve_each(keys[0], problems, LONG).energy
    reference = np.minimum(annealed[:size], own)
    gap = qama_jax.analysis.relative_gap(solve_each(keys[1], problems, solver).energy, reference)
    seconds = interleave({"solve": lambda: solve_each(keys[1], problems, solver).bits}, repeats)["solve"]
    return {
        "batch": size,
        "mean_gap": float(gap.mean),
        "standard_error": float(gap.standard_error),
        "seconds_per_problem": {name: value / size for name, value in summary(seconds).items()},
    }


def on_instance(solver: Any, folder: Path, name: str) -> dict[str, Any]:
    """Best of the reads, its gap to the best known energy, and the seconds of a compiled run."""
    problem, best_known = instances.load(folder, name)
    solved = qama_jax.solve(jax.random.key(0), problem, solver).energy.block_until_ready()
    start = time.perf_counter()
    solved = float(qama_jax.solve(jax.random.key(1), problem, solver).energy)
    seconds = time.perf_counter() - start
    gap = (solved - best_known) / abs(best_known)
    return {
        "bits": problem.shape[0],
        "energy": solved,
        "best_known": best_known,
        "gap": gap,
        "reached": bool(gap < 1e-6),
        "seconds": seconds,
    }


def attention_table() -> Table:
    """Gap and time of every solver at its defaults on attention problems."""
    rows: dict[str, str] = {}
    lines = _of_part("attention")
    for line in lines:
        name, time = line["solver"].partition("(")[0], line["seconds_per_problem"]["median_s"]
        rows.setdefault(line["solver"], f"`{name}`")
        rows[line["solver"]] += f" | {line['mean_gap']:.2%}, {time * 1e6:,.0f} µs"
    shapes = " | ".join(dict.fromkeys(str(tuple(line["shape"])) for line in lines))
    return Table.of(f"solver | {shapes}", rows.values())


def optima_table() -> Table:
    """Optima found among small instances, and cuts of large ones, at default settings and 16 reads."""
    rows, scores = [], _of_part("instances")
    for solver in dict.fromkeys(line["solver"] for line in scores):
        own = {line["instance"]: line for line in scores if line["solver"] == solver}
        small = [line for name, line in own.items() if name not in LARGE]
        found = f"{sum(line['reached'] for line in small)} of {len(small)}"
        gap = f"{sum(line['gap'] for line in small) / len(small):.2%}"
        cuts = " | ".join(f"{-own[name]['energy']:,.0f}" for name in LARGE)
        rows.append(f"`{solver.partition('(')[0]}` | {found} | {gap} | {cuts}")
    stated = _of_part("cuts")
    cuts = (f"{line['instance']} {-line['energy']:,.0f} in {line['seconds']:.1f} s" for line in stated)
    note = f"With a budget of their own, `{stated[0]['solver']}`: {', '.join(cuts)}."
    return Table.of(f"solver | optima found | mean gap | {' | '.join(LARGE)}", rows, note=note)


def _of_part(part: str) -> list[Result]:
    return [line for line in _lines(RESULTS / _FILE).read() if line["part"] == part]


def _lines(path: Path) -> ResultLines:
    return ResultLines(path, "part", "solver", "shape", "instance")


TABLES = {"family": attention_table, "optima": optima_table}


def main() -> None:
    """Runs what the result file does not have yet."""
    parser = make_parser(__doc__, _FILE, repeats=5)
    parser.add_argument("--instances", type=Path, default=os.environ.get("QAMA_INSTANCES"))
    parser.add_argument("--fresh", action="store_true", help="measure again what the result file has")
    names = [type(solver).__name__ for solver in SOLVERS]
    parser.add_argument("--solvers", nargs="+", choices=names, default=names, help="which of them")
    options = parser.parse_args()
    lines = _lines(options.result)

    solvers = [solver for solver in SOLVERS if type(solver).__name__ in options.solvers]
    for solver in solvers:
        for shape in SHAPES:
            header = {"part": "attention", "solver": repr(solver), "shape": shape}
            lines.fill(header, partial(on_attention, solver, shape, options.repeats), fresh=options.fresh)
    if options.instances is None:
        print("no instances: pass --instances or set QAMA_INSTANCES")
        return
    with_reads = [dataclasses.replace(solver, num_reads=READS) for solver in solvers]
    asked = [("instances", solver, name) for solver in with_reads for name in instances.names(options.instances)]
    if type(CUT_SOLVER).__name__ in options.solvers:
        asked += [("cuts", CUT_SOLVER, name) for name in ("K2000", "G22")]
    for part, solver, name in asked:
        header = {"part": part, "solver": repr(solver), "instance": name}
        lines.fill(header, partial(on_instance, solver, options.instances, name), fresh=options.fresh)


if __name__ == "__main__":
    main()
