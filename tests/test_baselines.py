"""The baselines of Table VII: their exact limits by a float64 oracle, padding, cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from intermediates import array_sizes

from experiments.models.attend import visible_keys
from experiments.models.baselines import NAMES, make_baseline
from experiments.models.bigbird import BigBird
from experiments.models.linformer import Linformer, LowRankAttention
from experiments.models.longformer import Longformer
from experiments.models.performer import Performer
from experiments.models.reformer import Reformer

TOKENS, HEADS, HEAD_DIM = 13, 2, 4
each_name = pytest.mark.parametrize("name", NAMES)


def draw(tokens=TOKENS, scale=1.0):
    return scale * np.random.default_rng(tokens).standard_normal((3, tokens, HEADS, HEAD_DIM))


def low(arrays):
    return [jnp.asarray(a, jnp.float32)[None] for a in arrays]


def run(attention, arrays, mask=None):
    """One compiled call for one sequence."""
    mask = None if mask is None else jnp.asarray(mask)[None, None, None]
    return jax.jit(attention)(*low(arrays), mask=mask)[0]


def padding(tokens, hidden):
    mask = np.ones(tokens, bool)
    mask[list(hidden)] = False
    return mask


def dense(query, key, value, seen):
    """Softmax attention in float64 over the pairs in `seen`, [tokens, tokens] or [heads, tokens, tokens]."""
    logits = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(query.shape[-1])
    weights = np.where(seen, np.exp(logits - logits.max()), 0)
    return np.einsum("hqk,khd->qhd", weights / weights.sum(-1, keepdims=True), value)


def low_rank(settings, key_projection, value_projection):
    attention = LowRankAttention(settings, rngs=nnx.Rngs(0))
    attention.key_projection[...] = jnp.asarray(key_projection, jnp.float32)
    attention.value_projection[...] = jnp.asarray(value_projection, jnp.float32)
    return attention


LIMITS = {
    "window of all tokens": Longformer(radius=TOKENS, num_global=3),
    "window wider than that": Longformer(radius=40, num_global=0),
    "all tokens global": Longformer(radius=2, num_global=TOKENS),
    "window of all blocks": BigBird(block_size=3, num_global=1, num_window=9, num_random=0),
    "all blocks random": BigBird(block_size=4, num_global=0, num_window=1, num_random=3),
    "all blocks global": BigBird(block_size=5, num_global=3, num_random=0),
}


@pytest.mark.parametrize("attention", LIMITS.values(), ids=LIMITS)
def test_pattern_of_all_tokens_is_dense_attention(attention):
    arrays = draw()
    mask = padding(TOKENS, {1, TOKENS - 1})
    for seen in (np.ones(TOKENS, bool), mask):
        features = run(attention, arrays, seen)
        np.testing.assert_allclose(features, dense(*arrays, seen[None]), atol=1e-5)


def test_longformer_sees_its_window_and_the_global_tokens():
    arrays = draw(23)
    position = np.arange(23)
    for radius, num_global in ((2, 0), (5, 3), (9, 8)):
        seen = np.abs(position[:, None] - position) <= radius
        seen |= (position < num_global) | (position[:, None] < num_global)
        mask = padding(23, {2, 9, 10, 22})
        features = run(Longformer(radius, num_global), arrays, mask)
        np.testing.assert_allclose(features, dense(*arrays, seen & mask), atol=1e-5)


def test_bigbird_sees_its_blocks():
    arrays = draw(23)
    settings = BigBird(block_size=3, num_global=1, num_window=3, num_random=2, seed=4)
    table, used = settings.neighbours(8)
    graph = np.zeros((8, 8), bool)
    for block in range(8):
        row = table[block, used[block]].tolist()
        assert len(set(row)) == len(row)
        graph[block, row] = True
        assert {0, max(block - 1, 0), block, min(block + 1, 7)} <= set(row)
        assert len(row) == len({0, max(block - 1, 0), block, min(block + 1, 7)}) + 2
    assert (BigBird(block_size=3, num_random=2, seed=5).neighbours(8)[0] != table).any()
    graph[0] = True
    seen = np.kron(graph, np.ones((3, 3), bool))[:23, :23]
    mask = padding(23, {0, 9, 22})
    features = run(settings, arrays, mask)
    np.testing.assert_allclose(features, dense(*arrays, seen & mask), atol=1e-5)


def test_linformer_mixes_the_tokens():
    """Identity projections give dense attention; any others, attention over the mixtures of the visible tokens."""
    arrays = draw()
    identity = low_rank(Linformer(TOKENS, rank=TOKENS), np.eye(TOKENS), np.eye(TOKENS))
    np.testing.assert_allclose(run(identity, arrays), dense(*arrays, True), atol=1e-5)

    query, key, value = arrays
    first, second = np.random.default_rng(1).standard_normal((2, 5, TOKENS + 2))
    mask = padding(TOKENS, {0, 7})
    mixed = (np.einsum("km,mhd->khd", p[:, :TOKENS] * mask, x) for p, x in ((first, key), (second, value)))
    attention = low_rank(Linformer(TOKENS + 2, rank=5), first, second)
    features = run(attention, arrays, mask)
    np.testing.assert_allclose(features, dense(query, *mixed, True), atol=1e-5)


def test_performer_converges_to_softmax():
    """The error falls as 1/√features: with 16 times as many, to a quarter."""
    arrays = draw(20, scale=0.3)
    mask = padding(20, {0, 13})
    truth = dense(*arrays, mask[None])

    def error(num_features):
        squares = []
        for seed in range(24):
            # Not compiled, since the directions are constants of the program.
            features = Performer(num_features, seed)(*low(arrays), mask=jnp.asarray(mask)[None, None, None])[0]
            squares.append(np.mean((features - truth) ** 2))
        return np.sqrt(np.mean(squares))

    few, many = error(32), error(512)
    assert few / many == pytest.approx(4, rel=0.25)
    assert many < 0.002


def test_performer_directions_are_orthogonal_normal_vectors():
    directions = Performer(4096).directions(8)
    group = directions[8:16]
    np.testing.assert_allclose(group @ group.T, np.diag(np.sum(group**2, axis=1)), atol=1e-12)
    np.testing.assert_allclose(directions.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(directions.T), np.eye(8), atol=0.1)
    np.testing.assert_allclose(np.mean(np.sum(directions**2, axis=1) ** 2), 8 * 10, rtol=0.05)


def shared(query):
    return query / np.linalg.norm(query, axis=-1, keepdims=True)


@pytest.mark.parametrize(("tokens", "hidden"), [(TOKENS, ()), (TOKENS, (0, 5)), (1, ()), (4, (0, 1, 3))])
def test_reformer_with_one_bucket_is_dense_attention_but_for_itself(tokens, hidden):
    """A token attends to itself only where there is no other."""
    query, _, value = draw(tokens)
    mask = padding(tokens, hidden)
    seen = mask[None] & ~np.eye(tokens, dtype=bool)
    seen |= np.eye(tokens, dtype=bool) & ~seen.any(1, keepdims=True)
    settings = Reformer(chunk_length=tokens, num_rounds=3)
    assert settings.buckets(tokens) == (1, 1)
    features = run(settings, [query, value], mask)
    np.testing.assert_allclose(features[mask], dense(query, shared(query), value, seen)[mask], atol=1e-5)


def test_reformer_sees_the_union_of_the_rounds():
    """Tokens of its bucket in its chunk and the one before, in any of the rounds, each once."""
    tokens, length = 30, 5
    settings = Reformer(length, num_rounds=3, seed=2)
    query, _, value = draw(tokens)
    mask = padding(tokens, {3, 4, 29})
    buckets = np.stack([settings.hashes(jnp.asarray(query[:, head], jnp.float32)) for head in range(HEADS)])
    assert buckets.min() >= 0
    assert buckets.max() < np.prod(settings.buckets(tokens))
    assert len(np.unique(buckets)) > 4
    seen = np.zeros((HEADS, tokens, tokens), bool)
    for head in range(HEADS):
        for bucket in buckets[head]:
            order = sorted(np.flatnonzero(mask), key=lambda token: (bucket[token], token))
            chunk = {token: rank // length for rank, token in enumerate(order)}
            for i in order:
                seen[head, i] |= [
                    j in chunk and bucket[i] == bucket[j] and chunk[i] - chunk[j] in (0, 1) for j in range(tokens)
                ]
    alone = ~np.eye(tokens, dtype=bool)
    assert (seen & alone).sum() > 3 * tokens
    seen = np.where((seen & alone).any(-1, keepdims=True), seen & alone, seen)
    features = run(settings, [query, value], mask)
    np.testing.assert_allclose(
        features[mask], dense(query, shared(query), value, seen | ~mask[:, None])[mask], atol=1e-5
    )


def make_layer(name, tokens):
    return make_baseline(name, tokens=tokens, seed=0).layer(HEADS, HEADS * HEAD_DIM, rngs=nnx.Rngs(0))


@each_name
def test_padding_has_no_influence(name):
    """In features and gradients; a sequence of padding alone is no exception, and stays finite."""
    layer = make_layer(name, 40)
    x = jax.random.normal(jax.random.key(0), (3, 40, HEADS * HEAD_DIM))
    mask = np.ones((3, 40), bool)
    mask[0, 25:] = mask[1, ::3] = mask[2] = False
    arguments = {"deterministic": True, "rngs": None, "decode": False, "sow_weights": False}

    def loss(x):
        features = layer(x, mask=jnp.asarray(mask)[:, None, None], **arguments)
        return jnp.sum(jnp.where(mask[..., None], features, 0) ** 2), features

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    slope, features = gradient(x)
    other_slope, other = gradient(jnp.where(mask[..., None], x, 30 * x + 1))
    assert np.isfinite(features).all()
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(features[mask], other[mask], atol=1e-5)
    np.testing.assert_allclose(slope[mask], other_slope[mask], atol=1e-4)
    assert not np.any(slope[~mask])
    moved = gradient(x.at[0, 0].add(1.0))[1]
    assert np.abs(moved[0, 1:9] - features[0, 1:9]).max() > 1e-4


@each_name
def test_no_array_of_pairs(name):
    """Forward and backward, and twice the tokens take no more than about twice the largest array."""

    def largest(tokens):
        layer = make_baseline(name, tokens=tokens, seed=0).layer(1, HEAD_DIM, rngs=nnx.Rngs(0))
        slope = jax.grad(lambda x: jnp.sum(layer(x, decode=False) ** 2))
        return max(array_sizes(jax.make_jaxpr(slope)(jnp.zeros((1, tokens, HEAD_DIM))).jaxpr))

    small, large = largest(1024), largest(2048)
    assert small < 1024**2 / 4
    assert large <= 2.2 * small


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BigBird(num_window=2), "num_window must be odd"),
        (lambda: BigBird(num_random=-1), "num_random must be an integer >= 0"),
        (lambda: Longformer(radius=0), "radius must be an integer >= 1"),
        (lambda: Linformer(64, rank=0), "rank must be an integer >= 1"),
        (lambda: Performer(num_features=0), "num_features must be an integer >= 1"),
        (lambda: Reformer(num_rounds=0), "num_rounds must be an integer >= 1"),
        (lambda: make_layer("linformer", 8)(jnp.zeros((1, 9, 8)), decode=False), "length=8 cannot see 9 tokens"),
        (lambda: visible_keys(jnp.ones((1, 1, 5, 5), bool), 5), r"mask must be one of padding, \[\*batch, 1, 1, 5\]"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
