"""Means over seeds, their spread, and differences between arms of the same seeds."""

import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence

from scipy.stats import ttest_rel

from experiments.result_files import Result

# Of one arm, by seed: per cent.
Seeds = dict[int, float]


def by_seed(results: Iterable[Result], key: Callable[[Result], Hashable], measure: str) -> dict[Hashable, Seeds]:
    """Accuracies in per cent, "last" or "best", of the results with the same key."""
    groups: dict[Hashable, Seeds] = {}
    for result in results:
        groups.setdefault(key(result), {})[result["seed"]] = 100 * result[f"{measure}_accuracy"]
    return groups


def mean(values: Seeds) -> float:
    """Over the seeds."""
    return statistics.mean(values.values())


def mean_and_spread(values: Seeds, form: str = ".1f") -> str:
    """Mean ± standard deviation; the mean alone of one seed, nothing of none."""
    if not values:
        return ""
    text = f"{mean(values):{form}}"
    return f"{text} ± {statistics.stdev(values.values()):{form.removeprefix('+')}}" if len(values) > 1 else text


def last_and_best(results: Sequence[Result], unit: str = "") -> str:
    """Two cells: of the runs of one row, which differ in the seed alone, the accuracies after both epochs."""
    seeds = (by_seed(results, lambda _: "row", measure)["row"] for measure in ("last", "best"))
    return " | ".join(f"{mean_and_spread(values)}{unit}" for values in seeds)


def training_of(results: Sequence[Result]) -> str:
    """What all runs of a table trained on, in a sentence."""
    seeds = len({result["seed"] for result in results})
    return (
        f"Test accuracy in per cent; {results[0]['train_examples']:,} training images, {len(results[0]['epochs'])} "
        f"epochs, batch {results[0]['settings']['batch_size']}, {seeds} seed{'s' if seeds > 1 else ''}."
    )


def differences(found: Seeds, other: Seeds) -> Seeds:
    """Of the seeds that both have."""
    return {seed: found[seed] - other[seed] for seed in sorted(found.keys() & other.keys())}


def paired_difference(found: Seeds, other: Seeds) -> str:
    """Mean ± standard deviation of the differences, and from three seeds on the p of a paired t-test."""
    paired = differences(found, other)
    text = mean_and_spread(paired, "+.1f")
    if len(paired) < 3 or len(set(paired.values())) == 1:
        return text
    return f"{text}, p = {ttest_rel([found[seed] for seed in paired], [other[seed] for seed in paired]).pvalue:.2g}"


def beside(values: Seeds, published: float | None) -> str:
    """The paper's figure, and how far the mean is from it."""
    if not values or published is None:
        return ""
    return f"{published:.1f} ({mean(values) - published:+.1f})"
