"""Rotary positions, for any attention layer of Flax NNX."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

_BASE = 10_000.0


class Rotary(nnx.Module):
    """A projection to heads, whose pairs of features turn by an angle for each token, faster or slower by pair.

    So queries and keys of a layer meet by how far they are apart. A decoder counts the tokens itself, after
    `init_cache`.

    Args:
      projection: the layer's own, to [*batch, tokens, heads, head_dim].

    References:
      Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864.
    """

    def __init__(self, projection: nnx.Module):
        self.projection = projection
        self.position = nnx.data(None)

    def init_cache(self) -> None:
        """Makes this projection one of a decoder, before its first token."""
        self.position = nnx.Cache(jnp.zeros((), jnp.int32))

    def __call__(
        self, inputs: Float[Array, "*batch tokens features"], **call
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """What the projection gives, turned."""
        x = self.projection(inputs, **call)
        positions = jnp.arange(x.shape[-3])
        if self.position is not None:
            positions = positions + self.position[...]
            self.position[...] += x.shape[-3]
        return rotate(x, positions)


def rotate(
    x: Float[Array, "*batch tokens heads head_dim"], positions: Int[Array, "tokens"]
) -> Float[Array, "*batch tokens heads head_dim"]:
    """The first and the second half of the features as coordinates in planes, turned by the positions.

    Raises:
      ValueError: if the number of features is odd.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"head_dim must be even for rotary positions, got {x.shape[-1]}")
    pairs = x.shape[-1] // 2
    angles = positions[:, None] * _BASE ** (-jnp.arange(pairs) / pairs)
    cosine, sine = (f(angles)[:, None].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
