import functools
import json
import socket
import time

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx

from experiments import vit_cifar
from experiments.data.dataset import Dataset
from experiments.data.images import load_images
from experiments.data.prepared import DataNotFoundError
from experiments.data.shuffled import shuffle_patches
from experiments.figures import (
    Curve,
    draw_costs,
    draw_energies,
    draw_flips,
    draw_head_masks,
    draw_read_tokens,
    draw_roc,
    draw_variation,
)
from experiments.look import hamiltonians, keys_read, look_inside
from experiments.models.controls import control
from experiments.models.linear_attention import linear_attention
from experiments.models.positions import grid_positions
from experiments.models.simple_vit import SimpleViT
from qama_jax import (
    EnergyReadout,
    LinearReadout,
    QAMAAttention,
    SelectedKeysReadout,
    WindowReadout,
    qama_attention,
)

SMALL = ["--dataset", "digits", "--width", "16", "--depth", "1", "--num-heads", "2", "--mlp-dim", "32"]


def run(tmp_path, *arguments):
    options = vit_cifar.parse_arguments([*SMALL, "--run-dir", str(tmp_path), "--cache-dir", str(tmp_path), *arguments])
    return vit_cifar.run(options)


def test_resumed_run_is_the_same_run(tmp_path):
    """Interrupted after an epoch and resumed, bit for bit; and not resumed by accident or with other settings."""
    whole, whole_model = run(tmp_path / "whole", "--epochs", "2")
    run(tmp_path / "parts", "--epochs", "1")
    with pytest.raises(ValueError, match="--resume"):
        run(tmp_path / "parts", "--epochs", "2")
    with pytest.raises(ValueError, match=r"other settings \(attention, model, parameters, qama\)"):
        run(tmp_path / "parts", "--epochs", "2", "--resume", "--attention", "none", "--mlp-dim", "8")
    parts, parts_model = run(tmp_path / "parts", "--epochs", "2", "--resume")
    for mine, theirs in zip(whole["epochs"], parts["epochs"], strict=True):
        for name in ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert mine[name] == theirs[name]
    for mine, theirs in zip(*(jax.tree.leaves(nnx.state(model)) for model in (whole_model, parts_model)), strict=True):
        np.testing.assert_array_equal(mine, theirs)

    written = json.loads((tmp_path / "parts" / "result.json").read_text())
    assert written["complete"]
    assert written["seed"] == 0
    assert {"commit", "versions", "device", "command", "qama"} <= written.keys()


@pytest.mark.parametrize(
    "arm",
    [
        "qama",
        "softmax",
        "linear",
        "none",
        "bigbird",
        "linformer",
        "qama --readout window --radius 5 --num-keys 4 --selection importance",
    ],
)
def test_every_arm_learns(tmp_path, arm):
    result, _ = run(
        tmp_path, "--epochs", "6", "--attention", *arm.split(), "--learning-rate", "0.01", "--batch-size", "64"
    )
    assert result["best_accuracy"] > 0.5
    assert result["epochs"][-1]["train_loss"] < result["epochs"][0]["train_loss"] / 1.5


def test_readouts_of_the_command_line():
    def readout(*arguments):
        return vit_cifar.make_readout(vit_cifar.parse_arguments(arguments))

    assert readout() == EnergyReadout()
    assert readout("--readout", "window", "--radius", "3", "--num-keys", "2") == WindowReadout(3, 2)
    assert readout("--readout", "selected-keys", "--num-keys", "2") == SelectedKeysReadout(2)
    assert readout("--readout", "linear") == LinearReadout()


@pytest.mark.parametrize("selection", ["importance", "random"])
def test_controls_anneal_nothing(selection):
    """The gate of the importances alone, by the oracle; and a gate of random numbers, another one for each key."""
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 6, 2, 4))
    importance = rng.standard_normal(4)
    solver, readout = control(selection, LinearReadout(2.0))
    arguments = [jnp.asarray(a, jnp.float32) for a in (query, key, value, importance)]

    def attend(seed):
        return qama_attention(*arguments, rng=jax.random.key(seed), solver=solver, readout=readout)[0]

    if selection == "random":
        assert np.abs(attend(0) - attend(1)).max() > 0.01
    else:
        problem = oracle.build(key, query, value, importance)._replace(couplings=np.zeros((2, 6, 6)), penalty=0.0)
        gates = oracle.gate(problem, np.zeros((1, 2, 6)), 2.0, 6)
        np.testing.assert_allclose(attend(0), oracle.linear_attention(query, key, value, gates), atol=1e-5)


@pytest.mark.parametrize("selection", ["importance", "all", "random"])
def test_controls_of_energies_keep_the_couplings(selection):
    """Energies by the oracle with couplings, of the tokens of positive importance, of all or of random ones."""
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 6, 2, 4))
    importance = rng.standard_normal(4)
    arguments = [jnp.asarray(a, jnp.float32) for a in (query, key, value, importance)]
    solver, readout = control(selection, EnergyReadout())

    def attend(seed):
        return qama_attention(*arguments, rng=jax.random.key(seed), solver=solver, readout=readout)

    features, diagnostics = attend(0)
    problem = oracle.build(query, key, value, importance)
    bits = np.array(diagnostics.bits)
    if selection == "random":
        assert not np.array_equal(attend(1)[1].bits, bits)
    else:
        np.testing.assert_array_equal(bits, problem.importances > 0 if selection == "importance" else np.ones((2, 6)))
    np.testing.assert_allclose(features, oracle.features(problem, bits, importance, 6), atol=1e-5)


def test_linear_attention_against_the_oracle():
    query, key, value = np.random.default_rng(0).standard_normal((3, 6, 2, 4))
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    features = linear_attention(
        *(jnp.asarray(a, jnp.float32)[None] for a in (query, key, value)), mask[None, None, None]
    )
    expected = oracle.linear_attention(query, key, value, np.broadcast_to(mask, (2, 6)))
    np.testing.assert_allclose(features[0], expected, atol=1e-5)


def test_data_that_is_not_there(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(DataNotFoundError, match=r"TFDS_DATA_DIR.*the bundled data set, digits"):
        load_images("mnist", tmp_path)
    assert time.monotonic() - start < 30
    with pytest.raises(ValueError, match="dataset must be one of"):
        load_images("imagenet", tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("prepared_mnist")
def test_prepared_data(tmp_path):
    decoded = load_images("mnist", tmp_path)
    assert decoded.train_inputs.shape == (60_000, 28, 28, 1)
    assert np.bincount(decoded.test_labels)[1] == 1135
    cached = load_images("mnist", tmp_path)
    np.testing.assert_array_equal(cached.test_inputs, decoded.test_inputs)


def test_groups(tmp_path):
    """How long the mean direction of a symbol is says the label. Its sign does not, nor does any token."""
    data = load_images("groups", tmp_path)
    tokens = data.test_inputs.reshape(2_000, 64, 24).astype(np.float64) - 128
    directions, symbols = tokens[..., :16], np.argmax(tokens[..., 16:], axis=-1)
    assert (np.sort(symbols) == np.repeat(np.arange(8), 8)).all()
    sums = np.stack([np.sum(directions * (symbols == symbol)[..., None], axis=1) for symbol in range(8)], axis=1)
    assert np.mean(np.argmax(np.linalg.norm(sums, axis=-1), axis=1) == data.test_labels) > 0.99
    of_groups = sums[np.arange(2_000), data.test_labels]
    assert (np.abs(np.mean(of_groups, axis=0)) < 4 * np.std(of_groups, axis=0) / np.sqrt(2_000)).all()
    in_group = symbols == data.test_labels[:, None]
    lengths = np.linalg.norm(directions, axis=-1)
    assert abs(lengths[in_group].mean() - lengths[~in_group].mean()) < 0.03 * lengths.std()
    assert not np.array_equal(data.train_inputs[:2_000], data.test_inputs)


def test_digit_groups(tmp_path):
    """The one symbol whose tokens show one mark is the label's. Neither symbols nor marks alone tell it."""
    data = load_images("digit_groups", tmp_path)
    tokens = data.test_inputs.reshape(1_000, 6, 8, 6, 8, 2).swapaxes(2, 3).reshape(1_000, 36, 64, 2)
    digits = load_images("digits", tmp_path)
    centred = digits.test_inputs[..., 0].reshape(-1, 64) - digits.train_inputs[..., 0].mean(axis=0).reshape(-1)
    images = np.clip(np.round(128 + 40 * centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True))), 0, 255)
    shown = {image.tobytes(): label for image, label in zip(images.astype(np.uint8), digits.test_labels, strict=True)}
    for sequence, label in zip(tokens[:50], data.test_labels, strict=False):
        symbols = np.array([shown[image.tobytes()] for image in sequence[..., 1]])
        marks = [image.tobytes() for image in sequence[..., 0]]
        assert (np.sort(symbols) == np.repeat(np.arange(6), 6)).all()
        assert all(mark in shown for mark in marks)
        different = [
            len({mark for mark, of in zip(marks, symbols, strict=True) if of == symbol}) for symbol in range(6)
        ]
        assert different[label] == 1
        assert min(different[:label] + different[label + 1 :]) > 3
    assert abs(np.bincount(data.train_labels) - 5_000 / 6).max() < 100


def test_shuffled_patches():
    """Every patch is kept whole, at a place that is the same for all images of both splits; most places change."""
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 2)).astype(np.uint8)
    shuffled = shuffle_patches(Dataset(images[:3], np.arange(3), images[3:], np.arange(2)))
    np.testing.assert_array_equal(shuffled.test_labels, np.arange(2))

    def places(image):
        return {image[row : row + 4, column : column + 4].tobytes(): (row, column) for row, column in corners}

    corners = [(row, column) for row in range(0, 28, 4) for column in range(0, 28, 4)]
    moved = []
    for before, after in zip(images, [*shuffled.train_inputs, *shuffled.test_inputs], strict=True):
        old, new = places(before), places(after)
        moved.append([new[patch] for patch in old])
    assert all(sorted(order) == corners and order == moved[0] for order in moved)
    assert sum(place == corner for place, corner in zip(moved[0], corners, strict=True)) < 5


def test_positions():
    """The four quarters of the features: sine and cosine of the column, then of the row."""
    positions = grid_positions(3, 5, 8).reshape(3, 5, 8)
    frequencies = np.array([1.0, 1e-4])
    expected = [f(4 * frequencies) for f in (np.sin, np.cos)] + [f(2 * frequencies) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(positions[2, 4], np.concatenate(expected), rtol=1e-5)


def make_model(attention, **changes):
    return SimpleViT(
        image_shape=(8, 8, 1),
        patch_size=2,
        num_classes=10,
        width=16,
        depth=2,
        num_heads=2,
        mlp_dim=32,
        attention=attention,
        rngs=nnx.Rngs(0),
        **changes,
    )


def test_patches_are_squares_of_the_image():
    image = jnp.arange(64.0).reshape(1, 8, 8, 1)
    patches = make_model(None)._patches(image)
    np.testing.assert_array_equal(patches[0, 1, 1], [18, 19, 26, 27])


def test_pooling_averages_whole_windows_of_patches():
    """Those that do not fill a window are left out; positions are those of the pooled grid."""
    image = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype(np.float32)
    model = make_model(None, pool=(1, 3))
    assert (model.grid, model.num_tokens) == ((4, 1), 4)
    patches = image[0, :, :, 0].reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(4, 4, 4)
    expected = patches[:, :3].mean(1) @ np.asarray(model.embed.kernel) + np.asarray(model.embed.bias)
    np.testing.assert_allclose(model.tokens(image)[0], expected + grid_positions(4, 1, 16), atol=1e-5)
    with pytest.raises(ValueError, match=r"pool=\(5, 1\) must be between 1 and the \(4, 4\) patches"):
        make_model(None, pool=(5, 1))


def test_look_inside_sees_what_the_layer_does():
    """Against what the layer itself sows in evaluation, and a flip against the energy of the flipped state."""
    model = make_model(QAMAAttention)
    image = np.random.default_rng(0).uniform(size=(8, 8, 1)).astype(np.float32)
    look = look_inside(model, image)
    _, intermediates = nnx.capture(model, nnx.Intermediate)(image[None], deterministic=True, sow=True)
    sown = {path[-1]: leaf.get_value()[0] for path, leaf in nnx.to_flat_state(intermediates) if path[1] == 1}
    diagnostics = sown["attention_diagnostics"]
    np.testing.assert_array_equal(look.bits, diagnostics.bits[0])
    np.testing.assert_allclose(look.energy, diagnostics.energy[0], rtol=1e-5)
    np.testing.assert_allclose(look.token_energy, diagnostics.token_energy[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(look.features, sown["attention_features"][0], rtol=1e-4, atol=1e-5)

    problem = jax.tree.map(lambda leaf: leaf[0], hamiltonians(model, image[None]))
    flipped = look.bits.copy()
    flipped[1, 3] ^= 1
    np.testing.assert_allclose(look.flipped[1, 3], problem.energy(flipped), rtol=1e-5)


def test_keys_read_are_those_of_any_weight():
    model = make_model(functools.partial(QAMAAttention, readout=SelectedKeysReadout(3)))
    image = np.random.default_rng(0).uniform(size=(8, 8, 1)).astype(np.float32)
    _, intermediates = nnx.capture(model, nnx.Intermediate)(image[None], deterministic=True, sow=True)
    sown = {path[-1]: leaf.get_value()[0] for path, leaf in nnx.to_flat_state(intermediates) if path[1] == 1}
    read = keys_read(model, image)
    weighed = np.asarray(sown["attention_weights"][0]).any(axis=1)
    for head, keys in enumerate(read):
        np.testing.assert_array_equal(np.sort(keys), np.flatnonzero(weighed[head]))


def test_figures(tmp_path):
    model = make_model(QAMAAttention)
    image = np.asarray(jax.random.uniform(jax.random.key(0), (8, 8, 1)))
    look = look_inside(model, image)
    draw_head_masks(tmp_path / "masks.png", 255 * image, look.bits, model.grid)
    draw_energies(tmp_path / "energies.png", look, model.grid)
    draw_flips(tmp_path / "flips.png", look)
    pair = np.repeat(255 * image, 2, axis=2)
    draw_read_tokens(tmp_path / "tokens.png", pair, np.array([[0, 3], [3, 5]]), np.arange(16) < 4, model.grid, 2)
    curve = {"auc": 0.75, "false_positive_rate": [0.0, 0.5, 1.0], "true_positive_rate": [0.0, 1.0, 1.0]}
    draw_roc(tmp_path / "roc.png", {"imdb": {"softmax": curve, "qama": curve}, "sst2": {"qama": curve}})
    panel = {"softmax": Curve([1, 2], [[60.0, 61.0], [62.0]]), "softmax, paper": Curve([1, 2], [[59.0], [60.0]])}
    draw_variation(tmp_path / "variation.png", {"mnist": panel, "cifar10": panel}, "heads")
    lengths = {"1024": 4.0, "4096": 16.0}
    arm = {"exponent": 1.0, "memory_exponent": 1.0, "temporary_bytes": lengths}
    arm["seconds"] = {tokens: {"median_s": value} for tokens, value in lengths.items()}
    draw_costs(tmp_path / "costs.png", {"lengths": [1024, 4096], "arms": {"qama": arm}})
    for name in ("masks.png", "energies.png", "flips.png", "tokens.png", "roc.png", "variation.png", "costs.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
