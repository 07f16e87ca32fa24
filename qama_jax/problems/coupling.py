"""The couplings J of the attention Hamiltonian, equation (4), in the form that is smaller for their shape.

With Q and K standardised over the tokens, `J⁰ = Q (KᵀK) Qᵀ / (2D)` has rank D at most. Both forms hold the
normalised couplings `J = (J⁰ - μ)/σ` off the diagonal and 0 on it, where μ and σ are the mean and the standard
deviation of the off-diagonal J⁰ of a head. The full `J⁰` is positive semidefinite and, Q being centred, μ <= 0:
`J + diag(curvature)` with `curvature = (diag(J⁰) - μ)/σ` is positive semidefinite as well, which is what lets
`AttentionHamiltonian.descend` move every token at once.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qama_jax.problems.base import register_pytree

# Couplings whose spread is below this share of their size (the square root of it) are equal up to rounding.
_EQUAL_COUPLINGS = 1e-5


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class DenseCoupling:
    """J as a matrix for each head, for N <= 2D, where it is the smaller form.

    The summary that sequential solvers keep is the product J s itself.
    """

    matrix: Float[Array, "heads tokens tokens"]
    curvature: Float[Array, "heads tokens"]

    def product(self, x: Float[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        return _einsum("hm,hmn->hn", x, self.matrix)

    def to_matrix(self) -> Float[Array, "heads tokens tokens"]:
        return self.matrix

    summarize = product

    def product_at(
        self, summary: Float[Array, "heads tokens"], bits: Float[Array, "heads"], tokens: Int[Array, "heads"]
    ) -> Float[Array, "heads"]:
        return jnp.take_along_axis(summary, tokens[:, None], axis=1)[:, 0]

    def update(
        self, summary: Float[Array, "heads tokens"], tokens: Int[Array, "heads"], change: Float[Array, "heads"]
    ) -> Float[Array, "heads tokens"]:
        return summary + change[:, None] * _rows(self.matrix, tokens)


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class LowRankCoupling:
    """J by its factors, for N > 2D: `J s = (Qᵀs) · P/σ - (μ/σ) Σs - curvature · s` with `P = Q KᵀK/(2D)`.

    Memory, products and flips cost O(N D), O(N D) and O(D) a head; N×N never exists. The summary that sequential
    solvers keep is `Qᵀs` and `Σs`, D + 1 numbers a head.
    """

    query: Float[Array, "heads tokens head_dim"]
    projected: Float[Array, "heads head_dim tokens"]
    shift: Float[Array, "heads 1"]
    curvature: Float[Array, "heads tokens"]
    valid: Float[Array, "tokens"] | None

    def product(self, x: Float[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        projection, total = self.summarize(x)
        full = _einsum("hd,hdn->hn", projection, self.projected) - self.shift * total[:, None]
        return self._where_valid(full) - self.curvature * x

    def to_matrix(self) -> Float[Array, "heads tokens tokens"]:
        identity = jnp.eye(self.query.shape[1], dtype=self.query.dtype)
        every_token = jnp.broadcast_to(identity, (self.query.shape[0], *identity.shape))
        return jax.vmap(self.product, in_axes=1, out_axes=1)(every_token)

    def summarize(self, x: Float[Array, "heads tokens"]) -> tuple[Float[Array, "heads head_dim"], Float[Array, "heads"]]:
        return _einsum("hn,hnd->hd", x, self.query), jnp.sum(self._where_valid(x), axis=-1)

    def product_at(self, summary: Any, bits: Float[Array, "heads"], tokens: Int[Array, "heads"]) -> Float[Array, "heads"]:
        projection, total = summary
        projected = _rows(jnp.swapaxes(self.projected, 1, 2), tokens)
        curvature = jnp.take_along_axis(self.curvature, tokens[:, None], axis=1)[:, 0]
        return jnp.sum(projected * projection, axis=-1) - self.shift[:, 0] * total - curvature * bits

    def update(self, summary: Any, tokens: Int[Array, "heads"], change: Float[Array, "heads"]) -> Any:
        projection, total = summary
        return projection + change[:, None] * _rows(self.query, tokens), total + change

    def _where_valid(self, values: Float[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        return values if self.valid is None else values * self.valid[None]


def make_coupling(
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    mask: Bool[Array, "tokens"] | None,
) -> DenseCoupling | LowRankCoupling:
    """Normalised couplings of standardised queries and keys, zero outside `mask`."""
    tokens, _, head_dim = query.shape
    query, key = jnp.swapaxes(query, 0, 1), jnp.swapaxes(key, 0, 1)
    valid = jnp.ones(tokens, query.dtype) if mask is None else mask.astype(query.dtype)
    count = jnp.sum(valid)
    pairs = jnp.maximum(count * (count - 1), 1)
    if tokens <= 2 * head_dim:
        return _dense(query, key, valid, pairs)
    return _low_rank(query, key, valid, pairs, padded=mask is not None)


def _dense(query, key, valid, pairs) -> DenseCoupling:
    # J⁰ = A Aᵀ/(2D): two products forward and three backward, against three and five through KᵀK.
    scores = _einsum("hnd,hmd->hnm", query, key) / math.sqrt(2 * query.shape[-1])
    raw = _einsum("hnm,hkm->hnk", scores, scores)
    off_diagonal = ((1 - jnp.eye(valid.size, dtype=valid.dtype)) * valid[:, None] * valid[None])[None]
    mean = jnp.sum(raw * off_diagonal, axis=(1, 2), keepdims=True) / pairs
    centred = (raw - mean) * off_diagonal
    variance = jnp.sum(centred**2, axis=(1, 2), keepdims=True) / pairs
    inverse = _inverse_deviation(variance, variance + mean**2)
    curvature = valid[None] * (jnp.diagonal(raw, axis1=1, axis2=2) - mean[..., 0]) * inverse[..., 0]
    return DenseCoupling(centred * inverse, curvature)


def _low_rank(query, key, valid, pairs, padded) -> LowRankCoupling:
    gram = _einsum("hnd,hne->hde", key, key) / (2 * query.shape[-1])
    second_moment = _einsum("hnd,hne->hde", query, query)
    projected = _einsum("hed,hne->hdn", gram, query)
    diagonal = jnp.sum(jnp.swapaxes(projected, 1, 2) * query, axis=-1)
    # Q is centred, so the couplings of a token with all, itself included, sum to 0.
    mean = -jnp.sum(diagonal, axis=-1, keepdims=True) / pairs
    mixed = _einsum("hde,hef->hdf", gram, second_moment)
    total_square = jnp.sum(mixed * jnp.swapaxes(mixed, 1, 2), axis=(1, 2))[:, None] / pairs
    variance = total_square - jnp.sum(diagonal**2, axis=-1, keepdims=True) / pairs - mean**2
    inverse = _inverse_deviation(variance, total_square)
    curvature = valid[None] * (diagonal - mean) * inverse
    return LowRankCoupling(query, projected * inverse[..., None], mean * inverse, curvature, valid if padded else None)


def _inverse_deviation(variance: Float[Array, "..."], mean_square: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/σ, and 0 where all couplings are equal: they then prefer no pair of tokens to another."""
    equal = variance <= _EQUAL_COUPLINGS * jax.lax.stop_gradient(mean_square)
    return jnp.where(equal, 0, jax.lax.rsqrt(jnp.where(equal, 1, variance)))


def _rows(array: Float[Array, "heads rows width"], indices: Int[Array, "heads"]) -> Float[Array, "heads width"]:
    return jnp.take_along_axis(array, indices[:, None, None], axis=1)[:, 0]


def _einsum(subscripts: str, *operands: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)
