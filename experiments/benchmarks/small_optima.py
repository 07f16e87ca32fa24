"""The instances of at most 250 bits with what the command line runs by default, one call, and its time."""

from collections.abc import Callable
from typing import Any

import jax

from experiments.benchmarks import instances
from qama_jax import auto_solver, search

MOST_BITS = 250


def measure(found: instances.Found, rows: dict[str, Any], seed: int, save: Callable) -> None:
    """Adds the instances that `rows` lack."""
    for name, (problem, best) in found.items():
        if name in rows:
            continue
        solver = auto_solver(problem)
        result = search(jax.random.key(seed), problem, solver, max_calls=1)
        rows[name] = {
            "bits": problem.shape[0],
            "best": best,
            "energy": result.energy,
            "reached": bool(result.energy <= best),
            "seconds": result.run_seconds,
            "compile_s": result.compile_seconds,
            "solver": repr(solver),
            "seed": seed,
        }
        save()
        print(f"{name}: {result.energy} of {best} in {result.run_seconds:.2f} s", flush=True)
