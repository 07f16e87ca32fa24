"""Training for a time, schedules, AdamW, augmentation and half precision."""

import collections
import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import vit_cifar
from experiments.data.dataset import Dataset
from experiments.models.simple_vit import SimpleViT
from experiments.models.text_transformer import TextTransformer
from experiments.reproduce.budgets import BUDGETS
from experiments.reproduce.queue import Places, estimate, finished, results_of
from experiments.reproduce.studies import long_sequences
from experiments.train.augment import crop_and_mirror
from experiments.train.budget import STEPS_PER_CALL, EpochBudget, Progress, TimeBudget
from experiments.train.loop import train
from experiments.train.run import Run
from experiments.train.settings import TrainingSettings

# A batch has 4 parts; 96 examples are 6 batches, 24 parts.
TIMED = TrainingSettings(
    seed=1,
    batch_size=16,
    micro_batches=4,
    minutes=10 / 60,
    schedule="cosine",
    warmup=0.2,
    weight_decay=0.1,
    augment=True,
)


def images():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (104, 8, 8, 1)).astype(np.uint8)
    labels = generator.integers(0, 3, 104).astype(np.int32)
    return Dataset(pixels[:96], labels[:96], pixels[96:], labels[96:])


def make_model(rngs):
    sizes = {"num_classes": 3, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 8}
    return SimpleViT(image_shape=(8, 8, 1), patch_size=4, attention=None, rngs=rngs, **sizes)


class Interrupt(Exception):
    pass


class Clock:
    """Advances by a quarter of a second each time it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.25
        return self.now


def carry_out(folder, *, clock, settings=TIMED, on_epoch=lambda: None, resume=False):
    return train(
        make_model,
        images(),
        settings,
        run_dir=folder,
        result_path=folder / "result.json",
        header={"settings": settings.described()},
        resume=resume,
        on_epoch=on_epoch,
        clock=clock,
    )


def test_interrupted_run_of_minutes_is_the_same_run(tmp_path, monkeypatch):
    """Interrupted twice, the second time before its result is written: the same to the last bit."""
    monkeypatch.setattr("experiments.train.budget._TESTS", 5)
    whole, whole_model = carry_out(tmp_path / "whole", clock=Clock())
    tests = 0

    def stop():
        nonlocal tests
        tests += 1
        if tests in (2, 5):
            raise Interrupt

    for _ in range(2):
        with pytest.raises(Interrupt):
            carry_out(tmp_path / "parts", clock=Clock(), on_epoch=stop, resume=True)
    parts, parts_model = carry_out(tmp_path / "parts", clock=Clock(), on_epoch=stop, resume=True)
    assert tests == 5
    assert parts["tests"] == whole["tests"]
    assert len(whole["tests"]) == 5
    for mine, theirs in zip(*(jax.tree.leaves(nnx.state(model)) for model in (whole_model, parts_model)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    seconds = [row["seconds"] for row in whole["tests"]]
    np.testing.assert_allclose(seconds, 2 * np.arange(1, 6))
    # 40 calls of a quarter of a second: one part of a batch, then as many as took a second, within an epoch.
    expected = 0
    for call in range(40):
        expected += min(max(int(expected / (0.25 * call)), 1) if call else 1, STEPS_PER_CALL, 24 - expected % 24)
    assert whole["tests"][-1]["examples"] == 4 * expected
    assert whole["last_accuracy"] == whole["tests"][-1]["test_accuracy"]
    assert whole["memory"]["temporary_bytes"] > 0
    written = json.loads((tmp_path / "parts" / "result.json").read_text())
    assert (written["complete"], written["tests"], written["memory"]) == (True, whole["tests"], whole["memory"])
    # What is done is not trained again, and not with another time.
    again, _ = carry_out(tmp_path / "parts", clock=Clock(), on_epoch=stop, resume=True)
    assert again == written
    with pytest.raises(ValueError, match=r"other settings \(settings\)"):
        carry_out(tmp_path / "parts", clock=Clock(), settings=dataclasses.replace(TIMED, minutes=1), resume=True)


def test_budget_of_epochs():
    budget = TrainingSettings(epochs=3).budget(120)
    assert budget == EpochBudget(3, 120)
    assert [budget.steps_of_call(Progress(steps, 0.0)) for steps in (0, 50, 100, 120)] == [50, 50, 20, 50]
    assert [budget.is_over(Progress(steps, 9.9)) for steps in (359, 360)] == [False, True]
    assert [budget.is_test_due(Progress(steps, 0.0), Progress(120, 0.0)) for steps in (239, 240)] == [False, True]
    np.testing.assert_allclose(budget.shares(Progress(180, 0.0))[:3], [180 / 360, 181 / 360, 182 / 360])


def test_budget_of_time():
    """About a second a call, by the progress so far; the schedule follows the clock."""
    budget = TrainingSettings(minutes=2).budget(120)
    assert budget == TimeBudget(120, 120)
    found = [budget.steps_of_call(Progress(*progress)) for progress in ((0, 0), (1, 4), (30, 2), (900, 1), (110, 5))]
    assert found == [1, 1, 15, 50, 10]
    assert [budget.is_over(Progress(5, seconds)) for seconds in (119.9, 120.0)] == [False, True]
    due = [budget.is_test_due(Progress(5, seconds), Progress(3, 6.5)) for seconds in (6.6, 11.9, 12.0, 30.0)]
    assert due == [False, False, True, True]
    assert set(budget.shares(Progress(7, 30.0))) == {0.25}


def test_updates_are_those_of_optax():
    """AdamW with warm-up and half a cosine, over 40 steps, biases without decay; and plain Adam is plain Adam."""
    settings = TrainingSettings(epochs=4, learning_rate=0.1, schedule="cosine", warmup=0.25, weight_decay=0.3)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 40)
    decay = {"bias": False, "kernel": True}
    ours, theirs = settings.optimizer(), optax.adamw(schedule, weight_decay=0.3, mask=decay)
    factors = settings.rate_factors(settings.budget(10).shares(Progress(0, 0.0)))[:40]
    assert factors.dtype == np.float32
    params = [{"bias": jnp.array([1.0, -2.0, 0.5]), "kernel": jnp.array([0.3, 1.5])}] * 2
    states = [ours.init(params[0]), theirs.init(params[1])]
    for factor in factors:
        for index, optimizer in enumerate((ours, theirs)):
            gradient = jax.tree.map(lambda x: jnp.sin(3 * x), params[index])
            updates, states[index] = optimizer.update(gradient, states[index], params[index])
            step = jax.tree.map(lambda update, by=factor if index == 0 else 1.0: by * update, updates)
            params[index] = optax.apply_updates(params[index], step)
    chex.assert_trees_all_close(*params, rtol=1e-5)
    assert TrainingSettings().rate_factors(np.zeros(3)) is None
    warm = TrainingSettings(warmup=0.5).rate_factors(np.array([0.0, 0.25, 0.5, 1.0]))
    np.testing.assert_allclose(warm, [0, 0.5, 1, 1])


def test_header_has_what_differs_from_the_defaults():
    """Results that were written before there were these settings keep their headers."""
    plain = {"batch_size": 128, "learning_rate": 1e-3, "micro_batches": 1}
    assert TrainingSettings(seed=3, epochs=7).described() == plain
    extra = {"minutes": 20, "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.01, "augment": True}
    assert TrainingSettings(**extra).described() == plain | extra
    # The schedule lies over the epochs, and a run cannot grow.
    laid = TrainingSettings(epochs=7, schedule="cosine").described()
    assert laid == plain | {"schedule": "cosine", "epochs": 7}
    run = Run("digits", "none", TrainingSettings(), patch_size=2)
    half = dataclasses.replace(run, dtype="bfloat16")
    data = run.load(None)
    assert half.header(data)["model"] == run.header(data)["model"] | {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": 0}, "minutes must be positive"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine"),
        ({"warmup": 1.0}, "warmup must be a share"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
    ],
)
def test_settings_are_in_range(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**settings)


def test_other_settings_of_a_run_are_in_range():
    with pytest.raises(ValueError, match=r"augment is for cifar10.*leave it out for digits"):
        Run("digits", "none", TrainingSettings(augment=True))
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16"):
        Run("digits", "none", TrainingSettings(), dtype="float16")


class TestAugmentation:
    def test_is_a_crop_of_the_reflected_image_or_its_mirror_image(self):
        images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 2)).astype(np.uint8)
        found = np.asarray(crop_and_mirror(jax.random.key(0), images))
        assert found.dtype == np.uint8
        seen = set()
        for image, moved in zip(images, found, strict=True):
            padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
            crops = {
                (row, column, mirror): padded[row : row + 16, column : column + 16][:, :: -1 if mirror else 1]
                for row in range(5)
                for column in range(5)
                for mirror in (False, True)
            }
            (which,) = (name for name, crop in crops.items() if np.array_equal(crop, moved))
            seen.add(which)
        assert {row for row, _, _ in seen} == {column for _, column, _ in seen} == set(range(5))
        assert {mirror for _, _, mirror in seen} == {False, True}

    def test_of_sequences_is_that_of_their_images(self):
        images = np.random.default_rng(0).integers(1, 257, (5, 8, 8, 1)).astype(np.uint16)
        key = jax.random.key(3)
        rows = crop_and_mirror(key, images.reshape(5, 64))
        np.testing.assert_array_equal(rows, crop_and_mirror(key, images).reshape(5, 64))


class TestHalfPrecision:
    @pytest.mark.parametrize("arm", long_sequences.LABELS)
    def test_blocks_compute_in_it(self, arm):
        (run,) = (run for run in long_sequences.runs(BUDGETS["quick"], 0) if (run.case, run.arm) == ("text-1024", arm))
        ids = np.ones((4, 64), np.uint8)
        data = Dataset(ids, np.arange(4, dtype=np.int32) % 2, ids, np.zeros(4, np.int32))
        model = nnx.eval_shape(lambda: dataclasses.replace(run, dtype="bfloat16").model_maker(data)(nnx.Rngs(0)))
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))} == {jnp.dtype("float32")}
        graph, state = nnx.split(model)

        def outputs(state, ids):
            model = nnx.merge(graph, state)
            mask = (ids != 0)[:, None, None, :]
            x = model.embed(ids.astype(jnp.int32))
            return model(ids), model.blocks[0](x, mask, deterministic=True, rngs=None, sow=False)

        logits, features = jax.eval_shape(outputs, state, ids)
        assert (logits.dtype, features.dtype) == (jnp.float32, jnp.bfloat16)

    def test_is_close_to_single_precision(self):
        sizes = {"vocabulary": 9, "num_classes": 3, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 8}
        ids = jax.random.randint(jax.random.key(0), (4, 12), 0, 9)
        logits = []
        for dtype in (None, jnp.bfloat16):
            model = TextTransformer(**sizes, attention=nnx.MultiHeadAttention, dtype=dtype, rngs=nnx.Rngs(0))
            model.head.kernel[...] = jax.random.normal(jax.random.key(1), (8, 3))
            logits.append(model(ids))
        difference = np.abs(logits[0] - logits[1]).max()
        assert 1e-4 < difference < 0.1


def result_line(arm, seed, accuracies, **more):
    header = {"case": "text-1024", "arm": arm, "seed": seed, "tokens": 1024, "settings": {"minutes": 20}}
    tests = [
        {"seconds": 600.0 * (index + 1), "examples": 500 * (index + 1), "test_accuracy": accuracy}
        for index, accuracy in enumerate(accuracies)
    ]
    measured = {"last_accuracy": accuracies[-1], "best_accuracy": max(accuracies), "tests": tests}
    memory = {"memory": {"temporary_bytes": 6_000_000, "state_bytes": 1_500_000}}
    return header | measured | memory | more


class TestStudy:
    def test_table_and_figure_are_made_of_results(self, tmp_path):
        none = collections.defaultdict(list)
        assert long_sequences.table(none) is None
        lines = [result_line("softmax", seed, [0.6, 0.7 - seed / 50]) for seed in (0, 1)]
        for nothing_compared in (none, collections.defaultdict(list, long_sequences=lines.copy())):
            assert long_sequences.figure(nothing_compared, tmp_path) == {}
        lines.append(result_line("none", 0, [0.65, 0.55]))
        found = collections.defaultdict(list, long_sequences=lines)
        table = long_sequences.table(found)
        assert table.rows == [
            ("Text", "1,024", "softmax", "69.0 ± 1.4", "", "", "", "+15.0", "69.0 ± 1.4", "2", "1,000", "8"),
            ("Text", "1,024", "none", "55.0", "-15.0", "", "", "", "65.0", "1", "1,000", "8"),
        ]
        assert table.note.startswith("20 minutes of training")
        ((_, path),) = long_sequences.figure(found, tmp_path).items()
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_arms_differ_in_attention_alone(self):
        runs = list(long_sequences.runs(BUDGETS["reduced"], 2))
        assert len({run.name for run in runs}) == len(runs)
        softmax = {run.case: run for run in runs if run.arm == "softmax"}
        of_arm = ("attention", "readout", "selection", "baseline", "arm")
        for run in runs:
            other = softmax[run.case]
            assert dataclasses.replace(run, **{name: getattr(other, name) for name in of_arm}) == other
            assert run.training.minutes == 20
        assert {run.arm for run in runs if run.length == 4096} == {"softmax", "window", "window-alone", "gated-linear"}
        paper = [run for run in long_sequences.runs(BUDGETS["paper"], 0) if run.length == 4096]
        assert len(paper) == 2 * len(long_sequences.LABELS)

    def test_a_run_of_minutes_is_finished_when_its_line_is_there(self, tmp_path):
        training = TrainingSettings(batch_size=64, minutes=90)
        run = Run("digits", "none", training, patch_size=2, study="timed", case="digits", arm="none")
        where = Places(tmp_path, tmp_path / "work", tmp_path / "data")
        data = run.load(tmp_path)
        assert finished(run, data, where) is None
        assert estimate([run], where) == "1 runs to do; 1.5 hours of training"
        results_of(tmp_path, "timed").add(run.header(data) | {"tests": [{}]})
        assert finished(run, data, where)["tests"] == [{}]
        assert estimate([run], where) == "all runs are done"
        shorter = dataclasses.replace(run, training=dataclasses.replace(training, minutes=5))
        with pytest.raises(ValueError, match=r"other settings \(settings\)"):
            finished(shorter, data, where)


def test_command_line(tmp_path, monkeypatch):
    """What is asked for is what is trained."""
    seen = []

    def execute(run, data, **places):
        seen.append(run)
        return {}, None

    monkeypatch.setattr(Run, "execute", execute)
    monkeypatch.setattr(Run, "load", lambda run, cache_dir: None)
    words = "--attention softmax --dataset listops --minutes 3 --schedule cosine --warmup 0.1 --weight-decay 0.2"
    vit_cifar.run(vit_cifar.parse_arguments([*words.split(), "--dtype", "bfloat16"]))
    vit_cifar.run(vit_cifar.parse_arguments(["--dataset", "cifar10_pixels", "--length", "256", "--augment"]))
    assert seen[0].training == TrainingSettings(epochs=50, minutes=3.0, schedule="cosine", warmup=0.1, weight_decay=0.2)
    assert (seen[0].dataset, seen[0].length, seen[0].dtype) == ("listops", 2048, "bfloat16")
    assert (seen[1].length, seen[1].training.augment) == (256, True)
    with pytest.raises(ValueError, match=r"length is of listops.*for mnist set patch_size"):
        vit_cifar.run(vit_cifar.parse_arguments(["--dataset", "mnist", "--length", "256"]))
