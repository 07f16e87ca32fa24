"""`search` with `auto_solver` against dwave-samplers at equal wall time, on MAX-CUT instances.

Each side has the same seconds and all cores: ours one process, dwave-samplers one for each core, with either one long
run each or as many of 1,000 sweeps as there is time for, and the better of the two counts. Compilation and the start
of processes are outside. The sides run in turn.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import instances
from qama_jax import Ising, search

_SHORT = 1_000


def measure(found: instances.Found, rows: dict[str, Any], plan: Iterable[tuple[float, int]], save: Callable) -> None:
    """Adds to `rows` what they lack of `plan`: of every limit in seconds, so many runs."""
    # Forked, a process that has threads of JAX may wait for ever.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for limit, runs in plan:
            for run in range(runs):
                for name, (problem, best) in found.items():
                    row = rows.setdefault(f"{name} {limit:g}", {"graph": name, "limit_s": limit, "best": -best})
                    done = row.setdefault("runs", [])
                    if len(done) > run:
                        continue
                    done.append({"seed": run, "ours": ours(problem, run, limit)})
                    done[-1]["theirs"] = theirs(pool, problem, run, limit)
                    save()
                    print(
                        f"{name}, {limit:g} s: {done[-1]['ours']['cut']} against {done[-1]['theirs']['cut']}",
                        flush=True,
                    )


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
