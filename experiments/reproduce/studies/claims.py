"""The sentences of sections IV-A and IV-C that state a comparison, each with what the result files say of it."""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import paper
from experiments.attention_arms import BASELINES
from experiments.reproduce.curves import mean_share
from experiments.reproduce.spread import Seeds, by_seed, differences, mean
from experiments.reproduce.studies import heads, lengths, mechanisms
from experiments.reproduce.study import DATASETS, IMAGES, TEXTS, Result, Results, Study, Table
from experiments.result_files import load

_COMPARABLE = -paper.LARGEST_LOSS
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
# Exponents below these count as linear, and as none.
_LINEAR, _CONSTANT = 1.2, 0.1


class Difference(NamedTuple):
    """Of two accuracies, points.

    Attributes:
      label: of what.
      mean: over the seeds.
      error: its standard error, no less than what the finite test split gives.
    """

    label: str
    mean: float
    error: float

    def at_least(self, bound: float) -> str:
        """Whether it is, by two standard errors."""
        if self.mean - 2 * self.error >= bound:
            return HOLDS
        return FAILS if self.mean + 2 * self.error < bound else OPEN

    def __str__(self) -> str:
        return f"{self.label} {self.mean:+.1f} ± {self.error:.1f}"


class Claim(NamedTuple):
    """A row of the table: the section, the sentence in short, the verdict, the figures it rests on."""

    section: str
    sentence: str
    verdict: str
    figures: str


def table(results: Results) -> Table | None:
    """All claims."""
    if not (results["heads"] or results["lengths"] or results["mechanisms"]):
        return None
    rows = [
        *_accuracy_claims(results["accuracy"]),
        *_heads_claims(results["heads"]),
        *_length_claims(results["lengths"]),
        _mean_claim(results["heads"], results["lengths"]),
        *_mechanism_claims(mechanisms.of_table(results)),
        *cost_claims(load("benchmark_mechanism_cost")),
    ]
    return Table(
        ("section", "sentence, in short", "verdict", "figures"),
        [tuple(row) for row in rows],
        "The paper's comparisons",
        "Differences in points, QAMA minus softmax unless stated, best epochs, mean ± standard error over the seeds, "
        "no less than that of a test split of this size. A difference counts if it is beyond two standard errors of "
        f'its bound; "comparable" and "consistent" are taken as no more than the {paper.LARGEST_LOSS} points that the '
        "abstract allows. A sentence on several figures holds if all do.",
    )


def _accuracy_claims(runs: Sequence[Result]) -> list[Claim]:
    """Those on Table III and Figure 2."""
    groups = {dataset: [r for r in runs if r["dataset"] == dataset] for dataset in DATASETS}
    found = {dataset: _difference(dataset, group, "qama", "softmax") for dataset, group in groups.items()}
    auc = [_auc_difference(dataset, groups[dataset]) for dataset in TEXTS]
    images, texts = [found[name] for name in IMAGES], [found[name] for name in TEXTS]
    lead = None
    if all((*images, *texts)):
        lead = Difference(
            "texts − images",
            statistics.mean(d.mean for d in texts) - statistics.mean(d.mean for d in images),
            math.hypot(*(d.error / len(texts) for d in texts), *(d.error / len(images) for d in images)),
        )
    return [
        _all("IV-A", "accuracy comparable to the classical counterpart (Table III)", [*images, *texts]),
        _any("IV-A", "potential to surpass it in certain scenarios", [*images, *texts], 0.0),
        _all("IV-A", "better on texts than on images", [lead], 0.0),
        _all("IV-A", "exceeds the baseline on IMDB", [found["imdb"]], 0.0),
        _all("IV-A", "highly competitive on SST-2, -0.8", [found["sst2"]]),
        _all("IV-A", "ROC and AUC consistent (Figure 2; difference of AUC in per cent)", auc),
        _all("IV-A", "on images similar, -1.0 (FashionMNIST) to -2.7 (CIFAR-10)", images),
        _all("IV-A", "classical attention has an advantage on images (softmax − QAMA)", _negated(images), 0.0),
    ]


def _heads_claims(group: list[Result]) -> list[Claim]:
    """Those on Table IV and Figure 6."""
    accuracy = heads.SWEEP.accuracy(group)
    steps = [
        _between(f"{data} {more} − {fewer} heads", accuracy, (data, more, "qama"), (data, fewer, "qama"), group)
        for data in IMAGES
        for fewer, more in itertools.pairwise(heads.HEADS)
    ]
    most = heads.HEADS[-1]
    largest = [_between(data, accuracy, (data, most, "qama"), (data, most, "softmax"), group) for data in IMAGES]
    return [
        _all("IV-A", "performance increases with the number of heads (QAMA)", steps, 0.0),
        _all("IV-A", "and becomes consistent with the baseline (8 heads)", largest),
    ]


def _length_claims(group: list[Result]) -> list[Claim]:
    """Those on Table V and Figure 7."""
    accuracy = lengths.SWEEP.accuracy(group)
    falls = [
        _between(f"{data} {_by(a)} − {_by(b)}", accuracy, (data, a, "qama"), (data, b, "qama"), group)
        for data in IMAGES
        for a, b in itertools.pairwise(lengths.POOLS)
    ]
    gaps = [
        _between(f"{data} {_by(pool)}", accuracy, (data, pool, "qama"), (data, pool, "softmax"), group)
        for data in IMAGES
        for pool in lengths.POOLS
    ]
    return [
        _all("IV-A", "performance falls rapidly with the length (QAMA)", falls, 0.0),
        _all("IV-A", "as that of the baseline does (QAMA − softmax at every length)", gaps),
    ]


def _mean_claim(of_heads: list[Result], of_lengths: list[Result]) -> Claim:
    shares = mean_share(heads.SWEEP.accuracy(of_heads)), mean_share(lengths.SWEEP.accuracy(of_lengths))
    stated, other = paper.MEAN_SHARES
    sentence = f"mean differences of {stated} % (Table IV) and {other} % (Table V, the two exchanged in the text)"
    if None in shares:
        return Claim("IV-A", sentence, OPEN, "")
    verdict = HOLDS if shares[0] <= other and shares[1] <= stated else FAILS
    return Claim("IV-A", sentence, verdict, f"shares of {shares[0]:.2f} % (IV) and {shares[1]:.2f} % (V)")


def _mechanism_claims(group: list[Result]) -> list[Claim]:
    """Those on the accuracies of Table VII."""

    def against(arm: str) -> Difference | None:
        return _difference(f"QAMA − {arm}", group, "qama", arm)

    return [
        _all("IV-C", "competitive with Linformer and Performer", [against("linformer"), against("performer")]),
        _all(
            "IV-C",
            "Longformer and Reformer are more accurate (theirs − QAMA's)",
            [_difference(f"{arm} − QAMA", group, arm, "qama") for arm in ("longformer", "reformer")],
            0.0,
        ),
        _all("IV-C", "no severe loss of accuracy on CIFAR-10", [against("softmax")]),
    ]


def cost_claims(costs: Result) -> list[Claim]:
    """Those on the costs of Table VII, measured in software."""
    arms = costs["scaling"]["arms"]
    longest = str(costs["scaling"]["lengths"][-1])
    memory = {name: arm["memory_exponent"] for name, arm in arms.items()}
    time = {name: arm["exponent"] for name, arm in arms.items()}
    megabytes = {name: arms[name]["temporary_bytes"][longest] / 1e6 for name in ("qama", *BASELINES)}
    least = min(time[name] for name in ("softmax", *BASELINES))
    sizes = ", ".join(f"{name} {value:,.0f}" for name, value in megabytes.items())

    def claim(sentence: str, holds: bool, figures: str, otherwise: str = FAILS) -> Claim:
        return Claim("IV-C", sentence, HOLDS if holds else otherwise, figures)

    return [
        claim(
            "space is O(n), as Reformer's",
            max(memory["qama"], memory["reformer"]) < _LINEAR,
            f"exponents of memory: QAMA {memory['qama']:.2f}, Reformer {memory['reformer']:.2f}",
        ),
        claim(
            "which improves on the baseline's O(n²)",
            memory["qama"] < _LINEAR < memory["softmax"],
            f"QAMA {memory['qama']:.2f}, softmax {memory['softmax']:.2f}",
        ),
        claim(
            "and on the other mechanisms' space",
            megabytes["qama"] < min(megabytes[name] for name in BASELINES),
            f"MB at {int(longest):,} tokens: {sizes}",
        ),
        claim(
            "time does not depend on the length",
            time["qama"] < _CONSTANT,
            f"annealed in software it does, exponent {time['qama']:.2f}; no optical machine was measured",
            otherwise=OPEN,
        ),
        claim("which no classical mechanism attains", least > _CONSTANT, f"smallest exponent of time {least:.2f}"),
    ]


def _all(section: str, sentence: str, found: list[Difference | None], bound: float = _COMPARABLE) -> Claim:
    """A sentence that holds if all differences are at least the bound."""
    return _claim(section, sentence, found, bound, (FAILS, OPEN, HOLDS))


def _any(section: str, sentence: str, found: list[Difference | None], bound: float) -> Claim:
    """A sentence that holds if one of the differences is at least the bound."""
    return _claim(section, sentence, found, bound, (HOLDS, OPEN, FAILS))


def _claim(section: str, sentence: str, found: list[Difference | None], bound: float, order: tuple[str, ...]) -> Claim:
    """The first of the verdicts, in this order, that one of the differences has; and the smallest of them."""
    verdict = min((OPEN if d is None else d.at_least(bound) for d in found), key=order.index)
    known = sorted((d for d in found if d is not None), key=lambda d: d.mean)
    text = ", ".join(map(str, known[:4]))
    return Claim(section, sentence, verdict, f"{text}, … {known[-1]}" if len(known) > 4 else text)


def _negated(found: Iterable[Difference | None]) -> list[Difference | None]:
    return [d and Difference(d.label, -d.mean, d.error) for d in found]


def _by(pool: tuple[int, int]) -> str:
    return f"{pool[0]}×{pool[1]}"


def _difference(label: str, group: list[Result], arm: str, other: str) -> Difference | None:
    return _between(label, by_seed(group, lambda r: r["arm"], "best"), arm, other, group)


def _between(label: str, accuracy: Mapping[Any, Seeds], key: Any, other: Any, group: list[Result]) -> Difference | None:
    """The difference of two arms over the seeds that both have; None where there are none."""
    paired = list(differences(accuracy.get(key, {}), accuracy.get(other, {})).values())
    if not paired:
        return None
    error = _split_error(mean(accuracy[key]) / 100, group[0]["test_examples"] * len(paired))
    if len(paired) > 1:
        error = max(error, statistics.stdev(paired) / math.sqrt(len(paired)))
    return Difference(label, statistics.mean(paired), error)


def _split_error(share: float, examples: int) -> float:
    """Standard error of the difference of two such shares of so many examples each, points."""
    return 100 * math.sqrt(2 * share * (1 - share) / examples)


def _auc_difference(dataset: str, group: list[Result]) -> Difference | None:
    """Of the means over the runs; its error is taken as that of a share."""
    areas: dict[str, list[float]] = {}
    for result in group:
        if "roc" in result:
            areas.setdefault(result["arm"], []).append(result["roc"]["auc"])
    if not {"softmax", "qama"} <= areas.keys():
        return None
    softmax, qama = (statistics.mean(areas[arm]) for arm in ("softmax", "qama"))
    return Difference(dataset, 100 * (qama - softmax), _split_error(qama, group[0]["test_examples"]))


STUDY = Study("claims", table=table, paper_table="VII")
