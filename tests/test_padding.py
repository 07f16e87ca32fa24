"""Masks in the layout of Flax: those that hide keys are honoured, all others are refused or marked."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from qama_jax.layers.padding import UncheckedMaskWarning, key_padding

pytestmark = [
    pytest.mark.usefixtures("strict"),
    pytest.mark.filterwarnings("ignore::qama_jax.layers.padding.UncheckedMaskWarning"),
]

BATCH, HEADS, TOKENS = 3, 2, 5
VALID = np.arange(TOKENS) < np.array([[5], [3], [0]])
KEY_MASK = VALID[:, None, None, :]
SQUARE = VALID[:, None, :, None] & KEY_MASK


def padding(mask, batch=(BATCH,), queries=TOKENS, keys=TOKENS):
    return key_padding(mask, batch=batch, heads=HEADS, queries=queries, keys=keys)


@jax.jit
def traced(mask):
    return padding(mask)


def one_head_differs():
    mask = np.broadcast_to(KEY_MASK, (BATCH, HEADS, 1, TOKENS)).copy()
    mask[1, 1, 0, 0] = False
    return mask


def partly_hidden_row():
    mask = SQUARE.copy()
    mask[1, 0, 3, 0] = True  # token 3 is hidden, and yet its query sees a key
    return mask


def hide(mask, *place):
    mask = mask.copy()
    mask[place] = False
    return mask


HONOURED = {
    "keys": KEY_MASK,
    "keys as numbers": KEY_MASK.astype(np.float32),
    "every query": np.broadcast_to(KEY_MASK, (BATCH, 1, TOKENS, TOKENS)),
    "every head": np.broadcast_to(KEY_MASK, (BATCH, HEADS, 1, TOKENS)),
    "every query and head": np.broadcast_to(KEY_MASK, (BATCH, HEADS, TOKENS, TOKENS)),
    "linen.make_attention_mask": linen.make_attention_mask(VALID, VALID),
    "nnx.make_attention_mask": nnx.make_attention_mask(VALID, VALID, dtype=bool),
    "some hidden rows": np.where(np.arange(TOKENS)[:, None] == 4, SQUARE, KEY_MASK),
    "a valid token that asks nothing": hide(SQUARE, 1, 0, 0),
}

NOT_HONOURED = {
    "causal": (np.tril(np.ones((BATCH, 1, TOKENS, TOKENS), bool)), [False, False, False]),
    "causal and padded": (np.tril(SQUARE), [False, False, True]),
    "one head differs": (one_head_differs(), [True, False, True]),
    "partly hidden row": (partly_hidden_row(), [True, False, True]),
}


@pytest.mark.parametrize("mask", HONOURED.values(), ids=HONOURED)
def test_every_layout_of_key_padding(mask):
    known = padding(mask)
    assert known.honoured is None
    np.testing.assert_array_equal(known.visible, VALID)
    unknown = traced(mask)
    np.testing.assert_array_equal(unknown.visible, VALID)
    assert unknown.honoured is None or unknown.honoured.all()


@pytest.mark.parametrize(("mask", "honoured"), NOT_HONOURED.values(), ids=NOT_HONOURED)
def test_other_masks_raise_where_known_and_are_marked_where_traced(mask, honoured):
    with pytest.raises(ValueError, match="differs between heads or queries"):
        padding(mask)
    result = traced(mask)
    np.testing.assert_array_equal(result.honoured, honoured)
    features = result.mark(jnp.ones((BATCH, TOKENS, HEADS, 1)))
    for element, good in zip(features, honoured, strict=True):
        assert (element == 1).all() if good else np.isnan(element).all()


def test_a_row_that_is_all_false_is_a_query_that_asks_nothing():
    asking = np.array([[True, True, False, True, False], [True] * 5, [False] * 5])
    keys = np.array([[True, True, False], [False, True, True], [True] * 3])
    mask = linen.make_attention_mask(asking, keys)
    for found in (padding(np.asarray(mask), keys=3), jax.jit(lambda mask: padding(mask, keys=3))(mask)):
        np.testing.assert_array_equal(found.asking, asking)
        np.testing.assert_array_equal(found.visible, np.where(asking.any(1, keepdims=True), keys, False))
        assert found.honoured is None or found.honoured.all()
    for silent in (keys[:, None, None, :], np.broadcast_to(keys[:, None, None, :], (BATCH, HEADS, 1, 3))):
        assert padding(silent, keys=3).asking is None


def test_of_as_many_keys_rows_say_which_queries_ask():
    """Where some row is all false; where none is, they are the same tokens, hidden as both."""
    asking, keys = np.arange(5) < np.array([[3], [5], [4]]), np.arange(5) < np.array([[5], [2], [1]])
    for found in (padding(SQUARE), traced(SQUARE), padding(np.broadcast_to(KEY_MASK, SQUARE.shape))):
        np.testing.assert_array_equal(found.asking, VALID)
    mask = np.asarray(linen.make_attention_mask(asking, keys))
    for found in (padding(mask), traced(mask)):
        np.testing.assert_array_equal(found.asking, np.where(asking.all(1, keepdims=True), keys, asking))
        np.testing.assert_array_equal(found.visible, keys)


@pytest.mark.parametrize("hidden", [-1e9, -np.inf, 2, 0.5, np.nan])
@pytest.mark.parametrize("shape", [(BATCH, 1, 1, TOKENS), (BATCH, 1, TOKENS, TOKENS)])
def test_masks_that_are_not_of_0_and_1(shape, hidden):
    """Additive masks, which would be taken inverted, are refused, and marked where they are traced."""
    mask = np.broadcast_to(np.where(KEY_MASK, 0, hidden), shape).astype(np.float32)
    for known in (mask, jnp.asarray(mask, jnp.bfloat16)):
        with pytest.raises(ValueError, match="mask must be boolean, or 1 for visible keys and 0 for hidden ones, got"):
            padding(known)
    np.testing.assert_array_equal(traced(mask).honoured, VALID.all(1))


def test_traced_masks_that_need_a_check_warn():
    """With the text of the error; a category of its own is ignored by its name."""
    for mask in (SQUARE, KEY_MASK.astype(np.float32)):
        with pytest.warns(
            UncheckedMaskWarning, match=r"is traced and cannot be checked: features are NaN where .* causal"
        ):
            jax.eval_shape(padding, mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(padding, KEY_MASK)
        padding(SQUARE)


def test_masks_broadcast():
    for shape in ((TOKENS,), (1, TOKENS), (1, 1, TOKENS), (1, 1, 1, TOKENS)):
        np.testing.assert_array_equal(padding(VALID[1].reshape(shape)).visible, np.tile(VALID[1], (BATCH, 1)))
    assert padding(np.ones((BATCH, 1, 1, 1), bool)).visible.all()
    assert padding(np.ones((1, 2, 1, 1, 1, TOKENS), bool), batch=(4, 2, 3)).visible.shape == (4, 2, 3, TOKENS)


def test_keys_of_another_number():
    keys = np.array([[True, True, False]] * BATCH)
    for mask in (keys[:, None, None, :], np.broadcast_to(keys[:, None, None, :], (BATCH, HEADS, TOKENS, 3))):
        np.testing.assert_array_equal(padding(mask, keys=3).visible, keys)
    mask = np.array(linen.make_attention_mask(VALID, keys))
    mask[0, 0, 0, 1] = 0
    with pytest.raises(ValueError, match="differs between heads or queries"):
        padding(mask, keys=3)


@pytest.mark.parametrize("shape", [(2, 1, 1, 5), (3, 1, 1, 4), (3, 3, 1, 5), (3, 1, 4, 5), (1, 3, 1, 1, 5), (3, 5)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"mask must be \[\*batch, heads, queries, keys\], here broadcastable to"):
        padding(np.ones(shape, bool))
