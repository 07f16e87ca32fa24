"""The language model of the experiments: it learns, resumes, and writes from its cache what it computes as a whole."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import train_lm
from experiments.data.text_bytes import ByteStreams
from experiments.models.controls import SinkMemory
from experiments.models.rotary import rotate
from experiments.train import language
from experiments.train.language import generate
from qama_jax import qama_attention

TEXT = np.frombuffer(b"abcd efgh " * 60, np.uint8)
DATA = ByteStreams(TEXT, TEXT[3:])
SMALL = "--width 16 --depth 1 --num-heads 2 --mlp-dim 16 --length 20 --batch-size 4 --test-texts 4 --steps-per-test 20"
SMALL += " --chunk-size 6 --radius 6 --num-keys 2 --memory-size 3 --learning-rate 0.02"


def run(run_dir, *arguments):
    options = train_lm.parse_arguments([*SMALL.split(), "--run-dir", str(run_dir), *arguments])
    return train_lm.run(options, DATA)


def test_it_learns_and_writes(tmp_path):
    """The likeliest text from the cache is that of the whole model."""
    result, model = run(tmp_path, "--steps", "40", "--attention", "qama-importance")
    assert result["rows"][-1]["test_bits"] < 0.5 * result["rows"][0]["train_bits"]
    prompt = b"cd ef"
    text = generate(model, prompt, 20, key=jax.random.key(0), temperature=1e-4)
    assert text.startswith(prompt)
    logits = nnx.jit(lambda model, ids: model(ids))(model, np.frombuffer(text, np.uint8)[None])[0]
    np.testing.assert_array_equal(np.argmax(logits, axis=-1)[len(prompt) - 1 : -1], list(text[len(prompt) :]))


def test_resumed_run_is_the_same_run(tmp_path, monkeypatch):
    """Interrupted and resumed, bit for bit; and not resumed by accident or with other settings."""
    settings = ["--attention", "recent", "--steps", "20", "--steps-per-test", "10"]
    whole, whole_model = run(tmp_path / "whole", *settings)

    def interrupt(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(language, "write_json", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", *settings)
    with pytest.raises(ValueError, match="--resume"):
        run(tmp_path / "parts", *settings)
    with pytest.raises(ValueError, match=r"other settings \(attention\)"):
        run(tmp_path / "parts", *settings, "--resume", "--attention", "sinks")
    parts, parts_model = run(tmp_path / "parts", *settings, "--resume")
    assert [row["step"] for row in parts["rows"]] == [10, 20]
    for mine, theirs in zip(parts["rows"], whole["rows"], strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
    for mine, theirs in zip(*(jax.tree.leaves(nnx.state(model)) for model in (whole_model, parts_model)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("attention", ["softmax", "sinks", "qama", "qama-random"])
def test_every_arm_trains_and_writes(tmp_path, attention):
    result, model = run(tmp_path, "--steps", "10", "--attention", attention)
    assert result["rows"][-1]["test_bits"] < 7.5
    assert len(generate(model, b"ab", 9, key=jax.random.key(0))) == 11


def test_results_are_lines_and_are_not_measured_twice(tmp_path):
    """The table has what they say, at equal seeds, and the time to softmax's loss."""
    file = tmp_path / "lines.jsonl"
    settings = ["--steps", "10", "--results", str(file)]
    for attention in ("softmax", "window"):
        assert run(tmp_path / attention, *settings, "--attention", attention) is not None
    assert run(tmp_path / "again", *settings, "--attention", "window") is None
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    softmax, window = (line["rows"][0] for line in lines)
    window["test_bits"] = softmax["test_bits"] - 0.25
    window["seconds"], softmax["seconds"] = 2.0, 5.0
    rows = {row[1]: row for row in train_lm.table(lines).rows}
    assert rows["control: window alone"][4:] == ("-0.250", "+0.000", "5.00", "0.40")
    assert rows["softmax"][4:] == ("+0.000", "+0.250", "2.00", "1.00")
    softmax["test_bits"] = 0.0
    assert train_lm.table(lines).rows[1][7] == ""


def attend(readout, seed=0):
    query, key, value = jax.random.normal(jax.random.key(seed), (3, 24, 2, 4))
    return qama_attention(query, key, value, jnp.ones(4), rng=jax.random.key(0), readout=readout)[0], query, key, value


def test_sinks_and_the_window_alone():
    """By dense attention: the first tokens, and the window."""
    offset = np.arange(24)[:, None] - np.arange(24)
    window = (offset >= 0) & (offset <= 6)
    for forgets in (True, False):
        features, query, key, value = attend(SinkMemory(6, 6, 2, 2, forgets=forgets))
        mask = window | ((offset >= 0) & (np.arange(24) < 2) & (not forgets))
        expected = jax.nn.dot_product_attention(query, key, value, mask=mask[None])
        # The first chunk is remembered once it is finished, and until then the window has it.
        np.testing.assert_allclose(features, expected, atol=1e-5)


def test_rotary_positions():
    """Products depend on how far apart tokens are; one pair of features turns by one radian a token."""
    x = np.random.default_rng(0).standard_normal((2, 1, 4))
    a, b = (jnp.broadcast_to(jnp.asarray(v, jnp.float32), (9, 1, 4)) for v in x)
    products = np.einsum("nhd,mhd->nm", rotate(a, jnp.arange(9)), rotate(b, jnp.arange(9)))
    for shift in range(1, 4):
        np.testing.assert_allclose(np.diag(products, shift), products[0, shift], atol=1e-5)
    turned = np.asarray(rotate(a, jnp.arange(9)))[:, 0]
    complex_turned = turned[:, [0]] + 1j * turned[:, [2]]
    np.testing.assert_allclose(complex_turned[:, 0] / complex_turned[0, 0], np.exp(1j * np.arange(9)), atol=1e-5)
