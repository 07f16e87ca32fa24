"""What Flax asks of its attention as a decoder, and the ways in which public models call theirs.

The models are small ones of our own, with the masks and the caches of those that are named.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import errors, linen, nnx

import qama_jax
import qama_jax.linen
from qama_jax import MemoryReadout, QAMAAttention, SelectedKeysReadout
from qama_jax.layers.padding import UncheckedMaskWarning

READOUT, SOLVER = MemoryReadout(chunk_size=4, radius=5, num_keys=2, memory_size=3), Coins(share=0.7)
HEADS, FEATURES, IDS = 2, 8, 10
SETTINGS = {"readout": READOUT, "solver": SOLVER}
ACROSS = {"readout": SelectedKeysReadout(4), "solver": SOLVER}


def make_nnx(**settings):
    return QAMAAttention(HEADS, FEATURES, rngs=nnx.Rngs(0), **(SETTINGS | {"deterministic": True} | settings))


# --- Flax's checks of its layers


def test_tokens_are_scanned_under_two_axes_of_batch():
    """The cache is made by a call on the whole, and goes through `jax.lax.scan`."""
    layer = qama_jax.linen.QAMAAttention(HEADS, **SETTINGS, deterministic=False)
    inputs = jax.random.normal(jax.random.key(0), (2, 3, 11, FEATURES))
    decoder = layer.clone(decode=True)
    variables = jax.jit(decoder.init)(jax.random.key(1), inputs)
    mask = linen.make_causal_mask(jnp.ones(inputs.shape[:-1]))
    whole = jax.jit(lambda mask: layer.apply(variables, inputs, mask=mask))(mask)

    @jax.jit
    def decode(cache):
        def step(cache, token):
            call = {"params": variables["params"], "cache": cache}
            output, changed = decoder.apply(call, token[..., None, :], mutable=["cache"])
            return changed["cache"], output[..., 0, :]

        return jax.lax.scan(step, cache, jnp.moveaxis(inputs, -2, 0))[1]

    np.testing.assert_allclose(jnp.moveaxis(decode(variables["cache"]), 0, -2), whole, atol=1e-5)


def test_every_earlier_token_is_reached_and_no_later_one():
    """As in Flax's test of the receptive field, by all derivatives at once."""
    layer = qama_jax.linen.QAMAAttention(1, kernel_init=linen.initializers.ones, deterministic=False, readout=READOUT)
    layer = layer.clone(readout=MemoryReadout(4, 9, 2, 2), solver=SOLVER)
    inputs = jax.random.normal(jax.random.key(0), (1, 10, 1))
    variables = layer.init(jax.random.key(1), inputs)
    mask = linen.make_causal_mask(np.ones((1, 10)))
    derivatives = jax.jit(jax.jacrev(lambda inputs: layer.apply(variables, inputs, mask=mask)))(inputs)[
        0, :, 0, 0, :, 0
    ]
    np.testing.assert_array_equal(derivatives != 0, np.tril(np.ones((10, 10), bool)))


@pytest.mark.parametrize("api", ["nnx", "linen"])
def test_decoding_in_double_precision(api):
    with jax.enable_x64(True):
        inputs = jnp.ones((1, 4, FEATURES), jnp.float64)
        if api == "nnx":
            layer = make_nnx(decode=True)
            layer.init_cache(inputs.shape, dtype=inputs.dtype)
            assert layer.cached_key.dtype == layer.cached_value.dtype == jnp.float64
            outputs = [layer(inputs[:, index : index + 1]) for index in range(2)]
        else:
            layer = qama_jax.linen.QAMAAttention(HEADS, **SETTINGS, decode=True)
            variables = layer.init(jax.random.PRNGKey(0), inputs, inputs, inputs)
            outputs = []
            for index in range(2):
                output, changed = layer.apply(variables, inputs[:, index : index + 1], mutable=["cache"])
                variables = {**variables, **changed}
                outputs.append(output)
        for output in outputs:
            assert output.shape == (1, 1, FEATURES)
            assert output.dtype == jnp.float64


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("settings", [{"dtype": jnp.float16}, {"use_bias": False, "normalize_qk": True}])
def test_a_token_without_batch_is_the_same_in_both(settings, decode):
    """With the parameters of the one in the other, of half precision too."""
    token = jnp.ones((1, FEATURES))
    in_linen = qama_jax.linen.QAMAAttention(HEADS, **SETTINGS, decode=decode, **settings)
    variables = in_linen.init(jax.random.key(0), token)
    in_nnx = make_nnx(decode=decode, **settings)
    nnx.update(in_nnx, variables["params"])
    if decode:
        in_nnx.init_cache(token.shape, dtype=settings.get("dtype", jnp.float32))
    expected, _ = in_linen.apply(variables, token, mutable=["cache"])
    np.testing.assert_array_equal(in_nnx(token), expected)


def test_a_cache_that_is_made_again_is_empty():
    layer, inputs = make_nnx(decode=True), jax.random.normal(jax.random.key(0), (2, 3, FEATURES))
    layer.init_cache(inputs.shape)
    step = nnx.jit(lambda layer, token: layer(token))
    first = [step(layer, inputs[:, index : index + 1]) for index in range(3)]
    assert layer.cache_index[...] == 3
    layer.init_cache((2, 100, FEATURES))
    assert layer.cache_index[...] == 0
    for index, output in enumerate(first):
        np.testing.assert_array_equal(step(layer, inputs[:, index : index + 1]), output)
    layer.init_cache((5, 3, FEATURES))
    with pytest.raises(ValueError, match=r"batch dimensions \(2,\), and the cache was made for \(5,\)"):
        layer(inputs[:, :1])


def test_attributes_are_set_as_in_flax():
    layer, inputs = make_nnx(), jnp.ones((1, 3, FEATURES))
    layer.set_attributes(decode=True)
    layer.init_cache(inputs.shape)
    assert layer(inputs[:, :1]).shape == (1, 1, FEATURES)
    layer.set_attributes(decode=False)
    assert layer(inputs).shape == inputs.shape


def test_a_cache_that_may_not_change_is_an_error_of_flax():
    layer, token = qama_jax.linen.QAMAAttention(HEADS, **SETTINGS, decode=True), jnp.ones((1, 1, FEATURES))
    variables = layer.init(jax.random.key(0), token)
    with pytest.raises(errors.ModifyScopeVariableError):
        layer.apply(variables, token)


# --- public models, small


class Linen(linen.Module):
    """Embedding, causal attention, attention to another text where there is one, logits."""

    masks: tuple  # functions of ids, and of ids and the other text's
    settings: dict
    decode: bool = False

    @linen.compact
    def __call__(self, ids, source=None, *, deterministic=True):
        of_self, of_other = self.masks
        x = linen.Embed(IDS, FEATURES)(ids)
        mask = None if self.decode else of_self(ids)
        common = {"deterministic": deterministic, **self.settings}
        x = x + qama_jax.linen.SelfAttention(HEADS, **SETTINGS, **common, decode=self.decode)(x, mask)
        if source is not None:
            other = linen.Embed(IDS, FEATURES)(source)
            mask = of_other(jnp.ones_like(ids) if self.decode else ids, source)
            x = x + qama_jax.linen.QAMAAttention(HEADS, **ACROSS, **common)(x, other, mask=mask)
        return linen.Dense(IDS)(x)


class Nnx(nnx.Module):
    """The same."""

    def __init__(self, masks, call):
        rngs = nnx.Rngs(0)
        self.masks, self.call = masks, call
        self.embed, self.embed_source = (nnx.Embed(IDS, FEATURES, rngs=rngs) for _ in range(2))
        common = {"decode": False, "deterministic": True, "rngs": rngs, "keep_rngs": False}
        self.attention = QAMAAttention(HEADS, FEATURES, **SETTINGS, **common)
        self.across = QAMAAttention(HEADS, FEATURES, **ACROSS, **common)
        self.head = nnx.Linear(FEATURES, IDS, rngs=rngs)

    def __call__(self, ids, source=None):
        of_self, of_other = self.masks
        x = self.embed(ids)
        x = x + self.attention(x, mask=of_self(ids), **self.call)
        if source is not None:
            x = x + self.across(x, self.embed_source(source), mask=of_other(ids, source))
        return self.head(x)


def nothing(*ids):
    return None


def padded_and_causal(ids, flax=linen, dtype=jnp.float32):
    return flax.combine_masks(
        flax.make_attention_mask(ids > 0, ids > 0, dtype=dtype), flax.make_causal_mask(ids, dtype=dtype)
    )


def packed(ids):
    segments = jnp.broadcast_to(1 + jnp.arange(ids.shape[1]) // 5, ids.shape)
    of_segments = linen.make_attention_mask(segments, segments, jnp.equal, dtype=jnp.float32)
    return linen.combine_masks(padded_and_causal(ids), of_segments)


def of_source(ids, source):
    return linen.make_attention_mask(ids > 0, source > 0, dtype=jnp.float32)


def integers_of_self(ids):
    """Padding [batch, 1, tokens] and a lower triangle, the smaller of both."""
    places = jnp.arange(ids.shape[1])
    causal = (places[:, None] >= places).astype(jnp.int32)[None]
    return jnp.minimum((ids != 0).astype(jnp.int32)[:, None], causal)[:, None]


def integers_of_source(ids, source):
    return (source != 0).astype(jnp.int32)[:, None, None]


def triangle(ids):
    return jnp.tril(jnp.ones((ids.shape[1], ids.shape[1])))


def causal_of_ids(ids):
    return linen.make_causal_mask(ids, dtype=bool)


def causal_of_ones(ids):
    return linen.make_causal_mask(jnp.ones((1, ids.shape[1])))


def four_axes(ids):
    return jnp.tril(jnp.ones((ids.shape[1], ids.shape[1]), bool))[None, None]


UNBIASED = {"use_bias": False, "broadcast_dropout": False, "dropout_rate": 0.1}
# The model, whether it reads another text, whether it decodes with a cache.
MODELS = {
    "lm1b": (lambda: Linen((padded_and_causal, nothing), UNBIASED), False, True),
    "lm1b, packed": (lambda: Linen((packed, nothing), UNBIASED), False, False),
    "wmt": (lambda: Linen((padded_and_causal, of_source), UNBIASED), True, True),
    "machine translation of the documentation": (
        lambda: Nnx((integers_of_self, integers_of_source), {}),
        True,
        False,
    ),
    "miniGPT": (lambda: Nnx((triangle, nothing), {}), False, False),
    "GIVT": (lambda: Linen((causal_of_ids, nothing), {}), False, True),
    "CLIP's text encoder": (lambda: Linen((causal_of_ones, nothing), {}), False, False),
    "tutorial with a mask of four axes": (lambda: Linen((four_axes, nothing), {}), False, False),
    "tutorial with is_causal": (lambda: Nnx((nothing, nothing), {"is_causal": True}), False, False),
}
TEXT = np.array([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [2, 7, 1, 8, 2, 8, 1, 8, 0, 0, 0]])
SOURCE = np.array([[2, 2, 3, 6, 0, 0], [1, 6, 1, 8, 3, 3]])


def as_functions(model, arguments):
    """Parameters, and logits from them: in training with dropout, where a key is given."""
    if isinstance(model, Linen):

        def apply(params, *arguments, key=None):
            rngs = {} if key is None else {"dropout": key}
            return model.apply({"params": params}, *arguments, deterministic=key is None, rngs=rngs)

        return model.init(jax.random.key(0), *arguments)["params"], apply
    graph, params = nnx.split(model)
    return params, lambda params, *arguments, key=None: nnx.merge(graph, params)(*arguments)


@pytest.mark.filterwarnings("ignore::qama_jax.layers.padding.UncheckedMaskWarning")  # of the other text
@pytest.mark.parametrize(("make", "translates", "decodes"), MODELS.values(), ids=MODELS)
def test_models_train_and_decode(make, translates, decodes):
    """A jitted step lowers the loss; later tokens change nothing; token by token is as the whole."""
    model, others = make(), [SOURCE] if translates else []
    params, apply = as_functions(model, [TEXT, *others])

    @jax.jit
    def step(params, text, *others):
        def loss(params):
            logits = apply(params, text, *others, key=jax.random.key(1))
            losses = -jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), text[:, 1:, None], axis=-1)[..., 0]
            return jnp.sum(jnp.where(text[:, 1:] > 0, losses, 0))

        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 1e-2 * g, params, gradient)

    before, trained = step(params, TEXT, *others)
    after, _ = step(trained, TEXT, *others)
    assert after < before
    whole = jax.jit(apply)
    full = np.where(TEXT > 0, TEXT, 1)
    logits, changed = (whole(params, text, *others) for text in (full, np.where(np.arange(11) > 6, 10 - full, full)))
    assert np.any(logits[:, 7:] != changed[:, 7:])
    if not translates:  # the selection in another text depends on all that is asked
        np.testing.assert_array_equal(logits[:, :7], changed[:, :7])
    if not decodes:
        return

    decoder = model.clone(decode=True)

    @jax.jit
    def decode(params, text, *others):
        def step(cache, token):
            call = {"params": params, "cache": cache}
            logits, changed = decoder.apply(call, token[:, None], *others, mutable=["cache"])
            return changed["cache"], logits[:, 0]

        cache = decoder.init(jax.random.key(0), text, *others)["cache"]
        return jnp.swapaxes(jax.lax.scan(step, cache, text.T)[1], 0, 1)

    decoded = decode(params, full, *others)
    if translates:
        assert np.isfinite(decoded).all()
    else:
        np.testing.assert_allclose(decoded, logits, atol=1e-5)


def test_traced_masks_of_the_other_text_warn():
    model = MODELS["wmt"][0]()
    with pytest.warns(UncheckedMaskWarning, match="is traced and cannot be checked"):
        jax.eval_shape(functools.partial(model.init, jax.random.key(0)), TEXT, SOURCE)
