"""A decoder-only language model, with attention as an argument."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from experiments.models.block import AttentionFactory
from experiments.models.rotary import Rotary

BYTES = 256


class LanguageModel(nnx.Module):
    """Embedding, pre-norm blocks of causal attention with rotary positions, a linear head.

    Args:
      width: features of a token.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_dim: hidden features of the perceptrons.
      attention: makes the attention layers.
      vocabulary: number of ids; by default bytes.
      rngs: the stream `params`.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        attention: AttentionFactory,
        vocabulary: int = BYTES,
        rngs: nnx.Rngs,
    ):
        self.width = width
        self.embed = nnx.Embed(vocabulary, width, rngs=rngs)
        self.blocks = nnx.List([CausalBlock(attention, num_heads, width, mlp_dim, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, vocabulary, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(
        self,
        ids: Int[Array, "batch tokens"] | Int[Array, "batch tokens parts"],
        *,
        decode: bool = False,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Logits of each next id. `decode` takes one id more of a text, after `init_cache`.

        A token may have several parts, ids whose embeddings are summed.
        """
        x = self.embed(ids.astype(jnp.int32))
        if ids.ndim == 3:
            x = jnp.sum(x, axis=2)
        for block in self.blocks:
            x = block(x, decode=decode, deterministic=deterministic, rngs=rngs)
        return self.head(self.norm(x))

    def init_cache(self, batch: int, length: int) -> None:
        """Makes this model a decoder of so many texts, of at most so many tokens where attention keeps them all."""
        for block in self.blocks:
            block.attention.init_cache((batch, length, self.width))
            block.attention.query.init_cache()
            block.attention.key.init_cache()


class CausalBlock(nnx.Module):
    """Pre-norm transformer block: causal attention, then a perceptron, each with a residual connection."""

    def __init__(self, attention: AttentionFactory, num_heads: int, width: int, mlp_dim: int, *, rngs: nnx.Rngs):
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = attention(num_heads, width, rngs=rngs)
        self.attention.query = Rotary(self.attention.query)
        self.attention.key = Rotary(self.attention.key)
        self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
        self.expand = nnx.Linear(width, mlp_dim, rngs=rngs)
        self.contract = nnx.Linear(mlp_dim, width, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch tokens width"], *, decode: bool, deterministic: bool, rngs: nnx.Rngs | None
    ) -> Float[Array, "batch tokens width"]:
        x = x + self.attention(
            self.attention_norm(x), decode=decode, is_causal=not decode, deterministic=deterministic, rngs=rngs
        )
        return x + self.contract(nnx.gelu(self.expand(self.mlp_norm(x))))
