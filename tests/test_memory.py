"""The read-out of chunks: against the oracle, and what no token may see."""

import dataclasses
import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from coins import Coins
from flax import nnx
from intermediates import array_sizes

import qama_jax
from qama_jax import MemoryReadout, MixedMemoryReadout, MixedReadout, SteepestDescent, WindowReadout
from qama_jax.attention import anneal, build_hamiltonians, run_stages
from qama_jax.hardware import CimSolver
from qama_jax.hardware import Machine as Limits

pytestmark = pytest.mark.usefixtures("strict")

HEADS, HEAD_DIM, TOKENS = 3, 4, 23
BETA = 2.0
READOUT = MemoryReadout(chunk_size=5, radius=6, num_keys=2, memory_size=3, beta=BETA)
# Tokens 1 and 2 and the whole second chunk are hidden; of three sequences, the second starts within the third chunk.
HIDDEN = np.isin(np.arange(TOKENS), [1, 2, *range(5, 10)])
SEGMENTS = np.where(HIDDEN, 0, np.array([3] * 12 + [8] * 10 + [20]))
SHORT = dataclasses.replace(READOUT, radius=4)  # the shortest window that covers a chunk
MIXED = MixedMemoryReadout(*dataclasses.astuple(READOUT))
MIX = np.array([0.4, -0.7, 1.3])
CASES = {
    "no mask": (READOUT, None),
    "padding": (READOUT, (~HIDDEN).astype(np.int32)),
    "packed": (SHORT, SEGMENTS),
    "mixed, padding": (MIXED, (~HIDDEN).astype(np.int32)),
}


def draw(seed=0):
    rng = np.random.default_rng(seed)
    return *rng.standard_normal((3, TOKENS, HEADS, HEAD_DIM)), rng.standard_normal(HEAD_DIM)


def expected(readout, arguments, bits, segments):
    """One query after another, by the definition; `bits` [chunks, heads, tokens of a chunk]."""
    query, key, value, importance = arguments
    tokens, size = len(query), readout.chunk_size
    weights = np.zeros((HEADS, tokens, tokens), np.result_type(*arguments))
    remembered = np.zeros((HEADS, tokens), weights.dtype)
    for chunk, s in enumerate(bits):
        own = slice(chunk * size, chunk * size + size)
        mask = (segments[own] == segments[own].max()) & (segments[own] > 0)
        if not mask.any():
            continue
        problem = oracle.build(key[own], query[own], value[own], importance, mask)
        gates = oracle.gate(problem, s[None], readout.beta, mask.sum())
        remembered[:, own] = oracle.strongest(gates, s * mask, readout.num_keys)
    for i in range(tokens):
        near = np.arange(tokens)[max(i - readout.radius, 0) : i + 1]
        seen = segments == segments[i]
        weights[:, i, near] = seen[near] * (segments[i] > 0)
        distant = (np.arange(tokens) < i // size * size) & (np.arange(tokens) < i - readout.radius) & seen
        for t in range(HEADS):
            of_head = np.flatnonzero(distant * remembered[t].real * (segments[i] > 0))
            best = of_head[np.argsort(-remembered[t, of_head].real)[: readout.memory_size]]
            weights[t, i, best] = remembered[t, best]
    if readout is not MIXED:
        return oracle.weighted_attention(query, key, value, weights)
    offset = np.arange(tokens)[:, None] - np.arange(tokens)
    in_window = (offset >= 0) & (offset <= readout.radius)
    near, far = (oracle.weighted_attention(query, key, value, weights * part) for part in (in_window, ~in_window))
    return near + MIX[:, None] * far


def attend(readout, segments, solve, *arguments):
    build = functools.partial(build_chunks, arguments[3], readout)
    mix = jnp.asarray(MIX, jnp.float32) if readout is MIXED else None
    features, _, solution = run_stages(*arguments, segments, build=build, anneal=solve, readout=readout, mix=mix)
    return features, solution


def build_chunks(importance, readout, query, key, value, mask, asking):
    return build_hamiltonians(query, key, value, importance, mask=mask, query_mask=asking, select=readout.select)


@pytest.mark.parametrize(("readout", "segments"), CASES.values(), ids=CASES)
def test_features_and_gradients_equal_the_oracle(readout, segments):
    """Values against float64, gradients against complex steps, with the bits held."""
    arguments = draw()
    known = np.ones(TOKENS, int) if segments is None else segments
    weights = np.random.default_rng(1).standard_normal(arguments[0].shape) * (known > 0)[:, None, None]
    solve = functools.partial(anneal, jax.random.key(0), solver=Coins(share=0.7))
    given = None if segments is None else jnp.asarray(segments, jnp.int32)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2, 3), has_aux=True)
    def evaluate(*arrays):
        features, solution = attend(readout, given, solve, *arrays)
        return jnp.sum(weights.astype(np.float32) * features), (features, solution.bits)

    gradient, (features, bits) = evaluate(*(jnp.asarray(a, jnp.float32) for a in arguments))
    bits = np.asarray(bits, float)
    features = np.where((known > 0)[:, None, None], features, 0)
    np.testing.assert_allclose(features, expected(readout, arguments, bits, known), atol=2e-5)
    for index, actual in enumerate(gradient):
        direction = [np.zeros_like(a) for a in arguments]
        direction[index] = np.random.default_rng(index).standard_normal(actual.shape)
        slope = oracle.directional_derivative(
            lambda *a: (weights * expected(readout, a, bits, known)).sum(), arguments, direction
        )
        np.testing.assert_allclose((np.float64(actual) * direction[index]).sum(), slope, rtol=2e-3, atol=2e-3)
        assert np.any(actual)


def functional(readout, *arguments, **settings):
    arguments = (jnp.asarray(a, jnp.float32) for a in arguments)
    settings = {"rng": jax.random.key(0), "solver": Coins(share=0.7)} | settings
    return qama_jax.qama_attention(*arguments, readout=readout, **settings)


@pytest.mark.parametrize("chunk_size", [4, 40])
def test_not_causal_all_tokens_see_the_strongest_keys_of_all_chunks(chunk_size):
    arguments = draw()
    readout = MemoryReadout(chunk_size, 3, 2, 5, BETA, causal=False)
    features, diagnostics = jax.jit(functools.partial(functional, readout))(*arguments)
    query, key, value, importance = arguments
    gates, size = np.zeros((HEADS, TOKENS)), min(chunk_size, TOKENS)
    for chunk, s in enumerate(np.asarray(diagnostics.bits, float)):
        own = slice(chunk * size, chunk * size + size)
        s = s[:, : len(key[own])]
        of_chunk = oracle.gate(oracle.build(key[own], query[own], value[own], importance), s[None], BETA, s.shape[1])
        gates[:, own] = oracle.strongest(of_chunk, s, 2)
    kept = oracle.strongest(gates, gates > 0, 5)[:, None]
    weights = np.where(oracle.window(np.ones(TOKENS, bool), 3), 1, kept)
    np.testing.assert_allclose(features, oracle.weighted_attention(query, key, value, weights), atol=2e-5)


@pytest.mark.parametrize("mask", [None, ~HIDDEN])
def test_mixed_and_not_causal_one_chunk_is_the_mixture(mask):
    memory, mixed = MixedMemoryReadout(TOKENS, 3, 2, 2, causal=False), MixedReadout(3, 2)
    mix = jnp.asarray(MIX, jnp.float32)
    features, theirs = (functional(readout, *draw(), mask=mask, mix=mix)[0] for readout in (memory, mixed))
    np.testing.assert_allclose(features, theirs, atol=1e-6)


@pytest.mark.parametrize("mask", [None, ~HIDDEN])
def test_one_chunk_that_is_not_causal_is_the_window_with_its_keys(mask):
    memory, window = MemoryReadout(TOKENS, 3, 2, 2, causal=False), WindowReadout(3, 2)
    (features, one), (theirs, other) = (functional(readout, *draw(), mask=mask) for readout in (memory, window))
    np.testing.assert_array_equal(one.bits[0], other.bits)
    np.testing.assert_allclose(features, theirs, atol=1e-6)


def test_queries_that_ask_nothing_have_no_part_in_the_selection():
    """In one chunk as with a window; in several, whatever such queries are."""
    asking = np.arange(TOKENS) % 4 > 0
    settings = {"query_mask": asking, "mask": ~HIDDEN, "solver": SteepestDescent(max_steps=5)}
    memory, window = MemoryReadout(TOKENS, 3, 2, 2, causal=False), WindowReadout(3, 2)
    (features, one), (theirs, other) = (functional(readout, *draw(), **settings) for readout in (memory, window))
    np.testing.assert_array_equal(one.bits[0], other.bits)
    np.testing.assert_allclose(features[asking & ~HIDDEN], theirs[asking & ~HIDDEN], atol=1e-6)
    query, *others = draw()
    attend = jax.jit(functools.partial(functional, dataclasses.replace(READOUT, causal=False), **settings))
    features, found = attend(query, *others)
    changed, same = attend(np.where(asking[:, None, None], query, 7 * query[::-1]), *others)
    np.testing.assert_array_equal(same.bits, found.bits)
    np.testing.assert_array_equal(changed[asking], features[asking])


@pytest.mark.parametrize("tokens", [5, 12])
def test_causal_window_of_all_tokens_is_softmax_attention(tokens):
    query, key, value, importance = draw()
    arguments = [jnp.asarray(a[:tokens], jnp.float32) for a in (query, key, value)]
    features, _ = functional(MemoryReadout(5, 12, 2), *arguments, importance)
    np.testing.assert_allclose(features, jax.nn.dot_product_attention(*arguments, is_causal=True), atol=1e-6)


def test_later_tokens_do_not_exist():
    """Bit for bit, and exactly in the gradient, with a selection that depends on all that its problem has."""
    *tensors, importance = (jnp.asarray(a, jnp.float32) for a in draw())

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def evaluate(query, key, value, last):
        features, _ = functional(READOUT, query, key, value, importance, solver=SteepestDescent(max_steps=5))
        seen = (jnp.arange(TOKENS) <= last)[:, None, None]
        return jnp.sum(jnp.where(seen, jnp.sin(features), 0)), features

    for last in (0, 4, 8, 9, 14, 16, 21):
        gradients, whole = evaluate(*tensors, last)
        _, changed = evaluate(*(x.at[last + 1 :].set(1e3 * x[last + 1 :][::-1] - 7) for x in tensors), last)
        np.testing.assert_array_equal(changed[: last + 1], whole[: last + 1])
        assert (changed[last + 1 :] != whole[last + 1 :]).any()
        for gradient in gradients:
            assert not np.any(gradient[last + 1 :])
    assert all(np.any(gradient[0]) for gradient in gradients)  # a key that is remembered


@pytest.mark.parametrize("readout", [READOUT, dataclasses.replace(READOUT, causal=False)], ids=["causal", "not causal"])
def test_padding_might_be_anything(readout):
    """Neither features nor gradients of the others see how large it is, or that it is NaN, and all are finite."""
    *tensors, importance = (jnp.asarray(a, jnp.float32) for a in draw())

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def evaluate(query, key, value):
        features, _ = functional(readout, query, key, value, importance, mask=jnp.asarray(~HIDDEN))
        return jnp.sum(jnp.sin(features[~HIDDEN])), features[~HIDDEN]

    results = [
        evaluate(*(jnp.where(HIDDEN[:, None, None], filler, x) for x in tensors)) for filler in (0.0, 1e30, np.nan)
    ]
    for clean, *others in zip(*map(jax.tree.leaves, results), strict=True):
        for filled in others:
            np.testing.assert_allclose(filled, clean, atol=1e-6)


def test_no_array_of_pairs():
    """Forward and backward, nothing has tokens × tokens elements, and memory is linear."""
    sizes = []
    for tokens in (1024, 2048):
        arrays = jnp.zeros((3, tokens, 1, 4))

        def loss(query, key, value):
            settings = {"rng": jax.random.key(0), "readout": MemoryReadout(16, 16, 2, 4), "solver": Coins()}
            return jnp.sum(qama_jax.qama_attention(query, key, value, jnp.ones(4), **settings)[0])

        sizes.append(max(array_sizes(jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*arrays).jaxpr)))
    assert sizes[1] < 2048**2 / 16
    assert sizes[1] <= 2 * sizes[0]


UNLIMITED = Limits(num_spins=None, coupling_bits=None, auxiliary_spins=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Machine:
    """Finds the bits that the importances alone prefer, and notes how many problems each call brings."""

    calls: list = dataclasses.field(default_factory=list)
    name: str = "aligned"
    machine: Limits = UNLIMITED

    def sample(self, problems, num_reads):
        self.calls.append([problem.num_spins for problem in problems])
        return [np.sign(problem.biases + 1e-3).astype(np.int8)[None].repeat(num_reads, 0) for problem in problems]


def test_machine_solves_all_chunks_in_one_call():
    """Two sequences of four finished chunks, each of heads times tokens spins."""
    backend = Machine()
    batch = [np.stack([a, a[::-1]]) for a in draw()[:3]]
    features, diagnostics = functional(READOUT, *batch, draw()[3], solver=CimSolver(backend))
    assert diagnostics.bits.shape == (2, 4, HEADS, 5)
    assert backend.calls == [[HEADS * 5] * 8]
    assert np.isfinite(features).all()


def test_exported_program_computes_the_same():
    arguments = [jnp.asarray(a, jnp.float32) for a in draw()]
    compiled = jax.jit(lambda *a: functional(READOUT, *a)[0])
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arguments]
    np.testing.assert_array_equal(jax.export.export(compiled)(*shapes).call(*arguments), compiled(*arguments))


@pytest.mark.parametrize("readout", [READOUT, dataclasses.replace(READOUT, causal=False)], ids=["causal", "not causal"])
def test_exported_program_serves_all_lengths(readout):
    """Less than a chunk, exactly some, and what is left over."""
    *arguments, importance = (jnp.asarray(a, jnp.float32) for a in draw())
    compiled = jax.jit(lambda *a: functional(readout, *a, importance)[0])
    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"n, {HEADS}, {HEAD_DIM}"), jnp.float32)
    exported = jax.export.export(compiled)(shape, shape, shape)
    for tokens in (3, 15, TOKENS):
        shorter = [a[:tokens] for a in arguments]
        np.testing.assert_allclose(exported.call(*shorter), compiled(*shorter), atol=1e-5)


def make_layer(readout):
    return qama_jax.QAMAAttention(num_heads=2, in_features=16, decode=False, readout=readout, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemoryReadout(chunk_size=0), "chunk_size must be an integer >= 1"),
        (lambda: MemoryReadout(memory_size=1.5), "memory_size must be an integer >= 1"),
        (lambda: MemoryReadout(beta=0), "beta must be a positive number"),
        (lambda: MemoryReadout(64, 32), "radius=32: .* must cover a chunk.* pass at least chunk_size - 1 = 63"),
        (lambda: MemoryReadout(64, num_keys=65), "num_keys=65 exceeds .* pass at most chunk_size=64"),
        (lambda: functional(READOUT, *(a[:n] for a, n in zip(draw(), (5, 9, 9, 4), strict=True))), "as many keys as"),
        (lambda: functional(READOUT, *draw(), mask=np.ones(5, bool)), "mask must be boolean of shape"),
        (
            lambda: functional(READOUT, *draw(), query_mask=~HIDDEN),
            r"query_mask must be None with MemoryReadout\(.* pass mask",
        ),
        (lambda: make_layer(READOUT)(jnp.zeros((2, 0, 16))), r"none of the last three 0, got shape \(2, 0, 2, 8\)"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()
