"""The study of read-outs: what values are worth, and what the annealer is, beside the controls."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.attention_arms import ARMS, WINDOWS
from experiments.reproduce.spread import Seeds, by_seed, differences, mean_and_spread
from experiments.reproduce.study import Amount, Budget, Result, Results, Run, Study, Table, make_run
from qama_jax import WindowReadout

_AMOUNTS = {
    "mnist": Amount(5, 12_500),
    "mnist_shuffled": Amount(5, 12_500),
    "fashion_mnist": Amount(5, 12_500),
    "cifar10": Amount(10),
    "imdb": Amount(4),
    "sst2": Amount(5),
    "groups": Amount(10),
    "digit_groups": Amount(14),
}

# What a selection is compared with, by the end of the arm's name; the window alone serves for mixtures as well.
_CONTROLS = ("importance", "random", "descent")
_OTHER_NAMES = {"mixed-alone": "window-alone"}


class Case(NamedTuple):
    """A data set and a model.

    Attributes:
      dataset: its name.
      label: what tables call it.
      window: the window read-out for its tokens: on images 3×3 patches and the row to either side of them.
      changes: of the run.
      training: changes of its `TrainingSettings`.
    """

    dataset: str
    label: str
    window: WindowReadout
    changes: Mapping[str, Any] = MappingProxyType({})
    training: Mapping[str, Any] = MappingProxyType({})


CASES = {
    "mnist-1": Case("mnist", "MNIST, 1 block", WINDOWS["mnist"], {"depth": 1}),
    "mnist-2": Case("mnist", "MNIST, 2 blocks", WINDOWS["mnist"], {"depth": 2}),
    "mnist-4": Case("mnist", "MNIST, 4 blocks", WINDOWS["mnist"], {"depth": 4}),
    "shuffled-1": Case("mnist_shuffled", "MNIST, patches out of order, 1 block", WINDOWS["mnist"], {"depth": 1}),
    "shuffled-2": Case("mnist_shuffled", "MNIST, patches out of order, 2 blocks", WINDOWS["mnist"], {"depth": 2}),
    "fashion-196": Case(
        "fashion_mnist",
        "Fashion-MNIST, 196 tokens",
        WindowReadout(radius=15, num_keys=4),
        {"depth": 1, "patch_size": 2},
        {"micro_batches": 8},
    ),
    "cifar10-64": Case("cifar10", "CIFAR-10, 64 tokens", WINDOWS["cifar10"], {"depth": 2}),
    "cifar10-256": Case(
        "cifar10",
        "CIFAR-10, 256 tokens",
        WindowReadout(radius=17, num_keys=16),
        {"depth": 2, "patch_size": 2},
        {"micro_batches": 32},
    ),
    "sst2": Case("sst2", "SST-2, 72 tokens", WINDOWS["sst2"]),
    "imdb": Case("imdb", "IMDB, 512 tokens", WINDOWS["imdb"]),
    "groups": Case("groups", "Groups, 8 heads", WindowReadout(radius=8, num_keys=8), {"patch_size": 1}),
    "groups-2": Case(
        "groups", "Groups, 2 heads", WindowReadout(radius=8, num_keys=4), {"patch_size": 1, "num_heads": 2}
    ),
    "digit-groups": Case(
        "digit_groups",
        "Groups of digits",
        WindowReadout(radius=3, num_keys=2),
        {"patch_size": 8, "num_heads": 4, "solver": None},
        {"batch_size": 32, "learning_rate": 2e-3},
    ),
}


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """All arms of each case."""
    for name, case in CASES.items():
        for arm in ARMS:
            run = make_run(
                budget,
                _AMOUNTS[case.dataset],
                study="readouts",
                case=name,
                arm=arm,
                dataset=case.dataset,
                seed=seed,
                window=case.window,
                **case.changes,
            )
            yield dataclasses.replace(run, training=dataclasses.replace(run.training, **case.training))


def table(results: Results) -> Table | None:
    """Accuracy of each arm, and its difference to softmax and to its controls, over the same seeds."""
    accuracy = _accuracies(results)
    rows = []
    for case, described in CASES.items():
        for arm, layer in ARMS.items():
            found = accuracy.get((case, arm))
            if found:
                others = ("softmax", *(f"{arm}-{control}" for control in ("alone", *_CONTROLS)))
                controls = (accuracy.get((case, _OTHER_NAMES.get(other, other)), {}) for other in others)
                against = (mean_and_spread(differences(found, control), "+.1f") for control in controls)
                differing = " | ".join("" if arm == "softmax" else difference for difference in against)
                rows.append(
                    f"{described.label} | {layer.label} | {mean_and_spread(found)} | {len(found)} | {differing}"
                )
    if not rows:
        return None
    one_of = {result["case"]: result for result in results["readouts"]}
    note = "Per cent and points, mean ± standard deviation over the seeds; differences are of runs with the same seed. "
    note += " ".join(_settings(one_of[case], described) for case, described in CASES.items() if case in one_of)
    header = "data | attention | accuracy | seeds | − softmax | − window alone"
    header += " | − importance alone | − random | − descent"
    return Table.of(header, rows, "Read-outs: test accuracy after the last epoch", note)


def mean_accuracy(results: Results, case: str, arm: str) -> str:
    """Of one arm, with its standard deviation over the seeds; empty where it has not run."""
    return mean_and_spread(_accuracies(results).get((case, arm), {}))


def _accuracies(results: Results) -> dict[tuple[str, str], Seeds]:
    """In per cent, by case and arm, then seed."""
    return by_seed(results["readouts"], lambda result: (result["case"], result["arm"]), "last")


def _settings(result: Result, case: Case) -> str:
    depth, window = result["model"]["depth"], case.window
    return (
        f"{case.label}: {result['train_examples']:,} training examples, {len(result['epochs'])} epochs, {depth} "
        f"block{'s' if depth > 1 else ''}, windows of {2 * window.radius + 1} tokens, {window.num_keys} selected keys."
    )


STUDY = Study("readouts", runs, table)
