"""The runs of Tables IV, V and VII: numbers of heads, lengths by pooling, and other attention mechanisms."""

import dataclasses
import math

from experiments.reproduce.arms import ARMS, BASELINES, WINDOWS, Arm
from experiments.reproduce.budgets import IMAGES, Amount, Budget
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from qama_jax import WindowReadout

HEADS = (1, 2, 4, 8)
# With them 14 × 14 patches of 2 × 2 pixels become the 196, 49, 14, 4 and 1 tokens that the paper prints. The 16 × 16
# patches of CIFAR-10 become its 256, 64, 16, 4 and 1 if what does not fill a window is left out, as average pooling
# without padding does: windows of 7 leave out the last two rows or columns, a window of 14 as many.
POOLS = ((1, 1), (2, 2), (2, 7), (7, 7), (14, 14))
_PATCH, _POOLED_HEADS = 2, 2
_SIDE = {"mnist": 28, "fashion_mnist": 28, "cifar10": 32}

# Arms of Tables IV and V, and those that Table VII has besides.
VARIED = ("none", "softmax", "qama", "window")
MECHANISMS = ("linear", *BASELINES)
# Names of the studies, in the headers of the result files.
HEADS_STUDY, POOLS_STUDY, MECHANISMS_STUDY = "heads", "lengths", "mechanisms"
STUDIES = (HEADS_STUDY, POOLS_STUDY, MECHANISMS_STUDY)


def heads_runs(budget: Budget, datasets: tuple[str, ...], seed: int) -> dict[str, Run]:
    """Table IV: the runs by their names. Without attention there are no heads, so that one run stands for all."""
    return {
        f"{HEADS_STUDY}_{dataset}-{heads}_{arm}_seed{seed}": dataclasses.replace(
            _run(budget, budget.heads[dataset], dataset, ARMS[arm], WINDOWS[dataset], seed),
            num_heads=heads,
            study=HEADS_STUDY,
        )
        for dataset in datasets
        for heads in reversed(HEADS)
        for arm in VARIED
        if arm != "none" or heads == HEADS[-1]
    }


def pool_runs(budget: Budget, datasets: tuple[str, ...], seed: int) -> dict[str, Run]:
    """Table V: the runs by their names."""
    return {
        f"{POOLS_STUDY}_{dataset}-{pool[0]}x{pool[1]}_{arm}_seed{seed}": dataclasses.replace(
            _run(budget, budget.pools[dataset], dataset, ARMS[arm], pooled_window(dataset, pool), seed),
            num_heads=_POOLED_HEADS,
            patch_size=_PATCH,
            pool=pool,
            study=POOLS_STUDY,
        )
        for dataset in datasets
        for pool in reversed(POOLS)
        for arm in VARIED
    }


def mechanism_runs(budget: Budget, seed: int) -> dict[str, Run]:
    """Table VII: the runs by their names. Those of 8 heads that Table IV has too are the same."""
    shared = heads_runs(budget, ("cifar10",), seed)
    largest = {name: run for name, run in shared.items() if run.num_heads == HEADS[-1]}
    return largest | {
        f"{MECHANISMS_STUDY}_{arm}_seed{seed}": dataclasses.replace(
            _run(budget, budget.heads["cifar10"], "cifar10", (ARMS | BASELINES)[arm], WINDOWS["cifar10"], seed),
            study=MECHANISMS_STUDY,
        )
        for arm in MECHANISMS
    }


def variant_runs(
    budget: Budget, tables: tuple[str, ...], datasets: tuple[str, ...], seeds: tuple[int, ...]
) -> dict[str, Run]:
    """The runs of those of the tables VII, IV and V that are asked for, all of a seed before the next one."""
    images = tuple(dataset for dataset in IMAGES if dataset in datasets)
    runs: dict[str, Run] = {}
    for seed in seeds:
        if "VII" in tables:
            runs |= mechanism_runs(budget, seed)
        if "IV" in tables:
            runs |= heads_runs(budget, images, seed)
        if "V" in tables:
            runs |= pool_runs(budget, images, seed)
    return runs


def pooled_window(dataset: str, pool: tuple[int, int]) -> WindowReadout:
    """The window of 3×3 tokens and the rest of their rows, with as many selected keys as elsewhere."""
    columns = _SIDE[dataset] // _PATCH // pool[1]
    return WindowReadout(radius=columns + 1, num_keys=8 if pooled_tokens(dataset, pool) <= 64 else 16)


def pooled_tokens(dataset: str, pool: tuple[int, int]) -> int:
    """The length in Table V."""
    return math.prod(_SIDE[dataset] // _PATCH // window for window in pool)


def _run(budget: Budget, amount: Amount, dataset: str, arm: Arm, window: WindowReadout, seed: int) -> Run:
    return Run(
        dataset,
        training=TrainingSettings(seed=seed, epochs=amount.epochs),
        train_examples=amount.train_examples,
        test_examples=budget.examples[1],
        **arm.changes(window),
    )
