"""Time of a sweep of simulated annealing on attention problems: low-rank couplings against their matrices.

    python -m experiments.benchmarks.sweep

The same Hamiltonians in both forms, the same chain: a run of many sweeps less a run of one, over the difference of
sweeps, so that what is done once (arranging the couplings) does not count. Both sides in turn, A B A B.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.solver import random_problems
from experiments.benchmarks.timing import interleave
from experiments.provenance import provenance, write_json
from qama_jax import AttentionHamiltonian, SimulatedAnnealing, solve
from qama_jax.problems.coupling import DenseCoupling

# (heads, tokens, head_dim): batches of problems.
SHAPES = {(8, 64, 8): (1, 32), (2, 256, 32): (32,), (1, 4096, 64): (1, 4)}

_solve = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)), static_argnums=2)


@jax.jit
@jax.vmap
def with_matrices(problem: AttentionHamiltonian) -> AttentionHamiltonian:
    """The same problem with its couplings as matrices [heads, tokens, tokens]."""
    low_rank = problem.coupling
    factor = low_rank.to_factor().factor[..., :-1]
    dense = DenseCoupling(
        low_rank.to_matrix(),
        factor,
        low_rank.shift,
        low_rank.curvature,
        jax.numpy.ones_like(low_rank.shift),
        low_rank.valid,
    )
    return dataclasses.replace(problem, coupling=dense)


def measure(shape: tuple[int, int, int], batch: int, sweeps: int, repeats: int) -> dict[str, Any]:
    """Seconds of a sweep, for one problem of a batch, and the ratio of the two forms."""
    low_rank = random_problems(shape, batch, seed=0)
    forms = {"low_rank": low_rank, "dense": with_matrices(low_rank)}
    keys = jax.random.split(jax.random.key(0), batch)
    functions = {
        f"{name} {count}": lambda p=problems, s=SimulatedAnnealing(num_sweeps=count, beta_range=(0.01, 1.0)): _solve(
            keys, p, s
        )
        for name, problems in forms.items()
        for count in (1, sweeps)
    }
    energies = {name: np.asarray(function().energy) for name, function in functions.items()}
    np.testing.assert_allclose(energies[f"low_rank {sweeps}"], energies[f"dense {sweeps}"], rtol=0.05)
    seconds = {name: np.array(values) for name, values in interleave(functions, repeats).items()}
    per_sweep = {name: (seconds[f"{name} {sweeps}"] - seconds[f"{name} 1"]) / ((sweeps - 1) * batch) for name in forms}
    ratio = float(np.median(per_sweep["dense"]) / np.median(per_sweep["low_rank"]))
    row = {"shape": list(shape), "batch": batch, "sweeps": sweeps, "dense_over_low_rank": ratio}
    return row | {f"{name}_s": float(np.median(values)) for name, values in per_sweep.items()}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=41)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_sweep.json"))
    options = parser.parse_args()
    result = {"experiment": "benchmark_sweep", **provenance(), "rows": []}
    for shape, batches in SHAPES.items():
        for batch in batches:
            row = measure(shape, batch, options.sweeps, options.repeats)
            result["rows"].append(row)
            write_json(options.result, result)
            print(
                f"{shape}, batch {batch}: low-rank {row['low_rank_s'] * 1e6:.1f} µs a sweep and problem, "
                f"dense {row['dense_s'] * 1e6:.1f} µs, ratio {row['dense_over_low_rank']:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
