"""The runs of each table, by how much may be spent on them."""

import dataclasses
from typing import Any, NamedTuple

from experiments.reproduce.arms import ARMS, COMPARED, WINDOWS
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from qama_jax import SimulatedBifurcation

IMAGES = ("mnist", "fashion_mnist", "cifar10")
DATASETS = (*IMAGES, "imdb", "sst2")
_READOUT_DATASETS = (*DATASETS, "groups")
STEPS = (5, 10, 20, 50, 100)


class Amount(NamedTuple):
    """How much a run trains.

    Attributes:
      train_examples: the first so many, None for all.
      epochs: over them.
    """

    train_examples: int | None
    epochs: int


class Budget(NamedTuple):
    """How long runs are, equal for all arms.

    Attributes:
      epochs: of each data set.
      examples: training and test examples of every run of Table III, None for all.
      study_epochs: epochs of the runs of the studies.
      study_examples: training examples of the runs of the studies, None for all.
      lengths: tokens of a text of each data set.
      readout_epochs: of the study of read-outs, which has more arms and deeper models than Table III.
      heads: of the runs of Tables IV and VII, of each data set.
      pools: of the runs of Table V, of each data set.
    """

    epochs: dict[str, int]
    examples: tuple[int | None, int | None]
    study_epochs: int
    study_examples: int | None
    lengths: dict[str, int]
    readout_epochs: dict[str, int]
    heads: dict[str, Amount]
    pools: dict[str, Amount]


# No sentence of SST-2 has more tokens than 72; of the reviews of IMDB, a tenth is cut at 512.
_LENGTHS = {"imdb": 512, "sst2": 72}

BUDGETS = {
    # The paper's.
    "paper": Budget(
        dict.fromkeys(DATASETS, 50),
        (None, None),
        50,
        None,
        _LENGTHS,
        dict.fromkeys(_READOUT_DATASETS, 50),
        dict.fromkeys(IMAGES, Amount(None, 50)),
        dict.fromkeys(IMAGES, Amount(None, 50)),
    ),
    # On two CPU cores about two hours, and for Tables IV, V and VII no more than minutes a run.
    "reduced": Budget(
        {"mnist": 20, "fashion_mnist": 20, "cifar10": 15, "imdb": 4, "sst2": 5},
        (None, None),
        5,
        12_500,
        _LENGTHS,
        {"cifar10": 10, "imdb": 4, "sst2": 5, "groups": 10},
        dict.fromkeys(IMAGES, Amount(12_500, 5)) | {"cifar10": Amount(25_000, 5)},
        dict.fromkeys(IMAGES, Amount(12_500, 5)),
    ),
    # Minutes: whether everything works, not how well.
    "quick": Budget(
        dict.fromkeys(DATASETS, 2),
        (1_280, 512),
        1,
        1_280,
        {"imdb": 64, "sst2": 32},
        dict.fromkeys(_READOUT_DATASETS, 1),
        dict.fromkeys(IMAGES, Amount(1_280, 1)),
        dict.fromkeys(IMAGES, Amount(1_280, 1)),
    ),
}


def table_runs(budget: Budget, datasets: tuple[str, ...], seeds: tuple[int, ...]) -> dict[str, Run]:
    """Table III: the runs by their names, all arms of each data set and seed."""
    return {
        f"{dataset}_{arm}_seed{seed}": _run(budget, dataset, arm, seed)
        for seed in seeds
        for dataset in datasets
        for arm in COMPARED
    }


def step_runs(budget: Budget, seeds: tuple[int, ...]) -> dict[str, Run]:
    """How good a solution does training need: CIFAR-10 with fewer and more steps of bifurcation."""
    return {
        f"steps_{steps}_seed{seed}": dataclasses.replace(
            _study_run(budget, "cifar10", seed), solver=SimulatedBifurcation(num_steps=steps)
        )
        for seed in seeds
        for steps in STEPS
    }


class Factor(NamedTuple):
    """A change of one setting from the defaults of QAMA, and what tables call it."""

    label: str
    changes: dict[str, Any]


FACTORS = {
    "default": Factor("QAMA, defaults", {}),
    "softmax": Factor("softmax", {"attention": "softmax"}),
    "none": Factor("no attention", {"attention": "none"}),
    "reads4": Factor("best of 4 reads", {"solver": SimulatedBifurcation(num_reads=4)}),
    "scale001": Factor("W_ε scale 0.01", {"importance_scale": 0.01}),
    "scale025": Factor("W_ε scale 0.25", {"importance_scale": 0.25}),
    "rho004": Factor("ρ₀ = 0.04", {"rho_0": 0.04}),
    "rho064": Factor("ρ₀ = 0.64", {"rho_0": 0.64}),
    "gamma0": Factor("γ₀ = 0", {"gamma_0": 0.0}),
    "depth2": Factor("2 blocks", {"depth": 2}),
    "depth2_softmax": Factor("2 blocks, softmax", {"depth": 2, "attention": "softmax"}),
}


def factor_runs(budget: Budget, seeds: tuple[int, ...]) -> dict[str, Run]:
    """Where accuracy is lost: MNIST, where QAMA is behind softmax, with one setting changed at a time."""
    return {
        f"factor_{name}_seed{seed}": dataclasses.replace(_study_run(budget, "mnist", seed), **factor.changes)
        for seed in seeds
        for name, factor in FACTORS.items()
    }


def _run(budget: Budget, dataset: str, arm: str, seed: int) -> Run:
    is_text = dataset in budget.lengths
    train_examples, test_examples = budget.examples
    run = Run(
        dataset,
        training=TrainingSettings(seed=seed, epochs=budget.epochs[dataset], batch_size=64 if is_text else 128),
        train_examples=train_examples,
        test_examples=test_examples,
        **ARMS[arm].changes(WINDOWS[dataset]),
    )
    return dataclasses.replace(run, num_heads=1, length=budget.lengths[dataset]) if is_text else run


def _study_run(budget: Budget, dataset: str, seed: int) -> Run:
    run = _run(budget, dataset, "qama", seed)
    training = dataclasses.replace(run.training, epochs=budget.study_epochs)
    return dataclasses.replace(run, training=training, train_examples=budget.study_examples)
