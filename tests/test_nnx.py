import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import nnx
from flax.errors import TraceContextError

import qama_jax


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (2, 10, 16))


def make(**settings):
    return qama_jax.QAMAAttention(**({"num_heads": 4, "in_features": 16, "rngs": nnx.Rngs(0)} | settings))


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
    """`anneal`, else `dropout`, else the key of evaluation, with which deterministic layers repeat themselves."""

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
    for layer in (make(rngs=nnx.Rngs(params=0)), make(keep_rngs=False)):
        assert keys_of(layer) == [first, first]


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"decode": True}, "decode=True"),
        ({"is_causal": True}, "is_causal=True"),
        ({"inputs_k": np.zeros((2, 10, 5), np.float32)}, "inputs_k must have 16 features, as the layer was made for"),
    ],
)
def test_calls_that_cannot_be_honoured_are_refused(inputs, call, message):
    with pytest.raises(ValueError, match=message):
        make()(inputs, **call)


def test_views(inputs):
    """`nnx.view` sets what `eval()` and `train()` set."""
    layer = nnx.view(make(solver=Coins()), deterministic=True)
    np.testing.assert_array_equal(layer(inputs), layer(inputs))
    training = nnx.view(layer, deterministic=False)
    assert np.abs(training(inputs) - training(inputs)).max() > 1e-4
    with pytest.raises(ValueError, match="decode=True"):
        nnx.view(layer, decode=True)(inputs)


@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        lambda layer: jax.grad(lambda x: jnp.sum(layer(x))),
        lambda layer: lambda x: jax.lax.scan(lambda carry, row: (carry, layer(row)), 0, x),
    ],
    ids=["jit", "grad", "scan"],
)
def test_transformations_that_lose_the_streams_name_the_remedies(inputs, transform):
    layer = make(solver=Coins())
    with pytest.raises(
        TraceContextError, match=r"use nnx.jit.* nnx.split and nnx.merge .* model.eval\(\).* keep_rngs=False"
    ):
        transform(layer)(inputs)
    layer.eval()
    transform(layer)(inputs)


def test_tabulate(inputs):
    """As Flax's layer, with a row for each stage; and what it patches is as before."""
    patched = nnx.RngStream.__call__, nnx.LinearGeneral.__call__, qama_jax.QAMAAttention.__call__
    layers = make(solver=Coins()), nnx.MultiHeadAttention(4, 16, decode=False, rngs=nnx.Rngs(0))
    rows = []
    for layer in layers:
        mask = np.ones((2, 1, 1, 10), bool)
        table = nnx.tabulate(layer, inputs, mask=mask, console_kwargs={"width": 250, "force_terminal": False})
        rows.append([[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if "│" in line])
    ours, flax = ({row[0]: row for row in table if row[0] and row[0] != "path"} for table in rows)
    assert ours.keys() == flax.keys() | {"qubo", "annealer"}
    for name in ("query", "key", "value", "out"):
        assert ours[name][:5] == flax[name][:5]
    assert patched == (nnx.RngStream.__call__, nnx.LinearGeneral.__call__, qama_jax.QAMAAttention.__call__)


@pytest.mark.parametrize("tokens", [[7, 7, 3], [7, 3, 7, 3, 7]])
def test_tokens_of_two_kinds(tokens):
    """In some heads, their couplings cancel: rounding is nothing, with a mask that hides nothing or without."""
    inputs = jax.random.normal(jax.random.key(5), (20, 32))[jnp.array(tokens)]
    layer = make(num_heads=4, in_features=32, deterministic=True, solver=Coins())
    outputs, gradients = [], []
    for mask in (None, np.ones((1, 1, len(tokens)), bool)):
        evaluate = nnx.jit(nnx.value_and_grad(lambda layer, mask=mask: jnp.sum(jnp.sin(layer(inputs, mask=mask)))))
        output, gradient = evaluate(layer)
        outputs.append(output)
        gradients += jax.tree.leaves(gradient)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_no_cache():
    with pytest.raises(ValueError, match="init_cache needs a causal read-out"):
        make().init_cache((2, 1, 16))
