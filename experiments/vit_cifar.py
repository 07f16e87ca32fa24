"""SimpleViT on images with QAMA, softmax, no or other attention: the paper's vision experiment (Tables I, III and VII).

    python experiments/vit_cifar.py --attention qama --dataset cifar10
    python experiments/vit_cifar.py --attention qama --readout linear --dataset listops --minutes 20 --schedule cosine

Long sequences (listops, imdb_bytes, cifar10_pixels, pathfinder) are for TextTransformer.

Batches are spread over all devices. With `--distributed` on each of several processes, over those of all: on a cluster
that JAX knows (TPU pods, SLURM, MPI) they find each other, elsewhere by `--coordinator` and the two numbers. They share
the run directory.

Paper, CIFAR-10 after 50 epochs: softmax 61.4 %, QAMA 59.3 %. Adam, learning rate 1e-3, patch 4×4, 8 heads as there;
the sizes of the model are not in the paper.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from experiments.data import images, sequences
from experiments.data.prepared import DataNotFoundError
from experiments.devices import add_cluster_options, is_writer, join_cluster
from experiments.models.controls import SELECTIONS
from experiments.train.loop import TrainingSettings
from experiments.train.run import ATTENTION, DTYPES, Run
from experiments.train.settings import SCHEDULES
from qama_jax import (
    EnergyReadout,
    LinearReadout,
    MixedReadout,
    Readout,
    SelectedKeysReadout,
    SimulatedBifurcation,
    WindowReadout,
)

READOUTS = ("energy", "mixed", "window", "selected-keys", "linear")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--attention", choices=ATTENTION, default="qama", help="layers of the blocks")
    parser.add_argument("--dataset", choices=(*images.NAMES, *sequences.NAMES), default="cifar10")
    parser.add_argument("--length", type=int, help="tokens of a sequence, not for images (default: by data set)")
    parser.add_argument("--train-examples", type=int, help="use the first so many training images (default: all)")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--minutes", type=float, help="train for so long instead, tests and compilation apart")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--schedule", choices=SCHEDULES, default="constant", help="of the learning rate")
    parser.add_argument("--warmup", type=float, default=0.0, help="share of the run in which the learning rate rises")
    parser.add_argument("--weight-decay", type=float, default=0.0, help="of AdamW")
    parser.add_argument("--augment", action="store_true", help="crop and mirror the training images at random")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the blocks; parameters are float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patch-size", type=int, help="(default: 4, digits: 2, groups: 1, digit_groups: 8)")
    parser.add_argument("--width", type=int, default=64, help="features of a token")
    parser.add_argument("--depth", type=int, default=2, help="number of blocks")
    parser.add_argument("--num-heads", type=int, default=8)
    parser.add_argument("--mlp-dim", type=int, default=256)
    parser.add_argument(
        "--solver-steps", type=int, help="steps of bifurcation (default: the layer's, fewer in training)"
    )
    parser.add_argument("--solver-reads", type=int, help="reads of bifurcation (default: one)")
    parser.add_argument("--readout", choices=READOUTS, default="energy", help="of QAMA; energy is the paper's")
    parser.add_argument("--radius", type=int, default=WindowReadout.radius, help="of windows")
    parser.add_argument(
        "--num-keys",
        type=int,
        default=WindowReadout.num_keys,
        help="selected keys of a head that are seen; of windows 0 for none",
    )
    parser.add_argument("--selection", choices=SELECTIONS, default="annealed", help="all others are controls")
    parser.add_argument("--run-dir", type=Path, help="checkpoints (default: by data set, attention and seed)")
    parser.add_argument("--result", type=Path, help="result file (default: RUN_DIR/result.json)")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/data"), help="decoded data sets")
    add_cluster_options(parser)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the run directory")
    return parser.parse_args(arguments)


def make_readout(options: argparse.Namespace) -> Readout:
    """The read-out that the command line asks for."""
    if options.readout == "mixed":
        return MixedReadout(options.radius, options.num_keys)
    if options.readout == "window":
        return WindowReadout(options.radius, options.num_keys)
    if options.readout == "selected-keys":
        return SelectedKeysReadout(options.num_keys)
    return LinearReadout() if options.readout == "linear" else EnergyReadout()


def make_solver(options: argparse.Namespace) -> SimulatedBifurcation | None:
    """The solver that the options name, None for the layer's own."""
    if options.solver_steps is None and options.solver_reads is None:
        return None
    reads = SimulatedBifurcation.num_reads if options.solver_reads is None else options.solver_reads
    return SimulatedBifurcation(num_steps=options.solver_steps, num_reads=reads)


def run(options: argparse.Namespace) -> tuple[dict[str, Any], nnx.Module]:
    """Trains one model; returns its result and the model."""
    run = Run(
        options.dataset,
        options.attention,
        TrainingSettings(
            options.seed,
            options.epochs,
            options.batch_size,
            options.learning_rate,
            minutes=options.minutes,
            schedule=options.schedule,
            warmup=options.warmup,
            weight_decay=options.weight_decay,
            augment=options.augment,
        ),
        width=options.width,
        depth=options.depth,
        num_heads=options.num_heads,
        mlp_dim=options.mlp_dim,
        patch_size=options.patch_size or {"digits": 2, "groups": 1, "digit_groups": 8}.get(options.dataset, 4),
        length=_length(options),
        train_examples=options.train_examples,
        solver=make_solver(options),
        readout=make_readout(options),
        selection=options.selection,
        dtype=options.dtype,
    )
    run_dir = options.run_dir or Path(f"runs/{_name(options)}-seed{options.seed}")
    result_path = options.result or run_dir / "result.json"
    data = run.load(options.cache_dir)
    return run.execute(data, run_dir=run_dir, result_path=result_path, resume=options.resume)


def _length(options: argparse.Namespace) -> int:
    """Tokens of a sequence; images have none that could be chosen."""
    if options.dataset not in sequences.NAMES:
        if options.length is not None:
            raise ValueError(f"length is of {', '.join(sequences.NAMES)}; for {options.dataset} set patch_size")
        return Run.length
    return sequences.default_length(options.dataset) if options.length is None else options.length


def _name(options: argparse.Namespace) -> str:
    readout = f"-{options.readout}" if options.attention == "qama" and options.readout != "energy" else ""
    selection = f"-{options.selection}" if options.attention == "qama" and options.selection != "annealed" else ""
    return f"{options.dataset}-{options.attention}{readout}{selection}"


def main() -> None:
    """Runs the command line; errors of the user are one line."""
    options = parse_arguments()
    join_cluster(options)
    try:
        result, _ = run(options)
    except (DataNotFoundError, ValueError) as error:
        sys.exit(f"vit_cifar: {error}")
    if is_writer():
        accuracies = f"last {result['last_accuracy']:.2%}, best {result['best_accuracy']:.2%}"
        print(f"{options.dataset}, {options.attention}: {accuracies}")


if __name__ == "__main__":
    main()
