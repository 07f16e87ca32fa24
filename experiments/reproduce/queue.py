"""Carries out the runs that are missing, with an estimate of the time left."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx
from tqdm import tqdm

from experiments.data.dataset import Dataset
from experiments.reproduce.speed import measure_step
from experiments.train.devices import is_writer
from experiments.train.loop import finished_result
from experiments.train.run import Run


class Places(NamedTuple):
    """Where files are.

    Attributes:
      output: results, figures and the report.
      checkpoints: a directory for each run.
      data: decoded data sets.
    """

    output: Path
    checkpoints: Path
    data: Path

    def result(self, name: str) -> Path:
        """Result file of a run."""
        return self.output / "runs" / f"{name}.json"


def execute(runs: dict[str, Run], places: Places) -> dict[str, dict[str, Any]]:
    """The results of the runs by their names. Finished ones are read, interrupted ones continued."""
    results = {}
    missing = {}
    for name, run, data in _with_data(runs, places):
        exists = places.result(name).exists()
        result = finished_result(places.result(name), run.header(data)) if exists else None
        if result is None:
            missing[name] = run
        else:
            results[name] = result
    if missing and is_writer():
        print(f"{len(results)} of {len(runs)} runs are done, {len(missing)} to do", flush=True)
    work = {name: _work(run, data, places.result(name)) for name, run, data in _with_data(missing, places)}
    silent = not missing or not is_writer()
    with tqdm(total=sum(work.values()), desc="all runs", unit=" tokens", unit_scale=True, disable=silent) as bar:
        for index, (name, run, data) in enumerate(_with_data(missing, places)):
            if not silent:
                tqdm.write(f"run {index + 1} of {len(missing)}: {name}")
            per_epoch = _work_of_epoch(run, data)
            results[name], _ = run.execute(
                data,
                run_dir=places.checkpoints / name,
                result_path=places.result(name),
                resume=True,
                on_epoch=lambda amount=per_epoch: bar.update(amount),
            )
    return {name: results[name] for name in runs}


def estimate(runs: dict[str, Run], places: Places) -> str:
    """What the runs that are not finished would take on this device, in one line.

    By the speed of a few steps of the first run with attention: rough, since their costs differ, to know hours from
    weeks.
    """
    work = {name: _work(run, data, places.result(name)) for name, run, data in _with_data(runs, places)}
    missing = {name: run for name, run in runs.items() if work[name]}
    if not missing:
        return "all runs are done"
    attending = {name: run for name, run in missing.items() if run.attention != "none"}
    name, run, data = next(_with_data(attending or missing, places))
    step = measure_step(run, data)
    tokens_per_second = run.num_tokens(data) * run.depth * run.training.batch_size / step
    seconds = sum(work.values()) / tokens_per_second
    kind = jax.devices()[0].device_kind
    return (
        f"{len(missing)} runs to do, {sum(work.values()) / 1e9:.2f} G tokens; about {seconds / 3600:,.1f} hours on "
        f"this device ({kind}) at the speed of {name}, {tokens_per_second / 1e3:,.0f} k tokens/s"
    )


def trained_model(name: str, run: Run, places: Places) -> tuple[nnx.Module, Dataset]:
    """The model of a run and its data; trained where there is no checkpoint of it."""
    data = run.load(places.data)
    _, model = run.execute(data, run_dir=places.checkpoints / name, result_path=places.result(name), resume=True)
    return model, data


def _with_data(runs: dict[str, Run], places: Places) -> Iterator[tuple[str, Run, Dataset]]:
    """Each run with its data; a data set that several runs in a row share is loaded once."""
    loaded, data = None, None
    for name, run in runs.items():
        wanted = (run.dataset, run.length, run.train_examples, run.test_examples)
        if wanted != loaded:
            loaded, data = wanted, run.load(places.data)
        yield name, run, data


def _work_of_epoch(run: Run, data: Dataset) -> int:
    """Tokens of an epoch, roughly what its time is proportional to."""
    return run.num_tokens(data) * run.depth * (len(data.train_labels) + len(data.test_labels) // 3)


def _work(run: Run, data: Dataset, result_path: Path) -> int:
    """Tokens of the epochs that are left."""
    done = len(json.loads(result_path.read_text())["epochs"]) if result_path.exists() else 0
    return (run.training.epochs - done) * _work_of_epoch(run, data)
