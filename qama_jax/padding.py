"""Key-padding masks, from the mask layout of Flax."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Num


def key_padding_mask(mask: Num[Array, "..."], batch: tuple[int, ...], tokens: int) -> Bool[Array, "*batch tokens"]:
    """The valid tokens that a Flax attention mask leaves: [*batch, heads, queries, keys] -> [*batch, keys].

    QAMA selects tokens for the whole sequence, not for each query, so it can honour a mask that hides the same
    keys from every query and every head, and no other.

    Args:
      mask: true (or 1) for visible keys; the dimensions of heads, queries and batch may be 1.
      batch: batch dimensions of the attention inputs.
      tokens: N.

    Raises:
      ValueError: if the shape does not fit, or if the mask differs, or may differ, between queries or heads.
    """
    expected = (*batch, 1, 1, tokens)
    if mask.ndim != len(expected) or mask.shape[-1] != tokens:
        raise ValueError(
            f"mask must be [*batch, heads, queries, keys], here broadcastable to {expected}, got shape {mask.shape}; "
            "pass padding[..., None, None, :] where padding is true for valid tokens"
        )
    if mask.shape[-3:-1] != (1, 1):
        if isinstance(mask, jax.core.Tracer):
            raise ValueError(
                f"mask of shape {mask.shape} may differ between heads or queries, which cannot be checked under a "
                "transformation; pass a key-padding mask [*batch, 1, 1, keys]"
            )
        if not np.array_equal(mask, np.broadcast_to(mask[..., :1, :1, :], mask.shape)):
            raise ValueError(
                f"mask of shape {mask.shape} differs between heads or queries; QAMA selects tokens once for the whole "
                "sequence and supports key padding only, [*batch, 1, 1, keys]. Use nnx.MultiHeadAttention for causal "
                "or local masks"
            )
        mask = mask[..., :1, :1, :]
    padding = mask.reshape(*mask.shape[:-3], tokens)
    if any(size not in (1, full) for size, full in zip(padding.shape[:-1], batch, strict=True)):
        raise ValueError(f"mask has batch dimensions {padding.shape[:-1]}, the inputs have {batch}")
    return jnp.broadcast_to(padding.astype(bool), (*batch, tokens))
