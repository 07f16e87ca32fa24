"""Time to the best known cut with a probability of 99 %, as the literature gives it.

A run is one read of a batch. `TTS99 = t ln 0.01 / ln(1 - p)`, t being the time of the batch over its reads, and p the
share of reads that reach the best known cut; its interval is that of p (Clopper and Pearson, 95 %). Reads of a batch
differ in their random numbers alone.
"""

import dataclasses
import time
from functools import partial

import jax
import numpy as np
import scipy.stats

from experiments.benchmarks import instances
from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table
from qama_jax import Ising, IteratedAnnealing, SimulatedAnnealing, SimulatedBifurcation, auto_solver, solve
from qama_jax.analysis import time_to_solution
from qama_jax.solvers import Solver

# Abstract of arXiv:2508.17655, by the authors of discrete bifurcation.
_PUBLISHED = (
    "Published, by machines made for it: K2000 in 1.3 s by simulated bifurcation, in 0.01 s by its generalised form "
    "(Goto, Hidaka, Tatsumura, arXiv:2508.17655)."
)


def candidates(problem: Ising, runs: int) -> list[Solver]:
    """The solver of `auto_solver` at several lengths, beside annealing or the other mode; the fastest counts."""
    solver = auto_solver(problem)
    if isinstance(solver, SimulatedBifurcation):
        long = dataclasses.replace(solver, num_steps=4000, num_reads=runs)
        return [
            dataclasses.replace(long, num_steps=1000),
            long,
            dataclasses.replace(long, mode="discrete", heating=0.0),
        ]
    annealing = SimulatedAnnealing(num_reads=runs, beta_range=solver.beta_range)
    solvers: list[Solver] = [dataclasses.replace(annealing, num_sweeps=sweeps) for sweeps in (500, 2000, 8000)]
    if isinstance(solver, IteratedAnnealing):
        solvers += [dataclasses.replace(solver, num_sweeps=sweeps, num_reads=runs) for sweeps in (32, 128)]
    return solvers


def measure(found: instances.Found, lines: ResultLines, runs: int, seed: int) -> None:
    """Adds the graphs and settings that the file lacks."""
    for name, instance in found.items():
        for solver in candidates(instance[0], runs):
            header = {"part": "tts", "name": f"{name} {solver!r}", "graph": name, "solver": repr(solver), "seed": seed}
            lines.fill(header, partial(_time, *instance, solver, runs, seed))


def _time(problem: Ising, best: float, solver: Solver, runs: int, seed: int) -> Result:
    compiled = jax.jit(solve, static_argnums=2).lower(jax.random.key(seed), problem, solver).compile()
    start = time.perf_counter()
    energies = np.asarray(compiled(jax.random.key(seed), problem).read_energies)
    seconds = (time.perf_counter() - start) / runs
    successes = int(np.sum(energies <= best))
    low, high = scipy.stats.binomtest(successes, runs).proportion_ci(0.95)
    return {
        "best": -best,
        "best_found": -float(energies.min()),
        "runs": runs,
        "successes": successes,
        "run_s": seconds,
        "tts99_s": _time_to_solution(seconds, successes / runs),
        "interval_s": [_time_to_solution(seconds, float(share)) for share in (high, low)],
    }


def make_table(lines: list[Result]) -> Table:
    """The fastest setting of each graph."""
    rows = []
    for graph in dict.fromkeys(line["graph"] for line in lines):
        own = [line for line in lines if line["graph"] == graph]
        line = min(own, key=lambda line: float("inf") if line["tts99_s"] is None else line["tts99_s"])
        low, high = (_seconds(seconds) for seconds in line["interval_s"])
        found = f"{line['successes']} of {line['runs']} | {_seconds(line['tts99_s'])} | {low} to {high}"
        rows.append(f"{graph} | {line['best']:,.0f} | `{line['solver']}` | {found}")
    header = "graph | best known | fastest of the settings tried | successes | TTS99, s | 95 % interval"
    return Table.of(header, rows, note=_PUBLISHED)


def _seconds(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"


def _time_to_solution(seconds: float, share: float) -> float | None:
    """None for never; never below one run."""
    return max(seconds, float(time_to_solution(seconds, share))) if share else None


TABLES = {"general_tts": partial(table_of, "tts", make_table)}
