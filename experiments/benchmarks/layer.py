"""Cost of QAMA attention, forward and backward: against softmax attention, and as the sequence grows.

make benchmark-layer

On a GPU softmax also runs through cuDNN's flash attention, its inputs in bfloat16.
"""

import argparse
import resource
import subprocess
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.harness import make_parser, write_parts
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import exponent, interleave, summary
from qama_jax import qama_attention
from qama_jax.layers.arguments import layer_solver

# tokens: batch; 8 heads of 64.
AGAINST_SOFTMAX = {64: 16, 256: 4, 1024: 1, 4096: 1}
LENGTHS = (4096, 8192, 16384, 32768, 65536)
LONGEST = 1_048_576
SOLVER = layer_solver(None, deterministic=False)


@partial(jax.jit, static_argnums=0)
def gradients(attention, query, key, value):
    """Forward and backward pass: gradients of a sum of features with respect to query, key and value."""

    def loss(query, key, value):
        return jnp.sum(attention(query, key, value) ** 2)

    return jax.grad(loss, (0, 1, 2))(query, key, value)


def qama(query, key, value):
    """QAMA as layers train it."""
    importance = jnp.ones(query.shape[-1])
    return qama_attention(query, key, value, importance, rng=jax.random.key(0), solver=SOLVER)[0]


def flash_attention(query: jax.Array, key: jax.Array, value: jax.Array, **_: Any) -> jax.Array:
    """Softmax attention by cuDNN, which takes 16-bit numbers alone."""
    low = (array.astype(jnp.bfloat16) for array in (query, key, value))
    return jax.nn.dot_product_attention(*low, implementation="cudnn").astype(query.dtype)


def inputs(batch: int, tokens: int, heads: int, head_dim: int) -> jax.Array:
    """Standard normal query, key and value."""
    return jax.random.normal(jax.random.key(tokens), (3, batch, tokens, heads, head_dim))


def against_softmax(repeats: int) -> list[dict[str, Any]]:
    """Both sides in one process, in turn."""
    rows = []
    for tokens, batch in AGAINST_SOFTMAX.items():
        arrays = inputs(batch, tokens, 8, 64)
        sides = {"softmax": jax.nn.dot_product_attention, "qama": qama}
        if jax.default_backend() == "gpu":
            sides["flash"] = flash_attention
        calls = {name: lambda side=side, a=arrays: gradients(side, *a) for name, side in sides.items()}
        seconds = interleave(calls, repeats if tokens < 4096 else 3)
        ratio = float(np.median(np.array(seconds["qama"]) / np.array(seconds["softmax"])))
        rows.append({"tokens": tokens, "batch": batch, "heads": 8, "head_dim": 64, "ratio": ratio})
        rows[-1] |= {name: summary(values) for name, values in seconds.items()}
        print(
            f"N = {tokens}: softmax {_ms(rows[-1]['softmax'])}, QAMA {_ms(rows[-1]['qama'])}, ratio {ratio:.3f}",
            flush=True,
        )
    return rows


def scaling(repeats: int) -> dict[str, Any]:
    """Time of one head of 64 over the length, and the exponent between the ends."""
    arrays = {tokens: inputs(1, tokens, 1, 64) for tokens in LENGTHS}
    functions = {str(tokens): lambda a=a: gradients(qama, *a) for tokens, a in arrays.items()}
    times = {name: summary(values) for name, values in interleave(functions, repeats).items()}
    slope = exponent({tokens: row["median_s"] for tokens, row in times.items()})
    for tokens in LENGTHS:
        print(f"N = {tokens}: {_ms(times[str(tokens)])}", flush=True)
    print(f"exponent {slope:.3f}", flush=True)
    return {"heads": 1, "head_dim": 64, "seconds": times, "exponent": slope}


def longest() -> dict[str, Any]:
    """Time and peak memory of the longest sequence, in a process of its own."""
    command = (sys.executable, "-m", "experiments.benchmarks.layer", "--longest")
    seconds, peak = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    print(f"N = {LONGEST}: {seconds:.1f} s, {peak:.2f} GB", flush=True)
    return {"tokens": LONGEST, "heads": 1, "head_dim": 64, "seconds": seconds, "peak_resident_gb": peak}


def _run_longest() -> None:
    # One by one and by NumPy, as `jax.random` needs four times their memory, more than the layer does.
    rng = np.random.default_rng(LONGEST)
    arrays = [jnp.asarray(rng.standard_normal((1, LONGEST, 1, 64), np.float32)) for _ in range(3)]
    seconds = interleave({"qama": lambda: gradients(qama, *arrays)}, 1)["qama"][0]
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def _ms(times: dict[str, float]) -> str:
    return f"{times['median_s'] * 1e3:.2f} ms"


def softmax_table() -> Table:
    """Forward and backward time against softmax attention."""
    return Table.of(
        [
            {
                "N": f"{row['tokens']:,}",
                "batch": str(row["batch"]),
                "softmax, ms": f"{row['softmax']['median_s'] * 1e3:.1f}",
                "QAMA, ms": f"{row['qama']['median_s'] * 1e3:.1f}",
                "ratio": f"{row['ratio']:.3f}",
            }
            for row in load("benchmark_layer")["against_softmax"]
        ]
    )


def scaling_table() -> Table:
    """Forward and backward time over the length."""
    result = load("benchmark_layer")
    measured, longest = result["scaling"], result["longest"]
    times = {int(tokens): f"{row['median_s'] * 1e3:.0f} ms" for tokens, row in measured["seconds"].items()}
    times[longest["tokens"]] = f"{longest['seconds']:.1f} s, {longest['peak_resident_gb']:.1f} GB peak memory"
    rows = [{"N": f"{tokens:,}", "forward + backward": time} for tokens, time in times.items()]
    return Table.of(rows, note=f"Exponent from 4,096 to 65,536 tokens: {measured['exponent']:.2f}.")


def main() -> None:
    """Runs all parts and writes the result file."""
    parser = make_parser(__doc__, "benchmark_layer.json", repeats=15)
    parser.add_argument("--longest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.longest:
        _run_longest()
        return
    parts = {
        "against_softmax": lambda: against_softmax(options.repeats),
        "scaling": lambda: scaling(options.repeats),
        "longest": longest,
    }
    write_parts(options.result, {"solver": repr(SOLVER)}, parts)


if __name__ == "__main__":
    main()
