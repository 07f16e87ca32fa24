"""SimpleViT: Beyer et al., "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

# Makes an attention layer from (num_heads, in_features, *, rngs); None leaves attention out of the block.
AttentionFactory = Callable[..., nnx.Module] | None


def sincos_positions(
    height: int, width: int, features: int, temperature: float = 10_000.0
) -> Float[np.ndarray, "tokens features"]:
    """Fixed two-dimensional sine-cosine position embedding, [height * width, features]."""
    if features % 4:
        raise ValueError(f"features must be a multiple of 4 for sine-cosine positions, got {features}")
    rows, columns = np.mgrid[:height, :width]
    frequencies = temperature ** -np.linspace(0.0, 1.0, features // 4)
    angles = [grid.reshape(-1, 1) * frequencies for grid in (columns, rows)]
    return np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1).astype(np.float32)


class Block(nnx.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, each with a residual connection."""

    def __init__(self, attention: AttentionFactory, num_heads: int, width: int, mlp_dim: int, *, rngs: nnx.Rngs):
        self.attention_norm = nnx.data(None if attention is None else nnx.LayerNorm(width, rngs=rngs))
        self.attention = nnx.data(None if attention is None else attention(num_heads, width, rngs=rngs))
        self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
        self.expand = nnx.Linear(width, mlp_dim, rngs=rngs)
        self.contract = nnx.Linear(mlp_dim, width, rngs=rngs)

    def __call__(self, x: Float[Array, "batch tokens width"], *, deterministic: bool, rngs: nnx.Rngs | None, sow: bool):
        if self.attention is not None:
            x = x + self.attention(
                self.attention_norm(x), deterministic=deterministic, rngs=rngs, decode=False, sow_weights=sow
            )
        return x + self.contract(nnx.gelu(self.expand(self.mlp_norm(x))))


class SimpleViT(nnx.Module):
    """Patches, fixed sine-cosine positions, pre-norm blocks, global average pooling, a linear head.

    Args:
      image_shape: (height, width, channels), the sides multiples of `patch_size`.
      patch_size: side of the square patches.
      num_classes: number of logits.
      width: features of a token.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_dim: hidden features of the perceptrons.
      attention: makes the attention layers; None leaves them out.
      rngs: the stream `params`.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        patch_size: int,
        num_classes: int,
        width: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        attention: AttentionFactory,
        rngs: nnx.Rngs,
    ):
        height, columns, channels = image_shape
        if height % patch_size or columns % patch_size:
            raise ValueError(f"patch_size={patch_size} must divide the image sides {height} and {columns}")
        self.grid = (height // patch_size, columns // patch_size)
        self.patch_size = patch_size
        self.embed = nnx.Linear(patch_size * patch_size * channels, width, rngs=rngs)
        self.blocks = nnx.List([Block(attention, num_heads, width, mlp_dim, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, num_classes, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    @property
    def num_tokens(self) -> int:
        """Length of the token sequence."""
        return math.prod(self.grid)

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
        sow: bool = False,
    ) -> Float[Array, "batch classes"]:
        """Logits. `rngs` feeds the annealers of QAMA layers unless deterministic; `sow` keeps their diagnostics."""
        x = self.embed(self._patches(images))
        x = x + sincos_positions(*self.grid, x.shape[-1])
        for block in self.blocks:
            x = block(x, deterministic=deterministic, rngs=rngs, sow=sow)
        return self.head(jnp.mean(self.norm(x), axis=1))

    def _patches(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch tokens pixels"]:
        batch, *_, channels = images.shape
        rows, columns = self.grid
        size = self.patch_size
        patches = images.reshape(batch, rows, size, columns, size, channels)
        return jnp.moveaxis(patches, 3, 2).reshape(batch, self.num_tokens, size * size * channels)


def count_parameters(model: nnx.Module) -> int:
    """Number of trainable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
