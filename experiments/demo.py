"""Trains a small vision transformer on scikit-learn's digits with each attention, and draws what QAMA selects.

make demo        (about 4 minutes on 2 cores, no download)
"""

import shutil
from pathlib import Path

from experiments import vit_cifar
from experiments.data.images import load_images
from experiments.figures import draw_energies, draw_head_masks
from experiments.look import look_inside
from experiments.models.simple_vit import SimpleViT

_RUNS = Path("runs/demo")
_EPOCHS = 40
# What the command line is told, and what the table says; the figures are of the last.
_ARMS = {
    "none": ("no attention", ["--attention", "none"]),
    "softmax": ("softmax", ["--attention", "softmax"]),
    "window": ("QAMA, values", ["--attention", "qama", "--readout", "window", "--radius", "5", "--num-keys", "4"]),
    "qama": ("QAMA, energies as published", ["--attention", "qama"]),
}


def main() -> None:
    """Trains all, prints their accuracies, writes the figures."""
    shutil.rmtree(_RUNS, ignore_errors=True)
    accuracy, model = {}, None
    for name, (label, arguments) in _ARMS.items():
        print(f"SimpleViT on digits (1,437 training images, {_EPOCHS} epochs): {label}", flush=True)
        arguments = [*arguments, "--dataset", "digits", "--epochs", str(_EPOCHS), "--batch-size", "64"]
        result, model = vit_cifar.run(vit_cifar.parse_arguments([*arguments, "--run-dir", str(_RUNS / name)]))
        accuracy[label] = result["best_accuracy"], result["last_accuracy"]

    draw_figures(model)
    print(f"\n{'test accuracy':28s} {'best':>7s} {'last epoch':>12s}")
    for label, (best, last) in accuracy.items():
        print(f"{label:28s} {best:7.2%} {last:12.2%}")
    print(f"\nfigures: {_RUNS / 'head_masks.png'}, {_RUNS / 'energies.png'}")
    print(f"results: {', '.join(str(_RUNS / name / 'result.json') for name in _ARMS)}")


def draw_figures(model: SimpleViT) -> None:
    """Figures 3 and 4 for the first test image, from the last block."""
    image = load_images("digits", _RUNS).test_inputs[0]
    look = look_inside(model, image)
    draw_head_masks(_RUNS / "head_masks.png", image, look.bits, model.grid)
    draw_energies(_RUNS / "energies.png", look, model.grid)


if __name__ == "__main__":
    main()
