"""Training of language models, and texts from them."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx
from tqdm import tqdm

from experiments.data.text_bytes import ByteStreams
from experiments.models.language_model import LanguageModel
from experiments.models.parameters import count_parameters
from experiments.provenance import provenance
from experiments.result_files import ResultLines, in_words, write_json

_STEPS_PER_CALL = 10


@dataclasses.dataclass(frozen=True)
class LanguageSettings:
    """What defines a run besides the model and the data.

    Attributes:
      seed: of parameters, order of the texts and solvers.
      steps: of the optimiser.
      batch_size: texts a step.
      length: bytes of a text that are predicted.
      learning_rate: of Adam, after 5 % of the steps and before it falls as a cosine to a tenth.
      test_texts: of `length` bytes each, evenly from the test split.
      steps_per_test: between two rows of the result file, and two checkpoints.
    """

    seed: int = 0
    steps: int = 3000
    batch_size: int = 16
    length: int = 512
    learning_rate: float = 2e-3
    test_texts: int = 256
    steps_per_test: int = 250

    def optimizer(self) -> optax.GradientTransformation:
        """Adam, its gradient clipped to length 1."""
        warmup = max(self.steps // 20, 1)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, warmup, self.steps, self.learning_rate / 10
        )
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


class Task(NamedTuple):
    """What a language model learns.

    Attributes:
      draw: the sequences of a step, of a key: their ids, and what follows each of them, -1 where nothing is asked.
      test: what a row of the result file says of a model besides, of its graph and its parameters.
    """

    draw: jax.tree_util.Partial
    test: Callable[[nnx.GraphDef, nnx.State], Mapping[str, Any]]


def texts_of(data: ByteStreams, settings: LanguageSettings) -> Task:
    """The next byte of texts.

    Raises:
      ValueError: if a split is shorter than a text.
    """
    length = settings.length
    for name, split in data._asdict().items():
        if len(split) <= length:
            raise ValueError(f"length={length} must be less than the {len(split)} bytes of the {name} split")
    starts = np.linspace(0, len(data.test) - length - 1, settings.test_texts).astype(np.int32)
    texts = jnp.asarray(data.test[starts[:, None] + np.arange(length + 1)], jnp.int32)
    batches = [texts[first : first + settings.batch_size] for first in range(0, len(texts), settings.batch_size)]

    def draw(stream: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        starts = jax.random.randint(key, (settings.batch_size,), 0, len(stream) - length)
        texts = stream[starts[:, None] + jnp.arange(length + 1)].astype(jnp.int32)
        return texts[:, :-1], texts[:, 1:]

    def test(graph: nnx.GraphDef, params: nnx.State) -> dict[str, float]:
        losses = [float(_loss(predict(graph, params, batch[:, :-1]), batch[:, 1:])) * len(batch) for batch in batches]
        return {"test_bits": sum(losses) / len(texts)}

    return Task(jax.tree_util.Partial(draw, jnp.asarray(data.train)), test)


class LanguageState(NamedTuple):
    """What a checkpoint holds."""

    params: nnx.State
    optimizer: optax.OptState
    step: jax.Array


def train_language_model(
    make_model: Callable[[nnx.Rngs], LanguageModel],
    task: Task,
    settings: LanguageSettings,
    *,
    run_dir: Path,
    header: dict[str, Any],
    resume: bool,
) -> tuple[dict[str, Any], LanguageModel]:
    """Trains with Adam, and writes `run_dir`/result.json after every test.

    The texts of a step are a function of seed and step alone, and the whole state is in the checkpoint: a resumed run
    continues bit for bit.

    Args:
      make_model: builds the model from its random streams.
      task: what is learned.
      settings: see there.
      run_dir: holds the checkpoints and the result file.
      header: what the result file says of the run: whatever defines it. A resumed run must have the same.
      resume: continue from the checkpoint in `run_dir`, if there is one.

    Returns:
      The content of the result file, and the trained model.

    Raises:
      ValueError: if `run_dir` has a checkpoint and `resume` is false, or the checkpoint is of another run.
    """
    root = jax.random.key(settings.seed)
    graph, params = nnx.split(make_model(nnx.Rngs(params=jax.random.fold_in(root, 0))))
    optimizer = settings.optimizer()
    state = LanguageState(params, optimizer.init(params), jnp.int32(0))
    checkpoints = ocp.CheckpointManager(
        (run_dir / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=1)
    )
    history: list[dict[str, float]] = []
    if checkpoints.latest_step() is not None:
        state, history = _restore(checkpoints, state, header, resume)

    key, run_steps = jax.random.fold_in(root, 1), functools.partial(train_steps, graph, optimizer)
    with tqdm(total=settings.steps, initial=int(state.step), unit=" steps") as bar:
        while (first := int(state.step)) < settings.steps:
            last = min(first + settings.steps_per_test, settings.steps)
            state, _ = run_steps(state, task.draw, key, np.int32(first))  # no steps: compiles
            started, loss = time.perf_counter(), 0.0
            for step in range(first, last, _STEPS_PER_CALL):
                until = min(step + _STEPS_PER_CALL, last)
                state, part = run_steps(state, task.draw, key, np.int32(until))
                loss += float(part)
                bar.update(until - step)
                bar.set_postfix(bits=f"{loss / (until - first):.3f}")
            seconds = time.perf_counter() - started
            row = {
                "step": last,
                "seconds": seconds,
                "train_bits": loss / (last - first),
                **task.test(graph, state.params),
            }
            history.append(row)
            checkpoints.save(
                last,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), history=ocp.args.JsonSave({"header": header, "rows": history})
                ),
            )
            checkpoints.wait_until_finished()
            result = header | provenance() | {"complete": last == settings.steps, "rows": history}
            write_json(run_dir / "result.json", result)
            tqdm.write(f"{in_words(row)}")
    checkpoints.close()
    return header | provenance() | {"complete": True, "rows": history}, nnx.merge(graph, state.params)


def train_unless_done(
    make_model: Callable[[nnx.Rngs], LanguageModel],
    make_task: Callable[[], Task],
    settings: LanguageSettings,
    *,
    header: dict[str, Any],
    run_dir: Path,
    results: ResultLines | None,
    resume: bool,
) -> tuple[dict[str, Any], LanguageModel] | None:
    """`train_language_model`, whose result becomes a line of `results`; None where the line is there already.

    The settings and the number of parameters join the header.
    """
    parameters = count_parameters(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))
    header = header | {"settings": dataclasses.asdict(settings), "parameters": parameters}
    if results is not None and results.find(header) is not None:
        return None
    result, model = train_language_model(
        make_model, make_task(), settings, run_dir=run_dir, header=header, resume=resume
    )
    if results is not None:
        results.add(result)
    return result, model


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_steps(graph, optimizer, state: LanguageState, draw: jax.tree_util.Partial, key, until):
    """Steps up to `until` in one call, and the sum of their losses in bits."""

    def step(_, carry):
        state, total = carry
        here = jax.random.fold_in(key, state.step)
        ids, following = draw(here)

        def loss(params):
            rngs = nnx.Rngs(jax.random.fold_in(here, 0))
            return _loss(nnx.merge(graph, params)(ids, deterministic=False, rngs=rngs), following)

        value, gradient = jax.value_and_grad(loss)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return LanguageState(params, optimizer_state, state.step + 1), total + value

    return jax.lax.fori_loop(state.step, until, step, (state, jnp.float32(0)))


@functools.partial(jax.jit, static_argnums=0)
def predict(graph: nnx.GraphDef, params: nnx.State, ids: jax.Array) -> jax.Array:
    """The logits of what follows each of the ids."""
    return nnx.merge(graph, params)(ids)


def _loss(logits: jax.Array, following: jax.Array) -> jax.Array:
    """Bits, the mean over what is asked."""
    asked = following >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(following, 0))
    return jnp.sum(jnp.where(asked, losses, 0)) / jnp.sum(asked) / math.log(2)


def generate(model: LanguageModel, prompt: bytes, count: int, *, key: jax.Array, temperature: float = 0.8) -> bytes:
    """The prompt and `count` bytes that the model says after it, one after another from its cache.

    Raises:
      ValueError: if the prompt is empty.
    """
    if not prompt:
        raise ValueError("prompt must not be empty: the first byte is predicted from it")
    decoder = nnx.clone(model)
    decoder.init_cache(1, len(prompt) + count)
    given = jnp.asarray(np.frombuffer(prompt + bytes(count), np.uint8))
    return bytes(np.asarray(_generate(*nnx.split(decoder), given, len(prompt), key, temperature)))


@functools.partial(jax.jit, static_argnums=0)
def _generate(graph, state, given, known, key, temperature):
    def step(carry, index):
        state, byte = carry
        decoder = nnx.merge(graph, state)
        logits = decoder(byte[None, None], decode=True)[0, 0]
        said = jax.random.categorical(jax.random.fold_in(key, index), logits / temperature).astype(jnp.uint8)
        byte = jnp.where(index + 1 < known, given[index + 1], said)
        return (nnx.state(decoder), byte), byte

    _, after = jax.lax.scan(step, (state, given[0]), jnp.arange(len(given) - 1))
    return jnp.concatenate([given[:1], after])


def _restore(
    checkpoints: ocp.CheckpointManager, state: LanguageState, header: dict[str, Any], resume: bool
) -> tuple[LanguageState, list[dict[str, float]]]:
    if not resume:
        raise ValueError(
            f"{checkpoints.directory} holds a run already; pass --resume to continue it, or another --run-dir"
        )
    step = checkpoints.latest_step()
    saved = checkpoints.restore(step, args=ocp.args.Composite(history=ocp.args.JsonRestore())).history
    differing = sorted(
        name for name in header.keys() | saved["header"].keys() if header.get(name) != saved["header"].get(name)
    )
    if differing:
        raise ValueError(
            f"{checkpoints.directory} holds a run with other settings ({', '.join(differing)}); pass another --run-dir"
        )
    return checkpoints.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(state))).state, saved[
        "rows"
    ]
