"""Constrained problems as penalties: our default dimod sampler against that of dwave-samplers.

    python -m experiments.benchmarks.constrained

Ten instances each of travelling salesman (5 to 8 cities), knapsack with slack bits, assignment and graph colouring, as
`dimod.cqm_to_bqm` turns them into penalties. Both samplers run at their defaults with the same number of reads and
several seeds, as one best read says little; the best read of each is judged by the constraints and the objective of the
original model.
"""

from collections.abc import Iterator
from typing import Any

import dimod
import numpy as np
from dwave.samplers import SimulatedAnnealingSampler

from experiments.benchmarks.harness import make_parser, write_rows
from experiments.result_files import load
from experiments.tables import Table
from qama_jax.dimod import DimodSampler

SAMPLERS = {"ours": DimodSampler(), "dwave-samplers": SimulatedAnnealingSampler()}
_INSTANCES = 10


def travelling_salesman(rng: np.random.Generator, cities: int) -> dimod.ConstrainedQuadraticModel:
    """Random points in the unit square; x[c, p] says that city c is visited at place p of the round trip."""
    places = rng.random((cities, 2))
    x = {(c, p): dimod.Binary(f"x{c}_{p}") for c in range(cities) for p in range(cities)}
    model = dimod.ConstrainedQuadraticModel()
    model.set_objective(
        sum(
            float(np.linalg.norm(places[a] - places[b])) * x[a, p] * x[b, (p + 1) % cities]
            for p in range(cities)
            for a in range(cities)
            for b in range(cities)
            if a != b
        )
    )
    for i in range(cities):
        model.add_constraint(sum(x[i, p] for p in range(cities)) == 1)
        model.add_constraint(sum(x[c, i] for c in range(cities)) == 1)
    return model


def knapsack(rng: np.random.Generator, items: int) -> dimod.ConstrainedQuadraticModel:
    """Integer weights and values, half of the weight allowed."""
    weights, values = rng.integers(1, 20, items), rng.integers(1, 20, items)
    x = [dimod.Binary(f"x{i}") for i in range(items)]
    model = dimod.ConstrainedQuadraticModel()
    model.set_objective(sum(-int(v) * bit for v, bit in zip(values, x, strict=True)))
    model.add_constraint(sum(int(w) * bit for w, bit in zip(weights, x, strict=True)) <= int(weights.sum() // 2))
    return model


def assignment(rng: np.random.Generator, size: int) -> dimod.ConstrainedQuadraticModel:
    """One task for each worker, integer costs."""
    costs = rng.integers(1, 100, (size, size))
    x = {(w, t): dimod.Binary(f"x{w}_{t}") for w in range(size) for t in range(size)}
    model = dimod.ConstrainedQuadraticModel()
    model.set_objective(sum(int(costs[w, t]) * bit for (w, t), bit in x.items()))
    for i in range(size):
        model.add_constraint(sum(x[i, t] for t in range(size)) == 1)
        model.add_constraint(sum(x[w, i] for w in range(size)) == 1)
    return model


def graph_coloring(rng: np.random.Generator, nodes: int) -> dimod.ConstrainedQuadraticModel:
    """Four colours, the objective the number of edges between equal ones."""
    x = {(v, c): dimod.Binary(f"x{v}_{c}") for v in range(nodes) for c in range(4)}
    edges = [(a, b) for a in range(nodes) for b in range(a) if rng.random() < 0.4]
    model = dimod.ConstrainedQuadraticModel()
    model.set_objective(sum(x[a, c] * x[b, c] for a, b in edges for c in range(4)))
    for v in range(nodes):
        model.add_constraint(sum(x[v, c] for c in range(4)) == 1)
    return model


KINDS = {
    "travelling salesman": lambda rng, i: travelling_salesman(rng, 5 + i % 4),
    "knapsack": lambda rng, i: knapsack(rng, 10 + i),
    "assignment": lambda rng, i: assignment(rng, 5 + i % 3),
    "graph colouring": lambda rng, i: graph_coloring(rng, 8 + i),
}


def problems() -> Iterator[tuple[str, dimod.ConstrainedQuadraticModel]]:
    """All of them by their kind, always the same."""
    for number, (kind, make) in enumerate(KINDS.items()):
        for index in range(_INSTANCES):
            yield kind, make(np.random.default_rng((number, index)), index)


def best(model: dimod.ConstrainedQuadraticModel, sampler: dimod.Sampler, **settings: Any) -> tuple[bool, float]:
    """Whether the read of lowest penalised energy is feasible, and its objective."""
    bqm, invert = dimod.cqm_to_bqm(model)
    sample = invert(sampler.sample(bqm, **settings).first.sample)
    return model.check_feasible(sample), float(model.objective.energy(sample))


def measure(reads: int, seeds: int) -> Iterator[dict[str, Any]]:
    """A row for each problem."""
    for kind, model in problems():
        row: dict[str, Any] = {"kind": kind}
        for name, sampler in SAMPLERS.items():
            found = [best(model, sampler, num_reads=reads, seed=seed) for seed in range(seeds)]
            row[name] = [{"feasible": feasible, "objective": objective} for feasible, objective in found]
        yield row


def table() -> Table:
    """Penalty problems through the dimod sampler: feasible runs, and the objectives of their best reads."""
    measured = load("benchmark_constrained")["rows"]
    names = ("ours", "dwave-samplers")
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in measured):
        of_kind = [row for row in measured if row["kind"] == kind]
        runs = {name: [run for row in of_kind for run in row[name]] for name in names}
        means = {
            name: np.array([np.mean([run["objective"] for run in row[name] if run["feasible"]]) for row in of_kind])
            for name in names
        }
        behind = (means["ours"] - means["dwave-samplers"]) / np.mean(np.abs(means["dwave-samplers"]))
        feasible = " | ".join(f"{sum(run['feasible'] for run in own)} of {len(own)}" for own in runs.values())
        sums = " | ".join(f"{np.sum(values):,.1f}" for values in means.values())
        error = np.std(behind, ddof=1) / np.sqrt(len(behind))
        rows.append(f"{kind} | {feasible} | {sums} | {np.mean(behind):+.1%} ± {error:.1%}")
    of_both = " | ".join(f"{what}, {name}" for what in ("feasible", "sum of means") for name in names)
    return Table.of(f"problem | {of_both} | ours behind", rows)


TABLES = {"constrained": table}


def main() -> None:
    """Runs all and writes the result file."""
    options = make_parser(__doc__, "benchmark_constrained.json", reads=16, seeds=10).parse_args()
    about = {"reads": options.reads, "seeds": options.seeds, "sampler": SAMPLERS["ours"].properties["solver"]}
    write_rows(options.result, about, measure(options.reads, options.seeds))


if __name__ == "__main__":
    main()
