"""BigBird attention: blocks of a window, global blocks and random ones."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from experiments.models.attend import attend, in_blocks, visible_keys
from qama_jax.checks import check_count


@dataclasses.dataclass(frozen=True)
class BigBird:
    """Softmax attention over the neighbours in a sparse graph, equation (1): O(N b (g + w + r) D).

    Section 2 and the appendix on the implementation: tokens come in blocks of b. A block sees the first g blocks, which
    are global and see all, the w blocks around it, itself included, and r of the others drawn at random, once for all
    inputs. This is the variant without additional tokens, which the paper calls internal.

    Args:
      block_size: b.
      num_global: g, may be 0.
      num_window: w, odd.
      num_random: r, may be 0.
      seed: of the random blocks.

    Raises:
      ValueError: if a setting is out of range, or the window not of an odd number of blocks.

    References:
      Zaheer et al., "Big Bird: Transformers for Longer Sequences", arXiv:2007.14062.
    """

    block_size: int = 8
    num_global: int = 1
    num_window: int = 3
    num_random: int = 1
    seed: int = 0

    def __post_init__(self):
        check_count(block_size=self.block_size, num_window=self.num_window)
        check_count(0, num_global=self.num_global, num_random=self.num_random)
        if self.num_window % 2 == 0:
            raise ValueError(f"num_window must be odd, so that a block is in the middle, got {self.num_window}")

    def layer(self, num_heads: int, in_features: int, **settings: Any) -> nnx.MultiHeadAttention:
        """Flax's layer with this attention; an `AttentionFactory`."""
        return nnx.MultiHeadAttention(num_heads, in_features, attention_fn=self, **settings)

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        key: Float[Array, "*batch tokens heads head_dim"],
        value: Float[Array, "*batch tokens heads head_dim"],
        mask: Bool[Array, "*batch 1 1 tokens"] | None = None,
        **unused,
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """An `attention_fn` of Flax. Hidden tokens are seen by none.

        Raises:
          ValueError: if the mask is not one of padding.
        """
        del unused
        tokens = query.shape[-3]
        seen = visible_keys(mask, tokens)
        block = min(self.block_size, tokens)
        blocks = -(-tokens // block)
        table, used = self.neighbours(blocks)

        def gather(x):
            x = in_blocks(x, blocks, block)[..., table, :, :, :]
            return x.reshape(*x.shape[:-4], -1, *x.shape[-2:])

        visible = gather(seen[..., None, None])[..., 0, 0] & jnp.asarray(used.repeat(block, axis=1))
        features = attend(in_blocks(query, blocks, block), gather(key), gather(value), visible[..., None, None, :])
        features = features.reshape(*query.shape[:-3], blocks * block, *query.shape[-2:])[..., :tokens, :, :]
        first = min(self.num_global * block, tokens)
        whole = attend(query[..., :first, :, :], key, value, seen[..., None, None, :])
        return jnp.concatenate([whole, features[..., first:, :, :]], axis=-3)

    def neighbours(self, blocks: int) -> tuple[Int[np.ndarray, "blocks seen"], Bool[np.ndarray, "blocks seen"]]:
        """For each block those that it sees, each once, and which of the entries count."""
        generator = np.random.default_rng(self.seed)
        reach = self.num_window // 2
        size = min(self.num_global + self.num_window + self.num_random, blocks)
        table, used = np.zeros((2, blocks, size), int)
        everywhere = np.arange(min(self.num_global, blocks))
        for index in range(blocks):
            window = np.arange(max(index - reach, 0), min(index + reach + 1, blocks))
            fixed = np.union1d(everywhere, window)
            others = np.setdiff1d(np.arange(blocks), fixed)
            drawn = generator.permutation(others)[: self.num_random]
            row = np.concatenate([fixed, drawn])
            table[index, : len(row)] = row
            used[index, : len(row)] = 1
        return table, used.astype(bool)
