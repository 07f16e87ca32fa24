"""Causal masks and decoding token by token, in the layers of both kinds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import linen, nnx

import qama_jax
import qama_jax.linen
from qama_jax import MemoryReadout, MixedMemoryReadout, QAMAAttention, SteepestDescent
from qama_jax.layers.padding import UncheckedMaskWarning, key_padding

BATCH, TOKENS, FEATURES, HEADS = 2, 18, 16, 4
READOUT = MemoryReadout(chunk_size=5, radius=6, num_keys=2, memory_size=3)
MIXED = MixedMemoryReadout(*dataclasses.astuple(READOUT))
MIX = jnp.array([0.4, -0.7, 1.3, 0.0])
SOLVER = SteepestDescent(max_steps=5)
INPUTS = jax.random.normal(jax.random.key(1), (BATCH, TOKENS, FEATURES))
VALID = np.arange(TOKENS) >= np.array([[0], [7]])  # the second text is padded on the left


class Nnx:
    """A layer as functions, whole and decoding."""

    masks = nnx

    def __init__(self, **settings):
        settings = {"readout": READOUT, "solver": SOLVER, "decode": False, "deterministic": True} | settings
        self.layer = QAMAAttention(HEADS, FEATURES, rngs=nnx.Rngs(0), keep_rngs=False, **settings)
        if self.layer.mix is not None:
            self.layer.mix[...] = MIX
        self.graph, self.params = nnx.split(self.layer)

    def apply(self, params, inputs, mask=None, **call):
        return nnx.merge(self.graph, params)(inputs, mask=mask, **call)

    def start(self, batch=BATCH, tokens=1):
        layer = nnx.merge(self.graph, self.params)
        layer.init_cache((batch, tokens, FEATURES))
        return nnx.split(layer)

    def step(self, state, inputs, mask=None):
        layer = nnx.merge(*state)
        return layer(inputs, mask=mask, decode=True), nnx.split(layer)

    def sown(self, inputs, state=None):
        """What the whole pass sows, or the next token."""
        layer = nnx.merge(*state) if state else nnx.merge(self.graph, self.params)
        _, sown = nnx.capture(layer, nnx.Intermediate)(inputs, sow_weights=True, decode=state is not None)
        return {name: value[0] for name, value in nnx.to_pure_dict(sown).items()}

    @staticmethod
    def on_cache(function, state):
        graph, cache, rest = nnx.split(nnx.merge(*state), nnx.Cache, ...)
        return nnx.split(nnx.merge(graph, jax.tree.map(function, cache), rest))

    @staticmethod
    def cache(state):
        return nnx.to_pure_dict(nnx.state(nnx.merge(*state), nnx.Cache))


class Linen:
    """The same with Linen."""

    masks = linen

    def __init__(self, **settings):
        settings = {"readout": READOUT, "solver": SOLVER, "deterministic": True} | settings
        self.layer = qama_jax.linen.QAMAAttention(HEADS, **settings)
        self.params = jax.jit(self.layer.init)(jax.random.key(0), INPUTS)["params"]
        if "mix" in self.params:
            self.params["mix"] = MIX

    def apply(self, params, inputs, mask=None):
        return self.layer.apply({"params": params}, inputs, mask=mask)

    def start(self, batch=BATCH, tokens=TOKENS):
        initialize = functools.partial(jax.jit(self.layer.clone(decode=True).init), jax.random.key(0))
        return initialize(jnp.ones((batch, tokens, FEATURES)))["cache"]

    def step(self, cache, inputs, mask=None):
        variables = {"params": self.params, "cache": cache}
        outputs, changed = self.layer.clone(decode=True).apply(variables, inputs, mask=mask, mutable=["cache"])
        return outputs, changed["cache"]

    def sown(self, inputs, state=None):
        """What the whole pass sows, or the next token."""
        variables = {"params": self.params} | ({"cache": state} if state else {})
        layer = self.layer.clone(decode=state is not None)
        _, changed = layer.apply(variables, inputs, sow_weights=True, mutable=["intermediates", "cache"])
        return {name: value[0] for name, value in changed["intermediates"].items()}

    @staticmethod
    def on_cache(function, cache):
        return jax.tree.map(function, cache)

    @staticmethod
    def cache(state):
        return state


each_api = pytest.mark.parametrize("api", [Nnx, Linen])


def whole(layer, inputs=INPUTS, mask=None, **call):
    """Compiled; the mask is known where it is of NumPy, else traced."""
    if isinstance(mask, jax.Array):
        return jax.jit(layer.apply)(layer.params, inputs, mask)
    return jax.jit(lambda params: layer.apply(params, inputs, mask, **call))(layer.params)


def decoded(layer, valid=None):
    """The whole sequence, token by token."""
    step, state, outputs = jax.jit(layer.step), layer.start(), []
    for index in range(TOKENS):
        mask = None if valid is None else valid[:, None, None, index : index + 1]
        output, state = step(state, INPUTS[:, index : index + 1], mask)
        outputs.append(output)
    return jnp.concatenate(outputs, axis=1)


def causal():
    return np.tril(np.ones((TOKENS, TOKENS), bool))


# With the masks that say the same of the whole sequence, known and traced.
CASES = {
    "nnx, is_causal": (Nnx, {"solver": Coins(share=0.7)}, None, {"is_causal": True}),
    "nnx, key padding, grouped heads": (
        Nnx,
        {"num_kv_heads": 2, "normalize_qk": True, "qkv_features": 32},
        VALID,
        {"mask": VALID[:, None, None]},
    ),
    "nnx, mixed, is_causal": (Nnx, {"readout": MIXED}, None, {"is_causal": True}),
    "linen, mixed, key padding": (Linen, {"readout": MIXED}, VALID, {"mask": VALID[:, None, None]}),
    "linen, causal mask": (Linen, {"solver": Coins(share=0.7)}, None, {"mask": causal()}),
    "linen, causal mask and padding": (Linen, {}, VALID, {"mask": jnp.asarray(causal() & VALID[:, None, None])}),
}


@pytest.mark.parametrize(("api", "settings", "valid", "call"), CASES.values(), ids=CASES)
def test_token_by_token_equals_the_whole(api, settings, valid, call):
    """Through three borders of chunks, at every length, as nothing depends on later tokens."""
    layer = api(**settings)
    seen = np.ones((BATCH, TOKENS), bool) if valid is None else valid
    np.testing.assert_allclose(decoded(layer, valid)[seen], whole(layer, **call)[seen], atol=1e-5)


def test_default_solver_decodes_what_it_computes_as_a_whole():
    """Each chunk with one fixed key, and heads that select alike whether their chunks are solved together or not."""
    layer = Nnx(solver=None, readout=MemoryReadout(6, 6, 3, 4))
    np.testing.assert_allclose(decoded(layer), whole(layer), atol=1e-5)


LATE = np.arange(TOKENS) < np.array([[TOKENS], [11]])  # padded on the right
PACKED = np.where(np.arange(TOKENS) < 15, 1 + np.arange(TOKENS) // np.array([[4], [7]]), 0)

# How causal models write their masks, and which segments they mean; 0 is padding.
WHOLE = np.ones((BATCH, TOKENS), int)
MASKS = {
    "lower triangle": (lambda api: causal(), WHOLE),
    "lower triangle of integers, for each head": (
        lambda api: np.tril(np.ones((BATCH, HEADS, TOKENS, TOKENS), np.int32)),
        WHOLE,
    ),
    "make_causal_mask": (lambda api: api.make_causal_mask(WHOLE), WHOLE),
    "lower triangle and key padding": (lambda api: causal() & LATE[:, None, None], LATE),
    "make_causal_mask and make_attention_mask": (
        lambda api: api.combine_masks(api.make_causal_mask(WHOLE), api.make_attention_mask(LATE, LATE)),
        LATE,
    ),
    "padding on the left": (lambda api: causal() & VALID[:, None, None], VALID),
    "packed": (
        lambda api: api.combine_masks(
            api.make_attention_mask(PACKED > 0, PACKED > 0),
            api.make_causal_mask(WHOLE),
            api.make_attention_mask(PACKED, PACKED, jnp.equal),
        ),
        PACKED,
    ),
    "key padding alone": (lambda api: LATE[:, None, None], LATE),
    "attention mask that is not causal": (lambda api: api.make_attention_mask(LATE, LATE), LATE),
}


@each_api
def test_traced_mask_that_cannot_be_honoured_is_marked(api):
    """In the element of the batch whose heads differ, and there alone."""
    layer = api()
    mask = np.ones((BATCH, HEADS, 1, 1), bool)
    mask[1, 2] = False
    with pytest.warns(UncheckedMaskWarning, match="features are NaN where"):
        outputs, _ = jax.jit(layer.step)(layer.start(), INPUTS[:, :1], jnp.asarray(mask))
    np.testing.assert_array_equal(np.isnan(outputs).all(axis=(1, 2)), [False, True])
    assert np.isfinite(outputs[0]).all()


@functools.cache
def separated():
    """`key_padding` of a traced mask."""
    return jax.jit(functools.partial(key_padding, **SHAPE, causal=True))


SHAPE = {"batch": (BATCH,), "heads": HEADS, "queries": TOKENS, "keys": TOKENS}


@pytest.mark.parametrize(("mask", "segments"), MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("api", [nnx, linen])
def test_causal_masks_are_read(api, mask, segments):
    """As padding and segments, known or traced: equal numbers where tokens see each other, ascending, 0 for hidden."""
    for read in (functools.partial(key_padding, **SHAPE, causal=True), separated()):
        padding = read(mask(api))
        assert padding.honoured is None or np.all(padding.honoured)
        found = np.asarray(padding.visible).astype(int)
        np.testing.assert_array_equal(found > 0, segments > 0)
        for row, truth in zip(found, np.asarray(segments).astype(int), strict=True):
            numbers, places = np.unique(truth[truth > 0], return_index=True)
            np.testing.assert_array_equal(row[truth > 0], row[truth > 0][places][truth[truth > 0] - numbers[0]])
            assert np.all(np.diff(row[truth > 0]) >= 0)


def banded():
    return causal() & (np.arange(TOKENS)[:, None] - np.arange(TOKENS) < 4)


def prefix_hidden_for_one_query():
    mask = causal()
    mask[9, 2] = False
    return mask


def interleaved():
    kind = np.arange(TOKENS) % 2
    return causal() & (kind[:, None] == kind)


def one_head_differs():
    mask = np.tile(causal(), (BATCH, HEADS, 1, 1))
    mask[1, 2, 8, 1] = False
    return mask


def blind_query():
    mask = causal()
    mask[5] = False
    return mask


def blind_queries():
    return np.arange(TOKENS)[:, None] < 5  # [tokens, 1], of all keys


def upper_triangle():
    return ~causal()


@pytest.mark.parametrize(
    "mask",
    [banded, prefix_hidden_for_one_query, interleaved, one_head_differs, blind_query, blind_queries, upper_triangle],
)
def test_other_masks_are_refused(mask):
    """Raised where known, marked where traced."""
    with pytest.raises(ValueError, match="differs between heads or queries"):
        key_padding(mask(), **SHAPE, causal=True)
    assert not np.all(separated()(mask()).honoured)


def test_packed_sequences_do_not_see_each_other():
    """Bit for bit, whatever the other sequences of a row are."""
    layer = Nnx()
    mask = causal() & (PACKED[:, None, :, None] == PACKED[:, None, None]) & (PACKED > 0)[:, None, None]
    attend = jax.jit(lambda inputs: layer.apply(layer.params, inputs, mask))
    outputs = attend(INPUTS)
    for number in (1, 2, 3):
        own = number == PACKED
        others = attend(jnp.where(own[..., None], INPUTS, 1e3 * INPUTS[:, ::-1]))
        np.testing.assert_array_equal(others[own], outputs[own])
        assert (others != outputs)[PACKED > 0].any()


# --- the cache


@each_api
def test_cache_has_a_fixed_size_and_the_batch_first(api):
    """Whatever the length it was initialised with; scalars aside, as beam search has it."""
    layer = api()
    sizes = [jax.tree.map(jnp.shape, api.cache(layer.start(3, tokens))) for tokens in (4, 30)]
    assert sizes[0] == sizes[1]
    cache = sizes[0]
    assert cache.pop("cache_index") == ()
    assert all(shape[0] == 3 for shape in cache.values())
    assert cache["cached_key"] == (3, 10, HEADS, FEATURES // HEADS)  # two chunks of 5 for a window of 7
    assert cache["remembered_key"] == (3, 3 + 2 * 2, HEADS, FEATURES // HEADS)


@each_api
def test_beams_take_their_cache_along(api):
    """Rows that are exchanged and repeated on the way go on from the text they were taken from."""
    layer = api(solver=Coins(share=0.7))
    step, order = jax.jit(layer.step), jnp.array([1, 1])
    state = layer.start()
    for index in range(12):
        _, state = step(state, INPUTS[:, index : index + 1])
    state = api.on_cache(lambda leaf: leaf if leaf.ndim == 0 else leaf[order], state)
    outputs = []
    for index in range(12, TOKENS):
        output, state = step(state, INPUTS[order, index : index + 1])
        outputs.append(output)
    np.testing.assert_allclose(jnp.concatenate(outputs, axis=1), whole(layer)[order, 12:], atol=1e-5)


@each_api
def test_hidden_tokens_may_be_nan(api):
    """In the cache of one text, not in that of the other, and not in its later tokens."""
    layer, seen = api(), np.arange(TOKENS) >= np.array([[0], [3]])
    step, state = jax.jit(layer.step), layer.start()
    reference = layer.start()
    for index in range(12):
        token, mask = INPUTS[:, index : index + 1], seen[:, None, None, index : index + 1]
        expected, reference = step(reference, token, mask)
        output, state = step(state, jnp.where(mask[..., 0], token, jnp.nan), mask)
        np.testing.assert_array_equal(output[seen[:, index]], expected[seen[:, index]])


@each_api
def test_decoders_sow_what_is_selected_in_the_chunk_that_a_token_finishes(api):
    layer = api()
    step, sown, state = jax.jit(layer.step), jax.jit(layer.sown), layer.start()
    found = []
    for index in range(READOUT.chunk_size):
        token = INPUTS[:, index : index + 1]
        found.append(sown(token, state))
        _, state = step(state, token)
    expected = jax.jit(layer.sown)(INPUTS)["attention_diagnostics"]
    for one in found[:-1]:
        assert not any(np.any(leaf) for leaf in one["attention_diagnostics"])
    last = found[-1]["attention_diagnostics"]
    np.testing.assert_array_equal(last.bits, expected.bits[:, :1])
    np.testing.assert_allclose(last.energy, expected.energy[:, :1], rtol=1e-5)
    np.testing.assert_allclose(last.token_energy, expected.token_energy[:, :1], atol=1e-4)
    assert np.any(last.bits)


# --- what cannot be honoured


@each_api
def test_errors_name_the_argument_and_the_remedy(api):
    layer = api()
    state, token = layer.start(), INPUTS[:, :1]
    for inputs, mask, message in (
        (INPUTS[:, :2], None, r"inputs_q must be one token where decode=True .* got 2; pass them one after another"),
        (INPUTS[:1, :1], None, r"inputs_q has the batch dimensions \(1,\), and the cache was made for \(2,\)"),
        (token, np.ones((BATCH, 1, 1, TOKENS), bool), r"mask must be \[\*batch, 1, 1, 1\] where decode=True"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(functools.partial(layer.step, mask=mask), state, inputs)
    window = api(readout=qama_jax.WindowReadout(6, 2))
    causal_readout = r"needs a causal read-out, got WindowReadout\(.* pass readout=qama_jax.MemoryReadout\(\)"
    with pytest.raises(ValueError, match=causal_readout):
        window.start()
    with pytest.raises(ValueError, match=r"with readout=qama_jax.MemoryReadout\(\) also causal masks"):
        whole(window, mask=causal())
    dropping = api(dropout_rate=0.1, deterministic=False)
    with pytest.raises(ValueError, match=r"decode=True drops nothing: pass deterministic=True"):
        jax.eval_shape(dropping.step, dropping.start(), token)


def test_errors_of_nnx():
    window, layer = Nnx(readout=qama_jax.WindowReadout(6, 2)), Nnx()
    with pytest.raises(ValueError, match="is_causal=True needs a causal read-out"):
        window.layer(INPUTS, is_causal=True)
    with pytest.raises(ValueError, match="decode=True needs a causal read-out"):
        window.layer(INPUTS[:, :1], decode=True)
    with pytest.raises(ValueError, match=r"decode=True needs a cache; call layer.init_cache\(inputs_q.shape\)"):
        layer.layer(INPUTS[:, :1], decode=True)
