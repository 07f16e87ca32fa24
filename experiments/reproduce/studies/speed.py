"""Speed: training steps of both arms in turn, and what of QAMA's is the solver."""

import dataclasses
import statistics
from collections.abc import Iterable

from experiments.data.dataset import Dataset
from experiments.models.controls import FixedSelection
from experiments.reproduce.studies import accuracy
from experiments.reproduce.study import DATASETS, Budget, Result, Results, Run, Study, Table
from experiments.timing import summary
from experiments.train.speed import step_seconds

_REPEATS = 9


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """One for each data set, whatever the seed."""
    del seed
    return (dataclasses.replace(accuracy.make(budget, name, "qama", 0), study="speed") for name in DATASETS)


def measure(run: Run, data: Dataset, *_: object) -> Result:
    """Seconds of a training step with each attention, in turn, compile time apart, and the solver's share of QAMA's.

    QAMA trains with the solver of its layer. The share is what a step gains where the solver is replaced by one that
    costs nothing.
    """
    layers = {
        "softmax": dataclasses.replace(run, attention="softmax"),
        "qama": dataclasses.replace(run, solver=None),
        "qama without solver": dataclasses.replace(run, solver=FixedSelection()),
    }
    seconds = step_seconds(layers, data, _REPEATS)
    rows = {}
    for name, values in seconds.items():
        step = summary(values)
        rows[name] = step | {"samples_per_second": run.training.batch_size / step["median_s"]}
    pairs = zip(seconds["qama"], seconds["qama without solver"], strict=True)
    share = statistics.median(1 - without / whole for whole, without in pairs)
    return run.header(data) | {"layers": rows, "solver_share": share}


def table(results: Results) -> Table | None:
    """Training speed."""
    rows = []
    for line in sorted(results["speed"], key=lambda line: DATASETS.index(line["dataset"])):
        softmax, qama = (line["layers"][name]["samples_per_second"] for name in ("softmax", "qama"))
        size = f"{line['dataset']} | {line['tokens']} | {line['settings']['batch_size']}"
        rows.append(f"{size} | {softmax:,.0f} | {qama:,.0f} | {softmax / qama:.2f} | {line['solver_share']:.0%}")
    title = "Speed: training steps of both arms in turn, and what of QAMA's is the solver"
    header = "data set | tokens | batch | softmax, samples/s | QAMA, samples/s | time ratio | solver's share"
    return Table.of(header, rows, title) if rows else None


STUDY = Study("speed", runs, table, carry_out=measure)
