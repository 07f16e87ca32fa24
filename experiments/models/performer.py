"""Performer attention: softmax by positive orthogonal random features, FAVOR+."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from experiments.models.attend import visible_keys
from qama_jax.checks import check_count

# Added to every feature, as in the authors' code, so that no sum of them is 0.
_STABILISER = 1e-6


@dataclasses.dataclass(frozen=True)
class Performer:
    """Linear attention whose features have softmax's kernel on average, lemma 1: O(N m D).

        exp(q·k/√D) = E φ(q)·φ(k),    φ(x) = exp(ω·x' − |x'|²/2) / √m for m random directions ω,    x' = x / D^¼

    The directions are orthogonal in groups of D, with the lengths of normal vectors, section 2.4. They are drawn once,
    not anew from time to time as the paper suggests for long training.

    Args:
      num_features: m.
      seed: of the directions.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Choromanski et al., "Rethinking Attention with Performers", arXiv:2009.14794.
    """

    num_features: int = 32
    seed: int = 0

    def __post_init__(self):
        check_count(num_features=self.num_features)

    def layer(self, num_heads: int, in_features: int, **settings: Any) -> nnx.MultiHeadAttention:
        """Flax's layer with this attention; an `AttentionFactory`."""
        return nnx.MultiHeadAttention(num_heads, in_features, attention_fn=self, **settings)

    def __call__(
        self,
        query: Float[Array, "*batch queries heads head_dim"],
        key: Float[Array, "*batch keys heads head_dim"],
        value: Float[Array, "*batch keys heads head_dim"],
        mask: Bool[Array, "*batch 1 1 keys"] | None = None,
        **unused,
    ) -> Float[Array, "*batch queries heads head_dim"]:
        """An `attention_fn` of Flax. Hidden tokens are seen by none.

        Raises:
          ValueError: if the mask is not one of padding.
        """
        del unused
        seen = visible_keys(mask, key.shape[-3])[..., None, None]
        directions = jnp.asarray(self.directions(query.shape[-1]), query.dtype)

        def exponents(x):
            x = x / x.shape[-1] ** 0.25
            return x @ directions.T - jnp.sum(x**2, axis=-1, keepdims=True) / 2

        # A factor of a query's features, or of all keys', cancels; the largest is made 1.
        query, key = exponents(query), jnp.where(seen, exponents(key), -jnp.inf)
        largest = jnp.max(key, axis=(-3, -1), keepdims=True)
        key = jnp.exp(key - stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0)))
        key = key + _STABILISER * seen.astype(key.dtype)
        query = jnp.exp(query - stop_gradient(jnp.max(query, axis=-1, keepdims=True))) + _STABILISER

        total = jnp.einsum("...nhm,...hm->...nh", query, jnp.sum(key, axis=-3))
        features = jnp.einsum("...nhm,...hmd->...nhd", query, jnp.einsum("...nhm,...nhd->...hmd", key, value))
        return features / jnp.where(total > 0, total, 1)[..., None]

    def directions(self, head_dim: int) -> Float[np.ndarray, "features head_dim"]:
        """Groups of orthogonal directions, each with the length of an independent normal vector."""
        generator = np.random.default_rng(self.seed)
        groups = -(-self.num_features // head_dim)
        normal = generator.standard_normal((groups, head_dim, head_dim))
        rotation, triangle = np.linalg.qr(normal)
        # A rotation is uniform where the other factor has a positive diagonal.
        rotation = rotation * np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None]
        orthogonal = rotation.reshape(-1, head_dim)[: self.num_features]
        lengths = np.linalg.norm(generator.standard_normal((self.num_features, head_dim)), axis=1)
        return orthogonal * lengths[:, None]
