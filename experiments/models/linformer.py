"""Linformer attention: keys and values projected along the tokens."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from experiments.models.attend import attend, visible_keys
from qama_jax.checks import check_count


@dataclasses.dataclass(frozen=True)
class Linformer:
    """Softmax attention over k learned mixtures of the tokens, equation (7): O(N k D).

        head = softmax(Q (E K)ᵀ / √D) F V,    E and F of k × N

    Each layer has one E and one F, shared by its heads, which the paper calls headwise sharing. They start as normal
    numbers of variance 1/k, as in its theorem 2. Hidden tokens are 0 in the mixtures.

    Args:
      length: N, the longest sequence; a shorter one takes the first columns of E and F.
      rank: k.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Wang et al., "Linformer: Self-Attention with Linear Complexity", arXiv:2006.04768.
    """

    length: int
    rank: int = 16

    def __post_init__(self):
        check_count(length=self.length, rank=self.rank)

    def layer(self, num_heads: int, in_features: int, *, rngs: nnx.Rngs, **settings: Any) -> nnx.MultiHeadAttention:
        """Flax's layer with this attention; an `AttentionFactory`."""
        attention = LowRankAttention(self, rngs=rngs)
        return nnx.MultiHeadAttention(num_heads, in_features, attention_fn=attention, rngs=rngs, **settings)


class LowRankAttention(nnx.Module):
    """The attention of a `Linformer`, with its two projections.

    Args:
      settings: length and rank.
      rngs: the stream `params`.
    """

    def __init__(self, settings: Linformer, *, rngs: nnx.Rngs):
        init = nnx.initializers.normal(settings.rank**-0.5)
        shape = (settings.rank, settings.length)
        self.key_projection = nnx.Param(init(rngs.params(), shape))
        self.value_projection = nnx.Param(init(rngs.params(), shape))

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        key: Float[Array, "*batch tokens heads head_dim"],
        value: Float[Array, "*batch tokens heads head_dim"],
        mask: Bool[Array, "*batch 1 1 tokens"] | None = None,
        **unused,
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """An `attention_fn` of Flax.

        Raises:
          ValueError: if the sequence is longer than the projections, or the mask is not one of padding.
        """
        del unused
        tokens = key.shape[-3]
        length = self.key_projection.shape[1]
        if tokens > length:
            raise ValueError(f"a Linformer of length={length} cannot see {tokens} tokens; make it with a larger length")
        seen = visible_keys(mask, tokens)[..., None, None]

        def mix(projection, x):
            return jnp.einsum("km,...mhd->...khd", projection[:, :tokens].astype(x.dtype), x * seen.astype(x.dtype))

        key, value = mix(self.key_projection[...], key), mix(self.value_projection[...], value)
        return attend(query, key, value, jnp.ones((1, 1, 1), bool))
