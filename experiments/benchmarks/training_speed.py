"""Examples a second and memory of training on long texts, with each attention, against softmax.

    python -m experiments.benchmarks.training_speed

A step is the forward and backward pass of the model of the study of long sequences. The arms take turns in one process,
A B A B.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from experiments.attention_arms import ARMS, LONG_WINDOW
from experiments.benchmarks.harness import make_parser, write_rows
from experiments.data.dataset import Dataset
from experiments.result_files import Result, load
from experiments.tables import Table
from experiments.timing import compare, exponent
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run

COMPARED = ("softmax", "window", "mixed", "window-alone", "gated-linear", "qama", "linear", "none")
LENGTHS = (1024, 2048, 4096)


def training_step(arm: str, tokens: int, batch: int) -> tuple[jax.stages.Compiled, tuple[Any, ...]]:
    """Compiled gradient of the loss on texts of random bytes, and its arguments."""
    settings = ARMS[arm].settings(LONG_WINDOW) | {"solver": None}
    run = Run("imdb_bytes", training=TrainingSettings(), depth=2, num_heads=2, mlp_dim=128, length=tokens, **settings)
    ids = np.random.default_rng(0).integers(1, 256, (batch, tokens)).astype(np.uint8)
    labels = np.arange(batch, dtype=np.int32) % 2
    graph, params = nnx.split(run.model_maker(Dataset(ids, labels, ids, labels))(nnx.Rngs(0)))

    @jax.jit
    @jax.grad
    def gradient(params, ids, labels, key):
        logits = nnx.merge(graph, params)(ids, deterministic=False, rngs=nnx.Rngs(key))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    arguments = params, ids, labels, jax.random.key(0)
    return gradient.lower(*arguments).compile(), arguments


def measure(batch: int, repeats: int) -> Iterator[Result]:
    """A row for each length."""
    for tokens in LENGTHS:
        steps = {arm: training_step(arm, tokens, batch) for arm in COMPARED}
        arms = compare({arm: functools.partial(step, *arguments) for arm, (step, arguments) in steps.items()}, repeats)
        for arm, (step, _) in steps.items():
            arms[arm]["temporary_bytes"] = step.memory_analysis().temp_size_in_bytes
        yield {"tokens": tokens, "batch": batch, "arms": arms}


def table() -> Table:
    """Speed against softmax and memory at each length, and how memory grows."""
    measured = load("benchmark_training_speed")
    rows = []
    for arm in COMPARED:
        cells = [ARMS[arm].label]
        memory = {str(row["tokens"]): row["arms"][arm]["temporary_bytes"] for row in measured["rows"]}
        for row in measured["rows"]:
            found = row["arms"][arm]
            speed = f"{row['batch'] / found['median_s']:.1f}, {1 / found['ratio']:.1f}×"
            cells.append(f"{speed}, {memory[str(row['tokens'])] / 1e6:,.0f} MB")
        rows.append((*cells, f"{exponent(memory):.2f}"))
    lengths = " | ".join(f"N = {row['tokens']:,}" for row in measured["rows"])
    note = (
        f"Examples a second, their multiple of softmax's (median over {measured['repeats']} rounds), and temporary "
        f"memory of the compiled step for {measured['batch']} examples; two blocks of two heads of 32 features."
    )
    return Table(tuple(f"attention | {lengths} | exponent of memory".split(" | ")), rows, note=note)


TABLES = {"training_speed": table}


def main() -> None:
    """Measures all lengths and writes the result file."""
    options = make_parser(__doc__, "benchmark_training_speed.json", batch=4, repeats=5).parse_args()
    about = {"batch": options.batch, "repeats": options.repeats, "readout": repr(LONG_WINDOW)}
    write_rows(options.result, about, measure(options.batch, options.repeats))


if __name__ == "__main__":
    main()
