"""`search` with `auto_solver` against dwave-samplers at equal wall time, on MAX-CUT instances.

    make benchmark-general

Each side has the same seconds and all cores: ours one process, dwave-samplers one for each core, with either one long
run each or as many of 1,000 sweeps as there is time for, and the better of the two counts. Compilation and the start
of processes are outside. The sides run in turn. The result file grows after each run, and an interrupted benchmark
goes on where it stopped.
"""

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import instances
from experiments.provenance import provenance, write_json
from qama_jax import Ising, search

LIMITS = (1.0, 10.0)
_SHORT = 1_000


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


def main() -> None:
    """Runs what the result file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=Path, default=os.environ.get("QAMA_INSTANCES_GENERAL"))
    parser.add_argument("--graphs", nargs="+", help="(default: every MAX-CUT instance of the folder)")
    parser.add_argument("--limits", nargs="+", type=float, default=LIMITS, help="seconds (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_general.json"))
    options = parser.parse_args()
    if options.instances is None:
        parser.error("name the folder of the instances by --instances or QAMA_INSTANCES_GENERAL")
    folder = Path(options.instances)
    result = json.loads(options.result.read_text()) if options.result.exists() else {"rows": {}}
    result |= {"experiment": "benchmark_general", **provenance()}
    # Forked, a process that has threads of JAX may wait for ever.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in range(options.runs):
            for limit in options.limits:
                for name in options.graphs or instances.cuts(folder):
                    rows = result["rows"].setdefault(f"{name} {limit:g}", {"best": None, "runs": []})
                    if len(rows["runs"]) > run:
                        continue
                    problem, best = instances.load(folder, name)
                    rows["best"] = -best
                    row = {"ours": ours(problem, run, limit), "theirs": theirs(pool, problem, run, limit)}
                    rows["runs"].append(row)
                    write_json(options.result, result)
                    print(f"{name}, {limit:g} s: {row['ours']['cut']} against {row['theirs']['cut']}", flush=True)


if __name__ == "__main__":
    main()
