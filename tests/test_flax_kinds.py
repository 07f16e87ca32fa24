"""What users of Flax's attention rely on beside its arguments: defaults, precedence, streams, sowing, metadata."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import linen, nnx
from test_drop_in import APIS, FEATURES, HEADS, TOKENS, Nnx, build, draw, standard, unchecked_masks

import qama_jax
import qama_jax.linen

LINEAR = qama_jax.LinearReadout()


@pytest.fixture(params=APIS.values(), ids=APIS)
def api(request):
    return request.param


@functools.cache
def of_keys(api):
    """A layer whose values belong to the keys, as Flax's do, compiled."""
    parameters, apply = build(api, (draw(2, TOKENS, FEATURES),), readout=LINEAR)
    return jax.jit(functools.partial(apply, parameters, deterministic=True))


def test_inputs_default_to_each_other(api):
    """Keys are the queries where there are none, and values the keys."""
    x, memory = draw(2, TOKENS, FEATURES), draw(2, TOKENS, FEATURES, seed=2)
    attend = of_keys(api)
    alone = attend(x)
    np.testing.assert_array_equal(attend(x, x), alone)
    np.testing.assert_array_equal(attend(x, x, x), alone)
    np.testing.assert_array_equal(attend(x, inputs_k=x, inputs_v=x), alone)
    of_memory = attend(x, memory)
    np.testing.assert_array_equal(attend(x, memory, memory), of_memory)
    assert np.abs(of_memory - alone).max() > 1e-3
    assert np.abs(attend(x, memory, x) - of_memory).max() > 1e-3


@unchecked_masks
@pytest.mark.parametrize("shape", [(1, TOKENS), (2, HEADS, 1, TOKENS)])
def test_masks_that_hide_nothing(api, shape):
    x = draw(2, TOKENS, FEATURES)
    masked = of_keys(api)(x, mask=jnp.ones(shape, bool))
    np.testing.assert_allclose(masked, of_keys(api)(x), rtol=1e-5, atol=1e-6)


@unchecked_masks
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
def test_masks_of_every_type(api, dtype):
    x, mask = draw(2, TOKENS, FEATURES), np.arange(TOKENS) < 6
    hidden = of_keys(api)(x, mask=jnp.asarray(mask, bool)[None, None, None])
    np.testing.assert_array_equal(of_keys(api)(x, mask=jnp.asarray(mask, dtype)[None, None, None]), hidden)
    assert np.abs(hidden - of_keys(api)(x)).max() > 1e-3


@pytest.mark.parametrize(("made", "called"), [(None, None), (True, None), (True, False), (None, True)])
def test_the_call_decides_before_the_layer(api, made, called):
    """What is deterministic gives the same with every key."""
    x = draw(2, TOKENS, FEATURES)
    parameters, apply = standard(api) if made is None else build(api, (x,), deterministic=made)

    def call(seed):
        key = {"rngs": nnx.Rngs(anneal=seed)} if api is Nnx else {"dropout_rng": jax.random.key(seed)}
        return apply(parameters, x, deterministic=called, **key)

    fixed = made if called is None else called
    assert (np.abs(call(1) - call(2)).max() < 1e-6) == bool(fixed)


def test_default_solver_has_fewer_steps_in_training(api):
    """From one key, so that the solver is all that differs; one that is given serves in training too."""
    x = draw(16, 60, FEATURES)
    few = qama_jax.SimulatedBifurcation(num_steps=10, max_descent_steps=4)
    parameters, by_default = build(api, (x,), solver=None)
    outputs = {"default": by_default, "few": build(api, (x,), solver=few)[1]}
    outputs["many"] = build(api, (x,), solver=qama_jax.SimulatedBifurcation())[1]
    evaluated = {name: apply(parameters, x, deterministic=True) for name, apply in outputs.items()}
    trained = {
        name: apply(
            parameters, x, **({"rngs": nnx.Rngs(anneal=0)} if api is Nnx else {"dropout_rng": jax.random.key(0)})
        )
        for name, apply in outputs.items()
    }
    np.testing.assert_array_equal(evaluated["default"], evaluated["many"])
    np.testing.assert_array_equal(trained["default"], trained["few"])
    # Without a random stream there is no training, unless the call says so.
    np.testing.assert_array_equal(outputs["default"](parameters, x), evaluated["many"])
    np.testing.assert_array_equal(outputs["default"](parameters, x, deterministic=False), evaluated["few"])
    for found in (evaluated, trained):
        assert np.abs(found["few"] - found["many"]).max() > 1e-3


@pytest.mark.parametrize("sow_weights", [False, True])
def test_what_is_sown(api, sow_weights):
    sown = api.sown(*standard(api), draw(2, TOKENS, FEATURES), deterministic=True, sow_weights=sow_weights)
    assert set(sown) == ({"attention_diagnostics", "attention_features"} if sow_weights else set())


@pytest.mark.parametrize(
    ("readout", "keys"),
    [(qama_jax.WindowReadout(TOKENS, 2), TOKENS), (qama_jax.SelectedKeysReadout(3), 7), (LINEAR, 7)],
)
def test_attention_weights_that_are_sown(readout, keys):
    """Those by which features are of the values; of a window that sees all, Flax's own."""
    x, memory = draw(2, TOKENS, FEATURES), draw(2, keys, FEATURES, seed=2)
    memory = x if keys == TOKENS else memory
    layer = qama_jax.linen.QAMAAttention(HEADS, solver=Coins(), readout=readout, deterministic=True)
    variables = layer.init(jax.random.key(0), x, memory)
    mask = np.arange(keys) < np.array([[5], [keys]])
    call = {"mask": mask[:, None, None], "sow_weights": True, "mutable": ["intermediates"]}
    sown = layer.apply(variables, x, memory, **call)[1]["intermediates"]
    (weights,), (features,) = sown["attention_weights"], sown["attention_features"]
    assert weights.shape == (2, HEADS, TOKENS, keys)
    assert not np.any(weights[0, ..., 5:])
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-5)
    value = np.einsum("bmf,fhd->bmhd", memory, variables["params"]["value"]["kernel"])
    np.testing.assert_allclose(features, np.einsum("bhnm,bmhd->bnhd", weights, value), rtol=1e-4, atol=1e-6)
    module = qama_jax.QAMAAttention(
        HEADS, FEATURES, solver=Coins(), readout=readout, deterministic=True, decode=False, rngs=nnx.Rngs(0)
    )
    nnx.update(module, nnx.State(variables["params"]))
    state = nnx.capture(module, nnx.Intermediate)(x, memory, mask=call["mask"], sow_weights=True)[1]
    np.testing.assert_array_equal(nnx.to_pure_dict(state)["attention_weights"][0], weights)
    if keys == TOKENS:
        softmax = linen.MultiHeadDotProductAttention(HEADS, deterministic=True)
        parameters = {name: leaf for name, leaf in variables["params"].items() if name != "qubo"}
        flax = softmax.apply({"params": parameters}, x, **call)[1]["intermediates"]["attention_weights"][0]
        np.testing.assert_allclose(weights, flax, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout_rate", [0.0, 0.5])
def test_features_that_are_sown_are_those_of_the_output(dropout_rate):
    layer = qama_jax.linen.QAMAAttention(HEADS, solver=Coins(), dropout_rate=dropout_rate)
    x = draw(2, TOKENS, FEATURES)
    variables = layer.init(jax.random.key(0), x)
    call = {"rngs": {"anneal": jax.random.key(1), "dropout": jax.random.key(2)}, "mutable": ["intermediates"]}
    output, sown = layer.apply(variables, x, sow_weights=True, **call)
    (features,), out = sown["intermediates"]["attention_features"], variables["params"]["out"]
    expected = np.einsum("bnhd,hdf->bnf", features, out["kernel"]) + out["bias"]
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)
    chosen = np.moveaxis(np.asarray(sown["intermediates"]["attention_diagnostics"][0].bits), 1, 2)[..., None] > 0
    dropped = (np.asarray(features) == 0) & chosen
    assert dropped.any() == bool(dropout_rate)


# --- Flax NNX


def test_nnx_streams_of_the_call_and_of_none():
    """A layer that keeps no streams takes those of the call; `train()` and `eval()` set what the call may override."""
    x = draw(2, TOKENS, FEATURES)
    layer = qama_jax.QAMAAttention(
        HEADS, FEATURES, solver=Coins(), dropout_rate=0.5, keep_rngs=False, decode=False, rngs=nnx.Rngs(0)
    )
    assert not list(nnx.iter_graph(nnx.state(layer, nnx.RngState)))[1:]
    call = nnx.jit(lambda layer, x, rngs: layer(x, rngs=rngs))
    rngs = nnx.Rngs(1)
    assert np.abs(call(layer, x, rngs) - call(layer, x, rngs)).max() > 1e-3
    np.testing.assert_array_equal(call(layer, x, nnx.Rngs(2)), call(layer, x, nnx.Rngs(2)))
    np.testing.assert_array_equal(layer(x, deterministic=True), layer(x, deterministic=True))
    layer.eval()
    np.testing.assert_array_equal(call(layer, x, rngs), call(layer, x, rngs))


def test_nnx_without_random_state():
    """As Flax's layer is where it drops nothing: it splits into parameters alone, and plain `jax.jit` takes it."""
    x = draw(2, TOKENS, FEATURES)
    layer = qama_jax.QAMAAttention(HEADS, FEATURES, solver=Coins(), keep_rngs=False, decode=False, rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(layer, nnx.Param)
    output = jax.jit(lambda parameters, x: nnx.merge(graph, parameters)(x))(parameters, x)
    np.testing.assert_allclose(output, layer(x, deterministic=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jax.jit(layer)(x), jax.jit(functools.partial(layer, deterministic=True))(x))


def test_nnx_state_travels():
    """Split and merged, the layer goes on with the streams it has."""
    x = draw(2, TOKENS, FEATURES)
    layer = qama_jax.QAMAAttention(HEADS, FEATURES, solver=Coins(), dropout_rate=0.5, decode=False, rngs=nnx.Rngs(0))
    twin = nnx.merge(*nnx.split(layer), copy=True)
    for _ in range(2):
        np.testing.assert_array_equal(layer(x), twin(x))
    abstract = nnx.eval_shape(lambda: qama_jax.QAMAAttention(HEADS, FEATURES, dropout_rate=0.5, rngs=nnx.Rngs(0)))
    shapes = jax.tree.map(jnp.shape, nnx.state(layer, nnx.Param))
    assert jax.tree.map(jnp.shape, nnx.state(abstract, nnx.Param)) == shapes


def test_nnx_metadata_of_parameters():
    metadata = {"kernel_metadata": {"note": "kernel"}, "bias_metadata": {"note": "bias"}}
    layers = [
        cls(HEADS, FEATURES, decode=False, rngs=nnx.Rngs(0), out_kernel_metadata={"note": "out"}, **metadata)
        for cls in (qama_jax.QAMAAttention, nnx.MultiHeadAttention)
    ]
    for name in ("query", "key", "value", "out"):
        for parameter in ("kernel", "bias"):
            ours, flax = (getattr(getattr(layer, name), parameter).get_metadata() for layer in layers)
            assert ours == flax


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_kv_heads": 3}, ValueError, "num_kv_heads"),
        ({"num_kv_heads": 0}, ZeroDivisionError, "num_kv_heads must be an integer >= 1, got 0"),
        ({"in_features": 16.0}, TypeError, "in_features must be an integer >= 1, got 16.0"),
        ({"in_features": 10}, ValueError, "must be divisible by num_heads=4"),
        ({"dropout_rate": 0.5, "rngs": nnx.Rngs(params=0)}, AttributeError, "dropout"),
    ],
)
def test_nnx_settings_that_flax_refuses(settings, error, message):
    given = {"num_heads": HEADS, "in_features": FEATURES, "rngs": nnx.Rngs(0)} | settings
    with pytest.raises((error, ValueError), match=message):
        qama_jax.QAMAAttention(**given)
    with pytest.raises((error, ValueError)):
        nnx.MultiHeadAttention(**given)


# --- Flax Linen


class Block(linen.Module):
    """Layers without names of their own, one of them called twice."""

    @linen.compact
    def __call__(self, x):
        layer = functools.partial(qama_jax.linen.QAMAAttention, HEADS, solver=Coins(), deterministic=True)
        shared = layer()
        return shared(layer()(shared(x)))


def test_linen_names():
    variables = jax.eval_shape(Block().init, jax.random.key(0), draw(2, TOKENS, FEATURES))
    assert set(variables["params"]) == {"QAMAAttention_0", "QAMAAttention_1"}


def test_linen_lazy_axes():
    """Parameters that `nn.vmap` stacks, with dropout that it splits."""
    stacked = linen.vmap(
        qama_jax.linen.QAMAAttention,
        variable_axes={"params": 0},
        split_rngs={"params": True, "anneal": True, "dropout": True},
        in_axes=0,
    )(HEADS, solver=Coins(), dropout_rate=0.5)
    x = jnp.broadcast_to(draw(TOKENS, FEATURES), (3, TOKENS, FEATURES))
    variables = stacked.init(jax.random.key(0), x)
    assert variables["params"]["query"]["kernel"].shape[0] == 3
    outputs = stacked.apply(variables, x, rngs={"anneal": jax.random.key(1), "dropout": jax.random.key(2)})
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
