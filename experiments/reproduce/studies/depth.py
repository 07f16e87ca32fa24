"""Whether attention pays with one block and with two: CIFAR-10."""

from collections.abc import Iterable

from experiments.reproduce.spread import last_and_best
from experiments.reproduce.study import Amount, Budget, Results, Run, Study, Table, make_run

_DEPTHS = (1, 2)
_ARMS = ("none", "softmax", "qama")


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """All arms at each depth, which is the case."""
    for depth in _DEPTHS:
        for arm in _ARMS:
            names = {"study": "depth", "case": f"cifar10-{depth}", "arm": arm, "dataset": "cifar10"}
            yield make_run(budget, Amount(10, 25_000), seed=seed, depth=depth, **names)


def table(results: Results) -> Table | None:
    """Accuracy and parameters."""
    rows = []
    for depth in _DEPTHS:
        for arm in _ARMS:
            own = [r for r in results["depth"] if (r["model"]["depth"], r["arm"]) == (depth, arm)]
            if own:
                rows.append(f"{depth} | {arm} | {last_and_best(own, '%')} | {own[0]['parameters']:,}")
    header = "blocks | attention | last epoch | best epoch | parameters"
    return Table.of(header, rows, "Depth: CIFAR-10 with one block and two") if rows else None


STUDY = Study("depth", runs, table)
