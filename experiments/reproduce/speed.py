"""Training steps of both arms, and what of a step is the solver."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.benchmarks.timing import interleave, summary
from experiments.data.dataset import Dataset
from experiments.models.controls import FixedSelection
from experiments.train.devices import batch_mesh, on_all
from experiments.train.loop import DeviceData, TrainState, train_steps
from experiments.train.run import Run

_STEPS = 4


def measure(run: Run, data: Dataset, repeats: int) -> dict[str, Any]:
    """Seconds of a training step with each attention, in turn, compile time apart, and the solver's share of QAMA's.

    QAMA trains with the solver of its layer. The share is what a step gains where the solver is replaced by one that
    costs nothing.
    """
    arms = {
        "softmax": dataclasses.replace(run, attention="softmax"),
        "qama": dataclasses.replace(run, solver=None),
        "qama without solver": dataclasses.replace(run, solver=FixedSelection()),
    }
    seconds = interleave({name: _stepper(arm, data) for name, arm in arms.items()}, repeats)
    rows = {}
    for name, values in seconds.items():
        step = summary([value / _STEPS for value in values])
        rows[name] = step | {"samples_per_second": run.training.batch_size / step["median_s"]}
    pairs = zip(seconds["qama"], seconds["qama without solver"], strict=True)
    share = statistics.median(1 - without / whole for whole, without in pairs)
    return {"batch_size": run.training.batch_size, "tokens": run.num_tokens(data), "arms": rows, "solver_share": share}


def measure_step(run: Run, data: Dataset) -> float:
    """Seconds of a training step of one run, the median of three rounds, compile time apart."""
    return statistics.median(interleave({"run": _stepper(run, data)}, 3)["run"]) / _STEPS


def _stepper(run: Run, data: Dataset) -> Callable[[], Any]:
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
