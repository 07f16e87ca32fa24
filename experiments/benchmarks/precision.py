"""Energy lost to 8-bit couplings on attention problems, with one auxiliary spin and with automatic splitting.

    python -m experiments.benchmarks.precision        (about 10 minutes on 2 cores)

The loss of a problem is (E_8 - E)/|E|: E of its best known state, E_8 on the true problem, of the best known state of
the rounded one. Both are looked for by `--reads` reads of `--steps` steps on either side. A second search with half the
reads tells how much of a loss is the search's own: where the two agree, more reads would not change it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.harness import make_parser, write_rows
from experiments.benchmarks.solver import random_problems
from experiments.result_files import load
from experiments.tables import Table
from qama_jax import AttentionHamiltonian, SimulatedBifurcation, solve
from qama_jax.hardware import Machine, RoundingLoss, RoundingReport, SimulatedMachine, rounding_loss, rounding_report

SHAPES = ((8, 64, 8), (8, 49, 8), (1, 512, 64), (4, 64, 8))  # heads, tokens, head_dim
MACHINES = {"one_auxiliary_spin": Machine(auxiliary_spins=1), "splitting": Machine()}

# Of the loss with one auxiliary spin, so much may remain; or so much energy may be lost.
_LARGEST_SHARE = 0.1
_LARGEST_LOSS = 3e-4


def measure_rounding(
    problems: AttentionHamiltonian, keys: jax.Array, machine: Machine, solver: SimulatedBifurcation
) -> tuple[RoundingLoss, RoundingReport]:
    """Loss and report of every problem, one after the other, because many reads of one fill the cores."""

    @jax.jit
    def measure(keys, problems):
        def one(row):
            return rounding_loss(*row, machine, solver), rounding_report(row[1], machine)

        return jax.lax.map(one, (keys, problems))

    return measure(keys, problems)


def measure_machine(
    problems: AttentionHamiltonian, keys: jax.Array, machine: Machine, best: jax.Array
) -> dict[str, float]:
    """Gap of the simulated machine, whose dynamics suffer from heavy columns besides what is rounded."""
    solutions = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)), static_argnums=2)(
        keys, problems, SimulatedMachine(machine)
    )
    return {
        "machine_mean_gap": float(jnp.mean((solutions.energy - best) / jnp.abs(best))),
        "auxiliary_agreement": float(jnp.mean(solutions.info["auxiliary_agreement"])),
    }


def measure(shape: tuple[int, int, int], count: int, seed: int, reads: int, steps: int) -> dict[str, Any]:
    """The row of one shape."""
    problems = random_problems(shape, count, seed)
    keys = jax.random.split(jax.random.key(seed), count)
    row: dict[str, Any] = {"shape": list(shape), "spins": shape[0] * shape[1], "problems": count}
    for name, machine in MACHINES.items():
        loss, report = measure_rounding(problems, keys, machine, SimulatedBifurcation(steps, reads))
        fewer, _ = measure_rounding(problems, keys, machine, SimulatedBifurcation(steps, reads // 2))
        row[name] = {
            "mean_loss": float(loss.loss.mean()),
            "standard_error": float(np.std(loss.loss, ddof=1) / np.sqrt(count)),
            "largest_loss": float(loss.loss.max()),
            "mean_loss_with_half_the_reads": float(fewer.loss.mean()),
            "zeroed_share": float(report.zeroed_share.mean()),
            "levels": float(report.levels.mean()),
            "auxiliary_spins": [float(f(report.num_auxiliary)) for f in (np.min, np.mean, np.max)],
            **measure_machine(problems, keys, machine, loss.energy),
        }
    before, after = (row[name]["mean_loss"] for name in MACHINES)
    row["remaining_share"] = after / before
    row["target_met"] = after <= max(_LARGEST_SHARE * before, _LARGEST_LOSS)
    return row


def table() -> Table:
    """What 8-bit couplings cost, with one auxiliary spin and with as many as are enough."""
    rows = []
    for row in load("benchmark_precision")["rows"]:
        for arm in (row[name] for name in MACHINES):
            fewest, _, most = arm["auxiliary_spins"]
            spins = f"{fewest:.0f}" if fewest == most else f"{fewest:.0f} to {most:.0f}"
            lost = f"{arm['zeroed_share']:.0%} | {arm['mean_loss']:.3%} | {arm['machine_mean_gap']:.2%}"
            rows.append(f"{tuple(row['shape'])} | {spins} | {lost}")
    header = "(H, N, D) | auxiliary spins | couplings at 0 | energy lost to rounding | gap of `SimulatedMachine`"
    return Table.of(header, rows)


TABLES = {"precision": table}


def main() -> None:
    """Runs the benchmark."""
    parser = make_parser(__doc__, "benchmark_precision.json", seed=0, problems=16, reads=128, steps=200)
    options = parser.parse_args()
    about = {
        "settings": {name: getattr(options, name) for name in ("seed", "problems", "reads", "steps")},
        "machines": {name: repr(machine) for name, machine in MACHINES.items()},
        "simulated_machine": repr(SimulatedMachine()),
        "target": f"at most {_LARGEST_SHARE:.0%} of the loss remains, or a loss of at most {_LARGEST_LOSS:.2%}",
    }
    of_shapes = (measure(shape, options.problems, options.seed, options.reads, options.steps) for shape in SHAPES)
    write_rows(options.result, about, of_shapes)


if __name__ == "__main__":
    main()
