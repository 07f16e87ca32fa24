"""A byte-level language model on IMDB with causal QAMA, softmax or a window alone.

    python experiments/train_lm.py --attention qama

Prints a text that the trained model writes from its cache, whose size does not depend on how long the text is, but for
softmax. Result and checkpoints are in the run directory; `--resume` continues there.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from experiments.data.prepared import DataNotFoundError
from experiments.data.text_bytes import ByteStreams, load_bytes
from experiments.models.block import AttentionFactory
from experiments.models.controls import SELECTIONS, FixedSelection, RandomSelection, SinkMemory, UncoupledMemory
from experiments.models.language_model import LanguageModel
from experiments.models.parameters import count_parameters
from experiments.train.language import LanguageSettings, generate, train_language_model
from qama_jax import MemoryReadout, QAMAAttention

ATTENTION = ("qama", "softmax", "window", "sinks")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--attention", choices=ATTENTION, default="qama", help="sinks: window and the first tokens")
    parser.add_argument("--selection", choices=SELECTIONS, default="annealed", help="of qama; others are controls")
    parser.add_argument("--length", type=int, default=LanguageSettings.length, help="bytes of a text")
    parser.add_argument("--steps", type=int, default=LanguageSettings.steps)
    parser.add_argument("--batch-size", type=int, default=LanguageSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=LanguageSettings.learning_rate)
    parser.add_argument("--test-texts", type=int, default=LanguageSettings.test_texts)
    parser.add_argument("--steps-per-test", type=int, default=LanguageSettings.steps_per_test)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128, help="features of a token")
    parser.add_argument("--depth", type=int, default=2, help="number of blocks")
    parser.add_argument("--num-heads", type=int, default=4)
    parser.add_argument("--mlp-dim", type=int, default=512)
    parser.add_argument("--chunk-size", type=int, default=32, help="tokens of a problem")
    parser.add_argument("--radius", type=int, default=32, help="tokens before its own that a window has")
    parser.add_argument("--num-keys", type=int, default=4, help="keys of a chunk and head that are remembered")
    parser.add_argument("--memory-size", type=int, default=16, help="remembered keys of a head that are seen")
    parser.add_argument("--prompt", default="This movie", help="of the text that is written at the end")
    parser.add_argument("--written-bytes", type=int, default=300, help="of that text")
    parser.add_argument("--run-dir", type=Path, help="(default: runs/lm-ATTENTION-LENGTH-seedSEED)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the run directory")
    return parser.parse_args(arguments)


def make_attention(options: argparse.Namespace) -> AttentionFactory:
    """The layers that the command line asks for."""
    if options.attention == "softmax":
        return functools.partial(nnx.MultiHeadAttention, keep_rngs=False)
    sizes = options.chunk_size, options.radius, options.num_keys, options.memory_size
    solver, readout = None, MemoryReadout(*sizes)
    if options.attention != "qama":
        solver, readout = FixedSelection(), SinkMemory(*sizes, forgets=options.attention == "window")
    elif options.selection != "annealed":
        solver = RandomSelection() if options.selection == "random" else FixedSelection()
        readout = UncoupledMemory(*sizes)
    return functools.partial(QAMAAttention, solver=solver, readout=readout, keep_rngs=False)


def run(options: argparse.Namespace, data: ByteStreams) -> tuple[dict[str, Any], LanguageModel]:
    """Trains one model; returns its result and the model."""
    sizes = {name: getattr(options, name) for name in ("width", "depth", "num_heads", "mlp_dim")}
    attention = make_attention(options)

    def make_model(rngs: nnx.Rngs) -> LanguageModel:
        return LanguageModel(**sizes, attention=attention, rngs=rngs)

    name = options.attention if options.selection == "annealed" else f"{options.attention}-{options.selection}"
    memory = {name: getattr(options, name) for name in ("chunk_size", "radius", "num_keys", "memory_size")}
    settings = LanguageSettings(
        options.seed,
        options.steps,
        options.batch_size,
        options.length,
        options.learning_rate,
        options.test_texts,
        options.steps_per_test,
    )
    return train_language_model(
        make_model,
        data,
        settings,
        run_dir=options.run_dir or Path(f"runs/lm-{name}-{options.length}-seed{options.seed}"),
        description={
            "attention": name,
            "model": sizes,
            "parameters": count_parameters(nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))),
            "memory": None if options.attention == "softmax" else memory,
        },
        resume=options.resume,
    )


def main() -> None:
    """Runs the command line; errors of the user are one line."""
    options = parse_arguments()
    try:
        result, model = run(options, load_bytes("imdb"))
    except (DataNotFoundError, ValueError) as error:
        sys.exit(f"train_lm: {error}")
    print(f"{result['attention']}: {result['rows'][-1]['test_bits_per_byte']:.3f} bits a byte")
    text = generate(model, options.prompt.encode(), options.written_bytes, key=jax.random.key(options.seed))
    print(text.decode(errors="replace"))


if __name__ == "__main__":
    main()
