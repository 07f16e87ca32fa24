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
from qama_jax.problems.moments import moments
from qama_jax.problems.normalization import standardize

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
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "keys heads head_dim"],
    mask: Bool[Array, "tokens"] | None,
    key_mask: Bool[Array, "keys"] | None,
) -> DenseCoupling | LowRankCoupling:
    """Normalised couplings of queries and keys, which need not be standardised; zero outside `mask`, of the queries."""
    tokens, _, head_dim = query.shape
    valid = jnp.ones(tokens, query.dtype) if mask is None else mask.astype(query.dtype)
    count = jnp.sum(valid)
    pairs = jnp.maximum(count * (count - 1), 1)
    form = _dense if all(at_most(size, 2 * head_dim) for size in (tokens, key.shape[0])) else _low_rank
    return form(query, key, mask, key_mask, valid, pairs)


def _dense(query, key, mask, key_mask, valid, pairs) -> DenseCoupling:
    # J⁰ = A Aᵀ: two products, where going through KᵀK would take three.
    head_dim = query.shape[2]
    query, key = jnp.swapaxes(standardize(query, mask, 0), 0, 1), jnp.swapaxes(standardize(key, key_mask, 0), 0, 1)
    factor = _einsum("hmd,hnd->hmn", key / math.sqrt(2 * head_dim), query)
    full = _gram(factor)
    diagonal = jnp.sum(factor**2, axis=1)
    total_square = _gram_square(factor)[:, None]
    smallest = _smallest_trace(_sum_of_squares(query), _sum_of_squares(key), head_dim)
    shift, curvature, inverse = _normalization(diagonal, total_square, valid, pairs, smallest)
    off_diagonal = ((1 - jnp.eye(valid.size, dtype=valid.dtype)) * valid[:, None] * valid[None])[None]
    matrix = (full * inverse[..., None] - shift[..., None]) * off_diagonal
    return DenseCoupling(matrix, factor, shift, curvature, inverse, None if mask is None else valid)


def _low_rank(query, key, mask, key_mask, valid, pairs) -> LowRankCoupling:
    head_dim = query.shape[2]
    standardized, diagonal, gram, query_gram = moments(query, key, mask, key_mask)
    mixed = _einsum("hde,hef->hdf", gram, query_gram)
    total_square = jnp.sum(mixed * jnp.swapaxes(mixed, 1, 2), axis=(1, 2))[:, None]
    query_square, key_square = (jnp.trace(x, axis1=1, axis2=2) for x in (query_gram, 2 * head_dim * gram))
    smallest = _smallest_trace(query_square, key_square, head_dim)
    shift, curvature, inverse = _normalization(diagonal, total_square, valid, pairs, smallest)
    query = jnp.transpose(standardized, (1, 2, 0))
    return LowRankCoupling(query, gram * inverse[..., None], shift, curvature, None if mask is None else valid)


def _smallest_trace(query_square, key_square, head_dim) -> Float[Array, "heads 1"]:
    """Of J⁰, from the sums of the squares of Q and of K: below it, J⁰ is rounding."""
    return _CANCELLED * jax.lax.stop_gradient(query_square * key_square)[:, None] / (2 * head_dim)


def _normalization(diagonal, total_square, valid, pairs, smallest):
    """μ/σ, the normalised diagonal and 1/σ, from the diagonal of J⁰ and its sum of squares, diagonal included.

    Where all couplings are equal they prefer no pair of tokens to another, and 1/σ counts as 0; so it does where they
    cancel, the trace being at most `smallest`.
    """
    trace = jnp.sum(diagonal, axis=-1, keepdims=True)
    mean, total_square = -trace / pairs, total_square / pairs
    variance = total_square - jnp.sum(diagonal**2, axis=-1, keepdims=True) / pairs - mean**2
    equal = (variance <= _EQUAL_COUPLINGS * jax.lax.stop_gradient(total_square)) | (trace <= smallest)
    inverse = jnp.where(equal, 0, jax.lax.rsqrt(jnp.where(equal, 1, variance)))
    return mean * inverse, valid[None] * (diagonal - mean) * inverse, inverse


def _sum_of_squares(x: Float[Array, "heads rows columns"]) -> Float[Array, "heads"]:
    """For each head, columns first: XLA adds numbers of one row one after the other, and those of columns together."""
    return jnp.sum(_einsum("hmn,hmn->hn", x, x), axis=1)


def _gram(x: Float[Array, "heads rows columns"]) -> Float[Array, "heads columns columns"]:
    """`xᵀx` of each head."""
    return _einsum("hmn,hmk->hnk", x, x)


# In reverse mode one product, where the chain rule would take two, and transpose. There is no other rule, but forward
# mode over it, for which the forward pass is a plain function.
@jax.custom_vjp
def _gram_square(x: Float[Array, "heads rows columns"]) -> Float[Array, "heads"]:
    """The sum of squares of `xᵀx` of each head."""
    return _gram_square_forward(x)[0]


def _gram_square_forward(x):
    gram = _gram(x)
    return _sum_of_squares(gram), (x, gram)


def _gram_square_backward(residuals, cotangent):
    x, gram = residuals
    return (4 * cotangent[:, None, None] * _einsum("hmn,hnk->hmk", x, gram),)


_gram_square.defvjp(_gram_square_forward, _gram_square_backward)


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
