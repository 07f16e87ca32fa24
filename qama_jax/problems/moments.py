"""What couplings of long sequences are made of: standardised queries, and second moments of queries and keys.

With one head, x_i the features of token i and n the number of valid tokens, standardisation is an affine map of each
feature, `x̂ = (x - m)/s`. Every sum over tokens is one of blocks of tokens:

* a sweep for the mean, and one for `C = Σ (x - m)(x - m)ᵀ`, which has s² = C_dd / n on its diagonal, so that
  `Σ x̂ x̂ᵀ = C_de / (s_d s_e)` takes no sweep. This gives `G = K̂ᵀK̂/(2D)` and `S = Q̂ᵀQ̂`;
* a sweep that stores Q̂ᵀ and the quadratic forms `d_i = q̂_iᵀ G q̂_i`.

The cotangents of `Q̂, d, G, S`, written with bars, give those of q and k through

    c_i = q̄̂_i + 2 d̄_i G q̂_i + (S̄ + S̄ᵀ) q̂_i,          q̄_i = (c_i - mean(c) - q̂_i mean(q̂ c)) / s
    M = (Ḡ' + Ḡ'ᵀ)/(2D),  Ḡ' = Ḡ + W,  W = Σ d̄_i q̂_i q̂_iᵀ,    k̄_j = (M - diag(mean(k̂ · M k̂))) k̂_j / s

with means over tokens, feature by feature. They need no sweep of their own over c, which no array holds:

    n mean(c) = Σ q̄̂_i + 2 G Σ d̄_i q̂_i,     n mean(q̂ c) = Σ q̂_i q̄̂_i + diag(2 G W + (S̄ + S̄ᵀ) S)
    n mean(k̂ · M k̂) = diag(M K̂ᵀK̂)

as standardised features sum to 0. So one sweep gives W and the sums, and one each the cotangents of q and k.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.batching import constant_like
from qama_jax.problems.normalization import inverse_deviation, power_of_two
from qama_jax.problems.token_blocks import by_platform, put, sweep, take

_Mask = Bool[Array, "tokens"] | None


class Moments(NamedTuple):
    """Standardised queries, and second moments.

    Attributes:
      query: Q̂, in the order of the queries, so that cotangents come in it too; it is stored as Q̂ᵀ, and a transposition
        to [heads, head_dim, tokens] moves nothing.
      forms: `q̂_iᵀ gram q̂_i`.
      gram: `K̂ᵀK̂ / (2D)`.
      query_gram: `Q̂ᵀQ̂`.
    """

    query: Float[Array, "tokens heads head_dim"]
    forms: Float[Array, "heads tokens"]
    gram: Float[Array, "heads head_dim head_dim"]
    query_gram: Float[Array, "heads head_dim head_dim"]


class _Standard(NamedTuple):
    """How features are standardised, `((scale x - centre) - rest) inverse`, and their Gram matrix when they are.

    The scale is a power of two, the centre their mean up to rounding, and `rest` what rounding leaves of it.
    """

    scale: Float[Array, "heads head_dim"]
    centre: Float[Array, "heads head_dim"]
    rest: Float[Array, "heads head_dim"]
    inverse: Float[Array, "heads head_dim"]
    gram: Float[Array, "heads head_dim head_dim"]


@jax.custom_vjp
def moments(
    query: Float[Array, "tokens heads head_dim"], key: Float[Array, "keys heads head_dim"], mask: _Mask, key_mask: _Mask
) -> Moments:
    """The `Moments` of queries and keys that are not standardised; tokens outside their mask enter nothing."""
    return _forward(query, key, mask, key_mask)[0]


def _forward(query, key, mask, key_mask):
    of_key = by_platform(_standard, key.shape, key, key_mask)
    of_query = by_platform(_standard, query.shape, query, mask)
    gram = of_key.gram / (2 * query.shape[2])
    standardized, forms = by_platform(_forms, query.shape, query, mask, of_query, gram)
    made = Moments(jnp.transpose(standardized, (2, 0, 1)), forms, gram, of_query.gram)
    return made, (query, key, mask, key_mask, of_query, of_key, gram)


def _backward(residuals, cotangents):
    query, key, mask, key_mask, of_query, of_key, gram = residuals
    tokens, _, head_dim = query.shape
    of_values, of_forms = cotangents.query, cotangents.forms.T
    sums = by_platform(_sums, query.shape, query, mask, of_query, of_values, of_forms)
    symmetric = cotangents.query_gram + jnp.swapaxes(cotangents.query_gram, 1, 2)
    count = _count(tokens, mask, query.dtype)
    mean = (sums.cotangent + 2 * _einsum("hde,he->hd", gram, sums.query)) / count
    of_moments = 2 * _diagonal_of_product(gram, sums.squares) + _diagonal_of_product(symmetric, of_query.gram)
    mean_product = (sums.product + of_moments) / count
    slope = of_query.inverse * of_query.scale
    # What q̂ is multiplied by: weighted by d̄, and as it is.
    by_form = 2 * gram * slope[:, None]
    plain = (symmetric - _diagonal(mean_product)) * slope[:, None]
    arguments = query, mask, of_query, of_values, of_forms, slope, mean, by_form, plain
    query_cotangent = by_platform(_query_cotangents, query.shape, *arguments)

    of_gram = cotangents.gram + sums.squares
    matrix = (of_gram + jnp.swapaxes(of_gram, 1, 2)) / (2 * head_dim)
    mean_product = _diagonal_of_product(matrix, of_key.gram) / _count(key.shape[0], key_mask, key.dtype)
    matrix = (matrix - _diagonal(mean_product)) * (of_key.inverse * of_key.scale)[:, None]
    key_cotangent = by_platform(_key_cotangents, key.shape, key, key_mask, of_key, matrix)
    return query_cotangent, key_cotangent, None, None


moments.defvjp(_forward, _backward)


def _standard(block: Any, x: Float[Array, "tokens heads head_dim"], mask: _Mask) -> _Standard:
    tokens, heads, head_dim = x.shape
    count = _count(tokens, mask, x.dtype)
    zeros = jnp.zeros((heads, head_dim), x.dtype)
    detached = jax.lax.stop_gradient(x)

    def size_and_mean(carry, start, size):
        largest, mean = carry
        values = _valid(take(detached, start, size, 0), mask, start, size)
        # Weights of the sum, and no division of it, so that it stays in range; so does the product with them, where
        # XLA takes up to twenty times longer on CPUs for a sum of what is computed on the way.
        weights = constant_like(values[:, 0, 0], 1) / count
        return jnp.maximum(largest, jnp.max(jnp.abs(values), axis=0)), mean + _einsum("t,thd->hd", weights, values)

    largest, mean = sweep(size_and_mean, (zeros, zeros), tokens, block)
    scale = power_of_two(largest)
    centre = mean * scale

    def second_moments(carry, start, size):
        gram, total = carry
        values = jnp.swapaxes(_valid(take(x, start, size, 0) * scale[None] - centre[None], mask, start, size), 0, 1)
        return jax.tree.map(jnp.add, (gram, total), products_and_sum(values, values))

    gram, total = sweep(second_moments, (jnp.zeros((heads, head_dim, head_dim), x.dtype), zeros), tokens, block)
    rest = total / count
    gram = gram - rest[..., None] * total[:, None]
    inverse = inverse_deviation(jnp.diagonal(gram, axis1=1, axis2=2) / count, centre)
    return _Standard(scale, centre, rest, inverse, gram * inverse[..., None] * inverse[:, None])


def _forms(block, query, mask, standard, gram):
    """Q̂ᵀ and `q̂_iᵀ gram q̂_i`."""
    tokens, heads, head_dim = query.shape

    def step(carry, start, size):
        standardized, forms = carry
        values = jnp.swapaxes(_standardized(query, mask, standard, start, size), 0, 1)
        products = _einsum("htd,hde->hte", values, gram) * values
        form = _einsum("hte,he->ht", products, constant_like(products[:, 0], 1))
        return put(standardized, jnp.swapaxes(values, 1, 2), start, 2), put(forms, form, start, 1)

    start = jnp.zeros((heads, head_dim, tokens), query.dtype), jnp.zeros((heads, tokens), query.dtype)
    return sweep(step, start, tokens, block)


class _Sums(NamedTuple):
    """Over tokens: of `d̄ q̂ q̂ᵀ`, `d̄ q̂`, `q̄̂` and `q̂ q̄̂`."""

    squares: Float[Array, "heads head_dim head_dim"]
    query: Float[Array, "heads head_dim"]
    cotangent: Float[Array, "heads head_dim"]
    product: Float[Array, "heads head_dim"]


def _sums(block, query, mask, standard, of_values, of_forms):
    tokens, heads, head_dim = query.shape

    def step(sums, start, size):
        values = _standardized(query, mask, standard, start, size)
        cotangent, of_form = _valid(take(of_values, start, size, 0), mask, start, size), take(of_forms, start, size, 0)
        ones = constant_like(values[:, 0, 0], 1)
        by_head = jnp.swapaxes(values, 0, 1)
        weighted = by_head * of_form.T[..., None]
        found = _Sums(
            *products_and_sum(weighted, by_head),
            _einsum("t,thd->hd", ones, cotangent),
            _einsum("t,thd->hd", ones, values * cotangent),
        )
        return jax.tree.map(jnp.add, sums, found)

    zeros = jnp.zeros((heads, head_dim), query.dtype)
    return sweep(step, _Sums(jnp.zeros((heads, head_dim, head_dim), query.dtype), zeros, zeros, zeros), tokens, block)


def _query_cotangents(block, query, mask, standard, of_values, of_forms, slope, mean, by_form, plain):
    """`slope (c - mean(c) - q̂ mean(q̂ c))`, the terms in q̂ being products with the two matrices."""

    def step(result, start, size):
        values = jnp.swapaxes(_standardized(query, mask, standard, start, size), 0, 1)
        weighted = values * take(of_forms, start, size, 0).T[..., None]
        products = _einsum("htd,hde->hte", weighted, by_form) + _einsum("htd,hde->hte", values, plain)
        found = jnp.swapaxes(products, 0, 1) + slope[None] * (take(of_values, start, size, 0) - mean[None])
        return put(result, _valid(found, mask, start, size), start, 0)

    return sweep(step, jnp.zeros_like(query), query.shape[0], block)


def _key_cotangents(block, key, mask, standard, matrix):
    """`matrix k̂`, for each token."""

    def step(result, start, size):
        values = jnp.swapaxes(_standardized(key, mask, standard, start, size), 0, 1)
        return put(result, jnp.swapaxes(_einsum("htd,hde->hte", values, matrix), 0, 1), start, 0)

    return sweep(step, jnp.zeros_like(key), key.shape[0], block)


_Rows = Float[Array, "heads tokens head_dim"]
_Sum = tuple[Float[Array, "heads head_dim head_dim"], Float[Array, "heads head_dim"]]


def products_and_sum(x: _Rows, y: _Rows) -> _Sum:
    """`Σ x yᵀ` and `Σ x` over the tokens of each head."""
    return jax.lax.platform_dependent(x, y, tpu=in_one_product, default=in_two_products)


def in_one_product(x: _Rows, y: _Rows) -> _Sum:
    """The same by a column of ones: TPUs pad 64 columns to 128, and sum within a product faster than beside it."""
    products = _einsum("htd,hte->hde", x, jnp.concatenate([y, constant_like(y[:, :, :1], 1)], axis=2))
    return products[:, :, :-1], products[:, :, -1]


def in_two_products(x: _Rows, y: _Rows) -> _Sum:
    """The same without a copy of `y`."""
    return _einsum("htd,hte->hde", x, y), _einsum("ht,htd->hd", constant_like(y[:, :, 0], 1), x)


def _standardized(x, mask, standard, start, size):
    """A block of standardised features."""
    values = take(x, start, size, 0) * standard.scale[None] - standard.centre[None]
    return _valid((values - standard.rest[None]) * standard.inverse[None], mask, start, size)


def _count(tokens: Any, mask: _Mask, dtype: Any) -> Float[Array, ""]:
    """Number of valid tokens, at least 1."""
    return jnp.asarray(tokens, dtype) if mask is None else jnp.maximum(jnp.sum(mask.astype(dtype)), 1)


def _valid(values, mask, start, size):
    """The block with 0 for tokens outside the mask."""
    return values if mask is None else jnp.where(take(mask, start, size, 0)[:, None, None], values, 0)


def _diagonal(values: Float[Array, "heads size"]) -> Float[Array, "heads size size"]:
    return values[..., None] * jnp.eye(values.shape[1], dtype=values.dtype)[None]


def _diagonal_of_product(a, b):
    """`diag(a b)` for each head, b being symmetric."""
    return jnp.sum(a * b, axis=2)


def _einsum(subscripts: str, *operands: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)
