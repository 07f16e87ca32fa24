"""Energy lost to 8-bit couplings on attention problems, with one auxiliary spin and with automatic splitting.

    python -m experiments.benchmarks.precision        (about 10 minutes on 2 cores)

The loss of a problem is (E_8 - E)/|E|: E of its best known state, E_8 on the true problem, of the best known state of
the rounded one. Both are looked for by `--reads` reads of `--steps` steps on either side. A second search with half the
reads tells how much of a loss is the search's own: where the two agree, more reads would not change it.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.solver import random_problems
from experiments.provenance import provenance, write_json
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


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", type=int, default=16, help="of each shape")
    parser.add_argument("--reads", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_precision.json"))
    options = parser.parse_args()

    result = {
        "experiment": "benchmark_precision",
        "settings": {name: getattr(options, name) for name in ("seed", "problems", "reads", "steps")},
        **provenance(),
        "machines": {name: repr(machine) for name, machine in MACHINES.items()},
        "simulated_machine": repr(SimulatedMachine()),
        "target": f"at most {_LARGEST_SHARE:.0%} of the loss remains, or a loss of at most {_LARGEST_LOSS:.2%}",
        "rows": [],
    }
    for shape in SHAPES:
        row = measure(shape, options.problems, options.seed, options.reads, options.steps)
        result["rows"].append(row)
        write_json(options.result, result)
        losses = " -> ".join(f"{row[name]['mean_loss']:.4%}" for name in MACHINES)
        print(f"{shape}: loss {losses}, {'met' if row['target_met'] else 'missed'}", flush=True)


if __name__ == "__main__":
    main()
