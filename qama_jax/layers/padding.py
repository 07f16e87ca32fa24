"""Padding masks, from the mask layout of Flax."""

import warnings
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from qama_jax.layers.causal_masks import causal_segments
from qama_jax.problems.base import is_concrete

_NO_MORE_THAN_PADDING = (
    "QAMA selects tokens once for the whole sequence and supports padding only: [*batch, 1, 1, keys], or rows that are "
    "all false for padded queries; with readout=qama_jax.MemoryReadout() also causal masks, and packed sequences. Use "
    "Flax's attention for local masks"
)


class UncheckedMaskWarning(UserWarning):
    """A mask is traced, and features will be NaN if it cannot be honoured."""


class KeyPadding(NamedTuple):
    """What is left of an attention mask for a selection that is made once for all queries.

    Attributes:
      visible: bool [*batch, M], the keys that may be seen; for causal masks the segments, see `causal_segments`.
      asking: bool [*batch, N], the queries that may see them, or None where the mask says nothing about queries.
      honoured: bool [*batch], whether the mask asks for no more than that; None where this is known.
    """

    visible: Bool[Array, "*batch keys"] | Int[Array, "*batch keys"]
    asking: Bool[Array, "*batch tokens"] | None
    honoured: Bool[Array, "*batch"] | None

    def mark(self, features: Float[Array, "*batch tokens heads head_dim"]) -> Float[Array, "..."]:
        """The features, NaN for elements of the batch whose mask is not honoured."""
        return features if self.honoured is None else jnp.where(self.honoured[..., None, None, None], features, jnp.nan)


def key_padding(
    mask: Num[Array, "..."], *, batch: tuple[int, ...], heads: int, queries: int, keys: int, causal: bool = False
) -> KeyPadding:
    """The visible keys and the asking queries of a Flax attention mask [*batch, heads, queries, keys].

    QAMA selects tokens for the whole sequence, not for each query. It can therefore honour only a mask that hides the
    same keys from every head and every query, except for queries from which it hides all keys. Such a query asks
    nothing, like a padded one in cross-attention: it has no part in the selection, and its features mean nothing, as in
    softmax attention, or are 0 with `EnergyReadout`. Where there are as many keys as queries and every query sees some
    key, keys and queries are the same tokens, and a hidden token is hidden as both.

    A traced mask cannot be checked before it is used, and no exception can depend on it. Features then become NaN where
    the mask asks for more than padding (`KeyPadding.mark`), and `UncheckedMaskWarning` warns of this. Boolean masks
    [*batch, 1, 1, keys] need no check.

    Args:
      mask: true (or 1) for visible keys, else false (or 0), of a shape that broadcasts to
        [*batch, heads, queries, keys].
      batch: batch dimensions of the attention inputs.
      heads: H.
      queries: N.
      keys: M.
      causal: whether queries see no later keys anyway: then the mask may be causal, and pack sequences.

    Raises:
      ValueError: if the shape does not fit, or if a mask whose values are known has values other than 0 and 1, or
        differs between heads, or between queries that see any key.
    """
    full = (*batch, heads, queries, keys)
    if len(mask.shape) > len(full) or any(
        size not in (1, whole) for size, whole in zip(mask.shape[::-1], full[::-1], strict=False)
    ):
        raise ValueError(
            f"mask must be [*batch, heads, queries, keys], here broadcastable to {full}, got shape {mask.shape}; "
            "pass padding[..., None, None, :] where padding is true for valid keys"
        )
    shape = (1,) * (len(full) - len(mask.shape)) + mask.shape
    by_key, boolean = shape[-3:-1] == (1, 1), mask.dtype == np.bool_
    if by_key and boolean:
        visible = jnp.asarray(mask).reshape(*shape[:-3], shape[-1])
        return KeyPadding(jnp.broadcast_to(visible, (*batch, keys)), None, None)

    known = is_concrete(mask)
    # Under jax.jit, even a constant is traced as soon as jnp touches it.
    xp = np if known else jnp
    values = xp.asarray(mask)
    seen = values == xp.ones_like(values)
    binary = seen | (values == xp.zeros_like(values))
    causal = causal and queries == keys
    if causal:
        visible, separable = causal_segments(seen.reshape(shape), xp)
        asking = None
    else:
        visible, asking, separable = _separate(seen.reshape(shape))
    honoured = None
    if not known:
        if not causal:  # where masks are causal, they are traced as a rule
            warnings.warn(
                f"mask of {mask.dtype} {mask.shape} is traced and cannot be checked: features are NaN where it has "
                f"values other than 0 and 1, or differs between heads or queries. {_NO_MORE_THAN_PADDING}",
                UncheckedMaskWarning,
                stacklevel=2,
            )
        honoured = jnp.broadcast_to(separable & binary.reshape(shape).all(axis=(-3, -2, -1)), batch)
    elif not binary.all():
        raise ValueError(
            f"mask must be boolean, or 1 for visible keys and 0 for hidden ones, got {values[~binary][0]}; for "
            "an additive mask, pass mask == 0"
        )
    elif not separable.all():
        raise ValueError(f"mask of shape {mask.shape} differs between heads or queries; {_NO_MORE_THAN_PADDING}")
    visible_keys = jnp.broadcast_to(visible, (*batch, keys))
    if asking is None or by_key or shape[-2] != queries:
        return KeyPadding(visible_keys, None, honoured)
    if queries == keys:
        asking = xp.where(asking.all(axis=-1, keepdims=True), visible, asking)
    return KeyPadding(visible_keys, jnp.broadcast_to(asking, (*batch, queries)), honoured)


def _separate(mask: Bool[Any, "*batch #heads #queries #keys"]) -> tuple[Bool[Any, "..."], ...]:
    """The keys that any query sees, the queries that see any key, and whether each of these sees all of those."""
    visible, asking = mask.any(axis=(-3, -2)), mask.any(axis=(-3, -1))
    separable = (mask == (asking[..., None, :, None] & visible[..., None, None, :])).all(axis=(-3, -2, -1))
    return visible, asking, separable
