"""The couplings J of the attention Hamiltonian, equation (4), in the form that is smaller for their shape.

With Q and K standardised over the tokens, `J⁰ = Q (KᵀK) Qᵀ / (2D)` has rank D at most. Both forms hold the
normalised couplings `J = (J⁰ - μ)/σ` off the diagonal and 0 on it, where μ and σ are the mean and the standard
deviation of the off-diagonal J⁰ of a head. Q is centred, so that the couplings of a token with all, itself included,
sum to 0: the sum of the off-diagonal J⁰ is minus that of the diagonal, and μ takes no pass over pairs.

Tokens are the last axis of every array: accelerators keep the last axis in lanes of 128, and pad one of 64.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.lengths import at_most
from qama_jax.problems.base import register_pytree

# Couplings whose spread is below this share of their size (the square root of it) are equal up to rounding.
_EQUAL_COUPLINGS = 1e-5

# Where the trace of J⁰ is below this share of what Q and K of their size allow, J⁰ is what rounding leaves of features
# that cancel; of independent features it is 1/D.
_CANCELLED = 1e-5


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class CouplingFactor:
    """Couplings `B Bᵀ - diag(diagonal)` for each head; `factor` is Bᵀ."""

    factor: Float[Array, "heads width tokens"]
    diagonal: Float[Array, "heads tokens"]


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class DenseCoupling:
    """J as a matrix for each head, for N and M <= 2D, where it is the smaller form.

    The factor A of `J⁰ = A Aᵀ` is kept beside it, as Aᵀ: differentiated, `differentiable_product` costs products of A
    with vectors where `product` would cost products of N×N matrices.
    """

    matrix: Float[Array, "heads tokens tokens"]
    factor: Float[Array, "heads keys tokens"]
    shift: Float[Array, "heads 1"]
    curvature: Float[Array, "heads tokens"]
    inverse_deviation: Float[Array, "heads 1"]
    valid: Float[Array, "tokens"] | None

    def product(
        self, x: Float[Array, "heads tokens"], precision: jax.lax.Precision = jax.lax.Precision.HIGHEST
    ) -> Float[Array, "heads tokens"]:
        return jnp.einsum("hm,hmn->hn", x, self.matrix, precision=precision)

    def differentiable_product(self, x: Float[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        full = _einsum("hm,hmn->hn", _einsum("hn,hmn->hm", x, self.factor), self.factor) * self.inverse_deviation
        return _where_valid(full - self.shift * jnp.sum(x, axis=-1, keepdims=True), self.valid) - self.curvature * x

    def to_matrix(self) -> Float[Array, "heads tokens tokens"]:
        return self.matrix

    def to_factor(self) -> CouplingFactor:
        scaled = self.factor * jnp.sqrt(self.inverse_deviation)[..., None]
        return CouplingFactor(_with_uniform(scaled, self.shift, self.valid), self.curvature)


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class LowRankCoupling:
    """J by its factors, for N or M > 2D: `J s = Q (gram (Qᵀs)) - (μ/σ) Σs - curvature · s` with `gram = KᵀK/(2Dσ)` and
    `curvature = (diag(J⁰) - μ)/σ`, which takes out the diagonal. `query` is Qᵀ.

    Memory, products and flips cost O(N D), O(N D) and O(D) per head; N×N never exists. Nor does `Q gram`, which costs
    as much as N products and would be read in each of them beside Q.
    """

    query: Float[Array, "heads head_dim tokens"]
    gram: Float[Array, "heads head_dim head_dim"]
    shift: Float[Array, "heads 1"]
    curvature: Float[Array, "heads tokens"]
    valid: Float[Array, "tokens"] | None

    def product(
        self, x: Float[Array, "heads tokens"], precision: jax.lax.Precision = jax.lax.Precision.HIGHEST
    ) -> Float[Array, "heads tokens"]:
        einsum = functools.partial(jnp.einsum, precision=precision)
        projection = einsum("hd,hde->he", einsum("hn,hdn->hd", x, self.query), self.gram)
        total = jnp.sum(_where_valid(x, self.valid), axis=-1, keepdims=True)
        full = einsum("hd,hdn->hn", projection, self.query) - self.shift * total
        return _where_valid(full, self.valid) - self.curvature * x

    differentiable_product = product

    def to_matrix(self) -> Float[Array, "heads tokens tokens"]:
        identity = jnp.eye(self.query.shape[2], dtype=self.query.dtype)
        every_token = jnp.broadcast_to(identity, (self.query.shape[0], *identity.shape))
        return jax.vmap(self.product, in_axes=1, out_axes=1)(every_token)

    def to_factor(self) -> CouplingFactor:
        # Eigenvalues, where a Cholesky factor would not exist: keys of equal direction make gram singular.
        values, vectors = jnp.linalg.eigh(self.gram)
        root = vectors * jnp.sqrt(jnp.maximum(values, 0))[:, None]
        factor = _einsum("hde,hdn->hen", root, self.query)
        return CouplingFactor(_with_uniform(factor, self.shift, self.valid), self.curvature)


def make_coupling(
    query: Float[Array, "heads head_dim tokens"],
    key: Float[Array, "heads head_dim keys"],
    mask: Bool[Array, "tokens"] | None,
) -> DenseCoupling | LowRankCoupling:
    """Normalised couplings of standardised queries and keys, zero outside `mask`, which is that of the queries."""
    _, head_dim, tokens = query.shape
    valid = jnp.ones(tokens, query.dtype) if mask is None else mask.astype(query.dtype)
    count = jnp.sum(valid)
    pairs = jnp.maximum(count * (count - 1), 1)
    smallest = _CANCELLED * jax.lax.stop_gradient(_square(query) * _square(key)) / (2 * head_dim)
    form = _dense if all(at_most(size, 2 * head_dim) for size in (tokens, key.shape[2])) else _low_rank
    return form(query, key, valid, pairs, smallest, padded=mask is not None)


def _square(x: Float[Array, "heads rows columns"]) -> Float[Array, "heads 1"]:
    return jnp.sum(x**2, axis=(1, 2))[:, None]


def _dense(query, key, valid, pairs, smallest, padded) -> DenseCoupling:
    # J⁰ = A Aᵀ: two products, where going through KᵀK would take three.
    factor = _einsum("hdm,hdn->hmn", key / math.sqrt(2 * query.shape[1]), query)
    full = _gram(jnp.swapaxes(factor, 1, 2))
    diagonal = jnp.sum(factor**2, axis=1)
    trace = jnp.sum(diagonal, axis=-1, keepdims=True)
    total_square = jnp.sum(full**2, axis=(1, 2))[:, None] / pairs
    shift, curvature, inverse = _normalization(diagonal, trace, total_square, valid, pairs, smallest)
    off_diagonal = ((1 - jnp.eye(valid.size, dtype=valid.dtype)) * valid[:, None] * valid[None])[None]
    matrix = (full * inverse[..., None] - shift[..., None]) * off_diagonal
    return DenseCoupling(matrix, factor, shift, curvature, inverse, valid if padded else None)


def _low_rank(query, key, valid, pairs, smallest, padded) -> LowRankCoupling:
    gram = _gram(key) / (2 * query.shape[1])
    diagonal = _quadratic_forms(query, gram)
    trace = jnp.sum(diagonal, axis=-1, keepdims=True)
    mixed = _einsum("hde,hef->hdf", gram, _gram(query))
    total_square = jnp.sum(mixed * jnp.swapaxes(mixed, 1, 2), axis=(1, 2))[:, None] / pairs
    shift, curvature, inverse = _normalization(diagonal, trace, total_square, valid, pairs, smallest)
    return LowRankCoupling(query, gram * inverse[..., None], shift, curvature, valid if padded else None)


def _normalization(diagonal, trace, total_square, valid, pairs, smallest):
    """μ/σ, the normalised diagonal and 1/σ, from the diagonal of J⁰ and its mean square, diagonal included.

    Where all couplings are equal they prefer no pair of tokens to another, and 1/σ counts as 0; so it does where they
    cancel, the trace being at most `smallest`.
    """
    mean = -trace / pairs
    variance = total_square - jnp.sum(diagonal**2, axis=-1, keepdims=True) / pairs - mean**2
    equal = (variance <= _EQUAL_COUPLINGS * jax.lax.stop_gradient(total_square)) | (trace <= smallest)
    inverse = jnp.where(equal, 0, jax.lax.rsqrt(jnp.where(equal, 1, variance)))
    return mean * inverse, valid[None] * (diagonal - mean) * inverse, inverse


# Derivatives of the two products of long sequences take one such product each, where the chain rule would take two, and
# leave rows of the result rows; what is transposed costs as much again. Only reverse mode has a rule, and forward mode
# over it, for which the forward passes are plain functions.


def _plain_quadratic_forms(
    query: Float[Array, "heads head_dim tokens"], gram: Float[Array, "heads head_dim head_dim"]
) -> Float[Array, "heads tokens"]:
    """`q_iᵀ G q_i` for symmetric G."""
    return jnp.sum(_einsum("hde,hdn->hen", gram, query) * query, axis=1)


def _quadratic_forms_backward(residuals, cotangent):
    query, gram = residuals
    weighted = query * cotangent[:, None]
    return 2 * _einsum("hde,hdn->hen", gram, weighted), _einsum("hdn,hen->hde", weighted, query)


def _plain_gram(x: Float[Array, "heads columns rows"]) -> Float[Array, "heads columns columns"]:
    """`x xᵀ` of each head."""
    return _einsum("hdn,hen->hde", x, x)


def _gram_backward(x, cotangent):
    return (_einsum("hde,hdn->hen", cotangent + jnp.swapaxes(cotangent, 1, 2), x),)


_quadratic_forms, _gram = jax.custom_vjp(_plain_quadratic_forms), jax.custom_vjp(_plain_gram)
_quadratic_forms.defvjp(lambda *operands: (_plain_quadratic_forms(*operands), operands), _quadratic_forms_backward)
_gram.defvjp(lambda x: (_plain_gram(x), x), _gram_backward)


def _where_valid(values: Float[Array, "heads tokens"], valid: Float[Array, "tokens"] | None) -> Float[Array, "..."]:
    return values if valid is None else values * valid[None]


def _with_uniform(
    factor: Float[Array, "heads width tokens"], shift: Float[Array, "heads 1"], valid: Float[Array, "tokens"] | None
) -> Float[Array, "heads width_and_one tokens"]:
    """The factor and a row for the uniform couplings -shift >= 0."""
    uniform = jnp.broadcast_to(jnp.sqrt(jnp.maximum(-shift, 0))[..., None], (*shift.shape, factor.shape[2]))
    rows = jnp.concatenate([factor, uniform], axis=1)
    return rows if valid is None else rows * valid[None, None]


def _einsum(subscripts: str, *operands: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)
