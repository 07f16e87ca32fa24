"""The one training loop of the experiments."""

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
from experiments.devices import batch_mesh, gathered, is_writer, of_first, on_all, spread, wait_for_all
from experiments.provenance import provenance
from experiments.result_files import as_json, check_header, write_json
from experiments.train.augment import crop_and_mirror
from experiments.train.budget import Budget, Progress
from experiments.train.roc import roc
from experiments.train.settings import TrainingSettings as TrainingSettings

# Of the random numbers of augmentation: no step has this number.
_AUGMENTATION = 2**32 - 1


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
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, Any], nnx.Module]:
    """Trains a classifier and writes its result file after every test: after every epoch, or 10 times in its minutes.

    Randomness is a function of seed, epoch and step alone, and the whole state is in the checkpoint, the clock of a run
    of minutes included: a resumed run continues bit for bit, as far as steps take the same time. Batches are spread
    over all devices of all processes; a run may be resumed on another number of them, with the same random numbers and
    sums in another order.

    Args:
      make_model: builds the model from its random streams.
      data: inputs and labels; the model takes the inputs as they are.
      settings: seed, epochs or minutes, optimiser.
      run_dir: holds the checkpoints.
      result_path: the result file, with a row for each epoch in `epochs`, or of a run of minutes for each test in
        `tests`, with the examples and seconds of training so far, and the `memory` of a step. For two classes it ends
        with the `roc` of the last test.
      header: what the result file says of the run; a resumed run must have the same.
      resume: continue from the checkpoint in `run_dir`, if there is one.
      on_epoch: called after every test.
      clock: seconds.

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
    if settings.minutes is None and len(history) > settings.epochs:
        raise ValueError(f"{run_dir} holds a run of {len(history)} epochs, more than epochs={settings.epochs}")
    steps_per_epoch = len(data.train_labels) // settings.batch_size * settings.micro_batches
    budget = settings.budget(steps_per_epoch)
    rows_name = "epochs" if settings.minutes is None else "tests"
    progress = Progress(int(state.step), history[-1]["seconds"] if history else 0.0)
    if result is not None and not (
        result["complete"] and len(result[rows_name]) == len(history) and budget.is_over(progress)
    ):
        result = None

    train_data = on_all(mesh, DeviceData(data.train_inputs, data.train_labels))
    test_inputs = on_all(mesh, data.test_inputs)
    key = on_all(mesh, jax.random.fold_in(root, 2))

    @functools.lru_cache(maxsize=1)
    def order_of(epoch: int) -> jax.Array:
        order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(root, 1), epoch), len(data.train_labels))
        return on_all(mesh, order[: steps_per_epoch * settings.micro_batch_size].reshape(steps_per_epoch, -1))

    def test() -> np.ndarray:
        return np.asarray(predict(graph, state.params, test_inputs, settings.batch_size, mesh))

    summary = _summary(history, rows_name) if history else {}
    if result is None:
        # Ahead of the clock.
        compiled = train_steps.lower(
            *(graph, optimizer, mesh, state, train_data, order_of(0), key, np.int32(0), np.int32(0)),
            settings.rate_factors(budget.shares(progress)),
            augment=settings.augment,
        ).compile()
        run_steps = functools.partial(_run_steps, compiled, train_data, key, order_of, settings)
        if settings.minutes is not None:
            summary |= {"memory": _memory(compiled, state)}
    while not budget.is_over(progress):
        state, progress, row = _train_row(run_steps, state, budget, progress, clock, len(history) + 1, settings)
        tested = _metrics(test(), data.test_labels)
        row |= {"test_loss": float(tested.loss / tested.count), "test_accuracy": float(tested.correct / tested.count)}
        history.append(row)
        checkpoints.save(
            len(history) - 1,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), history=ocp.args.JsonSave({"header": header, "epochs": history})
            ),
        )
        checkpoints.wait_until_finished()
        summary |= _summary(history, rows_name)
        if not budget.is_over(progress):
            write_json(result_path, header | provenance() | {"complete": False} | summary)
        if is_writer():
            part = f"epoch {len(history)}/{settings.epochs}" if settings.minutes is None else f"{row['seconds']:.0f} s"
            tqdm.write(
                f"{part}: loss {row['train_loss']:.4f}, "
                f"train {row['train_accuracy']:.2%}, test {row['test_accuracy']:.2%}, "
                f"{row['samples_per_second']:.0f} samples/s"
            )
        on_epoch()
    checkpoints.close()
    if result is None:
        result = header | provenance() | {"complete": True} | summary
        if data.num_classes == 2:
            result["roc"] = roc(test(), data.test_labels)
        write_json(result_path, result)
    wait_for_all()
    return result, nnx.merge(graph, state.params)


def _summary(history: list[dict[str, Any]], rows_name: str) -> dict[str, Any]:
    accuracies = [row["test_accuracy"] for row in history]
    return {"last_accuracy": accuracies[-1], "best_accuracy": max(accuracies), rows_name: history}


def _memory(compiled: Any, state: TrainState) -> dict[str, int]:
    """Bytes of a training step: what the compiled program needs besides its arguments, and the state."""
    return {
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
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


def _run_steps(compiled, data, key, order_of, settings, state, progress: Progress, budget: Budget):
    """A call: the state, its number of steps, and the sums of their metrics."""
    count = budget.steps_of_call(progress)
    epoch, first = divmod(progress.steps, budget.steps_per_epoch)
    factors = settings.rate_factors(budget.shares(progress))
    state, metrics = compiled(state, data, order_of(epoch), key, np.int32(first), np.int32(first + count), factors)
    return state, count, metrics


def _train_row(
    run_steps, state, budget: Budget, start: Progress, clock, number: int, settings: TrainingSettings
) -> tuple[TrainState, Progress, dict[str, float]]:
    """Trains until the next test is due."""
    timed = settings.minutes is not None
    total, progress, began = Metrics(*np.zeros(3)), start, clock()
    with tqdm(
        total=None if timed else budget.steps_per_epoch * settings.micro_batch_size,
        desc=f"{'test' if timed else 'epoch'} {number}",
        unit=" samples",
        unit_scale=True,
        leave=False,
        disable=not is_writer(),
    ) as bar:
        while not budget.is_test_due(progress, start):
            state, count, metrics = run_steps(state, progress, budget)
            total = Metrics(*(float(a) + float(b) for a, b in zip(total, metrics, strict=True)))
            elapsed = of_first(clock() - began)
            progress = Progress(progress.steps + count, (start.seconds if timed else 0.0) + elapsed)
            bar.update(count * settings.micro_batch_size)
            bar.set_postfix(loss=f"{total.loss / total.count:.3f}", accuracy=f"{total.correct / total.count:.1%}")
    row = {"examples": progress.steps * settings.micro_batch_size} if timed else {"epoch": number}
    return (
        state,
        progress,
        row
        | {
            "train_loss": total.loss / total.count,
            "train_accuracy": total.correct / total.count,
            "seconds": progress.seconds,
            "samples_per_second": total.count / elapsed,
        },
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2), static_argnames="augment", donate_argnums=3)
def train_steps(
    graph,
    optimizer,
    mesh: Mesh,
    state: TrainState,
    data: DeviceData,
    order,
    key,
    first,
    last,
    factors: jax.Array | None = None,
    *,
    augment: bool = False,
):
    """Steps `first` to `last` of an epoch in one call, so that the device and not Python is the limit.

    The updates of each are multiplied by its factor, where there are any.
    """

    def step(index, carry):
        state, metrics = carry
        inputs, labels = (spread(mesh, array[order[index]]) for array in data)
        if augment:
            here = jax.random.fold_in(jax.random.fold_in(key, _AUGMENTATION), state.step)
            inputs = crop_and_mirror(here, inputs)

        def mean_loss(params):
            rngs = nnx.Rngs(jax.random.fold_in(key, state.step))
            logits = nnx.merge(graph, params)(inputs, deterministic=False, rngs=rngs)
            metrics = _metrics(logits, labels)
            return metrics.loss / metrics.count, metrics

        gradient, batch_metrics = jax.grad(mean_loss, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        if factors is not None:
            updates = jax.tree.map(lambda update: factors[index - first] * update, updates)
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
