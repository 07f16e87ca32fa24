"""Figure 2: receiver operating characteristics of the runs of Table III on texts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments.figures import draw_roc
from experiments.reproduce.studies import accuracy
from experiments.reproduce.study import TEXTS, Budget, Results, Run, Study

_ARMS = ("softmax", "qama")


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """Those of Table III with the paper's arms."""
    return (accuracy.make(budget, dataset, arm, seed) for dataset in TEXTS for arm in _ARMS)


def figure(results: Results, folder: Path) -> Mapping[str, Path]:
    """Of the first seed."""
    curves: dict[str, dict] = {}
    for result in results["accuracy"]:
        if "roc" in result and result["arm"] in _ARMS:
            curves.setdefault(result["dataset"], {}).setdefault(result["arm"], result["roc"])
    if not curves:
        return {}
    draw_roc(folder / "figure2.png", curves)
    caption = "Figure 2: receiver operating characteristic on the test split after the last epoch."
    return {caption: folder / "figure2.png"}


STUDY = Study("roc", runs, figure=figure, paper_figures=(2,))
