"""Table III: test accuracy of all arms on all data sets."""

from collections.abc import Iterable

from experiments import paper
from experiments.reproduce.spread import beside, by_seed, mean, mean_and_spread
from experiments.reproduce.study import DATASETS, Amount, Budget, Results, Run, Study, Table, make_run
from experiments.result_files import load

ARMS = ("none", "linear", "softmax", "qama", "window", "window-alone")
_EPOCHS = {"mnist": 20, "fashion_mnist": 20, "cifar10": 15, "imdb": 4, "sst2": 5}
_MEASURES = ("last", "best")


def make(budget: Budget, dataset: str, arm: str, seed: int) -> Run:
    """One run of the table."""
    amount = Amount(_EPOCHS[dataset])
    return make_run(budget, amount, study="accuracy", case=dataset, arm=arm, dataset=dataset, seed=seed)


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """All arms of each data set."""
    return (make(budget, dataset, arm, seed) for dataset in DATASETS for arm in ARMS)


def table(results: Results) -> Table | None:
    """Beside the paper's, and below what a bag of words reaches on texts."""
    found = {measure: by_seed(results["accuracy"], lambda r: (r["case"], r["arm"]), measure) for measure in _MEASURES}
    if not results["accuracy"]:
        return None
    rows, losses = [], []
    for dataset in DATASETS:
        theirs = paper.ACCURACY[dataset]
        softmax = [found[measure].get((dataset, "softmax")) for measure in _MEASURES]
        for arm in ARMS:
            own = [found[measure].get((dataset, arm)) for measure in _MEASURES]
            if own[0] is None:
                continue
            cells = []
            for measure, seeds in zip(_MEASURES, own, strict=True):
                published = getattr(theirs[arm], measure) if arm in theirs else None
                cells += [mean_and_spread(seeds), beside(seeds, published)]
            loss, published = [], []
            if arm != "softmax" and softmax[0]:
                loss = [mean(seeds) - mean(others) for seeds, others in zip(own, softmax, strict=True)]
            if arm == "qama" and loss:
                losses += loss
                published = [ours - others for ours, others in zip(theirs["qama"], theirs["softmax"], strict=True)]
            label = {"window": "qama, window", "window-alone": "window alone"}.get(arm, arm)
            rows.append(f"{dataset} | {label} | {' | '.join(cells)} | {_both(loss)} | {_both(published)}")
        words = load("bag_of_words")["accuracy"].get(dataset)
        if softmax[0] and words is not None:
            loss = [100 * words - mean(others) for others in softmax]
            rows.append(f"{dataset} | bag of words | {100 * words:.1f} |  | {100 * words:.1f} |  | {_both(loss)} | ")
    note = "Test accuracy in per cent; differences in points."
    if losses:
        verdict = "within" if min(losses) >= -paper.LARGEST_LOSS else "beyond"
        note += (
            f" QAMA against softmax is at worst {min(losses):+.1f}, {verdict} the {paper.LARGEST_LOSS} points that the "
            "paper loses at most."
        )
    measures = " | ".join(f"{measure} epoch | paper (difference)" for measure in _MEASURES)
    header = f"data set | attention | {measures} | − softmax, last / best | paper"
    return Table.of(header, rows, "Table III: test accuracy", note)


def _both(values: list[float]) -> str:
    return " / ".join(f"{value:+.1f}" for value in values)


STUDY = Study("accuracy", runs, table, paper_table="III")
