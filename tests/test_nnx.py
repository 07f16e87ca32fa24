import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qama_jax
from qama_jax import attention as functional


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (2, 10, 16))


def make(**settings):
    return qama_jax.QAMAAttention(**({"num_heads": 4, "in_features": 16, "rngs": nnx.Rngs(0)} | settings))


@pytest.mark.parametrize("method", ["__init__", "__call__"])
def test_signature_is_a_superset_of_flax(method):
    ours = inspect.signature(getattr(qama_jax.QAMAAttention, method)).parameters
    for name, theirs in inspect.signature(getattr(nnx.MultiHeadAttention, method)).parameters.items():
        assert name in ours
        assert ours[name].kind == theirs.kind
        if not callable(theirs.default):  # initialisers are closures, new ones each time
            assert ours[name].default == theirs.default


def test_one_word_replaces_flax(inputs):
    settings = {"num_heads": 4, "in_features": 16, "qkv_features": 32, "out_features": 8, "decode": False}
    theirs = nnx.MultiHeadAttention(**settings, rngs=nnx.Rngs(0))
    ours = qama_jax.QAMAAttention(**settings, rngs=nnx.Rngs(0))
    assert ours(inputs).shape == theirs(inputs).shape
    their_state, our_state = nnx.state(theirs, nnx.Param), nnx.state(ours, nnx.Param)
    shapes = {path: leaf[...].shape for path, leaf in nnx.to_flat_state(our_state)}
    for path, leaf in nnx.to_flat_state(their_state):
        assert shapes.pop(path) == leaf[...].shape
    assert list(shapes) == [("qubo", "importance")]


def test_layer_is_projections_around_the_functional_core(inputs):
    layer = make(deterministic=True)
    features, _ = qama_jax.qama_attention(
        layer.query(inputs),
        layer.key(inputs),
        layer.value(inputs),
        layer.qubo.importance[...],
        rng=jax.random.key(0),
    )
    np.testing.assert_allclose(layer(inputs), layer.out(features), rtol=1e-5, atol=1e-6)


def test_stages_work_alone(inputs):
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 10, 4, 4))
    construction = qama_jax.QuboConstruction(4, rngs=nnx.Rngs(0))
    annealer = qama_jax.Annealer(rngs=nnx.Rngs(anneal=0))
    distribution = qama_jax.EnergyDistribution()
    hamiltonians = nnx.jit(lambda module, *arrays: module(*arrays))(construction, query, key, value)
    solution = nnx.jit(lambda module, problem: module(problem))(annealer, hamiltonians)
    features = nnx.jit(lambda module, *arguments: module(*arguments))(
        distribution, hamiltonians, solution.bits, construction.importance[...]
    )
    assert solution.bits.shape == (2, 4, 10)
    assert features.shape == query.shape


def test_trains_under_nnx_transformations(inputs):
    layer = make()

    @nnx.jit
    def gradient(layer):
        return nnx.grad(lambda layer: jnp.sum(layer(inputs) ** 2))(layer)

    for path, leaf in nnx.to_flat_state(gradient(layer)):
        assert np.isfinite(leaf[...]).all()
        # Q, K and V are centred over the tokens, so that their biases cannot matter.
        assert np.abs(leaf[...]).max() > 1e-2 or path in {(name, "bias") for name in ("query", "key", "value")}


def test_streams(inputs):
    """`anneal`, else `dropout`, else an error; deterministic layers need none and repeat themselves."""

    def keys_of(layer, **call):
        drawn = []

        class Spy:
            num_reads = 1

            def sample(self, key, problem, initial_bits):
                jax.debug.callback(lambda data: drawn.append(tuple(np.asarray(data))), jax.random.key_data(key))
                return jnp.zeros((1, *problem.shape), jnp.int8), {}

        layer.annealer.solver = Spy()
        for _ in range(2):
            jax.block_until_ready(layer(inputs[0], **call))
            jax.effects_barrier()
        return drawn

    first, second = keys_of(make(rngs=nnx.Rngs(params=0, anneal=1)))
    assert first != second
    first, second = keys_of(make(rngs=nnx.Rngs(params=0, dropout=1)))
    assert first != second
    first, second = keys_of(make(rngs=nnx.Rngs(params=0)), rngs=nnx.Rngs(anneal=1))
    assert first != second
    first, second = keys_of(make(rngs=nnx.Rngs(params=0)), deterministic=True)
    assert first == second
    layer = make()
    layer.eval()
    first, second = keys_of(layer)
    assert first == second
    with pytest.raises(ValueError, match=r"pass rngs=nnx.Rngs\(anneal=0\)"):
        make(rngs=nnx.Rngs(params=0))(inputs)
    with pytest.raises(ValueError, match=r"pass rngs=nnx.Rngs\(anneal=0\)"):
        make(keep_rngs=False)(inputs)


def test_equal_layers_compile_once(inputs):
    layer, twin = make(), make(rngs=nnx.Rngs(5))
    layer(inputs)
    sizes = [
        f._cache_size() for f in (functional.build_hamiltonians, functional.anneal, functional.distribute_energies)
    ]
    layer(inputs)
    twin(inputs)
    assert sizes == [
        f._cache_size() for f in (functional.build_hamiltonians, functional.anneal, functional.distribute_energies)
    ]


def test_padding(inputs):
    layer = make(deterministic=True)
    padding = np.arange(10) < np.array([[6], [0]])
    outputs = layer(inputs, mask=jnp.asarray(padding[:, None, None, :]))
    changed = inputs.at[:, 6:].set(7.0)
    same = layer(changed, mask=jnp.asarray(np.broadcast_to(padding[:, None, None, :], (2, 4, 10, 10))))
    np.testing.assert_allclose(outputs[0, :6], same[0, :6], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs[0, 6:], np.broadcast_to(layer.out.bias[...], (4, 16)), atol=1e-6)
    np.testing.assert_allclose(outputs[1], np.broadcast_to(layer.out.bias[...], (10, 16)), atol=1e-6)


def test_grouped_keys_and_values(inputs):
    """Two key heads for four query heads are the same as each of them written twice."""
    grouped = make(num_kv_heads=2, deterministic=True)
    full = make(deterministic=True)
    for name in ("query", "out"):
        nnx.update(getattr(full, name), nnx.state(getattr(grouped, name)))
    for name in ("key", "value"):
        for parameter in ("kernel", "bias"):
            values = getattr(getattr(grouped, name), parameter)[...]
            getattr(getattr(full, name), parameter)[...] = jnp.repeat(values, 2, axis=-2)
    full.qubo.importance[...] = grouped.qubo.importance[...]
    np.testing.assert_allclose(grouped(inputs), full(inputs), rtol=1e-5, atol=1e-6)


def test_normalized_queries_and_keys(inputs):
    assert make(normalize_qk=True)(inputs).shape == inputs.shape


def test_low_precision(inputs):
    assert make(dtype=jnp.bfloat16)(inputs).dtype == jnp.bfloat16


def test_diagnostics_are_sown_on_request(inputs):
    _, intermediates = nnx.capture(make(), nnx.Intermediate)(inputs, sow_weights=True)
    (diagnostics,) = intermediates["attention_diagnostics"].get_value()
    assert diagnostics.bits.shape == (2, 4, 10)
    _, intermediates = nnx.capture(make(), nnx.Intermediate)(inputs)
    assert not intermediates


CAUSAL = np.tril(np.ones((2, 1, 10, 10), bool))


@pytest.mark.parametrize(
    ("settings", "call", "message"),
    [
        ({"attention_fn": lambda *a, **k: None}, {}, "attention_fn is what"),
        ({"dropout_rate": 0.1}, {}, "nnx.Dropout"),
        ({"num_heads": 3}, {}, "divisible"),
        ({"decode": True}, {}, "decode=True"),
        ({}, {"decode": True}, "decode=True"),
        ({}, {"is_causal": True}, "is_causal=True"),
        ({}, {"mask": CAUSAL}, "differs between heads or queries"),
        ({}, {"mask": np.ones((2, 10), bool)}, r"mask must be \[\*batch, heads, queries, keys\]"),
        ({}, {"mask": np.ones((3, 1, 1, 10), bool)}, "mask has batch dimensions"),
        ({}, {"inputs_v": np.zeros((2, 10, 16))}, "inputs_k must be given"),
        ({}, {"inputs_k": np.zeros((2, 5, 16))}, "inputs_k must have shape"),
    ],
)
def test_what_cannot_be_honoured_is_refused(inputs, settings, call, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)(inputs, **call)


def test_masks_that_may_differ_are_refused_under_jit(inputs):
    with pytest.raises(ValueError, match="cannot be checked under a transformation"):
        nnx.jit(lambda layer, mask: layer(inputs, mask=mask))(make(), jnp.ones((2, 1, 10, 10), bool))


def test_no_cache():
    with pytest.raises(ValueError, match="no autoregressive cache"):
        make().init_cache((2, 1, 16))
