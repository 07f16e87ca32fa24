"""The read-out that mixes a window and selected keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from coins import Coins
from flax import linen, nnx

import qama_jax
import qama_jax.linen
from qama_jax import MixedReadout, WindowReadout
from qama_jax.attention import anneal, build_hamiltonians, read_out
from qama_jax.readouts import Dropout

HEADS, HEAD_DIM, BETA = 3, 4, 2.0
MIX = np.array([0.0, 0.7, -1.3])


def draw(tokens):
    rng = np.random.default_rng(0)
    return *(rng.standard_normal((tokens, HEADS, HEAD_DIM)) for _ in range(3)), rng.standard_normal(HEAD_DIM)


def expected(readout, arguments, bits, mask, mix):
    """By the oracle: two attentions, each normalised on its own."""
    query, key, value, importance = arguments
    gates = oracle.gate(oracle.build(key, query, value, importance, mask), bits[None], BETA, mask.sum()) * mask
    chosen = np.broadcast_to(
        oracle.strongest(gates, bits * mask, readout.num_keys)[:, None], (HEADS, *[len(query)] * 2)
    )
    near = np.broadcast_to(oracle.window(mask, readout.radius), chosen.shape).astype(float)
    near, far = (oracle.weighted_attention(query, key, value, weights) for weights in (near, chosen))
    return near + mix[:, None] * far


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("tokens", [11, 26])
def test_features_and_gradients_equal_the_oracle(tokens):
    readout, arguments, mask = MixedReadout(2, 3, BETA), draw(tokens), np.arange(tokens) < tokens - 2
    tensors = [jnp.asarray(array, jnp.float32) for array in arguments]
    hamiltonian = build_hamiltonians(*tensors, mask=jnp.asarray(mask), select="keys")
    solution = anneal(jax.random.key(0), hamiltonian, Coins(share=0.6))
    bits = np.asarray(solution.bits, float)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def evaluate(mix, value):
        problem = build_hamiltonians(*tensors[:2], value, tensors[3], mask=jnp.asarray(mask), select="keys")
        features = read_out(readout, problem, solution, *tensors[:2], value, tensors[3], mix=mix)[mask]
        return jnp.sum(features**2), features

    (of_mix, of_value), features = evaluate(jnp.asarray(MIX, jnp.float32), tensors[2])
    np.testing.assert_allclose(features, expected(readout, arguments, bits, mask, MIX)[mask], atol=2e-5)

    def loss(mix, value):
        return (expected(readout, (*arguments[:2], value, arguments[3]), bits, mask, mix)[mask] ** 2).sum()

    for actual, moved in ((of_mix, 0), (of_value, 1)):
        start = MIX, arguments[2]
        direction = [np.zeros_like(array) for array in start]
        direction[moved] = np.random.default_rng(1).standard_normal(actual.shape)
        slope = oracle.directional_derivative(loss, start, direction)
        np.testing.assert_allclose((np.float64(actual) * direction[moved]).sum(), slope, rtol=2e-3, atol=2e-3)


def test_layers_start_as_the_window_alone_and_learn_the_mixture():
    x = jnp.asarray(np.random.default_rng(2).standard_normal((2, 9, 12)), jnp.float32)
    make = functools.partial(qama_jax.QAMAAttention, HEADS, 12, decode=False)
    mixed = make(readout=MixedReadout(2, 3), rngs=nnx.Rngs(0))
    alone = make(readout=WindowReadout(2, 0), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(mixed(x, deterministic=True), alone(x, deterministic=True))
    gradient = nnx.grad(lambda layer: jnp.sum(layer(x, deterministic=True) ** 2))(mixed)
    assert np.all(np.asarray(gradient.mix[...]) != 0)

    in_linen = qama_jax.linen.QAMAAttention(HEADS, readout=MixedReadout(2, 3))
    mixed.mix[...] = jnp.asarray(MIX, jnp.float32)
    parameters = jax.tree.map(lambda leaf: leaf, nnx.to_pure_dict(nnx.state(mixed, nnx.Param)))
    shapes = jax.eval_shape(in_linen.init, jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, parameters) == jax.tree.map(jnp.shape, shapes)
    features = in_linen.apply({"params": parameters}, x, deterministic=True)
    np.testing.assert_array_equal(features, mixed(x, deterministic=True))
    assert not np.allclose(features, alone(x, deterministic=True), atol=1e-3)


def test_each_branch_drops_entries_of_its_own():
    """Unit vectors for values read the weights of four tokens out, which are positive unless dropped."""
    tokens, same = 4, jnp.zeros((4, HEADS, HEAD_DIM))
    value = jnp.broadcast_to(jnp.eye(tokens)[:, None], same.shape)
    arguments = same, same, value, jnp.ones(HEAD_DIM)
    hamiltonian = build_hamiltonians(*arguments, select="keys")
    solution = anneal(jax.random.key(0), hamiltonian, Coins(share=1.0))
    dropout = Dropout(jax.random.key(1), 0.5, True)
    near, both = (
        read_out(MixedReadout(4, 4), hamiltonian, solution, *arguments, dropout, mix=jnp.full(HEADS, mix))
        for mix in (0.0, 1.0)
    )
    far = both - near
    assert np.any(near > 0)
    assert np.any(far > 0)
    assert np.any((near > 0) != (far > 0))


def test_softmax_checkpoints_load():
    mixed = qama_jax.QAMAAttention(HEADS, 12, decode=False, readout=MixedReadout(2, 3), rngs=nnx.Rngs(0))
    softmax = nnx.MultiHeadAttention(HEADS, 12, decode=False, rngs=nnx.Rngs(1))
    nnx.update(mixed, qama_jax.checkpoint.load_softmax(mixed, softmax))
    np.testing.assert_array_equal(mixed.query.kernel[...], softmax.query.kernel[...])
    np.testing.assert_array_equal(mixed.mix[...], np.zeros(HEADS))


def test_attention_weights_are_those_of_the_mixture():
    """Every row sums to 1 + g, both softmaxes being normalised."""
    layer = qama_jax.QAMAAttention(HEADS, 12, decode=False, readout=MixedReadout(2, 3), rngs=nnx.Rngs(0))
    layer.mix[...] = jnp.asarray(MIX, jnp.float32)
    x = jnp.asarray(np.random.default_rng(3).standard_normal((2, 9, 12)), jnp.float32)
    _, sown = nnx.capture(layer, nnx.Intermediate)(x, deterministic=True, sow_weights=True)
    (weights,) = nnx.to_pure_dict(sown)["attention_weights"]
    np.testing.assert_allclose(weights.sum(axis=-1), np.broadcast_to((1 + MIX)[:, None], (2, HEADS, 9)), atol=1e-5)


@pytest.mark.parametrize(
    ("readout", "mix"), [(MixedReadout(), None), (WindowReadout(), jnp.zeros(HEADS))], ids=["missing", "superfluous"]
)
def test_mix_goes_with_read_outs_that_mix(readout, mix):
    arguments = (jnp.asarray(array, jnp.float32) for array in draw(9))
    with pytest.raises(ValueError, match="mix must be given for a read-out that mixes branches"):
        qama_jax.qama_attention(*arguments, rng=jax.random.key(0), readout=readout, mix=mix)


def test_a_window_is_of_one_sequence():
    query, key, value = (jnp.ones((tokens, HEADS, HEAD_DIM)) for tokens in (9, 5, 5))
    call = {"rng": jax.random.key(0), "readout": MixedReadout(2, 3), "mix": jnp.zeros(HEADS)}
    with pytest.raises(ValueError, match="MixedReadout needs as many keys as queries, 9, got 5"):
        qama_jax.qama_attention(query, key, value, jnp.ones(HEAD_DIM), **call)


def test_settings_are_checked():
    for settings, message in (({"radius": 0}, "radius"), ({"num_keys": 0}, "num_keys"), ({"beta": 0.0}, "beta")):
        with pytest.raises(ValueError, match=f"{message} must be"):
            MixedReadout(**settings)


def test_linen_keeps_its_zeros():
    variables = qama_jax.linen.QAMAAttention(HEADS, readout=MixedReadout(2, 3)).init(
        jax.random.key(0), jnp.ones((1, 9, 12))
    )
    np.testing.assert_array_equal(linen.unbox(variables)["params"]["mix"], np.zeros(HEADS))
