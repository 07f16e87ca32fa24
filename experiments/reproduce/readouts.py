"""The study of read-outs: what values are worth, and what the annealer is, beside the controls."""

import dataclasses
import re
from typing import Any, NamedTuple

from experiments.reproduce.arms import ARMS, WINDOWS, Arm
from experiments.reproduce.budgets import Budget
from experiments.reproduce.spread import Seeds, differences, mean_and_spread
from experiments.reproduce.tables import Result, Table
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from qama_jax import WindowReadout


class Case(NamedTuple):
    """A data set and a model.

    Attributes:
      dataset: its name.
      label: what tables call it.
      window: the window read-out for its tokens: on images 3×3 patches and the row to either side of them.
      changes: of the run.
      micro_batches: parts of a batch, see `TrainingSettings`.
    """

    dataset: str
    label: str
    window: WindowReadout
    changes: dict[str, Any]
    micro_batches: int = 1


CASES = {
    "mnist-1": Case("mnist", "MNIST, 1 block", WINDOWS["mnist"], {"depth": 1}),
    "mnist-2": Case("mnist", "MNIST, 2 blocks", WINDOWS["mnist"], {"depth": 2}),
    "mnist-4": Case("mnist", "MNIST, 4 blocks", WINDOWS["mnist"], {"depth": 4}),
    "cifar10-64": Case("cifar10", "CIFAR-10, 64 tokens", WINDOWS["cifar10"], {"depth": 2}),
    "cifar10-256": Case(
        "cifar10",
        "CIFAR-10, 256 tokens",
        WindowReadout(radius=17, num_keys=16),
        {"depth": 2, "patch_size": 2},
        micro_batches=32,
    ),
    "sst2": Case("sst2", "SST-2, 72 tokens", WINDOWS["sst2"], {"num_heads": 1}),
    "imdb": Case("imdb", "IMDB, 512 tokens", WINDOWS["imdb"], {"num_heads": 1}),
    "groups": Case("groups", "Groups, 8 heads", WindowReadout(radius=8, num_keys=8), {"patch_size": 1}),
    "groups-2": Case(
        "groups", "Groups, 2 heads", WindowReadout(radius=8, num_keys=4), {"patch_size": 1, "num_heads": 2}
    ),
}


def readout_runs(
    budget: Budget, seeds: tuple[int, ...], cases: tuple[str, ...], arms: tuple[str, ...]
) -> dict[str, Run]:
    """The runs by their names, `readout_CASE_ARM_seedSEED`."""
    return {
        f"readout_{case}_{arm}_seed{seed}": _run(budget, CASES[case], ARMS[arm], seed)
        for seed in seeds
        for case in cases
        for arm in arms
    }


def _run(budget: Budget, case: Case, arm: Arm, seed: int) -> Run:
    is_text = case.dataset in budget.lengths
    short = case.dataset == "mnist"
    train_examples, test_examples = budget.examples
    run = Run(
        case.dataset,
        training=TrainingSettings(
            seed=seed,
            epochs=budget.study_epochs if short else budget.readout_epochs[case.dataset],
            batch_size=64 if is_text else 128,
            micro_batches=case.micro_batches,
        ),
        train_examples=budget.study_examples if short else train_examples,
        test_examples=test_examples,
        **case.changes,
        **arm.changes(case.window),
    )
    return dataclasses.replace(run, length=budget.lengths[case.dataset]) if is_text else run


def readouts_table(results: dict[str, Result]) -> Table:
    """Accuracy of each arm, and its difference to softmax and to its control, over the same seeds.

    Args:
      results: the runs by their names.
    """
    accuracy = _accuracies(results)
    rows = []
    for case, described in CASES.items():
        for arm, layer in ARMS.items():
            found = accuracy.get((case, arm))
            if found:
                others = (accuracy.get((case, other), {}) for other in ("softmax", f"{arm}-importance"))
                against = (
                    "" if arm == "softmax" else mean_and_spread(differences(found, other), "+.1f") for other in others
                )
                rows.append((described.label, layer.label, mean_and_spread(found), str(len(found)), *against))
    return Table(
        "Read-outs: test accuracy after the last epoch",
        ("data", "attention", "accuracy", "seeds", "− softmax", "− importance alone"),
        rows,
        "Per cent and points, mean ± standard deviation over the seeds; differences are of runs with the same seed. "
        + " ".join(_settings(case, results) for case in CASES if any(key[0] == case for key in accuracy)),
    )


def mean_accuracy(results: dict[str, Result], case: str, arm: str) -> str:
    """Of one arm, with its standard deviation over the seeds; empty where it has not run."""
    return mean_and_spread(_accuracies(results).get((case, arm), {}))


def _accuracies(results: dict[str, Result]) -> dict[tuple[str, str], Seeds]:
    """In per cent, by case and arm, then seed."""
    accuracies: dict[tuple[str, str], Seeds] = {}
    for name, result in results.items():
        case, arm, seed = re.fullmatch(r"readout_(.+)_(.+)_seed(\d+)", name).groups()
        accuracies.setdefault((case, arm), {})[int(seed)] = 100 * result["last_accuracy"]
    return accuracies


def _settings(case: str, results: dict[str, Result]) -> str:
    result = next(result for name, result in results.items() if name.startswith(f"readout_{case}_"))
    window = CASES[case].window
    return (
        f"{CASES[case].label}: {result['train_examples']:,} training examples, {result['settings']['epochs']} epochs, "
        f"{result['model']['depth']} block{'s' if result['model']['depth'] > 1 else ''}, windows of "
        f"{2 * window.radius + 1} tokens, {window.num_keys} selected keys."
    )
