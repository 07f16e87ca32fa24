"""SimpleViT: Beyer et al., "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580."""

import math

import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float, Num

from experiments.models.block import AttentionFactory, Block
from experiments.models.positions import grid_positions


class SimpleViT(nnx.Module):
    """Patches, fixed sine-cosine positions, pre-norm blocks, global average pooling, a linear head.

    Args:
      image_shape: (height, width, channels), the sides multiples of `patch_size`.
      patch_size: side of the square patches.
      pool: rows and columns of patches whose embeddings are averaged to one token, before positions and blocks. Rows
        and columns that do not fill a window are left out, as average pooling without padding does.
      num_classes: number of logits.
      width: features of a token.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_dim: hidden features of the perceptrons.
      attention: makes the attention layers; None leaves them out.
      dtype: of embedding and blocks; None for float32, which parameters, the last norm and the head have in any case.
      pixel_mean: of each channel or of all, subtracted from the pixels.
      pixel_deviation: of each channel or of all, by which they are then divided.
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
        dtype: Dtype | None = None,
        pool: tuple[int, int] = (1, 1),
        pixel_mean: tuple[float, ...] = (0.0,),
        pixel_deviation: tuple[float, ...] = (1.0,),
        rngs: nnx.Rngs,
    ):
        height, columns, channels = image_shape
        if height % patch_size or columns % patch_size:
            raise ValueError(f"patch_size={patch_size} must divide the image sides {height} and {columns}")
        patches = (height // patch_size, columns // patch_size)
        if not all(1 <= window <= side for window, side in zip(pool, patches, strict=True)):
            raise ValueError(f"pool={pool} must be between 1 and the {patches} patches of an image")
        self.grid = (patches[0] // pool[0], patches[1] // pool[1])
        self.patch_size, self.pool = patch_size, pool
        self.pixel_mean, self.pixel_deviation = pixel_mean, pixel_deviation
        self.embed = nnx.Linear(patch_size * patch_size * channels, width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [Block(attention, num_heads, width, mlp_dim, dtype=dtype, rngs=rngs) for _ in range(depth)]
        )
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, num_classes, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    @property
    def num_tokens(self) -> int:
        """Length of the token sequence."""
        return math.prod(self.grid)

    def __call__(
        self,
        images: Num[Array, "batch height width channels"],
        *,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
        sow: bool = False,
    ) -> Float[Array, "batch classes"]:
        """Logits. `rngs` feeds the annealers of QAMA layers unless deterministic; `sow` keeps their diagnostics."""
        x = self.tokens(images)
        for block in self.blocks:
            x = block(x, deterministic=deterministic, rngs=rngs, sow=sow)
        return self.head(jnp.mean(self.norm(x), axis=1))

    def tokens(self, images: Num[Array, "batch height width channels"]) -> Float[Array, "batch tokens width"]:
        """What the first block gets: embedded patches, averaged in windows, with their positions."""
        pixels = (images.astype(jnp.float32) - jnp.array(self.pixel_mean)) / jnp.array(self.pixel_deviation)
        x = self._pooled(self.embed(self._patches(pixels)))
        return x + grid_positions(*self.grid, x.shape[-1]).astype(x.dtype)

    def _patches(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns pixels"]:
        batch, height, width, channels = images.shape
        size = self.patch_size
        patches = images.reshape(batch, height // size, size, width // size, size, channels)
        return jnp.moveaxis(patches, 3, 2).reshape(batch, height // size, width // size, size * size * channels)

    def _pooled(self, x: Float[Array, "batch rows columns features"]) -> Float[Array, "batch tokens features"]:
        (rows, columns), (height, width) = self.grid, self.pool
        x = x[:, : rows * height, : columns * width].reshape(len(x), rows, height, columns, width, -1)
        return jnp.mean(x, axis=(2, 4)).reshape(len(x), self.num_tokens, -1)
