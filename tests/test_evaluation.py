"""In evaluation, what a layer makes of an example depends on the example alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qama_jax
import qama_jax.linen
from qama_jax import EnergyReadout, LinearReadout, SelectedKeysReadout, WindowReadout

HEADS, FEATURES, TOKENS = 4, 32, 20
# Large enough features that every form of couplings and read-outs occurs below.
READOUTS = [EnergyReadout(), LinearReadout(), SelectedKeysReadout(4), WindowReadout(2, 4)]


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.fixture(params=["nnx", "linen"])
def layer(request):
    """Makes the evaluation of a layer, compiled, from a read-out."""

    def make(readout):
        if request.param == "linen":
            module = qama_jax.linen.QAMAAttention(HEADS, readout=readout)
            variables = module.init(jax.random.key(1), draw(1, TOKENS, FEATURES))
            return jax.jit(functools.partial(module.apply, variables, deterministic=True))
        rngs = nnx.Rngs(1)
        module = qama_jax.QAMAAttention(HEADS, FEATURES, decode=False, readout=readout, keep_rngs=False, rngs=rngs)
        graph, state = nnx.split(module)
        return jax.jit(lambda x, **call: nnx.merge(graph, state)(x, deterministic=True, **call))

    return make


@pytest.mark.parametrize("readout", READOUTS, ids=lambda readout: type(readout).__name__)
def test_place_and_size_of_the_batch_do_not_matter(layer, readout):
    evaluate, x = layer(readout), draw(8, TOKENS, FEATURES)
    features = evaluate(x)
    copies = evaluate(jnp.broadcast_to(x[:1], x.shape))
    np.testing.assert_allclose(copies, np.broadcast_to(features[:1], copies.shape), atol=1e-6)
    np.testing.assert_allclose(evaluate(x[::-1])[::-1], features, atol=1e-6)
    np.testing.assert_allclose(evaluate(x[3:4])[0], features[3], atol=1e-6)
    np.testing.assert_allclose(evaluate(x.reshape(2, 4, TOKENS, FEATURES)).reshape(x.shape), features, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(evaluate)(x), features, atol=1e-6)


@pytest.mark.parametrize("readout", READOUTS, ids=lambda readout: type(readout).__name__)
def test_padding_changes_nothing(layer, readout):
    """Also beyond the length from which on the couplings have another form."""
    evaluate = layer(readout)
    for tokens in (12, 30):
        x = draw(4, tokens, FEATURES, seed=tokens)
        padded = jnp.pad(x, [(0, 0), (0, 7), (0, 0)], constant_values=3.0)
        mask = (jnp.arange(tokens + 7) < tokens)[None, None, None]
        np.testing.assert_allclose(evaluate(padded, mask=mask)[:, :tokens], evaluate(x), atol=2e-6)


def test_padding_across_the_length_of_few_steps(layer):
    """Of the solver's defaults: few steps from 192 valid tokens on, whatever the padding."""
    evaluate = layer(SelectedKeysReadout(4))
    x = draw(3, 190, FEATURES)
    padded = jnp.pad(x, [(0, 0), (0, 10), (0, 0)])
    mask = (jnp.arange(200) < 190)[None, None, None]
    np.testing.assert_allclose(evaluate(padded, mask=mask)[:, :190], evaluate(x), atol=2e-6)


def test_training_keeps_a_key_for_each_example():
    problems = qama_jax.attention.build_hamiltonians(*draw(3, 1, 30, 2, 4), draw(4))
    problems = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (16, *leaf.shape[1:])), problems)
    start = qama_jax.SimulatedBifurcation(num_steps=1, max_descent_steps=0, initial_amplitude=3.0)
    found = [
        qama_jax.attention.anneal(jax.random.key(0), problems, start, one_key=one_key).bits for one_key in (True, False)
    ]
    assert (found[0] == found[0][:1]).all()
    assert len(np.unique(np.asarray(found[1]).reshape(16, -1), axis=0)) > 8
