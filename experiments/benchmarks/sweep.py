"""Time of a sweep of simulated annealing on attention problems: low-rank couplings against their matrices.

    python -m experiments.benchmarks.sweep

The same Hamiltonians in both forms, the same chain: a run of many sweeps less a run of one, over the difference of
sweeps, so that what is done once (arranging the couplings) does not count. Both sides in turn, A B A B.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.harness import make_parser, write_rows
from experiments.benchmarks.solver import random_problems, solve_each
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave
from qama_jax import AttentionHamiltonian, SimulatedAnnealing
from qama_jax.problems.coupling import DenseCoupling

# (heads, tokens, head_dim): batches of problems.
SHAPES = {(8, 64, 8): (1, 32), (2, 256, 32): (32,), (1, 4096, 64): (1, 4)}


@jax.jit
@jax.vmap
def with_matrices(problem: AttentionHamiltonian) -> AttentionHamiltonian:
    """The same problem with its couplings as matrices [heads, tokens, tokens]."""
    low_rank = problem.coupling
    factor = low_rank.to_factor().factor[:, :-1]
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
        f"{name} {count}": lambda p=problems, s=SimulatedAnnealing(num_sweeps=count, beta_range=(0.01, 1.0)): (
            solve_each(keys, p, s)
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


def table() -> Table:
    """Time of a sweep with low-rank couplings and with matrices."""
    rows = []
    for row in load("benchmark_sweep")["rows"]:
        times = f"{row['low_rank_s'] * 1e6:,.0f} | {row['dense_s'] * 1e6:,.0f}"
        rows.append(f"{tuple(row['shape'])} | {row['batch']} | {times} | {row['dense_over_low_rank']:.1f}")
    return Table.of("(H, N, D) | batch | low-rank, µs a sweep and problem | matrices, µs | ratio", rows)


TABLES = {"sweep": table}


def main() -> None:
    """Runs the benchmark."""
    options = make_parser(__doc__, "benchmark_sweep.json", sweeps=41, repeats=9).parse_args()
    batches = ((shape, batch) for shape, batches in SHAPES.items() for batch in batches)
    write_rows(options.result, {}, (measure(*pair, options.sweeps, options.repeats) for pair in batches))


if __name__ == "__main__":
    main()
