"""Quality and speed of bifurcation on attention problems, by default and with fewer steps, in one call and in parts.

    make benchmark-solver        (the reference annealing takes about 10 minutes on 2 cores)

The gap of a problem is (E - E_ref)/|E_ref|. E_ref is the lowest energy of a long run of simulated annealing by
dwave-samplers (`--reference-reads` reads of `--reference-sweeps` sweeps) and of 64 reads of 200 steps of our own.
"""

import argparse
import functools
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.benchmarks.cores import SOLVER
from experiments.benchmarks.harness import make_parser, write_rows
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import AttentionHamiltonian, SimulatedBifurcation, Solution, attention_hamiltonian, solve

# (heads, tokens, head_dim): number of problems.
SHAPES = {(8, 49, 8): 128, (8, 64, 8): 128, (2, 256, 32): 64, (1, 512, 64): 32}
BATCH_SIZES = (64, 256)
# Of the larger batch, one after the other: what a core works on fits its cache.
PART = 16
# Fewer steps, and the fewest, with which layers train.
SOLVERS = {
    "default": SimulatedBifurcation(),
    "20 steps, 8 of descent": SimulatedBifurcation(num_steps=20, max_descent_steps=8),
    "in training": SOLVER,
}
# What reference energies are taken from, beside annealing.
LONG = SimulatedBifurcation(num_steps=200, num_reads=64)
_KEYS = 4

solve_each = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)), static_argnums=2)


@functools.partial(jax.jit, static_argnums=2)
def _solve_in_parts(keys: jax.Array, problems: AttentionHamiltonian, solver: SimulatedBifurcation) -> Solution:
    return jax.lax.map(lambda pair: solve(*pair, solver), (keys, problems), batch_size=PART)


def random_problems(shape: tuple[int, int, int], count: int, seed: int) -> AttentionHamiltonian:
    """A batch of Hamiltonians of independent standard normal queries, keys, values and W_ε."""
    heads, tokens, head_dim = shape
    key = jax.random.fold_in(jax.random.key(seed), hash_of(shape))
    query, key_, value = jax.random.normal(jax.random.fold_in(key, 0), (3, count, tokens, heads, head_dim))
    importance = jax.random.normal(jax.random.fold_in(key, 1), (count, head_dim))
    return jax.jit(jax.vmap(attention_hamiltonian))(query, key_, value, importance)


def hash_of(shape: tuple[int, ...]) -> int:
    """A number of its own for each shape, the same in every process."""
    return sum(size * 1009**power for power, size in enumerate(shape)) % 2**31


def reference_energies(problems: AttentionHamiltonian, reads: int, sweeps: int) -> list[float]:
    """Lowest energy of each problem by dwave-samplers' simulated annealing."""
    import dimod
    from dwave.samplers import SimulatedAnnealingSampler

    sampler = SimulatedAnnealingSampler()
    energies = []
    for index in tqdm(range(problems.linear.shape[0]), desc="annealing", unit=" problems", leave=False):
        problem = jax.tree.map(lambda leaf, index=index: leaf[index], problems)
        matrix = np.asarray(problem.to_qubo().matrix, np.float64)
        model = dimod.BinaryQuadraticModel(np.diag(matrix).copy(), 2 * np.triu(matrix, 1), 0.0, "BINARY")
        best = sampler.sample(model, num_reads=reads, num_sweeps=sweeps, seed=index).first.sample
        bits = jnp.asarray([best[i] for i in range(len(matrix))], jnp.int8).reshape(problem.shape)
        energies.append(float(problem.energy(bits)))
    return energies


def measure(
    shape: tuple[int, int, int], count: int, annealed: list[float], seed: int, repeats: int
) -> list[dict[str, Any]]:
    """Gaps of each solver and its time per problem, all in turn."""
    problems = random_problems(shape, count, seed)
    keys = jax.random.split(jax.random.key(seed), (_KEYS + 1, count))
    own = solve_each(keys[-1], problems, LONG).energy
    reference = np.minimum(annealed, own)
    rows = {}
    for name, solver in SOLVERS.items():
        energies = np.stack([solve_each(keys[i], problems, solver).energy for i in range(_KEYS)])
        gaps = (energies - reference) / np.abs(reference)
        rows[name] = {
            "shape": list(shape),
            "solver": name,
            "problems": count,
            "mean_gap": float(gaps.mean()),
            "standard_error": float(gaps.mean(0).std(ddof=1) / np.sqrt(count)),
            "mean_gap_to_annealing": float(np.mean((energies - annealed) / np.abs(annealed))),
            "share_at_reference": float(np.mean(gaps < 1e-5)),
            "seconds_per_problem": {},
        }
    for batch in BATCH_SIZES:
        batch_problems = random_problems(shape, batch, seed + 1)
        batch_keys = jax.random.split(jax.random.key(seed + 1), batch)
        ways = {str(batch): solve_each} | ({f"{batch} in parts": _solve_in_parts} if batch == max(BATCH_SIZES) else {})
        calls = {
            (name, way): lambda f=function, s=solver, p=batch_problems, k=batch_keys: f(k, p, s).bits
            for name, solver in SOLVERS.items()
            for way, function in ways.items()
        }
        for (name, way), seconds in interleave(calls, repeats).items():
            rows[name]["seconds_per_problem"][way] = {k: v / batch for k, v in summary(seconds).items()}
    return list(rows.values())


def table() -> Table:
    """Gap and time of bifurcation with each number of steps."""
    result, rows = load("benchmark_solver"), []
    for row in result["rows"]:
        gap = f"{row['mean_gap']:.2%} ± {row['standard_error']:.2%} | {row['share_at_reference']:.0%}"
        times = " / ".join(f"{time['median_s'] * 1e6:.0f}" for time in row["seconds_per_problem"].values())
        rows.append(f"{tuple(row['shape'])} | {row['solver']} | {row['problems']} | {gap} | {times}")
    header = "(H, N, D) | bifurcation | problems | mean gap ± standard error | at the reference"
    batches = " / ".join(result["rows"][0]["seconds_per_problem"])
    return Table.of(f"{header} | µs a problem, batch {batches} of {result['part']}", rows)


def _rows(options: argparse.Namespace, annealed: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    """Of each shape, after the annealed energies that are missing."""
    for shape, count in SHAPES.items():
        name = "x".join(map(str, shape))
        if name not in annealed:
            problems = random_problems(shape, count, options.seed)
            annealed[name] = reference_energies(problems, options.reference_reads, options.reference_sweeps)
        yield from measure(shape, count, annealed[name], options.seed, options.repeats)


TABLES = {"solver": table}


def main() -> None:
    """Runs the benchmark; annealed reference energies are kept in the result file and used again."""
    numbers = {"seed": 0, "repeats": 15, "reference_reads": 20, "reference_sweeps": 4000}
    options = make_parser(__doc__, "benchmark_solver.json", **numbers).parse_args()
    settings = {name: getattr(options, name) for name in ("seed", "reference_reads", "reference_sweeps")}
    previous = json.loads(options.result.read_text()) if options.result.exists() else {}
    annealed = previous.get("annealed", {}) if previous.get("settings") == settings else {}
    about = {"settings": settings, "part": PART, "solvers": {name: repr(solver) for name, solver in SOLVERS.items()}}
    write_rows(options.result, about | {"annealed": annealed}, _rows(options, annealed))


if __name__ == "__main__":
    main()
