import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from coins import Coins
from flax import nnx
from intermediates import array_sizes

import qama_jax
from qama_jax import EnergyReadout, LinearReadout, SelectedKeysReadout, WindowReadout
from qama_jax.attention import anneal, build_hamiltonians, read_out
from qama_jax.readouts.selection import Selection, take_by_index, take_by_product
from qama_jax.readouts.window import attend_in_blocks

pytestmark = pytest.mark.usefixtures("strict")

BETA = 2.0
# Both forms of those that have two, by the number of tokens.
READOUTS = {
    "linear": (LinearReadout(BETA), 12),
    "keys, all pairs": (SelectedKeysReadout(5, BETA), 10),
    "keys, gathered": (SelectedKeysReadout(3, BETA), 14),
    "window, all pairs": (WindowReadout(2, 3, BETA), 13),
    "window, in blocks": (WindowReadout(3, 2, BETA), 26),
}
HEADS, HEAD_DIM = 3, 4

each_readout = pytest.mark.parametrize(("readout", "tokens"), READOUTS.values(), ids=READOUTS)


def draw(tokens, keys=None, seed=0):
    rng = np.random.default_rng(seed)
    sizes = (tokens, keys or tokens, keys or tokens)
    return *(rng.standard_normal((size, HEADS, HEAD_DIM)) for size in sizes), rng.standard_normal(HEAD_DIM)


def expected(readout, arguments, reads, mask):
    """By the oracle; `reads` [reads, H, M], the first being the best."""
    query, key, value, importance = arguments
    problem = oracle.build(key, query, value, importance, mask if len(query) == len(key) else None)
    gates = oracle.gate(problem, reads, readout.beta, mask.sum()) * mask
    if isinstance(readout, LinearReadout):
        return oracle.linear_attention(query, key, value, gates)
    selected = oracle.strongest(gates, reads[0] * mask, readout.num_keys)[:, None]
    if isinstance(readout, WindowReadout):
        selected = np.where(oracle.window(mask, readout.radius), 1, selected)
    return oracle.weighted_attention(query, key, value, np.broadcast_to(selected, (HEADS, len(query), len(key))))


def solved(readout, arguments, mask, solver=Coins(share=0.6)):
    """What the library selects."""
    *tensors, importance = (jnp.asarray(a, jnp.float32) for a in arguments)
    hamiltonian = build_hamiltonians(*tensors, importance, mask=mask, select=readout.select)
    return anneal(jax.random.key(0), hamiltonian, solver)


def by_library(readout, solution, mask, *arguments):
    hamiltonian = build_hamiltonians(*arguments, mask=mask, select=readout.select)
    return read_out(readout, hamiltonian, solution, *arguments)


@each_readout
@pytest.mark.parametrize(("masked", "num_reads"), [(False, 1), (True, 3)])
def test_features_and_gradients_equal_the_oracle(readout, tokens, masked, num_reads):
    """Values against float64, gradients against complex steps, with the bits held."""
    arguments = draw(tokens)
    mask = np.ones(tokens, bool)
    mask[[1, 2, -1]] = not masked
    solution = solved(readout, arguments, jnp.asarray(mask) if masked else None, Coins(num_reads, share=0.6))
    best = int(np.argmin(solution.read_energies))
    reads = np.roll(np.asarray(solution.reads, float), -best, axis=0)
    np.testing.assert_array_equal(reads[0], solution.bits)
    weights = np.random.default_rng(1).standard_normal(arguments[0].shape) * mask[:, None, None]

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2, 3), has_aux=True)
    def evaluate(*arrays):
        features = by_library(readout, solution, jnp.asarray(mask) if masked else None, *arrays)
        return jnp.sum(weights.astype(np.float32) * features), features

    gradient, features = evaluate(*(jnp.asarray(a, jnp.float32) for a in arguments))
    # A query that is hidden itself has features too, which mean nothing.
    features = np.where(mask[:, None, None], features, 0)
    truth = np.where(mask[:, None, None], expected(readout, arguments, reads, mask), 0)
    np.testing.assert_allclose(features, truth, atol=2e-5)

    for index, actual in enumerate(gradient):
        for seed in range(2):
            direction = [np.zeros_like(a) for a in arguments]
            direction[index] = np.random.default_rng(seed).standard_normal(actual.shape)
            slope = oracle.directional_derivative(
                lambda *a: (weights * expected(readout, a, reads, mask)).sum(), arguments, direction
            )
            np.testing.assert_allclose((np.float64(actual) * direction[index]).sum(), slope, rtol=2e-3, atol=2e-3)
        assert np.any(actual)


@pytest.mark.parametrize(("readout", "tokens"), [(SelectedKeysReadout(5), 14), (WindowReadout(3, 3), 26)])
def test_keys_that_are_not_selected_do_not_count(readout, tokens):
    """Fewer than a head may have, gathered or in blocks; where there is none, the strongest alone."""
    arguments, mask = draw(tokens), np.ones(tokens, bool)
    solution = solved(readout, arguments, None, Coins(share=0.06))
    counts = np.asarray(solution.bits).sum(axis=1)
    assert counts.any()
    assert counts.min() < (readout.num_keys if isinstance(readout, WindowReadout) else 1)
    features = jax.jit(functools.partial(by_library, readout, solution, None))(
        *(jnp.asarray(a, jnp.float32) for a in arguments)
    )
    truth = expected(readout, arguments, np.asarray(solution.reads, float), mask)
    np.testing.assert_allclose(features, truth, atol=2e-5)


@each_readout
def test_gate_alone_reaches_every_parameter(readout, tokens):
    """The gate of fixed values is differentiable in queries, keys, values and W_ε, through the Hamiltonian alone."""
    arguments = [jnp.asarray(a, jnp.float32) for a in draw(tokens)]
    solution = solved(readout, arguments, None)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2, 3))
    def gradients(*moving):
        hamiltonian = build_hamiltonians(*moving, select="keys")
        return jnp.sum(read_out(readout, hamiltonian, solution, *arguments) ** 2)

    for gradient in gradients(*arguments):
        assert np.abs(gradient).max() > 1e-4


@pytest.mark.parametrize("readout", [LinearReadout(BETA), SelectedKeysReadout(4, BETA), SelectedKeysReadout(2, BETA)])
@pytest.mark.parametrize(("queries", "keys", "masked"), [(1, 16, False), (5, 9, True), (9, 5, True)])
def test_cross_attention_is_that_of_the_visible_keys(readout, queries, keys, masked):
    """Hidden keys might as well not be there: the oracle never sees them."""
    arguments = draw(queries, keys)
    mask = np.ones(keys, bool)
    mask[[0, 3]] = not masked
    solution = solved(readout, arguments, jnp.asarray(mask))
    assert solution.bits.shape == (HEADS, keys)
    assert not np.asarray(solution.bits)[:, ~mask].any()
    features = by_library(readout, solution, jnp.asarray(mask), *(jnp.asarray(a, jnp.float32) for a in arguments))
    query, key, value, importance = arguments
    visible = query, key[mask], value[mask], importance
    bits = np.asarray(solution.reads, float)[:, :, mask]
    np.testing.assert_allclose(features, expected(readout, visible, bits, np.ones(mask.sum(), bool)), atol=2e-5)


def test_hamiltonian_of_keys_exchanges_the_roles():
    query, key, value, importance = draw(5, 9)
    hamiltonian = qama_jax.attention_hamiltonian(query, key, value, importance, select="keys")
    problem = oracle.build(key, query, value, importance)
    bits = np.random.default_rng(0).integers(0, 2, (HEADS, 9))
    np.testing.assert_allclose(hamiltonian.energy(bits), oracle.energy(problem, bits), rtol=1e-5)
    np.testing.assert_allclose(hamiltonian.differentiable_field(bits), oracle.field(problem, bits), atol=1e-4)
    np.testing.assert_allclose(hamiltonian.field(bits), oracle.field(problem, bits), atol=1e-4)


@pytest.mark.parametrize("radius", [16, 30])
def test_window_of_all_tokens_is_softmax_attention(radius):
    query, key, value, importance = (jnp.asarray(a, jnp.float32) for a in draw(17))
    features, _ = qama_jax.qama_attention(
        query, key, value, importance, rng=jax.random.key(0), readout=WindowReadout(radius, 2), solver=Coins(share=0.6)
    )
    np.testing.assert_allclose(features, jax.nn.dot_product_attention(query, key, value), atol=1e-5)


@pytest.mark.parametrize("take", [take_by_index, take_by_product])
def test_selected_rows_and_their_derivative(take):
    array, weights = np.random.default_rng(0).standard_normal((2, 9, 2, 3)).astype(np.float32)
    indices = np.array([[4, 0, 8], [7, 7, 2]])  # a key may be taken twice
    np.testing.assert_allclose(take(array, indices), [array[i, [0, 1]] for i in indices.T])
    slope = jax.grad(lambda array: jnp.sum(weights[:3] * take(array, indices)))(array)
    expected = np.zeros_like(array)
    np.add.at(expected, (indices.T, np.arange(2)[None]), weights[:3])
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("block", [3, 7, 32])
def test_windows_in_blocks_are_softmax_over_neighbours_and_selected_keys(block, apart):
    """Of any number of queries, also in the form for other platforms; features and gradients against float64."""
    tokens, radius = 30, 3
    query, key, value, _ = draw(tokens)
    valid = np.arange(tokens) % 7 != 5
    indices = np.array([[0, 15], [28, 3], [13, 14]])
    log_gates = np.random.default_rng(1).standard_normal(indices.shape)
    gates = np.zeros((HEADS, 1, tokens))
    np.put_along_axis(gates, indices[:, None], np.exp(log_gates[:, None]), axis=2)
    weights = np.where(oracle.window(valid, radius), 1, gates)

    def expected(query, key, value):
        return oracle.weighted_attention(query, key, value, weights)

    factors = np.random.default_rng(2).standard_normal(query.shape)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def evaluate(query, key, value):
        selection = Selection(jnp.asarray(indices), jnp.asarray(log_gates, jnp.float32), jnp.ones(indices.shape, bool))
        features = attend_in_blocks(
            query, key, value, jnp.asarray(valid), selection, None, radius=radius, block=block, apart=apart
        )
        return jnp.sum(factors.astype(np.float32) * features), features

    arguments = query, key, value
    gradient, features = evaluate(*(jnp.asarray(a, jnp.float32) for a in arguments))
    np.testing.assert_allclose(features, expected(*arguments), atol=1e-5)
    for index, actual in enumerate(gradient):
        direction = [np.zeros_like(a) for a in arguments]
        direction[index] = np.random.default_rng(3).standard_normal(actual.shape)
        slope = oracle.directional_derivative(lambda *a: (factors * expected(*a)).sum(), arguments, direction)
        np.testing.assert_allclose((np.float64(actual) * direction[index]).sum(), slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [13, 26])
def test_window_alone_is_local_attention(tokens):
    """Of Flax, under a mask; nothing is annealed for it, not for its gradient either."""
    query, key, value, importance = (jnp.asarray(a, jnp.float32) for a in draw(tokens))
    position = np.arange(tokens)
    near = (np.abs(position[:, None] - position) <= 2)[None]

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2, 3), has_aux=True)
    def attend(*arguments):
        features, _ = qama_jax.qama_attention(*arguments, rng=jax.random.key(0), readout=WindowReadout(2, num_keys=0))
        return jnp.sum(features**2), features

    def by_flax(query, key, value):
        return jnp.sum(nnx.dot_product_attention(query, key, value, mask=near) ** 2)

    (_, features), gradient = attend(query, key, value, importance)
    np.testing.assert_allclose(features, nnx.dot_product_attention(query, key, value, mask=near), atol=1e-5)
    for actual, truth in zip(gradient, jax.jit(jax.grad(by_flax, (0, 1, 2)))(query, key, value), strict=False):
        np.testing.assert_allclose(actual, truth, atol=1e-4)
    assert not np.any(gradient[3])
    program = attend.lower(query, key, value, importance).compile().as_text()
    assert " while(" not in program


@pytest.mark.parametrize("bits", [0, 1])
def test_one_visible_key_is_read_whatever_was_annealed(bits):
    arguments = [jnp.asarray(a, jnp.float32) for a in draw(6)]
    hamiltonian = build_hamiltonians(*arguments, mask=jnp.arange(6) == 4, select="keys")
    solution = solved(SelectedKeysReadout(3), arguments, jnp.arange(6) == 4)
    bits = jnp.full_like(solution.bits, bits)
    for readout in (SelectedKeysReadout(2), SelectedKeysReadout(6)):
        features = read_out(readout, hamiltonian, solution._replace(bits=bits, reads=bits[None]), *arguments)
        np.testing.assert_allclose(features, jnp.broadcast_to(arguments[2][4], features.shape), atol=1e-6)


@each_readout
def test_padding_has_no_influence(readout, tokens):
    """Neither on the features of the others nor through the gradient, whatever stands there."""
    arguments = [jnp.asarray(a, jnp.float32) for a in draw(tokens)]
    mask = jnp.arange(tokens) < tokens - 4

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def attend(filler):
        query, key, value = (jnp.where(mask[:, None, None], a, filler) for a in arguments[:3])
        features, _ = qama_jax.qama_attention(
            query, key, value, arguments[3], rng=jax.random.key(0), readout=readout, mask=mask, solver=Coins(share=0.6)
        )
        return jnp.sum(features[: tokens - 4] ** 2), features[: tokens - 4]

    (slope, features), (_, others) = attend(1e3), attend(-7.0)
    np.testing.assert_allclose(features, others, atol=1e-5)
    assert not np.any(slope)


@pytest.mark.parametrize(
    "readout", [LinearReadout(), SelectedKeysReadout(2), SelectedKeysReadout(20), WindowReadout(2, 2)]
)
def test_padding_may_be_very_large(readout):
    """Products of padded queries with padded keys would be infinite, and 0 times them no number."""
    mask = jnp.arange(12) < 9

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def gradient(query, key, value):
        settings = {"rng": jax.random.key(0), "readout": readout, "mask": mask, "solver": Coins(share=0.6)}
        return jnp.sum(jnp.sin(qama_jax.qama_attention(query, key, value, jnp.ones(4), **settings)[0][:9]))

    arrays = jax.random.normal(jax.random.key(1), (3, 12, 2, 4))
    clean, large = (gradient(*jnp.where(mask[:, None, None], arrays, padding)) for padding in (0.0, 1e30))
    jax.tree.map(np.testing.assert_array_equal, large, clean)


@each_readout
def test_nothing_visible_is_finite(readout, tokens):
    arguments = [jnp.asarray(a, jnp.float32) for a in draw(tokens)]

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2, 3))
    def loss(*arguments):
        mask = jnp.zeros(tokens, bool)
        features, _ = qama_jax.qama_attention(
            *arguments, rng=jax.random.key(0), readout=readout, mask=mask, solver=Coins(share=0.6)
        )
        return jnp.sum(features**2)

    value, gradient = loss(*arguments)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradient)))


def test_paper_layer_is_what_it_was():
    """Outputs stored before there was a choice of read-outs: same bits, same features.

    Those of two problems are newer: the random start of bifurcation is laid out token by token since then.
    """
    stored = np.load(Path(__file__).parent / "stored_energy_outputs.npz")
    for name, shape, padded in (
        ("dense", (2, 12, 4, 8), None),
        ("low_rank", (2, 40, 4, 8), None),
        ("padded", (2, 20, 2, 8), [3, 5]),
    ):
        query, key, value = jax.random.normal(jax.random.key(0), (3, *shape))
        importance = jax.random.normal(jax.random.key(1), (shape[-1],))
        mask = None if padded is None else jnp.arange(shape[1])[None] < shape[1] - jnp.array(padded)[:, None]
        features, diagnostics = qama_jax.qama_attention(
            query, key, value, importance, rng=jax.random.key(2), mask=mask, readout=EnergyReadout()
        )
        np.testing.assert_array_equal(np.packbits(np.asarray(diagnostics.bits)), stored[f"{name}_bits"])
        np.testing.assert_allclose(features[..., :2], stored[f"{name}_features"], atol=1e-6)
    with jax.numpy_rank_promotion("allow"):
        layer = qama_jax.QAMAAttention(num_heads=4, in_features=16, decode=False, rngs=nnx.Rngs(0))
        np.testing.assert_allclose(layer(jax.random.normal(jax.random.key(3), (2, 10, 16))), stored["layer"], atol=1e-6)


@pytest.mark.parametrize("readout", [LinearReadout(), SelectedKeysReadout(8), WindowReadout(8, 8)])
def test_no_array_of_pairs(readout):
    """Forward and backward, nothing has tokens × tokens elements for long sequences."""
    tokens = 1024
    arrays = jnp.zeros((3, tokens, 1, 4))

    def loss(query, key, value):
        features, _ = qama_jax.qama_attention(query, key, value, jnp.ones(4), rng=jax.random.key(0), readout=readout)
        return jnp.sum(features)

    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*arrays)
    assert max(array_sizes(traced.jaxpr.jaxpr)) < tokens**2 / 4
    assert traced.lower().compile().memory_analysis().temp_size_in_bytes < tokens**2 * 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SelectedKeysReadout(0), "num_keys must be an integer >= 1"),
        (lambda: WindowReadout(radius=0), "radius must be an integer >= 1"),
        (lambda: WindowReadout(num_keys=-1), "num_keys must be an integer >= 0"),
        (lambda: LinearReadout(-1.0), "beta must be a positive number"),
        (lambda: attend_with(WindowReadout), "readout must be an instance such as"),
        (lambda: attend_with("window"), "readout must be an instance such as"),
        (lambda: attend_with(WindowReadout(), draw(5, 9)), "as many keys as queries, 5, got 9.*SelectedKeysReadout"),
        (lambda: attend_with(LinearReadout(), (*draw(5, 9)[:2], *draw(5)[2:])), "value must have the shape of key"),
        (lambda: attend_with(EnergyReadout(), draw(5, 9)), "choose a readout that selects keys"),
        (lambda: qama_jax.attention_hamiltonian(*draw(5), select="values"), "select must be one of 'queries', 'keys'"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def attend_with(readout, arguments=None):
    arguments = (jnp.asarray(a, jnp.float32) for a in arguments or draw(5))
    return qama_jax.qama_attention(*arguments, rng=jax.random.key(0), readout=readout)
