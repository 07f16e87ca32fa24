"""Key-padding masks, from the mask layout of Flax."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from qama_jax.layers.causal_masks import causal_segments
from qama_jax.problems.base import is_concrete


class KeyPadding(NamedTuple):
    """What is left of an attention mask for a selection that is made once for all queries.

    Attributes:
      visible: bool [*batch, M], the keys that may be seen; of causal masks the segments, see `causal_segments`.
      honoured: bool [*batch], whether the mask asks for no more than that; None where it is known to.
    """

    visible: Bool[Array, "*batch keys"] | Int[Array, "*batch keys"]
    honoured: Bool[Array, "*batch"] | None

    def mark(self, features: Float[Array, "*batch tokens heads head_dim"]) -> Float[Array, "..."]:
        """The features, NaN for elements of the batch whose mask is not honoured."""
        return features if self.honoured is None else jnp.where(self.honoured[..., None, None, None], features, jnp.nan)


def key_padding(
    mask: Num[Array, "..."], *, batch: tuple[int, ...], heads: int, queries: int, keys: int, causal: bool = False
) -> KeyPadding:
    """The visible keys of a Flax attention mask: [*batch, heads, queries, keys] -> [*batch, keys].

    QAMA selects tokens for the whole sequence, not for each query, so it can honour a mask that hides the same
    keys from every query and every head, and no other. Where keys are as many as queries, a token is hidden as
    both: the row of a hidden query may be all false, as `make_attention_mask(padding, padding)` has it.

    A traced mask cannot be checked before it is used, and no exception can depend on it: there, features become NaN
    where the mask asks for more than key padding (`KeyPadding.mark`).

    Args:
      mask: true (or 1) for visible keys, of a shape that broadcasts to [*batch, heads, queries, keys].
      batch: batch dimensions of the attention inputs.
      heads: H.
      queries: N.
      keys: M.
      causal: whether queries see no later keys anyway: then the mask may be causal, and pack sequences.

    Raises:
      ValueError: if the shape does not fit, or a mask whose values are known differs between queries or heads.
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
    if shape[-3:-1] == (1, 1):
        visible = jnp.asarray(mask).astype(bool).reshape(*shape[:-3], shape[-1])
        return KeyPadding(jnp.broadcast_to(visible, (*batch, keys)), None)

    known = is_concrete(mask)
    # Under jax.jit, even a constant is traced as soon as jnp touches it.
    xp = np if known else jnp
    full_mask = xp.asarray(mask).astype(bool).reshape(shape)
    visible, honoured = causal_segments(full_mask, xp) if causal and queries == keys else _separate(full_mask, keys)
    if not known:
        honoured = jnp.broadcast_to(honoured, batch)
    elif honoured.all():
        honoured = None
    else:
        raise ValueError(
            f"mask of shape {mask.shape} differs between heads or queries; QAMA selects tokens once for the whole "
            "sequence and supports key padding only, [*batch, 1, 1, keys]; with readout=qama_jax.MemoryReadout() also "
            "causal masks, and packed sequences. Use Flax's attention for local masks"
        )
    return KeyPadding(jnp.broadcast_to(visible, (*batch, keys)), honoured)


def _separate(mask: Bool[Any, "*batch #heads #queries #keys"], keys: int) -> tuple[Bool[Any, "..."], Bool[Any, "..."]]:
    """The keys that any query sees, and whether every query that is not hidden sees all of them."""
    visible = mask.any(axis=(-3, -2))
    as_visible = mask == visible[..., None, None, :]
    if mask.shape[-2] == keys:
        hidden_query = ~visible[..., None, :, None] & ~mask.any(axis=-1, keepdims=True)
        as_visible = as_visible | hidden_query
    return visible, as_visible.all(axis=(-3, -2, -1))
