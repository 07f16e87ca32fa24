"""Cost of every read-out, forward and backward, against softmax and linear attention; as the sequence grows; memory.

make benchmark-readouts
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.harness import make_parser, write_parts
from experiments.benchmarks.layer import SOLVER, gradients, inputs
from experiments.benchmarks.scaling import scaling
from experiments.models.linear_attention import linear_attention
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import EnergyReadout, LinearReadout, Readout, SelectedKeysReadout, WindowReadout, qama_attention

# tokens: batch; 8 heads.
SIZES = {64: 16, 256: 4, 1024: 1, 4096: 1}
HEAD_DIMS = (8, 64)
LENGTHS = (4096, 16384, 65536)
READOUTS = {
    "energy": EnergyReadout(),
    "linear": LinearReadout(),
    "selected keys": SelectedKeysReadout(),
    "window": WindowReadout(),
}


def qama(readout: Readout, query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """QAMA as layers train it."""
    importance = jnp.ones(query.shape[-1])
    return qama_attention(query, key, value, importance, rng=jax.random.key(0), solver=SOLVER, readout=readout)[0]


# One object for each, so that each is compiled once.
ATTENTION = {
    "softmax": jax.nn.dot_product_attention,
    "linear attention": linear_attention,
} | {name: functools.partial(qama, readout) for name, readout in READOUTS.items()}


def against_softmax(repeats: int) -> list[dict[str, Any]]:
    """All mechanisms in one process, in turn."""
    rows = []
    for head_dim in HEAD_DIMS:
        for tokens, batch in SIZES.items():
            arrays = inputs(batch, tokens, 8, head_dim)
            calls = {name: functools.partial(gradients, attention, *arrays) for name, attention in ATTENTION.items()}
            seconds = interleave(calls, repeats if tokens < 4096 else 3)
            softmax = np.array(seconds["softmax"])
            row = {"tokens": tokens, "batch": batch, "heads": 8, "head_dim": head_dim, "arms": {}}
            for name, values in seconds.items():
                row["arms"][name] = summary(values) | {"ratio": float(np.median(np.array(values) / softmax))}
            rows.append(row)
            ratios = ", ".join(f"{name} {arm['ratio']:.2f}" for name, arm in row["arms"].items())
            print(f"N = {tokens}, D = {head_dim}: {ratios}", flush=True)
    return rows


def cost_table() -> Table:
    """Forward and backward time of each read-out as a share of softmax's."""
    return Table.of(
        [
            {
                "N": f"{row['tokens']:,}",
                "D": str(row["head_dim"]),
                "softmax, ms": f"{row['arms']['softmax']['median_s'] * 1e3:.1f}",
            }
            | {name: f"{arm['ratio']:.2f}" for name, arm in row["arms"].items() if name != "softmax"}
            for row in load("benchmark_readout_cost")["against_softmax"]
        ]
    )


def scaling_table() -> Table:
    """Time and temporary memory of each read-out over the length."""
    return Table.of(
        [
            {
                "read-out": name,
                **{f"N = {int(n):,}": f"{row['median_s'] * 1e3:,.0f} ms" for n, row in arm["seconds"].items()},
                "exponent of time": f"{arm['exponent']:.2f}",
                "of memory": f"{arm['memory_exponent']:.2f}",
            }
            for name, arm in load("benchmark_readout_cost")["scaling"]["arms"].items()
        ]
    )


def main() -> None:
    """Runs both parts and writes the result file."""
    options = make_parser(__doc__, "benchmark_readout_cost.json", repeats=9).parse_args()
    readouts = {name: ATTENTION[name] for name in READOUTS}
    parts = {
        "against_softmax": lambda: against_softmax(options.repeats),
        "scaling": lambda: scaling(dict.fromkeys(LENGTHS, readouts), 64, options.repeats),
    }
    about = {"solver": repr(SOLVER), "readouts": {name: repr(readout) for name, readout in READOUTS.items()}}
    write_parts(options.result, about, parts)


if __name__ == "__main__":
    main()
