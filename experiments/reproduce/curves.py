"""Accuracy over a setting of the model, beside the paper's: what Tables IV and V and their figures share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import paper
from experiments.figures import Curve, draw_variation
from experiments.reproduce.budgets import IMAGES
from experiments.reproduce.spread import Seeds, beside, by_seed, mean, mean_and_spread, paired_difference
from experiments.result_files import Result
from experiments.tables import Table

ARMS = ("none", "softmax", "qama", "window")
_HEADER = (
    "none | softmax | paper (difference) | QAMA | paper (difference) | QAMA − softmax | Δ share | paper's Δ share | "
    "QAMA, window | window − softmax"
)
# Of a data set and a setting, for each arm.
Accuracies = dict[tuple[str, Any, str], Seeds]
# By data set and setting.
Published = Mapping[str, Mapping[Any, paper.Best]]


class Sweep(NamedTuple):
    """A setting of the model and the best accuracies of all arms over it.

    Attributes:
      settings: in order.
      of: the setting of a result.
      published: the paper's accuracies.
      columns: what the table says of a row, by setting and number of tokens.
      place: of a data set and a setting, on the axis of the figure.
      axis: what it is called.
    """

    settings: Sequence[Any]
    of: Callable[[Result], Any]
    published: Published
    columns: Mapping[str, Callable[[Any, int], object]]
    place: Callable[[str, Any], float]
    axis: str

    def accuracy(self, results: Iterable[Result]) -> Accuracies:
        """By data set, setting and arm."""
        return by_seed(results, lambda result: (result["dataset"], self.of(result), result["arm"]), "best")

    def table(self, results: Sequence[Result], title: str, note: str) -> Table | None:
        """Beside the paper's; None where there are no results."""
        accuracy = self.accuracy(results)
        tokens = {(result["dataset"], self.of(result)): result["tokens"] for result in results}
        rows = []
        for dataset in IMAGES:
            for setting in (setting for setting in self.settings if (dataset, setting) in tokens):
                size = [str(column(setting, tokens[dataset, setting])) for column in self.columns.values()]
                rows.append(" | ".join((dataset, *size, *self._cells(accuracy, dataset, setting))))
        header = f"data set | {' | '.join(self.columns)} | {_HEADER}"
        return Table.of(header, rows, title, f"{training_note(results)} {note}") if rows else None

    def figure(self, results: Iterable[Result], path: Path, caption: str) -> Mapping[str, Path]:
        """The same, drawn."""
        panels = self.panels(results)
        if panels:
            draw_variation(path, panels, self.axis)
        return {caption: path} if panels else {}

    def panels(self, results: Iterable[Result]) -> dict[str, dict[str, Curve]]:
        """Of each data set, for each arm and the paper's arms, accuracies over the settings."""
        accuracy, panels = self.accuracy(results), {}
        for dataset in IMAGES:
            curves = {}
            for arm in ARMS:
                found = {setting: accuracy.get((dataset, setting, arm), {}) for setting in self.settings}
                points = [(self.place(dataset, s), list(seeds.values())) for s, seeds in found.items() if seeds]
                if points:
                    curves[arm] = Curve(*zip(*points, strict=True))
            for arm in ("softmax", "qama") if curves else ():
                values = [(self.place(dataset, s), [getattr(self.published[dataset][s], arm)]) for s in self.settings]
                curves[f"{arm}, paper"] = Curve(*zip(*values, strict=True))
            panels |= {dataset: curves} if curves else {}
        return panels

    def _cells(self, accuracy: Accuracies, dataset: str, setting: Any) -> tuple[str, ...]:
        none, softmax, qama, window = (accuracy.get((dataset, setting, arm), {}) for arm in ARMS)
        theirs = self.published[dataset][setting]
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


def training_note(results: Iterable[Result]) -> str:
    """What runs of a table trained on, and what the paper did."""
    amounts = {r["dataset"]: f"{r['train_examples']:,} training images, {len(r['epochs'])} epochs" for r in results}
    return (
        f"Test accuracy in per cent, mean ± standard deviation over the seeds; differences in points, of runs with the "
        f"same seed, p of a paired t-test. Equal for all arms: "
        f"{'; '.join(f'{name} {amounts[name]}' for name in sorted(amounts))}. The paper: all images, 50 epochs."
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


def _share(softmax: float, qama: float) -> float:
    return 100 * (softmax - qama) / softmax
