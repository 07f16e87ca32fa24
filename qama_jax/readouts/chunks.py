"""Sequences cut into chunks, each a problem of its own."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qama_jax.lengths import at_most, larger_of
from qama_jax.readouts.base import ChunkedReadout


def into_chunks(
    readout: ChunkedReadout,
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    value: Float[Array, "tokens heads head_dim"],
    segments: Int[Array, "tokens"] | Bool[Array, "tokens"] | None,
    asking: Bool[Array, "tokens"] | None,
) -> tuple[Array, Array, Array, Bool[Array, "chunks size"] | None, Bool[Array, "chunks size"] | None]:
    """The problems of one sequence: queries, keys and values [chunks, size, heads, head_dim], and masks of both.

    A last chunk that is short is padded. Where several segments meet in a chunk, its problem holds only the last of
    them: the chunk is remembered for tokens of later chunks, and these belong to no earlier segment.

    Raises:
      ValueError: if the numbers of keys and queries differ.
    """
    tokens = query.shape[0]
    if key.shape[0] != tokens:
        raise ValueError(
            f"{type(readout).__name__} needs as many keys as queries, {tokens}, got {key.shape[0]}: chunks are parts "
            "of one sequence; for cross-attention use qama_jax.SelectedKeysReadout() or qama_jax.LinearReadout()"
        )
    count, size = readout.chunks(tokens)
    padding = larger_of(count * size - tokens, 0)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))[: count * size]
        return x.reshape(count, size, *x.shape[1:])

    if segments is None and not at_most(padding, 0):
        segments = jnp.ones(tokens, bool)
    tensors, asking = (cut(query), cut(key), cut(value)), None if asking is None else cut(asking)
    if segments is None:
        return *tensors, None, asking
    segments = cut(segments.astype(jnp.int32))
    mask = (segments > 0) & (segments == jnp.max(segments, axis=1, keepdims=True))
    return *tensors, mask, asking
