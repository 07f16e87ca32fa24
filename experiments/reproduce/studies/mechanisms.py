"""Table VII: what other attention mechanisms reach on CIFAR-10."""

from collections.abc import Iterable

from experiments import paper
from experiments.attention_arms import ARMS, BASELINES
from experiments.reproduce.curves import training_note
from experiments.reproduce.spread import Seeds, beside, by_seed, differences, mean, mean_and_spread, paired_difference
from experiments.reproduce.studies import heads
from experiments.reproduce.study import Budget, Result, Results, Run, Study, Table, make_run

_CASE = f"cifar10-{heads.HEADS[-1]}"
_ARMS_OF_TABLE = ("softmax", "qama", "window", *BASELINES, "linear", "none")
# A baseline should not lose more on softmax than this, or than the paper's, points.
_TOLERANCE = 2.0


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """Those of Table IV on CIFAR-10 with 8 heads, and the arms that it has not."""
    yield from (run for run in heads.runs(budget, seed) if run.case == _CASE)
    for arm in ("linear", *BASELINES):
        names = {"study": "mechanisms", "case": _CASE, "arm": arm, "dataset": "cifar10"}
        yield make_run(budget, heads.AMOUNTS["cifar10"], seed=seed, **names)


def of_table(results: Results) -> list[Result]:
    """The results of the table's runs."""
    return [result for result in (*results["heads"], *results["mechanisms"]) if result["case"] == _CASE]


def table(results: Results) -> Table | None:
    """Accuracy of each mechanism."""
    own = of_table(results)
    if not own:
        return None
    last, best = (by_seed(own, lambda r: r["arm"], measure) for measure in ("last", "best"))
    one_of = {result["arm"]: result for result in own}
    rows = []
    for arm in _ARMS_OF_TABLE:
        if arm not in last:
            continue
        theirs = paper.MECHANISMS.get(arm)
        published = theirs.accuracies if theirs else paper.Accuracies(None, None)
        softmax = best.get("softmax", {})
        reached = f"{mean_and_spread(last[arm])} | {beside(last[arm], published.last)}"
        reached += f" | {mean_and_spread(best[arm])} | {beside(best[arm], published.best)}"
        against = "" if arm == "softmax" else paired_difference(best[arm], softmax)
        stated = f"{_published_difference(arm):+.1f}" if theirs and arm != "softmax" else ""
        within = _within(arm, differences(best[arm], softmax)) if arm in BASELINES else ""
        label = one_of[arm]["baseline"] or (ARMS | BASELINES)[arm].label
        rows.append(f"{label} | {one_of[arm]['parameters']:,} | {reached} | {against} | {stated} | {within}")
    accuracies = "last epoch | paper (difference) | best epoch | paper (difference) | − softmax, best | paper"
    header = f"attention | parameters | {accuracies} | loss within {_TOLERANCE:.0f} points or the paper's"
    return Table.of(header, rows, "Table VII: attention mechanisms on CIFAR-10", training_note(own))


def _published_difference(arm: str) -> float:
    return paper.MECHANISMS[arm].accuracies.best - paper.MECHANISMS["softmax"].accuracies.best


def _within(arm: str, paired: Seeds) -> str:
    if not paired:
        return ""
    return "yes" if mean(paired) >= min(-_TOLERANCE, _published_difference(arm)) else "no"


STUDY = Study("mechanisms", runs, table, paper_table="VII")
