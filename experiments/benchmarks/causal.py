"""Causal attention, forward and backward, against causal softmax; as the sequence grows; a token from the cache.

make benchmark-causal
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.cores import SOLVER, against_softmax, qama, scaling
from experiments.benchmarks.harness import make_parser, write_parts
from experiments.models.controls import SinkMemory
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import MemoryReadout, MixedMemoryReadout, QAMAAttention

HEADS, HEAD_DIM = 8, 64
BATCHES = {1024: 1, 4096: 1}
LENGTHS = (4096, 16384, 65536)
DECODED_LENGTHS = (1024, 4096, 16384)
READOUTS = {
    "memory": MemoryReadout(),
    "memory, mixed": MixedMemoryReadout(),
    "window alone": SinkMemory(forgets=True),
}
_QAMA = {name: functools.partial(qama, readout) for name, readout in READOUTS.items()}
_CORES = {"softmax": functools.partial(jax.nn.dot_product_attention, is_causal=True)} | _QAMA


def decoding(repeats: int) -> Mapping[str, Any]:
    """Seconds of a token, after N tokens: the mean over a chunk with its problem, the layers in turn."""
    makers = {name: functools.partial(QAMAAttention, readout=readout) for name, readout in READOUTS.items()}
    makers = {"softmax": nnx.MultiHeadAttention} | makers
    size = {"heads": HEADS, "head_dim": HEAD_DIM, "batch": 1}
    tokens = MemoryReadout().chunk_size
    arms: dict[str, dict[str, Any]] = {name: {} for name in makers}
    for length in DECODED_LENGTHS:
        calls = {name: _decoder(make, length, tokens) for name, make in makers.items()}
        for name, seconds in interleave(calls, repeats).items():
            arms[name][str(length)] = summary([whole / tokens for whole in seconds])
    return size | {"arms": arms}


def _decoder(make: Callable[..., nnx.MultiHeadAttention], length: int, tokens: int) -> Callable[[], jax.Array]:
    """The last tokens of a sequence of that length, one after another from the cache."""
    features = HEADS * HEAD_DIM
    layer = make(HEADS, features, decode=True, deterministic=True, keep_rngs=False, rngs=nnx.Rngs(0))
    layer.init_cache((1, length, features))
    layer.cache_index[...] = jnp.full_like(layer.cache_index[...], length - tokens)
    graph, cache, rest = nnx.split(layer, nnx.Cache, ...)

    @jax.jit
    def decode(cache, rest, inputs):
        def step(cache, token):
            layer = nnx.merge(graph, cache, rest)
            output = layer(token)
            return nnx.state(layer, nnx.Cache), output

        return jax.lax.scan(step, cache, inputs)[1]

    return functools.partial(decode, cache, rest, jax.random.normal(jax.random.key(0), (tokens, 1, 1, features)))


def cost_table() -> Table:
    """Forward and backward time as a share of that of causal softmax."""
    measured, rows = load("benchmark_causal")["against_softmax"], []
    for row in measured:
        shares = (f"{arm['ratio']:.2f}" for name, arm in row["arms"].items() if name != "softmax")
        rows.append(f"{row['tokens']:,} | {row['arms']['softmax']['median_s'] * 1e3:.1f} | {' | '.join(shares)}")
    names = (name for name in measured[0]["arms"] if name != "softmax")
    return Table.of(f"N | causal softmax, ms | {' | '.join(names)}", rows)


def scaling_table() -> Table:
    """Time and temporary memory over the length, and the time of a decoded token."""
    result = load("benchmark_causal")
    arms, decoded, rows = result["scaling"]["arms"], result["decoding"]["arms"], []
    for name, tokens in decoded.items():
        whole = [""] * (len(LENGTHS) + 2)
        if name in arms:
            times = (f"{row['median_s'] * 1e3:,.0f}" for row in arms[name]["seconds"].values())
            whole = [*times, f"{arms[name]['exponent']:.2f}", f"{arms[name]['memory_exponent']:.2f}"]
        steps = (f"{row['median_s'] * 1e6:,.0f}" for row in tokens.values())
        rows.append(f"{name} | {' | '.join(whole)} | {' | '.join(steps)}")
    lengths = " | ".join(f"N = {tokens:,}, ms" for tokens in LENGTHS)
    decoded_lengths = " | ".join(f"token at N = {tokens:,}, µs" for tokens in DECODED_LENGTHS)
    return Table.of(f"attention | {lengths} | exponent of time | of memory | {decoded_lengths}", rows)


TABLES = {"causal_cost": cost_table, "causal_scaling": scaling_table}


def main() -> None:
    """Runs the parts and writes the result file."""
    repeats = (options := make_parser(__doc__, "benchmark_causal.json", repeats=9).parse_args()).repeats
    parts = {
        "against_softmax": lambda: against_softmax(_CORES, BATCHES, HEAD_DIM, repeats),
        "scaling": lambda: scaling(dict.fromkeys(LENGTHS, _QAMA), HEAD_DIM, repeats),
        "decoding": lambda: decoding(repeats),
    }
    about = {"solver": repr(SOLVER), "readouts": {name: repr(readout) for name, readout in READOUTS.items()}}
    write_parts(options.result, about, parts)


if __name__ == "__main__":
    main()
