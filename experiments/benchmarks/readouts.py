"""Cost of every read-out, forward and backward, against softmax and linear attention; as the sequence grows; memory.

make benchmark-readouts
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.layer import SOLVER, gradients, inputs
from experiments.benchmarks.timing import interleave, summary
from experiments.models.linear_attention import linear_attention
from experiments.provenance import provenance, write_json
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


def scaling(repeats: int) -> dict[str, Any]:
    """Time and peak temporary memory of one head of 64 over the length, and the exponents between the ends."""
    arms = {}
    for name in READOUTS:
        arrays = {tokens: inputs(1, tokens, 1, 64) for tokens in LENGTHS}
        calls = {str(tokens): functools.partial(gradients, ATTENTION[name], *a) for tokens, a in arrays.items()}
        times = {tokens: summary(values) for tokens, values in interleave(calls, repeats).items()}
        memory = {str(tokens): _temporary_bytes(ATTENTION[name], a) for tokens, a in arrays.items()}
        arms[name] = {
            "seconds": times,
            "temporary_bytes": memory,
            "exponent": _exponent({tokens: row["median_s"] for tokens, row in times.items()}),
            "memory_exponent": _exponent(memory),
        }
        print(f"{name}: exponent {arms[name]['exponent']:.2f}, memory {arms[name]['memory_exponent']:.2f}", flush=True)
    return {"heads": 1, "head_dim": 64, "arms": arms}


def _temporary_bytes(attention, arrays: jax.Array) -> int:
    return gradients.lower(attention, *arrays).compile().memory_analysis().temp_size_in_bytes


def _exponent(values: dict[str, float]) -> float:
    first, last = (values[str(tokens)] for tokens in (LENGTHS[0], LENGTHS[-1]))
    return float(np.log(last / first) / np.log(LENGTHS[-1] / LENGTHS[0]))


def main() -> None:
    """Runs both parts and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_readouts.json"))
    options = parser.parse_args()
    result = {"experiment": "benchmark_readouts", **provenance(), "solver": repr(SOLVER)}
    result["readouts"] = {name: repr(readout) for name, readout in READOUTS.items()}
    for name, part in (("against_softmax", against_softmax), ("scaling", scaling)):
        result[name] = part(options.repeats)
        write_json(options.result, result)


if __name__ == "__main__":
    main()
