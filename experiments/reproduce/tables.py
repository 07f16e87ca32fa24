"""Tables from result files, beside the paper's figures."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from experiments.markdown import markdown_table
from experiments.reproduce import paper
from experiments.reproduce.arms import COMPARED, arm_of
from experiments.reproduce.budgets import DATASETS, FACTORS, STEPS

Result = dict[str, Any]


class Table(NamedTuple):
    """A table of text.

    Attributes:
      title: one line.
      header: names of the columns.
      rows: their cells.
      note: what is to be known besides; may be empty.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""

    def markdown(self) -> str:
        """The table without its title, its note below."""
        table = markdown_table(self.header, self.rows)
        return f"{table}\n\n{self.note}" if self.note else table


def table_i(results: Iterable[Result]) -> Table:
    """Settings of the runs."""
    one_of = {result["dataset"]: result for result in results}
    rows = [(dataset, *_settings(one_of[dataset])) for dataset in DATASETS if dataset in one_of]
    given = ", ".join(f"{name} {value}" for name, value in paper.SETTINGS.items())
    header = ("data set", "training / test", "epochs", "batch", "tokens", "heads", "qubits", "width", "blocks", "MLP")
    return Table(
        "Table I: settings, equal for both arms",
        header,
        rows,
        f"Adam, learning rate 1e-3, constant, as in the paper. The paper's settings: {given}. It gives no width, depth "
        "or MLP.",
    )


def table_iii(results: Iterable[Result], words: Mapping[str, float] | None = None) -> Table:
    """Accuracies of all arms.

    Args:
      results: the runs.
      words: what a bag of words reaches on each data set of texts, as a share.
    """
    arms: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        arms.setdefault((result["dataset"], arm_of(result)), []).append(result)
    rows = []
    losses = []
    for dataset in DATASETS:
        theirs = paper.ACCURACY[dataset]
        for arm in COMPARED:
            runs = arms.get((dataset, arm))
            if not runs:
                continue
            row = [dataset, "qama, window" if arm == "window" else arm]
            for measure in ("last", "best"):
                row.append(_mean_and_spread(runs, measure))
                value = getattr(theirs[arm], measure) if arm in theirs else None
                row.append("" if value is None else f"{value:.1f} ({_mean(runs, measure) - value:+.1f})")
            softmax = arms.get((dataset, "softmax"))
            loss = []
            if arm != "softmax" and softmax:
                loss = [_mean(runs, measure) - _mean(softmax, measure) for measure in ("last", "best")]
            row.append(" / ".join(f"{value:+.1f}" for value in loss))
            published = ""
            if arm == "qama" and loss:
                losses += loss
                published = " / ".join(
                    f"{getattr(theirs['qama'], measure) - getattr(theirs['softmax'], measure):+.1f}"
                    for measure in ("last", "best")
                )
            rows.append((*row, published))
        softmax = arms.get((dataset, "softmax"))
        if softmax and dataset in (words or {}):
            reached = 100 * words[dataset]
            loss = " / ".join(f"{reached - _mean(softmax, measure):+.1f}" for measure in ("last", "best"))
            rows.append((dataset, "bag of words", f"{reached:.1f}", "", f"{reached:.1f}", "", loss, ""))
    note = "Test accuracy in per cent; differences in points."
    if losses:
        verdict = "within" if min(losses) >= -paper.LARGEST_LOSS else "beyond"
        note += (
            f" QAMA against softmax is at worst {min(losses):+.1f}, {verdict} the {paper.LARGEST_LOSS} points that the "
            "paper loses at most."
        )
    header = (
        "data set",
        "attention",
        "last epoch",
        "paper (difference)",
        "best epoch",
        "paper (difference)",
        "− softmax, last / best",
        "paper",
    )
    return Table("Table III: test accuracy", header, rows, note)


def steps_table(results: dict[str, Result], gaps: dict[str, dict[str, float]]) -> Table:
    """How good a solution training needs.

    Args:
      results: the runs by their names, `steps_STEPS_seedSEED`.
      gaps: of each of them, how far its solver stays behind on the problems of the trained model.
    """
    rows = []
    for steps in STEPS:
        names = [name for name in results if name.startswith(f"steps_{steps}_")]
        if names:
            runs = [results[name] for name in names]
            mean_gap = statistics.mean(gaps[name]["mean"] for name in names)
            rows.append((str(steps), f"{mean_gap:.2%}", _mean_and_spread(runs, "last"), _mean_and_spread(runs, "best")))
    return Table(
        "Solver budget: CIFAR-10 with fewer and more steps of bifurcation",
        ("steps", "mean gap to the best of 64 reads of 200 steps", "last epoch", "best epoch"),
        rows,
        _study_note(results),
    )


def factors_table(results: dict[str, Result]) -> Table:
    """Where accuracy is lost or won.

    Args:
      results: the runs by their names, `factor_FACTOR_seedSEED`.
    """
    rows = []
    for key, factor in FACTORS.items():
        runs = [result for name, result in results.items() if name.startswith(f"factor_{key}_seed")]
        if runs:
            rows.append((factor.label, _mean_and_spread(runs, "last"), _mean_and_spread(runs, "best")))
    return Table(
        "Factors: MNIST with one setting changed at a time",
        ("QAMA with one change", "last epoch", "best epoch"),
        rows,
        _study_note(results),
    )


def speed_table(datasets: dict[str, dict[str, Any]]) -> Table:
    """Training speed.

    Args:
      datasets: of each data set, what `speed.measure` found.
    """
    rows = []
    for dataset, measured in datasets.items():
        softmax, qama = (measured["arms"][name]["samples_per_second"] for name in ("softmax", "qama"))
        rows.append(
            (
                dataset,
                str(measured["tokens"]),
                str(measured["batch_size"]),
                f"{softmax:,.0f}",
                f"{qama:,.0f}",
                f"{softmax / qama:.2f}",
                f"{measured['solver_share']:.0%}",
            )
        )
    header = ("data set", "tokens", "batch", "softmax, samples/s", "QAMA, samples/s", "time ratio", "solver's share")
    return Table("Speed: training steps of both arms in turn, and what of QAMA's is the solver", header, rows)


def _settings(result: Result) -> tuple[str, ...]:
    model = result["model"]
    settings = result["settings"]
    return (
        f"{result['train_examples']:,} / {result['test_examples']:,}",
        str(settings["epochs"]),
        str(settings["batch_size"]),
        str(result["tokens"]),
        str(model["num_heads"]),
        str(model["num_heads"] * result["tokens"]),
        str(model["width"]),
        str(model["depth"]),
        str(model["mlp_dim"]),
    )


def _study_note(results: dict[str, Result]) -> str:
    result = next(iter(results.values()))
    settings = result["settings"]
    seeds = len({result["settings"]["seed"] for result in results.values()})
    return (
        f"Test accuracy in per cent; {result['train_examples']:,} training images, {settings['epochs']} epochs, batch "
        f"{settings['batch_size']}, {seeds} seed{'s' if seeds > 1 else ''}."
    )


def _mean(runs: list[Result], measure: str) -> float:
    return 100 * statistics.mean(result[f"{measure}_accuracy"] for result in runs)


def _mean_and_spread(runs: list[Result], measure: str) -> str:
    mean = f"{_mean(runs, measure):.1f}"
    if len(runs) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(result[f'{measure}_accuracy'] for result in runs):.1f}"
