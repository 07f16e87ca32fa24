"""Long sequences at equal training time: tasks of Long Range Arena, Tay et al., arXiv:2011.04006."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.attention_arms import ARMS, BASELINES, LONG_WINDOW
from experiments.figures import draw_over_time
from experiments.models.baselines import Baseline
from experiments.models.bigbird import BigBird
from experiments.models.linformer import Linformer
from experiments.models.longformer import Longformer
from experiments.models.performer import Performer
from experiments.models.reformer import Reformer
from experiments.reproduce.spread import by_seed, differences, mean_and_spread
from experiments.reproduce.study import Budget, Result, Results, Run, Study, Table
from experiments.train.settings import TrainingSettings

# The first four are those that are compared at the greatest length as well.
LABELS = {
    name: (ARMS | BASELINES)[name].label
    for name in (
        *("softmax", "window", "window-alone", "gated-linear"),
        *("qama", "mixed", "linear", "keys-importance", *BASELINES, "none"),
    )
}
_EVERYWHERE = tuple(LABELS)[:4]
# What every arm's accuracy is compared with.
_COMPARED = ("softmax", "window-alone", "linear", "none")


class Case(NamedTuple):
    """A task at a length.

    Attributes:
      dataset: its name.
      label: what tables and figures call it.
      length: tokens.
      few_arms: whether two CPU cores do the first four arms alone.
    """

    dataset: str
    label: str
    length: int
    few_arms: bool = False


CASES = {
    "listops-1024": Case("listops", "ListOps", 1024),
    "listops-2048": Case("listops", "ListOps", 2048),
    "listops-4096": Case("listops", "ListOps, padded", 4096, few_arms=True),
    "text-1024": Case("imdb_bytes", "Text", 1024),
    "text-2048": Case("imdb_bytes", "Text", 2048),
    "text-4096": Case("imdb_bytes", "Text", 4096, few_arms=True),
    "image-1024": Case("cifar10_pixels", "Image", 1024),
    "pathfinder-1024": Case("pathfinder", "Pathfinder", 1024),
}
_QUICK_LENGTH = 64


def baseline_of(arm: str, tokens: int, seed: int) -> Baseline | None:
    """The settings of a baseline in its own paper, for long texts; None for any other arm."""
    makers = {
        "longformer": lambda: Longformer(radius=256, num_global=1),
        "bigbird": lambda: BigBird(block_size=64, num_global=2, num_window=3, num_random=3, seed=seed),
        "linformer": lambda: Linformer(tokens, rank=256),
        "performer": lambda: Performer(num_features=256, seed=seed),
        "reformer": lambda: Reformer(chunk_length=64, num_rounds=4, seed=seed),
    }
    return makers[arm]() if arm in makers else None


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """All arms of each case, of equal widths and depths, QAMA with the solver of its layer."""
    # Of a run on two CPU cores, whose minutes have no more than some thousand steps of small batches.
    sizes = {"batch_size": 8, "learning_rate": 2e-3} if budget.amount is None else {"batch_size": 32}
    quick = budget.amount is not None and budget.amount.train_examples is not None
    for name, case in CASES.items():
        length = _QUICK_LENGTH if quick else case.length
        for arm in _EVERYWHERE if case.few_arms and budget.amount is None else LABELS:
            yield Run(
                case.dataset,
                training=TrainingSettings(
                    seed, minutes=budget.minutes, schedule="cosine", warmup=0.05, weight_decay=0.01, **sizes
                ),
                depth=2,
                num_heads=2,
                mlp_dim=128,
                length=length,
                train_examples=budget.amount.train_examples if budget.amount else None,
                test_examples=budget.amount.test_examples if budget.amount else 1000,
                baseline=baseline_of(arm, length, seed),
                study="long_sequences",
                case=name,
                arm=arm,
                **((ARMS | BASELINES)[arm].settings(LONG_WINDOW) | {"solver": None}),
            )


def table(results: Results) -> Table | None:
    """Accuracy, its difference to four of the arms, examples that were seen, and memory, at equal time."""
    rows = []
    last, best = (
        by_seed(results["long_sequences"], lambda result: (result["case"], result["arm"]), which)
        for which in ("last", "best")
    )
    for case, arm, found in _by_arm(results):
        others = (last.get((case, other), {}) if other != arm else {} for other in _COMPARED)
        against = (mean_and_spread(differences(last[case, arm], other), "+.1f") for other in others)
        examples = sum(result["tests"][-1]["examples"] for result in found) / len(found)
        megabytes = max(sum(result["memory"].values()) for result in found) / 1e6
        cells = (
            *(CASES[case].label, f"{found[0]['tokens']:,}", LABELS[arm], mean_and_spread(last[case, arm]), *against),
            *(mean_and_spread(best[case, arm]), str(len(found)), f"{examples:,.0f}", f"{megabytes:,.0f}"),
        )
        rows.append(" | ".join(cells))
    if not rows:
        return None
    minutes = sorted({result["settings"]["minutes"] for result in results["long_sequences"]})
    note = (
        f"{' or '.join(f'{value:g}' for value in minutes)} minutes of training for every arm, tests and compilation "
        "apart. Per cent of the test examples, mean ± standard deviation over the seeds. Memory: of a training step, "
        "as the compiler plans it, and of parameters and optimiser. Differences are of runs with the same seed."
    )
    header = "task | tokens | attention | last | − softmax | − window alone | − linear attention | − none"
    header += " | best | seeds | examples seen | memory, MB"
    return Table.of(header, rows, "Long sequences: test accuracy at equal training time", note)


def figure(results: Results, folder: Path) -> Mapping[str, Path]:
    """Accuracy over the time, all arms of each task that more than one has run."""
    panels: dict[str, dict[str, list[tuple[list[float], list[float]]]]] = {}
    for case, arm, found in _by_arm(results):
        curves = panels.setdefault(f"{CASES[case].label}, {found[0]['tokens']:,} tokens", {})
        curves[LABELS[arm]] = [
            (
                [row["seconds"] / 60 for row in result["tests"]],
                [100 * row["test_accuracy"] for row in result["tests"]],
            )
            for result in found
        ]
    panels = {task: curves for task, curves in panels.items() if len(curves) > 1}
    if not panels:
        return {}
    path = folder / "long_sequences.png"
    draw_over_time(path, panels)
    return {"Long sequences: test accuracy over the time of training.": path}


def _by_arm(results: Results) -> Iterable[tuple[str, str, list[Result]]]:
    """Case, arm and the results of all its seeds, in order."""
    for case in CASES:
        for arm in LABELS:
            found = [line for line in results["long_sequences"] if (line["case"], line["arm"]) == (case, arm)]
            if found:
                yield case, arm, found


STUDY = Study("long_sequences", runs, table, figure)
