"""Table VII: other attention mechanisms on CIFAR-10, what they reach and what they cost."""

import math
from collections.abc import Mapping
from typing import Any

from experiments.reproduce import paper
from experiments.reproduce.arms import ARMS, BASELINES, arm_of
from experiments.reproduce.spread import Seeds, beside, by_seed, differences, mean, mean_and_spread, tested_difference
from experiments.reproduce.tables import Result, Table
from experiments.reproduce.variants import HEADS
from experiments.reproduce.variations import training_note

ARMS_OF_TABLE = ("softmax", "qama", "window", *BASELINES, "linear", "none")
# A baseline should not lose more on softmax than this, or than the paper's, points.
_TOLERANCE = 2.0


def mechanism_results(heads: Mapping[str, Result], mechanisms: Mapping[str, Result]) -> dict[str, Result]:
    """The runs of the table: its own, and those of Table IV on CIFAR-10 with as many heads."""
    shared = {name: r for name, r in heads.items() if (r["dataset"], r["model"]["num_heads"]) == ("cifar10", HEADS[-1])}
    return shared | dict(mechanisms)


def mechanism_accuracy(results: Mapping[str, Result], measure: str) -> dict[str, Seeds]:
    """Accuracies, "last" or "best", by arm."""
    return by_seed(results.values(), arm_of, measure)


def table_vii(results: Mapping[str, Result]) -> Table:
    """Accuracy of each mechanism."""
    last, best = (mechanism_accuracy(results, measure) for measure in ("last", "best"))
    settings = {arm_of(result): result.get("baseline") for result in results.values()}
    parameters = {arm_of(result): result["parameters"] for result in results.values()}
    rows = []
    for arm in ARMS_OF_TABLE:
        if arm not in last:
            continue
        theirs = paper.MECHANISMS.get(arm)
        published = theirs.accuracies if theirs else paper.Accuracies(None, None)
        against = "" if arm == "softmax" else tested_difference(best[arm], best.get("softmax", {}))
        rows.append(
            (
                settings[arm] or (ARMS | BASELINES)[arm].label,
                f"{parameters[arm]:,}",
                mean_and_spread(last[arm]),
                beside(last[arm], published.last),
                mean_and_spread(best[arm]),
                beside(best[arm], published.best),
                against,
                f"{_published_difference(arm):+.1f}" if theirs and arm != "softmax" else "",
                _within(arm, differences(best[arm], best.get("softmax", {}))) if arm in BASELINES else "",
            )
        )
    header = (
        "attention",
        "parameters",
        "last epoch",
        "paper (difference)",
        "best epoch",
        "paper (difference)",
        "− softmax, best",
        "paper",
        f"loss within {_TOLERANCE:.0f} points or the paper's",
    )
    return Table("Table VII: attention mechanisms on CIFAR-10", header, rows, training_note(results.values()))


def cost_table(costs: dict[str, Any]) -> Table:
    """Time and memory of each mechanism, at the size of Table VII and over the length.

    Args:
      costs: the result file of `experiments.benchmarks.mechanisms`.
    """
    table_size, scaling = costs["table_size"], costs["scaling"]
    rows = []
    for arm in scaling["arms"]:
        at_size, measured = table_size["arms"][arm], scaling["arms"][arm]
        theirs = paper.MECHANISMS.get(arm)
        rows.append(
            (
                (ARMS | BASELINES)[arm].label,
                f"{at_size['median_s'] * 1e3:.1f} ms, {at_size['temporary_bytes'] / 1e6:.1f} MB",
                *(_cost(measured, tokens) for tokens in scaling["lengths"]),
                _exponent(measured["exponent"]),
                theirs.time if theirs else "",
                _exponent(measured["memory_exponent"]),
                theirs.space if theirs else "",
            )
        )
    header = (
        "attention",
        f"N = {table_size['tokens']}, batch {table_size['batch']}",
        *(f"N = {tokens:,}" for tokens in scaling["lengths"]),
        "exponent of time",
        "paper",
        "exponent of memory",
        "paper",
    )
    return Table(
        "Table VII: time and memory of the mechanisms",
        header,
        rows,
        f"Attention core, forward and backward, float32; medians of {costs['repeats']} rounds, all mechanisms in turn, "
        f"and the peak of temporary memory of the compiled program. Table size: {table_size['heads']} heads of "
        f"{table_size['head_dim']}; over the length: one head of {scaling['head_dim']}, batch 1. Exponents from "
        f"{scaling['lengths'][0]:,} to {scaling['lengths'][-1]:,} tokens. QAMA is annealed in software; the paper's "
        "T_sol is of an optical machine. Its O(n²) for Reformer is not that paper's O(n log n).",
    )


def _cost(measured: dict[str, Any], tokens: int) -> str:
    seconds, memory = measured["seconds"].get(str(tokens)), measured["temporary_bytes"].get(str(tokens))
    if memory is None:
        return ""
    time = "not run" if seconds is None else f"{seconds['median_s'] * 1e3:,.0f} ms"
    return f"{time}, {memory / 1e6:,.0f} MB"


def _exponent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def _published_difference(arm: str) -> float:
    return paper.MECHANISMS[arm].accuracies.best - paper.MECHANISMS["softmax"].accuracies.best


def _within(arm: str, paired: Seeds) -> str:
    if not paired:
        return ""
    return "yes" if mean(paired) >= min(-_TOLERANCE, _published_difference(arm)) else "no"
