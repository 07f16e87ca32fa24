"""Accuracy over a setting of the model, beside the paper's: what Tables IV and V and their figures share."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments import paper
from experiments.figures import Curve
from experiments.reproduce.budgets import IMAGES
from experiments.reproduce.spread import Seeds, beside, mean, mean_and_spread, paired_difference
from experiments.result_files import Result

ARMS = ("none", "softmax", "qama", "window")

# Of a data set and a setting, for each arm.
Accuracies = dict[tuple[str, Any, str], Seeds]

# By data set and setting.
Published = Mapping[str, Mapping[Any, paper.Best]]


def panels(
    accuracy: Accuracies, settings: Iterable[Any], place: Callable[[str, Any], float], published: Published
) -> dict[str, dict[str, Curve]]:
    """What figures 6 and 7 draw: of each data set, for each arm and the paper's arms, accuracies over the settings.

    Args:
      accuracy: best accuracies of all arms.
      settings: those that the table has.
      place: of a data set and a setting, where it is on the axis.
      published: the paper's, by data set and setting.
    """
    drawn: dict[str, dict[str, Curve]] = {}
    for dataset in IMAGES:
        curves = {}
        for arm in ARMS:
            found = {setting: accuracy.get((dataset, setting, arm), {}) for setting in settings}
            points = [(place(dataset, setting), list(seeds.values())) for setting, seeds in found.items() if seeds]
            if points:
                curves[arm] = Curve(*zip(*points, strict=True))
        if curves:
            for arm in ("softmax", "qama"):
                values = [(place(dataset, s), [getattr(published[dataset][s], arm)]) for s in settings]
                curves[f"{arm}, paper"] = Curve(*zip(*values, strict=True))
            drawn[dataset] = curves
    return drawn


def training_note(results: Iterable[Result]) -> str:
    """What runs of a table trained on, and what the paper did."""
    amounts = {}
    for result in results:
        amounts[result["dataset"]] = (
            f"{result['dataset']} {result['train_examples']:,} training images, {len(result['epochs'])} epochs"
        )
    return (
        f"Test accuracy in per cent, mean ± standard deviation over the seeds; differences in points, of runs with the "
        f"same seed, p of a paired t-test. Equal for all arms: {'; '.join(amounts[name] for name in sorted(amounts))}. "
        "The paper: all images, 50 epochs."
    )


def mean_share(accuracy: Accuracies) -> float | None:
    """Mean Δ as the paper computes it, per cent of softmax's accuracy, without signs; None where there are no runs."""
    shares = [
        abs(_share(mean(softmax), mean(accuracy[dataset, setting, "qama"])))
        for (dataset, setting, arm), softmax in accuracy.items()
        if arm == "softmax" and (dataset, setting, "qama") in accuracy
    ]
    return sum(shares) / len(shares) if shares else None


def mean_published_share(published: Published) -> float:
    """The same of the paper's figures."""
    shares = [abs(_share(*best)) for settings in published.values() for best in settings.values()]
    return sum(shares) / len(shares)


def cells(accuracy: Accuracies, dataset: str, setting: Any, published: Published) -> tuple[str, ...]:
    """Of a row, in the columns of `HEADER`."""
    none, softmax, qama, window = (accuracy.get((dataset, setting, arm), {}) for arm in ARMS)
    theirs = published[dataset][setting]
    return (
        mean_and_spread(none),
        mean_and_spread(softmax),
        beside(softmax, theirs.softmax),
        mean_and_spread(qama),
        beside(qama, theirs.qama),
        paired_difference(qama, softmax),
        f"{_share(mean(softmax), mean(qama)):+.2f} %" if softmax and qama else "",
        f"{_share(theirs.softmax, theirs.qama):+.2f} %",
        mean_and_spread(window),
        paired_difference(window, softmax),
    )


HEADER = (
    "none",
    "softmax",
    "paper (difference)",
    "QAMA",
    "paper (difference)",
    "QAMA − softmax",
    "Δ share",
    "paper's Δ share",
    "QAMA, window",
    "window − softmax",
)


def _share(softmax: float, qama: float) -> float:
    return 100 * (softmax - qama) / softmax
