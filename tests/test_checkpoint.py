"""Parameters of whole models with softmax attention in the same models with QAMA."""

import doctest
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx, traverse_util

import qama_jax
import qama_jax.linen
from qama_jax import checkpoint
from qama_jax.checkpoint import load_softmax

INPUTS = np.ones((2, 6, 8), np.float32)


class NnxModel(nnx.Module):
    def __init__(self, attention, seed, width=8):
        rngs = nnx.Rngs(params=seed, dropout=seed)
        self.embed = nnx.Linear(8, width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.norm.mean[...] = jnp.full(width, float(seed))
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.attention = nnx.List([attention(num_heads=2, in_features=width, rngs=rngs) for _ in range(2)])


class LinenModel(linen.Module):
    attention: Any
    width: int = 8

    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=True)(linen.Dense(self.width)(x))
        for layer in (self.attention(num_heads=2), self.attention(num_heads=2), self.attention(2, name="last")):
            x = layer(x)
        return x


def initialise(attention, seed, width=8):
    return jax.jit(LinenModel(attention, width).init)(jax.random.key(seed), INPUTS)


def test_nnx():
    softmax, qama = NnxModel(nnx.MultiHeadAttention, 1), NnxModel(qama_jax.QAMAAttention, 2)
    before = nnx.to_pure_dict(nnx.state(qama, nnx.Param))["attention"][0]["qubo"]["importance"]
    streams = nnx.state(qama, nnx.RngState)
    nnx.update(qama, load_softmax(qama, softmax))
    source = dict(nnx.to_flat_state(nnx.state(softmax, (nnx.Param, nnx.BatchStat))))
    for path, leaf in nnx.to_flat_state(nnx.state(qama, (nnx.Param, nnx.BatchStat))):
        if path[-2:] != ("qubo", "importance"):
            np.testing.assert_array_equal(leaf[...], source.pop(path)[...])
    assert not source
    np.testing.assert_array_equal(qama.attention[0].qubo.importance[...], before)
    for old, new in zip(jax.tree.leaves(streams), jax.tree.leaves(nnx.state(qama, nnx.RngState)), strict=True):
        assert (old == new).all()


def test_nnx_from_nested_dictionaries():
    """As a checkpoint gives them: lists become dictionaries with numbers, or their names, as keys."""
    softmax, qama = NnxModel(nnx.MultiHeadAttention, 1), NnxModel(qama_jax.QAMAAttention, 2)
    pure = nnx.to_pure_dict(nnx.state(softmax, nnx.Param))
    pure["attention"] = {str(index): layer for index, layer in pure["attention"].items()}
    loaded = load_softmax(nnx.state(qama, nnx.Param), jax.tree.map(np.asarray, pure))
    assert isinstance(loaded, nnx.State)
    np.testing.assert_array_equal(loaded["attention"][1]["out"]["kernel"][...], softmax.attention[1].out.kernel[...])


@pytest.mark.parametrize("softmax", [linen.MultiHeadDotProductAttention, linen.MultiHeadAttention])
def test_linen(softmax):
    """Layers without a name are found under the name that Flax gives its own."""
    source, target = initialise(softmax, 1), initialise(qama_jax.linen.QAMAAttention, 2)
    loaded = load_softmax(target, source)
    LinenModel(qama_jax.linen.QAMAAttention).apply(loaded, INPUTS, rngs={"anneal": jax.random.key(0)})
    flat_source, flat_target = (traverse_util.flatten_dict(tree, sep="/") for tree in (source, target))
    for path, leaf in traverse_util.flatten_dict(loaded, sep="/").items():
        if path.endswith("qubo/importance"):
            np.testing.assert_array_equal(leaf, flat_target[path])
        else:
            origin = path.replace("QAMAAttention", softmax.__name__)
            np.testing.assert_array_equal(leaf, flat_source.pop(origin))
    assert not flat_source


class OwnSoftmax(linen.MultiHeadDotProductAttention):
    """A user's."""


class OwnQama(qama_jax.linen.QAMAAttention):
    """A user's."""


@pytest.mark.parametrize("softmax", [OwnSoftmax, linen.SelfAttention, linen.remat(linen.MultiHeadAttention)])
@pytest.mark.parametrize("qama", [OwnQama, qama_jax.linen.SelfAttention, linen.remat(qama_jax.linen.QAMAAttention)])
@pytest.mark.filterwarnings("ignore:SelfAttention will be deprecated")
def test_linen_layers_of_any_class(softmax, qama):
    source, target = (jax.eval_shape(functools.partial(initialise, layer, 1)) for layer in (softmax, qama))
    leaves, structure = jax.tree.flatten(source)
    source = jax.tree.unflatten(structure, [np.full(leaf.shape, number) for number, leaf in enumerate(leaves)])
    loaded = load_softmax(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), target), source)
    ours, theirs = (sorted((n, v) for n, v in tree["params"].items() if "query" in v) for tree in (loaded, source))
    assert [name.rpartition("_")[2] for name, _ in ours] == ["0", "1", "last"]
    for (_, mine), (_, origin) in zip(ours, theirs, strict=True):
        jax.tree.map(np.testing.assert_array_equal, {name: mine[name] for name in origin}, origin)


def test_layers_that_might_be_others_are_named():
    """Two layers of other classes both have the number 0, and two layers would take the same parameters."""
    layer = {"query": {"kernel": np.ones(3, np.float32)}}
    qama = layer | {"qubo": {"importance": np.ones(2, np.float32)}}
    several = {"MultiHeadAttention_0": layer, "SelfAttention_0": layer}
    with pytest.raises(
        ValueError, match="Qama_0 is not clearly one of MultiHeadAttention_0, SelfAttention_0 in source"
    ):
        load_softmax({"Qama_0": qama, "Qama_1": qama}, several)
    assert set(load_softmax({"SelfAttention_0": qama, "Qama_0": qama}, several)) == {"SelfAttention_0", "Qama_0"}
    with pytest.raises(ValueError, match="Qama_0 is not clearly one of Own_0 in source: give layers the same names"):
        load_softmax({"Qama_0": qama, "Other_0": qama}, {"Own_0": layer})
    with pytest.raises(ValueError, match="Qama_0/query/kernel is missing in source"):
        load_softmax({"Qama_0": qama}, {"Own_1": layer})


def test_the_loaded_layers_project_as_softmax_did():
    """Same queries, keys, values and output projection: the two differ in the attention alone."""
    softmax, qama = NnxModel(nnx.MultiHeadAttention, 1), NnxModel(qama_jax.QAMAAttention, 2)
    nnx.update(qama, load_softmax(qama, softmax))
    for name in ("query", "key", "value"):
        ours, theirs = (getattr(model.attention[0], name)(INPUTS) for model in (qama, softmax))
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_qama_itself_loads_whole():
    source, target = (initialise(qama_jax.linen.QAMAAttention, seed) for seed in (1, 2))
    jax.tree.map(np.testing.assert_array_equal, load_softmax(target, source), source)


def test_values_take_the_types_of_the_target():
    source = initialise(linen.MultiHeadAttention, 1)
    target = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), initialise(qama_jax.linen.QAMAAttention, 2))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(load_softmax(target, source)))


def test_what_does_not_fit_is_named():
    source, target = initialise(linen.MultiHeadAttention, 1), initialise(qama_jax.linen.QAMAAttention, 2)
    wide = initialise(qama_jax.linen.QAMAAttention, 2, width=16)
    with pytest.raises(ValueError, match=r"Dense_0/kernel has shape \(8, 16\) in target, \(8, 8\) in source"):
        load_softmax(wide, source)
    without = {"params": {name: leaf for name, leaf in source["params"].items() if name != "Dense_0"}}
    with pytest.raises(ValueError, match="params/Dense_0/bias is missing in source; params/Dense_0/kernel is missing"):
        load_softmax({"params": target["params"]}, without)
    with pytest.raises(ValueError, match="batch_stats/BatchNorm_0/mean has no place in target"):
        load_softmax({"params": target["params"]}, source)
    target["params"]["Mixer_0"] = {"mix": jnp.ones(2)}  # of the model itself, not of attention
    with pytest.raises(ValueError, match="params/Mixer_0/mix is missing in source"):
        load_softmax(target, source)
    importance = {"params": {"qubo": {"importance": jnp.ones(3)}}}
    with pytest.raises(ValueError, match=r"importance has shape \(4,\) in target"):
        load_softmax({"params": {"qubo": {"importance": jnp.ones(4)}}}, importance)


def test_layers_that_stay_softmax_and_have_no_names_are_not_confused():
    """Of two unnamed softmax layers one is replaced: their numbers change, and which is which cannot be known."""
    layers = initialise(linen.MultiHeadAttention, 1)["params"]
    kept, replaced = layers["MultiHeadAttention_0"], initialise(qama_jax.linen.QAMAAttention, 2)["params"]
    target = {"MultiHeadAttention_0": kept, "QAMAAttention_0": replaced["QAMAAttention_0"]}
    source = {name: layers[name] for name in ("MultiHeadAttention_0", "MultiHeadAttention_1")}
    with pytest.raises(ValueError, match="MultiHeadAttention_1/key/bias has no place in target"):
        load_softmax(target, source)


def test_docstring_example_runs():
    result = doctest.testmod(checkpoint)
    assert result.attempted > 0
    assert result.failed == 0
