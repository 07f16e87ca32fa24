"""SimpleViT: Beyer et al., "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from experiments.models.block import AttentionFactory, Block
from experiments.models.positions import grid_positions


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
        pixel_mean: tuple[float, ...] = (0.0,),
        pixel_deviation: tuple[float, ...] = (1.0,),
        rngs: nnx.Rngs,
    ):
        height, columns, channels = image_shape
        if height % patch_size or columns % patch_size:
            raise ValueError(f"patch_size={patch_size} must divide the image sides {height} and {columns}")
        self.grid = (height // patch_size, columns // patch_size)
        self.patch_size = patch_size
        self.pixel_mean, self.pixel_deviation = pixel_mean, pixel_deviation
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
        """What the first block gets: embedded patches with their positions."""
        pixels = (images.astype(jnp.float32) - jnp.array(self.pixel_mean)) / jnp.array(self.pixel_deviation)
        x = self.embed(self._patches(pixels))
        return x + grid_positions(*self.grid, x.shape[-1])

    def _patches(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch tokens pixels"]:
        batch, *_, channels = images.shape
        rows, columns = self.grid
        size = self.patch_size
        patches = images.reshape(batch, rows, size, columns, size, channels)
        return jnp.moveaxis(patches, 3, 2).reshape(batch, self.num_tokens, size * size * channels)
