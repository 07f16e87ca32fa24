"""Cost of the attention mechanisms of Table VII, forward and backward: at the table's size and over the length.

make benchmark-mechanisms
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.benchmarks.layer import gradients, inputs
from experiments.benchmarks.readouts import qama
from experiments.benchmarks.timing import interleave, summary
from experiments.figures import draw_costs
from experiments.models.baselines import Baseline, make_baseline
from experiments.models.linear_attention import linear_attention
from experiments.models.linformer import Linformer, LowRankAttention
from experiments.models.performer import Performer
from experiments.models.reformer import Reformer
from experiments.provenance import provenance, write_json
from experiments.reproduce.arms import BASELINES, WINDOWS
from qama_jax import EnergyReadout

# Table VII trains with batches of 128; a quarter of one is enough to keep the cores busy.
TABLE_SIZE = {"batch": 32, "tokens": 64, "heads": 8, "head_dim": 8}
HEAD_DIM = 64
LENGTHS = (1024, 4096, 16384)
# Beyond this a machine of 16 GB begins to swap; such programs are compiled for their memory, not run.
_MOST_BYTES = 3e9


def mechanisms(tokens: int, head_dim: int) -> dict[str, Callable[..., jax.Array]]:
    """Each mechanism as a function of query, key and value, with the settings of the table at every length.

    The features of Performer alone grow with the head, four of them a dimension as in the table.
    """
    settings = {name: make_baseline(name, tokens=tokens, seed=0) for name in BASELINES}
    settings["performer"] = Performer(4 * head_dim)
    return {
        "softmax": jax.nn.dot_product_attention,
        "qama": functools.partial(qama, EnergyReadout()),
        "window": functools.partial(qama, WINDOWS["cifar10"]),
        **{name: _core(baseline) for name, baseline in settings.items()},
        "linear": linear_attention,
    }


def _core(baseline: Baseline) -> Callable[..., jax.Array]:
    if isinstance(baseline, Linformer):
        return LowRankAttention(baseline, rngs=nnx.Rngs(0))
    if isinstance(baseline, Reformer):
        return lambda query, key, value: baseline(query, value)
    return baseline


def at_table_size(repeats: int) -> dict[str, Any]:
    """All mechanisms in one process, in turn."""
    arms = mechanisms(TABLE_SIZE["tokens"], TABLE_SIZE["head_dim"])
    arrays = inputs(*TABLE_SIZE.values())
    programs = {name: gradients.lower(attention, *arrays).compile() for name, attention in arms.items()}
    calls = {name: functools.partial(program, *arrays) for name, program in programs.items()}
    rows = {}
    for name, seconds in interleave(calls, repeats).items():
        rows[name] = summary(seconds) | {"temporary_bytes": _temporary_bytes(programs[name])}
        print(f"{name}: {rows[name]['median_s'] * 1e3:.1f} ms", flush=True)
    return TABLE_SIZE | {"arms": rows}


def scaling(repeats: int) -> dict[str, Any]:
    """Time and peak temporary memory of one head over the length, and the exponents between the ends."""
    arms: dict[str, Any] = {}
    for tokens in LENGTHS:
        arrays = inputs(1, tokens, 1, HEAD_DIM)
        arms_of_length = mechanisms(tokens, HEAD_DIM)
        programs = {name: gradients.lower(attention, *arrays).compile() for name, attention in arms_of_length.items()}
        memory = {name: _temporary_bytes(program) for name, program in programs.items()}
        runnable = {name: program for name, program in programs.items() if memory[name] < _MOST_BYTES}
        seconds = interleave({name: functools.partial(p, *arrays) for name, p in runnable.items()}, repeats)
        for name in programs:
            row = arms.setdefault(name, {"seconds": {}, "temporary_bytes": {}})
            row["temporary_bytes"][str(tokens)] = memory[name]
            if name in seconds:
                row["seconds"][str(tokens)] = summary(seconds[name])
        print(
            f"N = {tokens}: " + ", ".join(f"{name} {np.median(s) * 1e3:.0f} ms" for name, s in seconds.items()),
            flush=True,
        )
    for row in arms.values():
        row["exponent"] = exponent({tokens: times["median_s"] for tokens, times in row["seconds"].items()})
        row["memory_exponent"] = exponent(row["temporary_bytes"])
    return {"heads": 1, "head_dim": HEAD_DIM, "lengths": list(LENGTHS), "arms": arms}


def exponent(values: dict[str, float]) -> float:
    """Slope of the logarithm over that of the length, between the ends of what was measured."""
    lengths = sorted(values, key=int)
    ratio = np.log(values[lengths[-1]] / values[lengths[0]])
    return float(ratio / np.log(int(lengths[-1]) / int(lengths[0])))


def _temporary_bytes(program: jax.stages.Compiled) -> int:
    return program.memory_analysis().temp_size_in_bytes


def main() -> None:
    """Runs both parts, writes the result file and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_mechanisms.json"))
    parser.add_argument("--figure", type=Path, default=Path("experiments/results/benchmark_mechanisms.png"))
    options = parser.parse_args()
    result = {"experiment": "benchmark_mechanisms", **provenance(), "repeats": options.repeats}
    result["settings"] = {
        name: repr(make_baseline(name, tokens=TABLE_SIZE["tokens"], seed=0)) for name in BASELINES
    } | {"window": repr(WINDOWS["cifar10"])}
    for name, part in (("table_size", at_table_size), ("scaling", scaling)):
        result[name] = part(options.repeats)
        write_json(options.result, result)
    draw_costs(options.figure, result["scaling"])


if __name__ == "__main__":
    main()
