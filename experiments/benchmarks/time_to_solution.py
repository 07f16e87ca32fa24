"""Time to the best known cut with a probability of 99 %, as the literature gives it.

A run is one read of a batch. `TTS99 = t ln 0.01 / ln(1 - p)`, t being the time of the batch over its reads, and p the
share of reads that reach the best known cut; its interval is that of p (Clopper and Pearson, 95 %). Reads of a batch
differ in their random numbers alone.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.stats

from experiments.benchmarks import instances
from qama_jax import Ising, IteratedAnnealing, SimulatedAnnealing, SimulatedBifurcation, auto_solver, solve
from qama_jax.analysis import time_to_solution
from qama_jax.solvers import Solver


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


def measure(found: instances.Found, rows: dict[str, Any], runs: int, seed: int, save: Callable) -> None:
    """Adds the graphs and settings that `rows` lack."""
    for name, (problem, best) in found.items():
        for solver in candidates(problem, runs):
            if (label := f"{name} {solver!r}") in rows:
                continue
            compiled = jax.jit(solve, static_argnums=2).lower(jax.random.key(seed), problem, solver).compile()
            start = time.perf_counter()
            energies = np.asarray(compiled(jax.random.key(seed), problem).read_energies)
            seconds = (time.perf_counter() - start) / runs
            successes = int(np.sum(energies <= best))
            low, high = scipy.stats.binomtest(successes, runs).proportion_ci(0.95)
            rows[label] = {
                "graph": name,
                "best": -best,
                "best_found": -float(energies.min()),
                "solver": repr(solver),
                "runs": runs,
                "successes": successes,
                "run_s": seconds,
                "tts99_s": _time_to_solution(seconds, successes / runs),
                "interval_s": [_time_to_solution(seconds, float(share)) for share in (high, low)],
                "seed": seed,
            }
            save()
            print(f"{label}: {successes} of {runs}, TTS99 {rows[label]['tts99_s']} s", flush=True)


def _time_to_solution(seconds: float, share: float) -> float | None:
    """None for never; never below one run."""
    return max(seconds, float(time_to_solution(seconds, share))) if share else None
