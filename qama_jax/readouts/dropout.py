"""Dropout of the weights that a read-out gives to tokens."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


@functools.partial(jax.tree_util.register_dataclass, data_fields=["key"], meta_fields=["rate", "broadcast"])
@dataclasses.dataclass(frozen=True)
class Dropout:
    """Drops entries with probability `rate` and divides the others by `1 - rate`, as softmax attention does.

    Attributes:
      key: typed PRNG key.
      rate: probability, at least 0 and below 1.
      broadcast: whether all heads, and all elements of the batch, which then share `key`, drop the same entries.
    """

    key: Key[Array, ""]
    rate: float
    broadcast: bool

    def split(self) -> tuple["Dropout", "Dropout"]:
        """Two that drop entries independently of each other."""
        one, other = (dataclasses.replace(self, key=key) for key in jax.random.split(self.key))
        return one, other

    def factors(self, shape: tuple[int, ...], head_axis: int, dtype: jnp.dtype) -> Float[Array, "..."]:
        """The factors for weights of this shape, each 0 or 1 / (1 - rate)."""
        sizes = list(shape)
        if self.broadcast:
            sizes[head_axis] = 1
        return jax.random.bernoulli(self.key, 1 - self.rate, sizes).astype(dtype) / (1 - self.rate)
