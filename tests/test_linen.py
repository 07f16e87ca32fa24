"""What is Linen's own: random streams, initialisation, legacy arguments. The rest is in test_drop_in.py."""

import dataclasses
import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import linen, nnx

import qama_jax.linen

LAYER = qama_jax.linen.QAMAAttention(num_heads=4, solver=Coins())
INPUTS = np.random.default_rng(0).standard_normal((2, 10, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(LAYER.init)(jax.random.key(0), INPUTS)


def bits(variables, *, layer=LAYER, **call):
    @jax.jit
    def apply(variables, rngs):
        _, sown = layer.apply(variables, INPUTS, rngs=rngs, sow_weights=True, mutable=["intermediates"], **call)
        return sown["intermediates"]["attention_diagnostics"][0].bits

    return lambda **rngs: np.asarray(apply(variables, rngs)).tolist()


def test_streams(variables):
    """The call's key, else `anneal`, else `dropout`; deterministic layers use none."""
    select = bits(variables)
    one, two = jax.random.key(1), jax.random.key(2)
    assert select(anneal=one) == select(anneal=one)
    assert select(anneal=one) == select(anneal=one, dropout=two)
    assert select(anneal=one) != select(anneal=two)
    assert select(dropout=one) != select(dropout=two)
    assert bits(variables, dropout_rng=one)(anneal=one) == bits(variables, dropout_rng=one)(anneal=two)
    assert bits(variables, dropout_rng=one)() != bits(variables, dropout_rng=two)()
    fixed = bits(variables, deterministic=True)
    assert fixed() == fixed(anneal=one) == bits(variables, layer=LAYER.clone(deterministic=True))(anneal=two)
    assert bits(variables, layer=LAYER.clone(deterministic=True), deterministic=False)(anneal=one) == select(anneal=one)


def test_keys_of_the_old_kind(variables):
    typed = bits(variables)(anneal=jax.random.key(1))
    assert bits(variables)(anneal=jax.random.PRNGKey(1)) == typed
    assert bits(variables, dropout_rng=jax.random.PRNGKey(1))() == bits(variables, dropout_rng=jax.random.key(1))()


def test_without_a_stream_the_key_is_that_of_evaluation(variables):
    assert bits(variables)() == bits(variables, deterministic=True)()


def test_params_serves_where_there_is_no_other_stream(variables):
    """As for all that draws in Flax, and as `ToNNX` calls it."""
    one, two = jax.random.key(1), jax.random.key(2)
    assert bits(variables)(params=one) != bits(variables)(params=two)
    assert bits(variables)(params=one, anneal=two) == bits(variables)(anneal=two)


@pytest.mark.parametrize("dropout_rate", [0.0, 0.5])
def test_bridge_to_nnx_asks_for_no_more_streams_than_dropout(dropout_rate):
    bridged = nnx.bridge.ToNNX(LAYER.clone(dropout_rate=dropout_rate), rngs=nnx.Rngs(0)).lazy_init(INPUTS)
    first, second = bridged(INPUTS), bridged(INPUTS)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(bridged(INPUTS, deterministic=True), bridged(INPUTS, deterministic=True))


def test_initialisation_needs_no_stream_and_uses_none():
    with_streams = LAYER.init({"params": jax.random.key(0), "anneal": jax.random.key(1)}, INPUTS)
    jax.tree.map(np.testing.assert_array_equal, with_streams, LAYER.init(jax.random.key(0), INPUTS))


def test_inputs_kv(variables):
    memory = INPUTS[::-1]
    with pytest.warns(DeprecationWarning, match="inputs_kv is deprecated, as in Flax: pass inputs_k"):
        together = LAYER.apply(variables, INPUTS, inputs_kv=memory, deterministic=True)
    np.testing.assert_array_equal(together, LAYER.apply(variables, INPUTS, memory, deterministic=True))
    with pytest.raises(ValueError, match="inputs_kv stands for inputs_k and inputs_v"):
        LAYER.apply(variables, INPUTS, memory, inputs_kv=memory, deterministic=True)


def test_self_attention_takes_its_mask_by_position(variables):
    """As Flax's, whose name it bears in the tree of parameters; the other layer names what to write."""
    mask = np.arange(10)[None, None, None] < np.array([4, 10])[:, None, None, None]
    layer = qama_jax.linen.SelfAttention(num_heads=4, solver=Coins())
    masked = layer.apply(variables, INPUTS, mask, True)
    np.testing.assert_array_equal(masked, LAYER.apply(variables, INPUTS, mask=mask, deterministic=True))
    assert np.abs(masked - LAYER.apply(variables, INPUTS, deterministic=True))[0].max() > 1e-3
    ours, flax = (inspect.signature(cls.__call__).parameters for cls in (type(layer), linen.SelfAttention))
    assert list(ours) == list(flax)
    for wrong in (mask, mask[:, 0, 0]):
        with pytest.raises(ValueError, match=r"inputs_k must be .*; pass an attention mask by its name, mask="):
            LAYER.apply(variables, INPUTS, wrong, deterministic=True)


# Without softmax, `force_fp32_for_softmax` has nothing to say.
HONOURED = """num_heads dtype param_dtype qkv_features out_features broadcast_dropout dropout_rate deterministic
    precision kernel_init out_kernel_init bias_init out_bias_init use_bias normalize_qk force_fp32_for_softmax
    qkv_dot_general out_dot_general qkv_dot_general_cls out_dot_general_cls decode parent name"""
REFUSED = "attention_fn qk_attn_weights_einsum_cls attn_weights_value_einsum_cls"


def test_no_inherited_field_is_ignored():
    """A later Flax may add fields, which the layer inherits: they are to be honoured or refused."""
    fields = {field.name for field in dataclasses.fields(linen.MultiHeadDotProductAttention)}
    assert fields == {*HONOURED.split(), *REFUSED.split()}


@pytest.mark.parametrize("name", ["qk_attn_weights_einsum_cls", "attn_weights_value_einsum_cls"])
def test_einsums_of_attention_weights_are_refused(variables, name):
    with pytest.raises(ValueError, match=f"{name} computes with attention weights"):
        LAYER.clone(**{name: lambda: jnp.einsum}).apply(variables, INPUTS, deterministic=True)


def test_partitioned_importance(variables):
    """Metadata of an initialiser, as Linen's sharding has it, boxes W_ε."""
    init = linen.with_partitioning(linen.initializers.normal(0.05), ("features",))
    layer = LAYER.clone(importance_init=init)
    boxed = jax.eval_shape(layer.init, jax.random.key(0), INPUTS)["params"]["qubo"]["importance"]
    assert boxed.names == ("features",)


def test_docstring_example_runs():
    import doctest

    result = doctest.testmod(sys.modules[qama_jax.linen.QAMAAttention.__module__])
    assert result.attempted > 0
    assert result.failed == 0
