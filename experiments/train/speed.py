"""Seconds of a training step."""

import statistics
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.dataset import Dataset
from experiments.devices import batch_mesh, on_all
from experiments.timing import interleave
from experiments.train.loop import DeviceData, TrainState, train_steps
from experiments.train.run import Run

_STEPS = 4


def step_seconds(runs: Mapping[str, Run], data: Dataset, repeats: int) -> dict[str, list[float]]:
    """Of a step of each run, all runs in turn, compile time apart."""
    seconds = interleave({name: _stepper(run, data) for name, run in runs.items()}, repeats)
    return {name: [value / _STEPS for value in values] for name, values in seconds.items()}


def measure_step(run: Run, data: Dataset) -> float:
    """Of a step of one run, the median of three rounds."""
    return statistics.median(step_seconds({"run": run}, data, 3)["run"])


def _stepper(run: Run, data: Dataset):
    """Calls that each train the same model for some steps more."""
    graph, params = nnx.split(run.model_maker(data)(nnx.Rngs(0)))
    settings = run.training
    optimizer = settings.optimizer()
    mesh = batch_mesh(settings.batch_size, settings.micro_batches)
    state = on_all(mesh, TrainState(params, optimizer.init(params), jnp.int32(0)))
    device_data = on_all(mesh, DeviceData(data.train_inputs, data.train_labels))
    order = jnp.arange(_STEPS * settings.batch_size).reshape(-1, settings.micro_batch_size)
    order, key = on_all(mesh, (order, jax.random.key(0)))

    def call():
        nonlocal state
        state, metrics = train_steps(
            graph, optimizer, mesh, state, device_data, order, key, np.int32(0), np.int32(len(order))
        )
        return metrics

    return call
