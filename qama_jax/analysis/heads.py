"""What the heads selected."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from qama_jax.problems.base import check_bits


def head_overlap(bits: Num[Array, "*batch heads tokens"]) -> Float[Array, "*batch heads heads"]:
    """Jaccard overlap of the selections of each two heads, `|A ∩ B| / |A ∪ B|`.

    It is 1 for equal selections, including two empty ones, so that the diagonal is 1. It is 0 for disjoint selections.

    Args:
      bits: [*batch, H, N], such as `AttentionDiagnostics.bits`, whose padded tokens no head selects.

    Raises:
      ValueError: if `bits` have no axes of heads and tokens, or other values than bits.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.head_overlap([[1, 1, 0], [0, 1, 0]]).tolist()
      [[1.0, 0.5], [0.5, 1.0]]
    """
    selected = _selection(bits)
    common = jnp.einsum("...tn,...un->...tu", selected, selected)
    size = jnp.sum(selected, axis=-1)
    union = size[..., :, None] + size[..., None, :] - common
    return jnp.where(union > 0, common / jnp.maximum(union, 1), 1)


def selection_density(
    bits: Num[Array, "*batch heads tokens"], mask: Bool[Array, "*batch tokens"] | None = None
) -> Float[Array, "*batch heads"]:
    """Share of the valid tokens that each head selects; 0 where no token is valid.

    Args:
      bits: [*batch, H, N].
      mask: bool [*batch, N], true for valid tokens; all are by default.

    Raises:
      ValueError: if `bits` have no axes of heads and tokens or other values than bits, or `mask` does not fit them.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.selection_density([[1, 1, 0, 0], [0, 1, 0, 0]]).tolist()
      [0.5, 0.25]
    """
    selected = _selection(bits)
    valid, count = _valid_tokens(selected, mask)
    return jnp.einsum("...tn,...n->...t", selected, valid) / count


def heads_per_token(
    bits: Num[Array, "*batch heads tokens"], mask: Bool[Array, "*batch tokens"] | None = None
) -> Float[Array, "*batch heads_plus_one"]:
    """Share of the valid tokens that exactly k heads select, for k = 0 to H; all 0 where no token is valid.

    The penalty of equation (3) is λ k (k - 1)/2 for each token: it moves tokens from k >= 2 to k = 1.

    Args:
      bits: [*batch, H, N].
      mask: bool [*batch, N], true for valid tokens; all are by default.

    Returns:
      [*batch, H + 1].

    Raises:
      ValueError: if `bits` have no axes of heads and tokens or other values than bits, or `mask` does not fit them.

    Example:
      >>> from qama_jax import analysis
      >>> analysis.heads_per_token([[1, 1, 0, 0], [0, 1, 0, 0]]).tolist()
      [0.5, 0.25, 0.25]
    """
    selected = _selection(bits)
    valid, count = _valid_tokens(selected, mask)
    heads = jax.nn.one_hot(jnp.sum(selected, axis=-2).astype(jnp.int32), selected.shape[-2] + 1, dtype=selected.dtype)
    return jnp.einsum("...nk,...n->...k", heads, valid) / count


def _selection(bits: Any) -> Float[Array, "*batch heads tokens"]:
    bits = jnp.asarray(bits)
    if bits.ndim < 2:
        raise ValueError(f"bits must be [*batch, heads, tokens], got shape {bits.shape}")
    check_bits(bits, "bits")
    return bits.astype(jnp.float32)


def _valid_tokens(
    selected: Float[Array, "*batch heads tokens"], mask: Any
) -> tuple[Float[Array, "*batch tokens"], Float[Array, "*batch 1"]]:
    """1 for valid tokens, and their number, at least 1."""
    shape = (*selected.shape[:-2], selected.shape[-1])
    valid = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask)
    if valid.shape != shape or valid.dtype != jnp.bool_:
        raise ValueError(
            f"mask must be boolean of shape {shape}, true for valid tokens, got {valid.dtype} {valid.shape}"
        )
    valid = valid.astype(selected.dtype)
    return valid, jnp.maximum(jnp.sum(valid, axis=-1, keepdims=True), 1)
