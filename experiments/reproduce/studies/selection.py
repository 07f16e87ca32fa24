"""Figures 3 to 5: what the heads of a trained model select on the first dog of the test images, the paper's motif."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments import paper
from experiments.data.dataset import Dataset
from experiments.figures import draw_energies, draw_flips, draw_head_masks
from experiments.look import Look, look_inside
from experiments.reproduce.queue import Places, trained
from experiments.reproduce.studies import accuracy
from experiments.reproduce.study import Budget, Result, Results, Run, Study

_DOG = 5


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """A look at the model of Table III."""
    yield dataclasses.replace(accuracy.make(budget, "cifar10", "qama", seed), study="selection")


def measure(run: Run, data: Dataset, places: Places, on_epoch: Callable[[], object]) -> Result:
    """What the last block selects, see `Look`, and the image."""
    _, model = trained(dataclasses.replace(run, study="accuracy"), data, places, on_epoch)
    index = int(np.argmax(data.test_labels == _DOG))
    look = look_inside(model, data.test_inputs[index])
    saved = {"index": index, "grid": model.grid, "image": data.test_inputs[index].tolist(), "energy": look.energy}
    arrays = {name: value for name, value in look._asdict().items() if name != "energy"}
    return run.header(data) | saved | {name: np.round(value, 4).tolist() for name, value in arrays.items()}


def figure(results: Results, folder: Path) -> Mapping[str, Path]:
    """Of the first seed."""
    if not results["selection"]:
        return {}
    saved = results["selection"][0]
    look = Look(**{name: np.array(saved[name]) for name in Look._fields} | {"energy": saved["energy"]})
    grid = tuple(saved["grid"])
    masks, energies, flips = (folder / f"figure{number}.png" for number in STUDY.paper_figures)
    draw_head_masks(masks, np.array(saved["image"], np.uint8), look.bits, grid)
    draw_energies(energies, look, grid)
    draw_flips(flips, look)
    return {
        f"Figure 3: tokens that each head selects on test image {saved['index']} of {saved['dataset']}.": masks,
        f"Figure 4: energies and features of the same image. Paper: energy {paper.ENERGY}, features of mean 0.00 and "
        f"standard deviation {paper.FEATURE_DEVIATION}.": energies,
        "Figure 5: energies after single flips, and the plane of the solution. Paper: solution "
        f"{paper.SURFACE_ENERGY:,}, mean after a flip {paper.SURFACE_FLIPPED_ENERGY:,}.": flips,
    }


STUDY = Study("selection", runs, figure=figure, carry_out=measure, paper_figures=(3, 4, 5))
