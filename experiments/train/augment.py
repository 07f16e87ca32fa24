"""Images cropped and mirrored at random, on the device."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

_SHIFT_SHARE = 8
# Of what they show, the mirror image is of the same class.
DATASETS = ("cifar10", "fashion_mnist", "cifar10_pixels")


def crop_and_mirror(key: jax.Array, images: Num[Array, "batch *shape"]) -> Num[Array, "batch *shape"]:
    """Every image moved by up to an eighth of its sides, its border reflected, and mirrored with probability 1/2.

    Args:
      key: of the random numbers.
      images: [batch, height, width, channels], or pixels of square images as sequences [batch, tokens].
    """
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        return crop_and_mirror(key, images.reshape(-1, side, side, 1)).reshape(images.shape)
    count, height, width, _ = images.shape
    most = jnp.array([height // _SHIFT_SHARE, width // _SHIFT_SHARE])
    shift_key, mirror_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (count, 2), -most, most + 1)
    mirrored = jax.random.bernoulli(mirror_key, shape=(count,))

    def move(image, shift, mirror):
        rows = _reflected(jnp.arange(height) + shift[0], height)
        columns = _reflected(jnp.arange(width) + shift[1], width)
        columns = jnp.where(mirror, columns[::-1], columns)
        return image[rows][:, columns]

    return jax.vmap(move)(images, shifts, mirrored)


def _reflected(places: jax.Array, size: int) -> jax.Array:
    """Places outside of 0 to size - 1, mirrored at the last ones within."""
    return size - 1 - jnp.abs(size - 1 - jnp.abs(places))
