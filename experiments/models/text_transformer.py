"""A text transformer, the paper's language model, with attention as an argument."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from experiments.models.block import AttentionFactory, Block
from experiments.models.positions import sequence_positions


class TextTransformer(nnx.Module):
    """Token embedding, fixed sine-cosine positions, pre-norm blocks, mean over the tokens, a linear head.

    Args:
      vocabulary: number of token ids; id 0 is padding, which no attention and no mean sees.
      num_classes: number of logits.
      width: features of a token.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_dim: hidden features of the perceptrons.
      attention: makes the attention layers; None leaves them out.
      dtype: of embedding and blocks; None for float32, which parameters, the last norm and the head have in any case.
      rngs: the stream `params`.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        num_classes: int,
        width: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        attention: AttentionFactory,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        self.embed = nnx.Embed(vocabulary, width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [Block(attention, num_heads, width, mlp_dim, dtype=dtype, rngs=rngs) for _ in range(depth)]
        )
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, num_classes, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(
        self,
        ids: Int[Array, "batch tokens"],
        *,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
        sow: bool = False,
    ) -> Float[Array, "batch classes"]:
        """Logits. `rngs` feeds the annealers of QAMA layers unless deterministic; `sow` keeps their diagnostics."""
        valid = ids != 0
        x = self.embed(ids.astype(jnp.int32))
        x = x + sequence_positions(np.arange(x.shape[1]), x.shape[2]).astype(x.dtype)
        for block in self.blocks:
            x = block(x, valid[:, None, None, :], deterministic=deterministic, rngs=rngs, sow=sow)
        x = self.norm(x)
        weights = valid[..., None].astype(x.dtype)
        mean = jnp.sum(x * weights, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), 1)
        return self.head(mean)
