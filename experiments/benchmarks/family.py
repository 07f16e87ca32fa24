"""Every solver of the family at its default budget, on attention problems and on public instances.

    python -m experiments.benchmarks.family --instances DIR

DIR, by default the environment variable QAMA_INSTANCES, holds the instances and their `manifest.json`; without it only
attention problems are measured. Attention: one read, mean gap and time a problem in batches of 64. Instances: 16
reads, whether the best read is the known optimum, and its gap; and K2000 and G22 with a stated budget of their own.
"""

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import qama_jax
from experiments.benchmarks.instances import load, names
from experiments.benchmarks.solver import SHAPES, random_problems
from experiments.benchmarks.timing import interleave, summary
from experiments.provenance import provenance, write_json
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
LARGE = ("K2000", "G22", "G1", "G11")

_solve = jax.jit(jax.vmap(qama_jax.solve, in_axes=(0, 0, None)), static_argnums=2)


def on_attention(solver: Any, repeats: int) -> list[dict[str, Any]]:
    """Gap to the stored annealed energies and to 64 reads of bifurcation, and time, for each shape."""
    annealed = json.loads(Path("experiments/results/benchmark_solver.json").read_text())["annealed"]
    rows = []
    for shape, count in SHAPES.items():
        problems = jax.tree.map(lambda leaf: leaf[:BATCH], random_problems(shape, count, 0))
        size = min(BATCH, count)
        keys = jax.random.split(jax.random.key(0), (2, size))
        own = _solve(keys[0], problems, SimulatedBifurcation(num_steps=200, num_reads=64)).energy
        reference = np.minimum(annealed["x".join(map(str, shape))][:size], own)
        gap = qama_jax.analysis.relative_gap(_solve(keys[1], problems, solver).energy, reference)
        seconds = interleave({"solve": lambda p=problems, k=keys[1]: _solve(k, p, solver).bits}, repeats)["solve"]
        rows.append(
            {
                "shape": list(shape),
                "batch": size,
                "mean_gap": float(gap.mean),
                "standard_error": float(gap.standard_error),
                "seconds_per_problem": {name: value / size for name, value in summary(seconds).items()},
            }
        )
    return rows


def on_instance(solver: Any, folder: Path, name: str) -> dict[str, Any]:
    """Best of the reads, its gap to the best known energy, and the seconds of a compiled run."""
    problem, best_known = load(folder, name)
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


def main() -> None:
    """Runs what the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=Path, default=os.environ.get("QAMA_INSTANCES"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_family.json"))
    parser.add_argument("--fresh", action="store_true", help="measure again what the result file has")
    options = parser.parse_args()
    previous = json.loads(options.result.read_text()) if options.result.exists() and not options.fresh else {}
    result = {"experiment": "benchmark_family", **provenance(), "attention": {}, "instances": {}, "cuts": {}}
    for part in ("attention", "instances", "cuts"):
        result[part] = previous.get(part, {})

    for solver in tqdm(SOLVERS, desc="attention", unit=" solvers"):
        if repr(solver) not in result["attention"]:
            result["attention"][repr(solver)] = on_attention(solver, options.repeats)
            write_json(options.result, result)
    if options.instances is None:
        print("no instances: pass --instances or set QAMA_INSTANCES")
        return
    for solver in SOLVERS:
        solver = dataclasses.replace(solver, num_reads=READS)
        scores = result["instances"].setdefault(repr(solver), {})
        for name in tqdm(names(options.instances), desc=type(solver).__name__, unit=" instances"):
            if name not in scores:
                scores[name] = on_instance(solver, options.instances, name)
                write_json(options.result, result)
        small = [score for name, score in scores.items() if name not in LARGE]
        print(f"{type(solver).__name__}: {sum(score['reached'] for score in small)} of {len(small)}", flush=True)
    for name in ("K2000", "G22"):
        result["cuts"][name] = on_instance(CUT_SOLVER, options.instances, name) | {"solver": repr(CUT_SOLVER)}
        write_json(options.result, result)
        print(f"{name}: cut {-result['cuts'][name]['energy']:.0f}, {result['cuts'][name]['seconds']:.2f} s", flush=True)


if __name__ == "__main__":
    main()
