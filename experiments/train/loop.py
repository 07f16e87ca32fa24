"""The one training loop of the experiments."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Mesh
from tqdm import tqdm

from experiments.data.dataset import Dataset
from experiments.devices import batch_mesh, gathered, is_writer, on_all, spread, wait_for_all
from experiments.provenance import provenance
from experiments.result_files import as_json, check_header, write_json
from experiments.train.roc import roc

_STEPS_PER_CALL = 50


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What defines a run besides model and data.

    Attributes:
      seed: of parameters, order of the examples and solvers.
      epochs: passes over the training split.
      batch_size: examples of a step of the optimiser.
      learning_rate: of Adam.
      micro_batches: parts of a batch, whose gradients are taken one after the other and averaged: less memory, and on
        CPU less time where the activations of a batch exceed the caches.

    Raises:
      ValueError: if the parts of a batch would not be equal.
    """

    seed: int = 0
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    micro_batches: int = 1

    def __post_init__(self):
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size={self.batch_size} must be a multiple of micro_batches, got {self.micro_batches}"
            )

    @property
    def micro_batch_size(self) -> int:
        """Examples of a part of a batch."""
        return self.batch_size // self.micro_batches

    def optimizer(self) -> optax.GradientTransformation | optax.MultiSteps:
        """It is given the gradients of a part of a batch at a time."""
        adam = optax.adam(self.learning_rate)
        return adam if self.micro_batches == 1 else optax.MultiSteps(adam, self.micro_batches)


class TrainState(NamedTuple):
    """What a checkpoint holds."""

    params: nnx.State
    optimizer: optax.OptState
    step: jax.Array


class Metrics(NamedTuple):
    """Sums over examples."""

    loss: jax.Array
    correct: jax.Array
    count: jax.Array


class DeviceData(NamedTuple):
    """A split on the device."""

    inputs: jax.Array
    labels: jax.Array


def train(
    make_model: Callable[[nnx.Rngs], nnx.Module],
    data: Dataset,
    settings: TrainingSettings,
    *,
    run_dir: Path,
    result_path: Path,
    header: dict[str, Any],
    resume: bool,
    on_epoch: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Any], nnx.Module]:
    """Trains a classifier with Adam and writes its result file after every epoch.

    Randomness is a function of seed, epoch and step alone, and the whole state is in the checkpoint: a resumed run
    continues bit for bit. Batches are spread over all devices of all processes; a run may be resumed on another number
    of them, with the same random numbers and sums in another order.

    Args:
      make_model: builds the model from its random streams.
      data: inputs and labels; the model takes the inputs as they are.
      settings: seed, epochs, batch size, learning rate.
      run_dir: holds the checkpoints.
      result_path: the result file; for two classes it ends with the `roc` of the last epoch.
      header: what the result file says of the run; a resumed run must have the same.
      resume: continue from the checkpoint in `run_dir`, if there is one.
      on_epoch: called after every epoch that was trained.

    Returns:
      The content of the result file, and the trained model.

    Raises:
      ValueError: if `run_dir` has a checkpoint and `resume` is false, if it or the result file is of a run with
        other settings or more epochs, or if the parts of a batch are no multiple of the number of devices.
    """
    if settings.batch_size > len(data.train_labels):
        raise ValueError(f"batch_size={settings.batch_size} exceeds the {len(data.train_labels)} training examples")
    mesh = batch_mesh(settings.batch_size, settings.micro_batches)
    root = jax.random.key(settings.seed)
    graph, params = nnx.split(make_model(nnx.Rngs(params=jax.random.fold_in(root, 0))))
    optimizer = settings.optimizer()
    state = on_all(mesh, TrainState(params, optimizer.init(params), jnp.int32(0)))
    header, result = as_json(header), None
    if result_path.exists():
        result = json.loads(result_path.read_text())
        check_header(header, result, result_path)
    checkpoints = ocp.CheckpointManager(
        (run_dir / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=1)
    )
    history = []
    if checkpoints.latest_step() is not None:
        state, history = _restore(checkpoints, state, header, resume)
    if len(history) > settings.epochs:
        raise ValueError(f"{run_dir} holds a run of {len(history)} epochs, more than epochs={settings.epochs}")
    if result is not None and not len(history) == len(result["epochs"]) == settings.epochs:
        result = None

    train_data = on_all(mesh, DeviceData(data.train_inputs, data.train_labels))
    test_inputs = on_all(mesh, data.test_inputs)
    key = on_all(mesh, jax.random.fold_in(root, 2))
    run_steps = functools.partial(train_steps, graph, optimizer, mesh)
    steps_per_epoch = len(data.train_labels) // settings.batch_size

    def test() -> np.ndarray:
        return np.asarray(predict(graph, state.params, test_inputs, settings.batch_size, mesh))

    for epoch in range(len(history), settings.epochs):
        order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(root, 1), epoch), len(data.train_labels))
        order = order[: steps_per_epoch * settings.batch_size].reshape(-1, settings.micro_batch_size)
        state, row = _train_epoch(run_steps, state, train_data, on_all(mesh, order), key, epoch)
        tested = _metrics(test(), data.test_labels)
        row |= {"test_loss": float(tested.loss / tested.count), "test_accuracy": float(tested.correct / tested.count)}
        history.append(row)
        checkpoints.save(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), history=ocp.args.JsonSave({"header": header, "epochs": history})
            ),
        )
        checkpoints.wait_until_finished()
        if epoch + 1 < settings.epochs:
            write_json(result_path, header | provenance() | _summary(history, complete=False))
        if is_writer():
            tqdm.write(
                f"epoch {epoch + 1}/{settings.epochs}: loss {row['train_loss']:.4f}, "
                f"train {row['train_accuracy']:.2%}, test {row['test_accuracy']:.2%}, "
                f"{row['samples_per_second']:.0f} samples/s"
            )
        on_epoch()
    checkpoints.close()
    if result is None:
        result = header | provenance() | _summary(history, complete=True)
        if data.num_classes == 2:
            result["roc"] = roc(test(), data.test_labels)
        write_json(result_path, result)
    wait_for_all()
    return result, nnx.merge(graph, state.params)


def _summary(history: list[dict[str, Any]], complete: bool) -> dict[str, Any]:
    accuracies = [row["test_accuracy"] for row in history]
    return {
        "complete": complete,
        "last_accuracy": accuracies[-1],
        "best_accuracy": max(accuracies),
        "epochs": history,
    }


def _restore(checkpoints: ocp.CheckpointManager, state: TrainState, header: dict[str, Any], resume: bool):
    if not resume:
        raise ValueError(
            f"{checkpoints.directory} holds a run already; pass --resume to continue it, or another --run-dir"
        )
    step = checkpoints.latest_step()
    saved = checkpoints.restore(step, args=ocp.args.Composite(history=ocp.args.JsonRestore())).history
    check_header(header, saved["header"], f"the run in {checkpoints.directory}")
    restored = checkpoints.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(state)))
    return restored.state, saved["epochs"]


def _train_epoch(run_steps, state, data, order, key, epoch) -> tuple[TrainState, dict[str, float]]:
    total = Metrics(*np.zeros(3))
    # A call of no steps compiles, so that the rates below are those of the steady state.
    state, _ = run_steps(state, data, order, key, np.int32(0), np.int32(0))
    start = time.perf_counter()
    with tqdm(
        total=order.size,
        desc=f"epoch {epoch + 1}",
        unit=" samples",
        unit_scale=True,
        leave=False,
        disable=not is_writer(),
    ) as bar:
        for first in range(0, len(order), _STEPS_PER_CALL):
            last = min(first + _STEPS_PER_CALL, len(order))
            state, metrics = run_steps(state, data, order, key, np.int32(first), np.int32(last))
            total = Metrics(*(float(a) + float(b) for a, b in zip(total, metrics, strict=True)))
            bar.update((last - first) * order.shape[1])
            bar.set_postfix(loss=f"{total.loss / total.count:.3f}", accuracy=f"{total.correct / total.count:.1%}")
    seconds = time.perf_counter() - start
    return state, {
        "epoch": epoch + 1,
        "train_loss": total.loss / total.count,
        "train_accuracy": total.correct / total.count,
        "seconds": seconds,
        "samples_per_second": total.count / seconds,
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train_steps(graph, optimizer, mesh: Mesh, state: TrainState, data: DeviceData, order, key, first, last):
    """Steps `first` to `last` of an epoch in one call, so that the device and not Python is the limit."""

    def step(index, carry):
        state, metrics = carry
        inputs, labels = (spread(mesh, array[order[index]]) for array in data)

        def mean_loss(params):
            rngs = nnx.Rngs(jax.random.fold_in(key, state.step))
            logits = nnx.merge(graph, params)(inputs, deterministic=False, rngs=rngs)
            metrics = _metrics(logits, labels)
            return metrics.loss / metrics.count, metrics

        gradient, batch_metrics = jax.grad(mean_loss, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, optimizer_state, state.step + 1), jax.tree.map(jnp.add, metrics, batch_metrics)

    zero = jnp.float32(0)
    return gathered(mesh, jax.lax.fori_loop(first, last, step, (state, Metrics(zero, zero, zero))))


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def predict(graph: nnx.GraphDef, params: nnx.State, inputs: jax.Array, batch_size: int, mesh: Mesh) -> jax.Array:
    """Logits [n, classes] for all inputs [n, ...], deterministic, in batches."""
    count = len(inputs)
    batches = -(-count // batch_size)

    def one_batch(index):
        positions = jnp.minimum(index * batch_size + jnp.arange(batch_size), count - 1)
        return nnx.merge(graph, params)(spread(mesh, inputs[positions]), deterministic=True)

    return gathered(mesh, jax.lax.map(one_batch, jnp.arange(batches)).reshape(batches * batch_size, -1)[:count])


def _metrics(logits, labels) -> Metrics:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return Metrics(jnp.sum(losses), jnp.sum(correct), jnp.float32(len(labels)))
