"""`search` with `auto_solver` against dwave-samplers at equal wall time, on MAX-CUT instances.

Each side has the same seconds and all cores: ours one process, dwave-samplers one for each core, with either one long
run each or as many of 1,000 sweeps as there is time for, and the better of the two counts. Compilation and the start
of processes are outside. The sides run in turn.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import instances
from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table
from qama_jax import Ising, search

_SHORT = 1_000


def measure(found: instances.Found, lines: ResultLines, plan: Iterable[tuple[float, int]]) -> None:
    """Adds what the file lacks of `plan`: of every limit in seconds, so many runs."""
    # Forked, a process that has threads of JAX may wait for ever.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for limit, runs in plan:
            for seed in range(runs):
                for name, instance in found.items():
                    header = {"part": "cuts", "name": name, "limit_s": limit, "seed": seed}
                    lines.fill(header, partial(_compare, pool, *instance, seed, limit))


def _compare(pool: ProcessPoolExecutor, problem: Ising, best: float, seed: int, limit: float) -> Result:
    return {"best": -best, "ours": ours(problem, seed, limit), "theirs": theirs(pool, problem, seed, limit)}


def make_table(lines: list[Result]) -> Table:
    """Cuts of both sides at equal time."""
    runs: dict[tuple[float, str], list[Result]] = {}
    for line in lines:
        runs.setdefault((line["limit_s"], line["name"]), []).append(line)
    rows, ahead = [], 0
    for (limit, graph), own in sorted(runs.items(), key=lambda item: item[0][0]):
        ours, theirs = ([run[side]["cut"] for run in own] for side in ("ours", "theirs"))
        median, best = statistics.median(ours), own[-1]["best"]
        ahead += median >= statistics.median(theirs)
        cuts = f"{_interval(ours)} | {median / best:.2%} | {_interval(theirs)}"
        rows.append(f"{graph} | {limit:g} s | {best:,.0f} | {cuts} | {len(own)}")
    note = f"Median (lowest to highest of the runs). Ours is not behind in {ahead} of {len(rows)} rows."
    header = "graph | limit | best known | ours | of the best known | dwave-samplers | runs"
    return Table.of(header, rows, note=note)


def _interval(cuts: list[float]) -> str:
    median = f"{statistics.median(cuts):,.0f}"
    return median if len(cuts) == 1 else f"{median} ({min(cuts):,.0f} to {max(cuts):,.0f})"


def ours(problem: Ising, seed: int, limit: float) -> dict[str, Any]:
    """The best cut within the limit."""
    found = search(jax.random.key(seed), problem, time_limit_s=limit)
    return {
        "cut": -found.energy,
        "seconds": found.run_seconds,
        "to_best_s": found.seconds_to_best,
        "compile_s": found.compile_seconds,
        "solver": repr(found.solver),
    }


def theirs(pool: ProcessPoolExecutor, problem: Ising, seed: int, limit: float) -> dict[str, Any]:
    """The better cut of one long run a core and of many short ones, each within the limit."""
    bqm = problem.to_bqm()
    arms = {}
    for arm in ("long", "short"):
        cores = os.cpu_count() or 1
        start = time.perf_counter()
        jobs = [pool.submit(_anneal, bqm, cores * seed + core, limit, arm) for core in range(cores)]
        results = [job.result() for job in jobs]
        arms[arm] = {
            "cut": max(-problem.exact_energy(bits) for bits, *_ in results),
            "seconds": max(seconds for _, seconds, _ in results),
            "sweeps": results[0][2],
            "wall_s": time.perf_counter() - start,
        }
    return {"cut": max(arm["cut"] for arm in arms.values()), "arms": arms}


def _anneal(bqm: Any, seed: int, limit: float, arm: str) -> tuple[np.ndarray, float, int]:
    from dwave.samplers import SimulatedAnnealingSampler

    sampler = SimulatedAnnealingSampler()
    start = time.perf_counter()
    sampler.sample(bqm, num_reads=1, num_sweeps=200, seed=seed)
    per_sweep = (time.perf_counter() - start) / 200
    sweeps = max(1, int(limit / per_sweep)) if arm == "long" else _SHORT
    reads = 1 if arm == "long" else max(1, int(limit / (per_sweep * _SHORT)))
    start = time.perf_counter()
    samples = sampler.sample(bqm, num_reads=reads, num_sweeps=sweeps, seed=seed)
    seconds = time.perf_counter() - start
    best = samples.first.sample
    return np.array([best[i] for i in range(len(best))]) > 0, seconds, sweeps


TABLES = {"general_cuts": partial(table_of, "cuts", make_table)}
