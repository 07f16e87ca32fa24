"""Cost of the attention mechanisms of Table VII, forward and backward: at the table's size and over the length.

make benchmark-mechanisms
"""

import functools
import math
from typing import Any

import jax
from flax import nnx

from experiments import paper
from experiments.attention_arms import ARMS, BASELINES, WINDOWS
from experiments.benchmarks.cores import Core, compiled, inputs, qama, scaling
from experiments.benchmarks.harness import make_parser, write_parts
from experiments.figures import draw_costs
from experiments.models.baselines import Baseline, make_baseline
from experiments.models.linear_attention import linear_attention
from experiments.models.linformer import Linformer, LowRankAttention
from experiments.models.performer import Performer
from experiments.models.reformer import Reformer
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import EnergyReadout

# Table VII trains with batches of 128; a quarter of one is enough to keep the cores busy.
TABLE_SIZE = {"batch": 32, "tokens": 64, "heads": 8, "head_dim": 8}
HEAD_DIM = 64
LENGTHS = (1024, 4096, 16384)


def mechanisms(tokens: int, head_dim: int) -> dict[str, Core]:
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


def _core(baseline: Baseline) -> Core:
    if isinstance(baseline, Linformer):
        return LowRankAttention(baseline, rngs=nnx.Rngs(0))
    if isinstance(baseline, Reformer):
        return lambda query, key, value: baseline(query, value)
    return baseline


def at_table_size(repeats: int) -> dict[str, Any]:
    """All mechanisms in one process, in turn."""
    memory, calls = compiled(mechanisms(TABLE_SIZE["tokens"], TABLE_SIZE["head_dim"]), inputs(*TABLE_SIZE.values()))
    seconds = interleave(calls, repeats)
    return TABLE_SIZE | {"arms": {name: summary(seconds[name]) | {"temporary_bytes": memory[name]} for name in memory}}


def table() -> Table:
    """At the size of Table VII and over the length, beside the paper's."""
    costs = load("benchmark_mechanism_cost")
    size, scaling, rows = costs["table_size"], costs["scaling"], []
    for arm, measured in scaling["arms"].items():
        at_size, theirs = size["arms"][arm], paper.MECHANISMS.get(arm)
        cells = [f"{at_size['median_s'] * 1e3:.1f} ms, {at_size['temporary_bytes'] / 1e6:.1f} MB"]
        cells += [_cost(measured, str(tokens)) for tokens in scaling["lengths"]]
        cells += [_exponent(measured["exponent"]), theirs.time if theirs else ""]
        cells += [_exponent(measured["memory_exponent"]), theirs.space if theirs else ""]
        rows.append(((ARMS | BASELINES)[arm].label, *cells))
    first, *_, last = scaling["lengths"]
    lengths = " | ".join(f"N = {tokens:,}" for tokens in scaling["lengths"])
    header = f"attention | N = {size['tokens']}, batch {size['batch']} | {lengths}"
    header += " | exponent of time | paper | exponent of memory | paper"
    note = (
        f"Attention core, forward and backward, float32; medians of {costs['repeats']} rounds, all mechanisms in turn, "
        f"and the peak of temporary memory of the compiled program. Table size: {size['heads']} heads of "
        f"{size['head_dim']}; over the length: one head of {scaling['head_dim']}, batch 1. Exponents from {first:,} to "
        f"{last:,} tokens. QAMA is annealed in software; the paper's T_sol is of an optical machine. Its O(n²) for "
        "Reformer is not that paper's O(n log n)."
    )
    return Table(tuple(header.split(" | ")), rows, "Table VII: time and memory of the mechanisms", note)


def _cost(measured: dict[str, Any], tokens: str) -> str:
    seconds, memory = measured["seconds"].get(tokens), measured["temporary_bytes"].get(tokens)
    if memory is None:
        return ""
    time = "not run" if seconds is None else f"{seconds['median_s'] * 1e3:,.0f} ms"
    return f"{time}, {memory / 1e6:,.0f} MB"


def _exponent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def main() -> None:
    """Runs both parts, writes the result file and draws the plot."""
    options = make_parser(__doc__, "benchmark_mechanism_cost.json", repeats=7).parse_args()
    settings = {name: repr(make_baseline(name, tokens=TABLE_SIZE["tokens"], seed=0)) for name in BASELINES}
    settings["window"] = repr(WINDOWS["cifar10"])
    parts = {
        "table_size": lambda: at_table_size(options.repeats),
        "scaling": lambda: scaling({n: mechanisms(n, HEAD_DIM) for n in LENGTHS}, HEAD_DIM, options.repeats),
    }
    result = write_parts(options.result, {"repeats": options.repeats, "settings": settings}, parts)
    draw_costs(options.result.with_suffix(".png"), result["scaling"])


if __name__ == "__main__":
    main()
