"""Cost of every read-out, forward and backward, against softmax and linear attention; as the sequence grows; memory.

make benchmark-readouts
"""

import functools

import jax

from experiments.benchmarks.cores import SOLVER, against_softmax, qama, scaling
from experiments.benchmarks.harness import make_parser, write_parts
from experiments.benchmarks.layer import BATCHES
from experiments.models.linear_attention import linear_attention
from experiments.result_files import load
from experiments.tables import Table
from qama_jax import EnergyReadout, LinearReadout, MixedReadout, SelectedKeysReadout, WindowReadout

HEAD_DIMS = (8, 64)
LENGTHS = (4096, 16384, 65536)
READOUTS = {
    "energy": EnergyReadout(),
    "linear": LinearReadout(),
    "selected keys": SelectedKeysReadout(),
    "window": WindowReadout(),
    "mixed": MixedReadout(),
    "window alone": WindowReadout(num_keys=0),
}
# One object for each, so that each is compiled once.
_QAMA = {name: functools.partial(qama, readout) for name, readout in READOUTS.items()}
_CORES = {"softmax": jax.nn.dot_product_attention, "linear attention": linear_attention} | _QAMA


def cost_table() -> Table:
    """Forward and backward time of each read-out as a share of softmax's."""
    measured, rows = load("benchmark_readout_cost")["against_softmax"], []
    for row in measured:
        shares = (f"{arm['ratio']:.2f}" for name, arm in row["arms"].items() if name != "softmax")
        softmax = f"{row['arms']['softmax']['median_s'] * 1e3:.1f}"
        rows.append(f"{row['tokens']:,} | {row['head_dim']} | {softmax} | {' | '.join(shares)}")
    names = (name for name in measured[0]["arms"] if name != "softmax")
    return Table.of(f"N | D | softmax, ms | {' | '.join(names)}", rows)


def scaling_table() -> Table:
    """Time and temporary memory of each read-out over the length."""
    arms, rows = load("benchmark_readout_cost")["scaling"]["arms"], []
    for name, arm in arms.items():
        times = " | ".join(f"{row['median_s'] * 1e3:,.0f} ms" for row in arm["seconds"].values())
        rows.append(f"{name} | {times} | {arm['exponent']:.2f} | {arm['memory_exponent']:.2f}")
    lengths = " | ".join(f"N = {int(tokens):,}" for tokens in next(iter(arms.values()))["seconds"])
    return Table.of(f"read-out | {lengths} | exponent of time | of memory", rows)


TABLES = {"readout_cost": cost_table, "readout_scaling": scaling_table}


def main() -> None:
    """Runs both parts and writes the result file."""
    repeats = (options := make_parser(__doc__, "benchmark_readout_cost.json", repeats=9).parse_args()).repeats
    parts = {
        "against_softmax": lambda: [r for d in HEAD_DIMS for r in against_softmax(_CORES, BATCHES, d, repeats)],
        "scaling": lambda: scaling(dict.fromkeys(LENGTHS, _QAMA), 64, repeats),
    }
    about = {"solver": repr(SOLVER), "readouts": {name: repr(readout) for name, readout in READOUTS.items()}}
    write_parts(options.result, about, parts)


if __name__ == "__main__":
    main()
