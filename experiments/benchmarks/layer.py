"""Cost of QAMA attention, forward and backward: against softmax, against the machine's limit, and over the length.

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

from experiments.benchmarks.cores import SOLVER, against_softmax, gradients, inputs, qama, scaling
from experiments.benchmarks.harness import make_parser, write_parts
from experiments.benchmarks.roofline import limit, measure_peaks
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import interleave, summary
from qama_jax import EnergyReadout

# Of each number of tokens.
BATCHES = {64: 16, 256: 4, 1024: 1, 4096: 1}
LENGTHS = (4096, 8192, 16384, 32768, 65536)
LONGEST = 1_048_576
# Batch, tokens and heads of what is compared with the limit of the machine.
SIZES = ((16, 64, 8), (4, 256, 8), (1, 1024, 8), (1, 4096, 8), (1, 16384, 8), (1, 32768, 8), (1, 32768, 1))
_QAMA = partial(qama, EnergyReadout())


def flash_attention(query: jax.Array, key: jax.Array, value: jax.Array, **_: Any) -> jax.Array:
    """Softmax attention by cuDNN, which takes 16-bit numbers alone."""
    low = (array.astype(jnp.bfloat16) for array in (query, key, value))
    return jax.nn.dot_product_attention(*low, implementation="cudnn").astype(query.dtype)


def against_limit(repeats: int) -> dict[str, Any]:
    """Time, least time that the machine allows, and how many times that it is; the machine's rates of the same run."""
    peaks, rows = measure_peaks(repeats), []
    for batch, tokens, heads in SIZES:
        shape = batch, tokens, heads, 64
        seconds = summary(interleave({"qama": partial(gradients, _QAMA, *inputs(*shape))}, repeats)["qama"])
        least = limit(peaks, shape)
        size = {"batch": batch, "tokens": tokens, "heads": heads, "head_dim": 64}
        rows.append(size | seconds | {"limit_s": least, "times_limit": seconds["min_s"] / least})
    return {"peaks": peaks._asdict(), "rows": rows}


def longest() -> dict[str, Any]:
    """Time and peak memory of the longest sequence, in a process of its own."""
    command = (sys.executable, "-m", "experiments.benchmarks.layer", "--longest")
    seconds, peak = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return {"tokens": LONGEST, "heads": 1, "head_dim": 64, "seconds": seconds, "peak_resident_gb": peak}


def _run_longest() -> None:
    # One by one and by NumPy, as `jax.random` needs four times their memory, more than the layer does.
    rng = np.random.default_rng(LONGEST)
    arrays = [jnp.asarray(rng.standard_normal((1, LONGEST, 1, 64), np.float32)) for _ in range(3)]
    seconds = interleave({"qama": partial(gradients, _QAMA, *arrays)}, 1)["qama"][0]
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def softmax_table() -> Table:
    """Forward and backward time against softmax attention."""
    rows = []
    for row in load("benchmark_layer")["against_softmax"]:
        softmax, qama = (row["arms"][name] for name in ("softmax", "qama"))
        times = f"{softmax['median_s'] * 1e3:.1f} | {qama['median_s'] * 1e3:.1f}"
        rows.append(f"{row['tokens']:,} | {row['batch']} | {times} | {qama['ratio']:.3f}")
    return Table.of("N | batch | softmax, ms | QAMA, ms | ratio", rows)


def limit_table() -> Table:
    """Forward and backward time against the machine's limit."""
    result, rows = load("benchmark_layer")["against_limit"], []
    for row in result["rows"]:
        times = f"{row['min_s'] * 1e3:.1f} | {row['limit_s'] * 1e3:.1f} | {row['times_limit']:.1f}"
        rows.append(f"{row['batch']}, {row['heads']}, {row['tokens']:,} | {times}")
    rates = (
        f"{result['peaks']['flops'] / 1e9:.0f} GFLOP/s in a large product, {result['peaks']['bytes'] / 1e9:.0f} GB/s"
    )
    return Table.of("batch, heads, N | QAMA, ms | limit, ms | times the limit", rows, note=f"{rates} in a copy.")


def scaling_table() -> Table:
    """Forward and backward time over the length."""
    result = load("benchmark_layer")
    measured, longest = result["scaling"]["arms"]["qama"], result["longest"]
    rows = [f"{int(tokens):,} | {row['median_s'] * 1e3:.0f} ms" for tokens, row in measured["seconds"].items()]
    peak = f"{longest['peak_resident_gb']:.1f} GB peak memory"
    rows.append(f"{longest['tokens']:,} | {longest['seconds']:.1f} s, {peak}")
    note = f"Exponent from 4,096 to 65,536 tokens: {measured['exponent']:.2f}."
    return Table.of("N | forward + backward", rows, note=note)


TABLES = {"softmax": softmax_table, "limit": limit_table, "scaling": scaling_table}


def main() -> None:
    """Runs all parts and writes the result file."""
    parser = make_parser(__doc__, "benchmark_layer.json", repeats=15)
    parser.add_argument("--longest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.longest:
        _run_longest()
        return
    flash = {"flash": flash_attention} if jax.default_backend() == "gpu" else {}
    cores = {"softmax": jax.nn.dot_product_attention, "qama": _QAMA} | flash
    parts = {
        "against_softmax": lambda: against_softmax(cores, BATCHES, 64, options.repeats),
        "against_limit": lambda: against_limit(options.repeats),
        "scaling": lambda: scaling({tokens: {"qama": _QAMA} for tokens in LENGTHS}, 64, options.repeats),
        "longest": longest,
    }
    write_parts(options.result, {"solver": repr(SOLVER)}, parts)


if __name__ == "__main__":
    main()
