"""Dropout: of read-outs against the oracle with the same entries dropped, of both layers in distribution."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.special
from flax import linen, nnx
from flax.errors import InvalidRngError
from test_drop_in import APIS, FEATURES, HEADS, TOKENS, Nnx, build, draw

import qama_jax
import qama_jax.linen
from qama_jax import EnergyReadout, LinearReadout, SelectedKeysReadout, WindowReadout
from qama_jax.attention import anneal, build_hamiltonians, read_out
from qama_jax.readouts import Dropout
from qama_jax.readouts.selection import unnormalized_weights

BETA, RATE, HEAD_DIM = 2.0, 0.25, 4

each_api = pytest.mark.parametrize("api", APIS.values(), ids=APIS)


@dataclasses.dataclass(frozen=True)
class Everything:
    """A solver that selects all tokens, whatever the key."""

    num_reads: int = 1

    def sample(self, key, problem, initial_bits):
        return jnp.ones((1, *problem.shape), jnp.int8), {}


def problem(batch=(2,), tokens=TOKENS, same_heads=False):
    heads = 1 if same_heads else HEADS
    arrays = np.random.default_rng(0).standard_normal((3, *batch, tokens, heads, HEAD_DIM)).astype(np.float32)
    return *np.broadcast_to(arrays, (3, *batch, tokens, HEADS, HEAD_DIM)), np.linspace(0.5, 1.5, 4, dtype=np.float32)


def attend(readout, arguments, dropout=None):
    """Features of a read-out where all tokens are selected."""
    arguments = [jnp.asarray(a) for a in arguments]
    hamiltonians = build_hamiltonians(*arguments, select=readout.select)
    solutions = anneal(jax.random.key(0), hamiltonians, Everything())
    return read_out(readout, hamiltonians, solutions, *arguments, dropout)


def expected(readout, arguments, factors):
    """Of one problem, by the oracle; `factors` are what the entries are multiplied by."""
    query, key, value, importance = (np.float64(a) for a in arguments)
    bits = np.ones((HEADS, len(query)))
    if isinstance(readout, EnergyReadout):
        energies = oracle.build(query, key, value, importance)
        return oracle.features(energies, bits, importance, len(query)) * factors
    gates = oracle.gate(oracle.build(key, query, value, importance), bits[None], BETA, len(key))
    if isinstance(readout, LinearReadout):
        return oracle.linear_attention(query, key, value, gates, factors[..., 0].T)
    weights = oracle.strongest(gates, bits, readout.num_keys)[:, None]
    if isinstance(readout, WindowReadout):
        weights = np.where(oracle.window(bits[0] > 0, readout.radius), 1, weights)
    weights = np.broadcast_to(weights, (HEADS, len(query), len(key)))
    return oracle.weighted_attention(query, key, value, weights, factors)


# Read-outs that weigh all pairs, where entries have known places.
ENTRIES = {
    "energy": (EnergyReadout(), (TOKENS, HEADS, 1), 1),
    "linear": (LinearReadout(BETA), (TOKENS, HEADS, 1), 1),
    "selected keys": (SelectedKeysReadout(6, BETA), (HEADS, TOKENS, TOKENS), 0),
    "window": (WindowReadout(2, 3, BETA), (HEADS, TOKENS, TOKENS), 0),
}


@pytest.mark.parametrize("broadcast", [False, True])
@pytest.mark.parametrize(("readout", "shape", "head_axis"), ENTRIES.values(), ids=ENTRIES)
def test_dropped_entries_equal_the_oracle(readout, shape, head_axis, broadcast):
    arguments = problem()
    features = attend(readout, arguments, Dropout(jax.random.key(3), RATE, broadcast))
    keys = [jax.random.key(3)] * 2 if broadcast else jax.random.split(jax.random.key(3), (2,))
    if broadcast:
        shape = (*shape[:head_axis], 1, *shape[head_axis + 1 :])
    for index, key in enumerate(keys):
        factors = np.asarray(jax.random.bernoulli(key, 1 - RATE, shape)) / (1 - RATE)
        one = (*(a[index] for a in arguments[:3]), arguments[3])
        np.testing.assert_allclose(features[index], expected(readout, one, factors), atol=2e-5)


@pytest.mark.parametrize("broadcast", [False, True])
def test_weights_of_parts_are_those_of_the_whole(broadcast):
    logits = jax.random.normal(jax.random.key(0), (HEADS, 3, 5, 7))
    dropout = Dropout(jax.random.key(3), RATE, broadcast)
    parts, total = unnormalized_weights((logits[..., :4], logits[..., 4:]), dropout, head_axis=0)
    kept = np.asarray(dropout.factors(logits.shape, head_axis=0, dtype=jnp.float32))
    assert 0 < np.count_nonzero(kept) < kept.size
    together = scipy.special.softmax(np.float64(logits), axis=-1) * kept
    np.testing.assert_allclose(jnp.concatenate(parts, axis=-1) / total, together, atol=1e-6)


EVERY_FORM = {
    "energy": EnergyReadout(),
    "linear": LinearReadout(BETA),
    "keys, all pairs": SelectedKeysReadout(6, BETA),
    "keys, gathered": SelectedKeysReadout(4, BETA),
    "window, all pairs": WindowReadout(2, 3, BETA),
    "window, in blocks": WindowReadout(1, 1, BETA),
}


@pytest.mark.parametrize("readout", EVERY_FORM.values(), ids=EVERY_FORM)
def test_the_mean_is_that_without_dropout(readout):
    """And gradients are finite; over 500 draws, within five standard errors."""
    arguments = problem(())
    dropped = jax.jit(jax.vmap(lambda key: attend(readout, arguments, Dropout(key, RATE, False))))
    features = np.asarray(dropped(jax.random.split(jax.random.key(1), 500)), np.float64)
    error = np.abs(features.mean(0) - attend(readout, arguments)) / (features.std(0) / np.sqrt(500) + 1e-5)
    assert features.std(0).max() > 0.05
    assert error.max() < 5


@pytest.mark.parametrize("readout", EVERY_FORM.values(), ids=EVERY_FORM)
def test_broadcast_is_over_heads_and_batch(readout):
    """Heads and elements that are equal stay so."""
    arguments = problem((), same_heads=True)
    arguments = (*(np.stack([a, a]) for a in arguments[:3]), arguments[3])
    together = attend(readout, arguments, Dropout(jax.random.key(3), RATE, True))
    np.testing.assert_allclose(together, np.broadcast_to(together[:1, :, :1], together.shape), atol=1e-5)
    apart = attend(readout, arguments, Dropout(jax.random.key(3), RATE, False))
    assert np.abs(apart[0] - apart[1]).max() > 0.05
    assert np.abs(apart[:, :, 0] - apart[:, :, 1]).max() > 0.05


# --- layers


def layer(api, **settings):
    """As a function of a key, or of None, compiled; its two inputs are equal."""
    x = jnp.broadcast_to(draw(TOKENS, FEATURES), (2, TOKENS, FEATURES))
    settings = {"solver": Everything(), "keep_rngs": False} | settings
    if api is not Nnx:
        del settings["keep_rngs"]
    parameters, apply = build(api, (x,), **settings)

    @functools.partial(jax.jit, static_argnames="deterministic")
    def call(key, deterministic=None):
        streams = {}
        if key is not None:
            streams = {"rngs": nnx.Rngs(dropout=key)} if api is Nnx else {"dropout_rng": key}
        return apply(parameters, x, deterministic=deterministic, **streams)

    return call


@each_api
def test_layers_drop_where_they_are_not_deterministic(api):
    plain, dropping = layer(api)(None, True), layer(api, dropout_rate=RATE, broadcast_dropout=False)
    np.testing.assert_array_equal(dropping(jax.random.key(1), True), plain)
    outputs = np.asarray(jax.vmap(dropping)(jax.random.split(jax.random.key(1), 400)), np.float64)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    assert np.abs(outputs[:, 0] - outputs[:, 1]).max() > 1e-3
    error = np.abs(outputs.mean(0) - plain) / (outputs.std(0) / np.sqrt(len(outputs)) + 1e-6)
    assert error.max() < 5
    np.testing.assert_array_equal(dropping(jax.random.key(2)), dropping(jax.random.key(2)))


@each_api
def test_layers_broadcast_by_default(api):
    outputs = layer(api, dropout_rate=RATE)(jax.random.key(1))
    np.testing.assert_array_equal(outputs[0], outputs[1])


@each_api
def test_layers_name_the_missing_stream(api):
    named = r"dropout_rate=0.25 needs .* rngs=nnx.Rngs|PRNG for .dropout"
    with pytest.raises((ValueError, InvalidRngError), match=named):
        layer(api, dropout_rate=RATE)(None)
    assert layer(api, dropout_rate=RATE, deterministic=True)(None).shape == (2, TOKENS, FEATURES)


def test_nnx_keeps_its_stream():
    made = qama_jax.QAMAAttention(HEADS, FEATURES, dropout_rate=0.5, solver=Everything(), rngs=nnx.Rngs(0))
    x = draw(2, TOKENS, FEATURES)
    call = nnx.jit(lambda layer, x: layer(x))
    assert np.abs(call(made, x) - call(made, x)).max() > 1e-3
    made.eval()
    np.testing.assert_array_equal(call(made, x), call(made, x))


class TwoLayers(linen.Module):
    """Each draws its own keys, unless it is given one."""

    @linen.compact
    def __call__(self, x, dropout_rng=None):
        make = functools.partial(qama_jax.linen.QAMAAttention, HEADS, solver=Everything(), dropout_rate=0.5)
        ones = {"kernel_init": linen.initializers.ones, "importance_init": linen.initializers.ones}
        return [make(**ones)(x, dropout_rng=dropout_rng) for _ in range(2)]


def test_linen_streams():
    x, module = draw(2, TOKENS, FEATURES), TwoLayers()
    variables = module.init(jax.random.key(0), x)
    one, other = module.apply(variables, x, rngs={"dropout": jax.random.key(1)})
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(*module.apply(variables, x, jax.random.key(1)))
