"""Trains a small transformer with each attention on a task of real digits that needs attention, and draws what is read.

make demo        (about 3 minutes on 2 cores, no download)

An image shows 36 pairs of handwritten digits in random order. Six pairs share their left digit, the mark, and the label
is their right digit. No pair tells whether it belongs to the six, and every right digit occurs equally often: the pairs
have to be compared. QAMA as published hands on the energies of the tokens that it selects; with another read-out, it
reads two keys per head. The controls are the same with a selection by importance alone, or at random. This is one seed;
`experiments/README.md` has the spread over seeds, and more controls.
"""

import shutil
from pathlib import Path

from experiments import vit_cifar
from experiments.data.digit_groups import in_group
from experiments.data.images import load_images
from experiments.figures import draw_read_tokens
from experiments.look import keys_read
from experiments.models.simple_vit import SimpleViT

_RUNS = Path("runs/demo")
_EPOCHS = 14
_EXAMPLE = 0
_ENERGIES = ["--attention", "qama"]
_KEYS = [*_ENERGIES, "--readout", "selected-keys", "--num-keys", "2"]
# What the command line is told, and what the table says; the figure is of the last.
_ARMS = {
    "none": ("no attention", ["--attention", "none"]),
    "softmax": ("softmax over all 36 tokens", ["--attention", "softmax"]),
    "energies-importance": ("control: energies, nothing annealed", [*_ENERGIES, "--selection", "importance"]),
    "energies": ("QAMA as published: energies", _ENERGIES),
    "random": ("control: 2 random keys per head", [*_KEYS, "--selection", "random"]),
    "importance": ("control: 2 keys of largest importance", [*_KEYS, "--selection", "importance"]),
    "qama": ("QAMA: 2 annealed keys per head", _KEYS),
}
_TASK = ["--dataset", "digit_groups", "--depth", "1", "--num-heads", "4", "--batch-size", "32"]


def main() -> None:
    """Trains all, prints their accuracies, draws the keys that are read."""
    shutil.rmtree(_RUNS, ignore_errors=True)
    accuracy, model = {}, None
    for name, (label, arguments) in _ARMS.items():
        print(f"5,000 sequences of 36 tokens, {_EPOCHS} epochs: {label}", flush=True)
        arguments = [*arguments, *_TASK, "--epochs", str(_EPOCHS), "--learning-rate", "0.002"]
        result, model = vit_cifar.run(vit_cifar.parse_arguments([*arguments, "--run-dir", str(_RUNS / name)]))
        accuracy[label] = result["best_accuracy"], result["last_accuracy"]

    figure = draw_figure(model)
    print(f"\n{'test accuracy (chance: 16.67%)':40s} {'best':>7s} {'last epoch':>12s}")
    for label, (best, last) in accuracy.items():
        print(f"{label:40s} {best:7.2%} {last:12.2%}")
    print(f"\nfigure: {figure}")
    print(f"results: {', '.join(str(_RUNS / name / 'result.json') for name in _ARMS)}")


def draw_figure(model: SimpleViT) -> Path:
    """The keys that each head reads of a test image."""
    data = load_images("digit_groups", _RUNS)
    image, label = data.test_inputs[_EXAMPLE], int(data.test_labels[_EXAMPLE])
    path = _RUNS / "read_tokens.png"
    draw_read_tokens(path, image, keys_read(model, image), in_group(image), model.grid, label)
    return path


if __name__ == "__main__":
    main()
