"""Quality of the default solver on tokens as training makes them: clustered, near-duplicate, heavy-tailed.

    python -m experiments.benchmarks.token_kinds

The gap of a problem is (E - E_ref)/|E_ref|, E_ref the lowest energy of 16 reads of 400 sweeps by dwave-samplers and of
all solvers of the table. Times are of the processor, which a busy machine does not lengthen, solvers in turn.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.harness import make_parser, write_rows
from experiments.benchmarks.solver import hash_of, reference_energies, solve_each
from experiments.result_files import load
from experiments.tables import Table
from qama_jax import AttentionHamiltonian, SimulatedAnnealing, SimulatedBifurcation, attention_hamiltonian
from qama_jax.analysis import relative_gap

KINDS = ("normal", "clustered", "near-duplicate", "heavy-tailed")
SHAPES = ((3, 100, 12), (8, 49, 8))
SOLVERS = {
    "bifurcation, 1 read": SimulatedBifurcation(),
    "bifurcation, 4 reads": SimulatedBifurcation(num_reads=4),
    "bifurcation, 16 reads": SimulatedBifurcation(num_reads=16),
    "annealing, 1 read": SimulatedAnnealing(),
    "annealing, 10 reads": SimulatedAnnealing(num_reads=10),
}
_REPEATS = 3


def make_problems(kind: str, shape: tuple[int, int, int], count: int, seed: int = 0) -> AttentionHamiltonian:
    """A batch of Hamiltonians; values and W_ε are normal but where tokens are heavy-tailed.

    Args:
      kind: "normal"; "clustered", four centres with a spread of ½; "near-duplicate", a quarter as many centres as
        tokens with a spread of 1/20; or "heavy-tailed", Student's t of 2 degrees of freedom.
      shape: heads, tokens and head_dim.
      count: number of problems.
      seed: of the random numbers.
    """
    heads, tokens, head_dim = shape
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), hash_of(shape)), 4)
    size = (3, count, tokens, heads, head_dim)
    features = jax.random.t(keys[0], 2.0, size) if kind == "heavy-tailed" else jax.random.normal(keys[0], size)
    if kind in ("clustered", "near-duplicate"):
        groups, spread = (4, 0.5) if kind == "clustered" else (tokens // 4, 0.05)
        centers = jax.random.normal(keys[1], (2, count, groups, heads, head_dim))
        group = jax.random.randint(keys[2], (count, tokens), 0, groups)
        around = centers[:, jnp.arange(count)[:, None], group]
        features = jnp.concatenate([around + spread * features[:2], features[2:]])
    importance = jax.random.normal(keys[3], (count, head_dim))
    return jax.jit(jax.vmap(attention_hamiltonian))(*features, importance)


def measure(kind: str, shape: tuple[int, int, int], count: int) -> dict[str, Any]:
    """Mean gap and processor time a problem of every solver."""
    problems = make_problems(kind, shape, count)
    keys = jax.random.split(jax.random.key(1), count)
    energies, seconds = {}, {name: [] for name in SOLVERS}
    for repeat in range(_REPEATS + 1):
        for name, solver in SOLVERS.items():
            start = time.process_time()
            solution = jax.block_until_ready(solve_each(keys, problems, solver))
            if repeat:  # the first compiles
                seconds[name].append((time.process_time() - start) / count)
            energies[name] = np.asarray(solution.energy)
    reference = np.min([reference_energies(problems, 16, 400), *energies.values()], axis=0)
    gaps = {name: relative_gap(energy, reference) for name, energy in energies.items()}
    solvers = {
        name: {
            "mean_gap": float(gap.mean),
            "standard_error": float(gap.standard_error),
            "cpu_s": statistics.median(seconds[name]),
        }
        for name, gap in gaps.items()
    }
    return {"kind": kind, "shape": list(shape), "problems": count, "solvers": solvers}


def table() -> Table:
    """Gap and processor time of bifurcation and annealing by the kind of tokens."""
    measured, rows = load("benchmark_token_kinds")["rows"], []
    for row in measured:
        cells = (f"{s['mean_gap']:.2%}, {s['cpu_s'] * 1e6:,.0f} µs" for s in row["solvers"].values())
        rows.append(f"{tuple(row['shape'])} | {row['kind']} | {' | '.join(cells)}")
    return Table.of(f"(H, N, D) | tokens | {' | '.join(measured[0]['solvers'])}", rows)


TABLES = {"token_kinds": table}


def main() -> None:
    """Runs all and writes the result file."""
    options = make_parser(__doc__, "benchmark_token_kinds.json", problems=32).parse_args()
    write_rows(options.result, {}, (measure(kind, shape, options.problems) for shape in SHAPES for kind in KINDS))


if __name__ == "__main__":
    main()
