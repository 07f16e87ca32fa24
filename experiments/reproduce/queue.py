"""Carries out the runs that are missing, with an estimate of the time left."""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
from flax import nnx
from tqdm import tqdm

from experiments.data.dataset import Dataset
from experiments.devices import is_writer, wait_for_all
from experiments.result_files import Result, ResultLines
from experiments.train.run import Run
from experiments.train.speed import measure_step


class Places(NamedTuple):
    """Where files are.

    Attributes:
      output: results, figures and the report.
      work: a folder for each run that is under way, with its checkpoints.
      data: decoded data sets.
    """

    output: Path
    work: Path
    data: Path


CarryOut = Callable[[Run, Dataset, Places, Callable[[], object]], Result]


def results_of(output: Path, study: str) -> ResultLines:
    """The results of a study, a line a run."""
    return ResultLines(output / f"{study}.jsonl", "case", "arm", "seed", in_order=True)


def finished(run: Run, data: Dataset, places: Places) -> Result | None:
    """The result of a run, None where it is not complete.

    Raises:
      ValueError: if there is one of a run of that name with other settings, or with more epochs.
    """
    lines = results_of(places.output, run.study)
    line = lines.find(run.header(data))
    if line is None or "epochs" not in line:
        return line
    done = len(line["epochs"])
    if done > run.training.epochs:
        raise ValueError(
            f"{run.name} in {lines.path} has {done} epochs, not {run.training.epochs}; remove it, or write elsewhere"
        )
    return line if done == run.training.epochs else None


def execute(
    runs: Sequence[Run], places: Places, carry_out: Mapping[str, CarryOut] = MappingProxyType({})
) -> list[Result]:
    """The results of the runs, in order. Finished ones are read, interrupted ones continued.

    Args:
      runs: of any studies.
      places: where the files are.
      carry_out: by the names of studies, how their runs are done; those of others are trained.
    """
    results: dict[Run, Result | None] = {run: finished(run, data, places) for run, data in _with_data(runs, places)}
    missing = [run for run, result in results.items() if result is None]
    silent = not missing or not is_writer()
    if not silent:
        print(f"{len(results) - len(missing)} of {len(results)} runs are done, {len(missing)} to do", flush=True)
    work = {run: _work(run, data, places) for run, data in _with_data(missing, places)}
    with tqdm(total=sum(work.values()), desc="all runs", unit=" tokens", unit_scale=True, disable=silent) as bar:
        for index, (run, data) in enumerate(_with_data(missing, places)):
            if not silent:
                tqdm.write(f"run {index + 1} of {len(missing)}: {run.name}")
            on_epoch = functools.partial(bar.update, _work_of_epoch(run, data))
            results[run] = carry_out.get(run.study, train_run)(run, data, places, on_epoch)
            results_of(places.output, run.study).add(results[run])
            wait_for_all()
    return list(results.values())


def train_run(run: Run, data: Dataset, places: Places, on_epoch: Callable[[], object] = lambda: None) -> Result:
    """Trains a run; what its line says."""
    return trained(run, data, places, on_epoch)[0]


def trained(
    run: Run, data: Dataset, places: Places, on_epoch: Callable[[], object] = lambda: None
) -> tuple[Result, nnx.Module]:
    """The result of a run and its model, trained where there is no checkpoint of it."""
    folder = places.work / run.name
    return run.execute(data, run_dir=folder, result_path=folder / "result.json", resume=True, on_epoch=on_epoch)


def estimate(runs: Sequence[Run], places: Places) -> str:
    """What the runs that are not finished would take on this device, in one line.

    By the speed of a few steps of the first run with attention: rough, since their costs differ, to know hours from
    weeks.
    """
    work = {run: _work(run, data, places) for run, data in _with_data(runs, places) if not finished(run, data, places)}
    if not work:
        return "all runs are done"
    minutes = sum(run.training.minutes or 0.0 for run in work)
    missing = [run for run in work if run.training.minutes is None]
    if not missing:
        return f"{len(work)} runs to do; {minutes / 60:,.1f} hours of training"
    attending = [run for run in missing if run.attention != "none"]
    run, data = next(_with_data(attending or missing, places))
    tokens_per_second = run.num_tokens(data) * run.depth * run.training.batch_size / measure_step(run, data)
    seconds = sum(work.values()) / tokens_per_second + 60 * minutes
    return (
        f"{len(work)} runs to do, {sum(work.values()) / 1e9:.2f} G tokens; about {seconds / 3600:,.1f} hours on "
        f"this device ({jax.devices()[0].device_kind}) at the speed of {run.name}, {tokens_per_second / 1e3:,.0f} k "
        "tokens/s"
    )


def _with_data(runs: Iterable[Run], places: Places) -> Iterator[tuple[Run, Dataset]]:
    """Each run with its data; a data set that several runs in a row share is loaded once."""
    loaded, data = None, None
    for run in runs:
        wanted = (run.dataset, run.length, run.train_examples, run.test_examples)
        if wanted != loaded:
            loaded, data = wanted, run.load(places.data)
        yield run, data


def _work_of_epoch(run: Run, data: Dataset) -> int:
    """Tokens of an epoch, roughly what its time is proportional to; 0 of a run whose time is set."""
    if run.training.minutes is not None:
        return 0
    return run.num_tokens(data) * run.depth * (len(data.train_labels) + len(data.test_labels) // 3)


def _work(run: Run, data: Dataset, places: Places) -> int:
    """Tokens of the epochs that are left; 0 of a run whose time is set."""
    under_way = places.work / run.name / "result.json"
    if run.training.minutes is not None or finished(run, data, places) is not None:
        return 0
    done = len(json.loads(under_way.read_text())["epochs"]) if under_way.exists() else 0
    return (run.training.epochs - done) * _work_of_epoch(run, data)
