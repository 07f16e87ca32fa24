"""Causal attention masks in the layout of Flax: padding and packed sequences."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int


def causal_segments(
    mask: Bool[Any, "*batch #heads #tokens #tokens"], xp: Any = np
) -> tuple[Int[Any, "*batch tokens"], Bool[Any, "*batch"]]:
    """The segments of a causal mask, and whether it asks for no more than that.

    A mask is honoured if every query sees, up to its own place, all visible keys of its own segment and no others.
    It may see later keys, which are hidden anyway. Segments are packed one after the other. The row of a hidden query
    may be all false, as `make_attention_mask(padding, padding)` has it.

    Args:
      mask: true for visible keys.
      xp: `numpy`, or `jax.numpy` for a mask that is traced.

    Returns:
      For each token 0 if it is hidden, else the number, from 1, of the first visible token of its segment.
    """
    tokens = max(mask.shape[-2:])
    earlier = xp.tril(xp.ones((tokens, tokens), bool)).reshape((1,) * (mask.ndim - 2) + (tokens, tokens))
    mask = xp.broadcast_to(mask, (*mask.shape[:-2], tokens, tokens))
    visible, mask = mask.any(axis=(-3, -2)), mask & earlier
    rows = mask.any(axis=-3)
    of_query = xp.where(rows.any(axis=-1), xp.argmax(rows, axis=-1) + 1, 0)
    segments = xp.where(visible, of_query, 0)
    expected = (of_query[..., :, None] == segments[..., None, :]) & visible[..., None, :]
    in_order = (segments == 0) | (segments == xp.maximum.accumulate(segments, axis=-1))
    as_expected = mask == (expected[..., None, :, :] & earlier)
    return segments, as_expected.all(axis=(-3, -2, -1)) & in_order.all(axis=-1)
