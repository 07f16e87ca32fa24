"""What a study is: its runs, and the table and figures that are made of their results. All that its file needs."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.attention_arms import ARMS, BASELINES, WINDOWS, Arm
from experiments.reproduce.budgets import DATASETS, IMAGES, TEXTS, Amount, Budget
from experiments.reproduce.queue import CarryOut, results_of, train_run
from experiments.result_files import Result
from experiments.tables import Table
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from qama_jax import WindowReadout

__all__ = ["DATASETS", "IMAGES", "TEXTS", "Amount", "Budget", "Result", "Results", "Run", "Study", "Table"]
__all__ += ["make_run", "read_results"]

# Of each study, the lines of its result file.
Results = Mapping[str, list[Result]]


@dataclasses.dataclass(frozen=True)
class Study:
    """A question, the runs that answer it, and how the answer is shown.

    Attributes:
      name: also of its result file and of its place in the README.
      runs: its runs with a budget and a seed. One of another study, by its field `study`, stands in that one's file.
      table: made of the results of all studies; None where there are none for it.
      figure: draws into a folder; PNG files by their captions, which begin with the number and a colon.
      carry_out: does a run and returns what its line says; by default it trains.
      paper_table: number of the paper's table that it reproduces or belongs to; may be empty.
      paper_figures: numbers of the paper's figures.
    """

    name: str
    runs: Callable[[Budget, int], Iterable[Run]] = lambda budget, seed: ()
    table: Callable[[Results], Table | None] = lambda results: None
    figure: Callable[[Results, Path], Mapping[str, Path]] = lambda results, folder: {}
    carry_out: CarryOut = train_run
    paper_table: str = ""
    paper_figures: tuple[int, ...] = ()


def read_results(output: Path) -> Results:
    """All results in a folder; of a study that has none, an empty list."""
    files = {path.stem: results_of(output, path.stem).read() for path in sorted(output.glob("*.jsonl"))}
    return collections.defaultdict(list, files)


def make_run(
    budget: Budget,
    reduced: Amount,
    *,
    study: str,
    case: str,
    arm: str,
    dataset: str,
    seed: int,
    layer: Arm | None = None,
    window: WindowReadout | None = None,
    **changes: Any,
) -> Run:
    """A run as all studies have it: on texts one head and batches of 64, else 8 heads and batches of 128.

    It trains for `reduced` where the budget leaves that to the study. The layer is by default the one that the arm is
    named after, and the window that of the data set; `changes` are other settings of the `Run`.
    """
    amount, is_text = budget.of(reduced), dataset in budget.lengths
    settings = {"num_heads": 1, "length": budget.lengths[dataset]} if is_text else {}
    settings |= (layer or (ARMS | BASELINES)[arm]).settings(window or WINDOWS[dataset])
    return Run(
        dataset,
        training=TrainingSettings(seed, amount.epochs, 64 if is_text else 128),
        train_examples=amount.train_examples,
        test_examples=amount.test_examples,
        study=study,
        case=case,
        arm=arm,
        **(settings | changes),
    )
