"""The transformer block of all models, with attention as an argument."""

from collections.abc import Callable

from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Bool, Float

# Makes an attention layer from (num_heads, in_features, *, rngs), and from a dtype where the block has one; None leaves
# attention out of the block.
AttentionFactory = Callable[..., nnx.Module] | None


class Block(nnx.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, each with a residual connection.

    It computes in `dtype`, statistics of the norms apart; None for that of inputs and parameters.
    """

    def __init__(
        self,
        attention: AttentionFactory,
        num_heads: int,
        width: int,
        mlp_dim: int,
        *,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        settings = {"rngs": rngs} if dtype is None else {"dtype": dtype, "rngs": rngs}
        self.attention_norm = nnx.data(None if attention is None else nnx.LayerNorm(width, dtype=dtype, rngs=rngs))
        self.attention = nnx.data(None if attention is None else attention(num_heads, width, **settings))
        self.mlp_norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.expand = nnx.Linear(width, mlp_dim, dtype=dtype, rngs=rngs)
        self.contract = nnx.Linear(mlp_dim, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch 1 1 tokens"] | None = None,
        *,
        deterministic: bool,
        rngs: nnx.Rngs | None,
        sow: bool,
    ) -> Float[Array, "batch tokens width"]:
        """`mask` is False where a token is padding."""
        if self.attention is not None:
            x = x + self.attention(
                self.attention_norm(x), mask=mask, deterministic=deterministic, rngs=rngs, decode=False, sow_weights=sow
            )
        return x + self.contract(nnx.gelu(self.expand(self.mlp_norm(x))))
