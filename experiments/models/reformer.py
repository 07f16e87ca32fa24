"""Reformer attention: locality-sensitive hashing, shared queries and keys."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Bool, Float, Int

from experiments.models.attend import visible_keys
from qama_jax.checks import check_count

# Below the logits of all others, above those of hidden tokens: a token attends to itself only if there is no other.
_SELF = -1e5
_HIDDEN = -1e9


@dataclasses.dataclass(frozen=True)
class Reformer:
    """Softmax attention among tokens of equal hash, section 2 and equations (2) to (6): O(R N m D), hashing apart.

    Queries are the keys, k = q/|q|. In each of R rounds a token's hash is the largest of random projections and their
    negatives. Tokens are sorted by hash, then by position, and cut into chunks of m; a token sees those of its hash in
    its chunk and the one before. A key seen in several rounds counts once. There are 2N/m hashes, so that a chunk holds
    two of average size; each is a pair of hashes of about √(2N/m) values, so that hashing takes O(R N √(N/m) D).

    The projections are drawn once, not anew at each step.

    Args:
      chunk_length: m.
      num_rounds: R.
      seed: of the projections.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Kitaev et al., "Reformer: The Efficient Transformer", arXiv:2001.04451.
    """

    chunk_length: int = 16
    num_rounds: int = 2
    seed: int = 0

    def __post_init__(self):
        check_count(chunk_length=self.chunk_length, num_rounds=self.num_rounds)

    def layer(
        self, num_heads: int, in_features: int, *, dtype: Dtype | None = None, rngs: nnx.Rngs
    ) -> "ReformerAttention":
        """A layer with this attention; an `AttentionFactory`."""
        return ReformerAttention(self, num_heads, in_features, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        value: Float[Array, "*batch tokens heads head_dim"],
        mask: Bool[Array, "*batch 1 1 tokens"] | None = None,
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """Features of the values; `query` is the key too. Hidden tokens are seen by none.

        Raises:
          ValueError: if the mask is not one of padding.
        """
        tokens = query.shape[-3]
        length = min(self.chunk_length, tokens)
        fill = -tokens % length
        seen = jnp.pad(visible_keys(mask, tokens), [(0, 0)] * (0 if mask is None else mask.ndim - 3) + [(0, fill)])
        query, value = (jnp.moveaxis(x, -2, -3) for x in (query, value))
        query, value = (jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, fill), (0, 0)]) for x in (query, value))
        one_head = jnp.vectorize(self._head, signature="(n,d),(n,d),(n)->(n,d)")
        return jnp.moveaxis(one_head(query, value, seen[..., None, :]), -3, -2)[..., :tokens, :, :]

    def buckets(self, tokens: int) -> tuple[int, int]:
        """How many values each of the two hashes has, even numbers; (1, 1) where one chunk holds all tokens."""
        wanted = 2 * tokens / self.chunk_length
        if wanted <= 2:
            return 1, 1
        coarse = 2 * max(round(wanted**0.5 / 2), 1)
        return coarse, 2 * max(round(wanted / coarse / 2), 1)

    def hashes(self, query: Float[Array, "tokens head_dim"]) -> Int[Array, "rounds tokens"]:
        """The bucket of each token in each round."""
        tokens, head_dim = query.shape
        coarse, fine = self.buckets(tokens)
        if coarse == 1:
            return jnp.zeros((self.num_rounds, tokens), jnp.int32)
        generator = np.random.default_rng(self.seed)

        def hash_of(values: int):
            directions = generator.standard_normal((self.num_rounds, values // 2, head_dim))
            projected = jnp.einsum("rvd,nd->rnv", jnp.asarray(directions, query.dtype), query)
            return jnp.argmax(jnp.concatenate([projected, -projected], axis=-1), axis=-1).astype(jnp.int32)

        return hash_of(coarse) * fine + hash_of(fine)

    def _head(self, query, value, seen):
        """One head of one sequence, whose length is a multiple of the chunks'."""
        tokens, head_dim = query.shape
        length = min(self.chunk_length, tokens)
        chunks = tokens // length
        key = query * jax.lax.rsqrt(jnp.sum(query**2, axis=-1, keepdims=True) + 1e-12)
        # Hidden tokens come last. Hash and position in one number: a sort of one array is the fastest.
        buckets = jnp.where(seen, self.hashes(query), np.prod(self.buckets(tokens)))
        position = jnp.arange(tokens, dtype=jnp.int32)
        orders = jnp.sort(buckets * tokens + position, axis=-1) % tokens
        ranks = jax.vmap(lambda order: jnp.zeros_like(order).at[order].set(position))(orders)
        chunk_of = ranks // length
        own = jnp.arange(2 * length) >= length
        has_previous = (jnp.arange(chunks) > 0)[:, None, None]

        def one_round(order, rank, bucket):
            def sort(x):
                return x[order].reshape(chunks, length, *x.shape[1:])

            def with_previous(x):
                return jnp.concatenate([jnp.roll(x, 1, axis=0), x], axis=1)

            def pairs(x):
                # Kept apart from the comparisons, which would look up every token anew for every pair.
                mine, theirs = jax.lax.optimization_barrier((sort(x), with_previous(sort(x))))
                return mine[:, :, None], theirs[:, None]

            times = jnp.zeros((chunks, length, 2 * length), jnp.int32)
            for other_bucket, other_chunk in zip(buckets, chunk_of, strict=True):
                (a, b), (c, d) = pairs(other_bucket), pairs(other_chunk)
                times += (a == b) & ((c == d) | (c == d + 1))
            (here, there), (me, they), (_, known) = pairs(bucket), pairs(position), pairs(seen)
            visible = (here == there) & (own | has_previous) & known
            logits = jnp.einsum("cid,cjd->cij", sort(query), with_previous(sort(key))) / head_dim**0.5
            logits = jnp.where(me == they, _SELF, logits)
            logits = jnp.where(visible, logits - jnp.log(jnp.maximum(times, 1)), _HIDDEN)
            total = jax.nn.logsumexp(logits, axis=-1)
            weights = jnp.exp(logits - total[..., None])
            features = jnp.einsum("cij,cjd->cid", weights, with_previous(sort(value)))
            return features.reshape(tokens, -1)[rank], total.reshape(tokens)[rank]

        features, totals = jax.vmap(one_round)(orders, ranks, buckets)
        return jnp.einsum("rn,rnd->nd", jax.nn.softmax(totals, axis=0), features)


class ReformerAttention(nnx.Module):
    """Multi-head attention with a `Reformer`: as Flax's, without a projection of the keys.

    Args:
      settings: of the hashing.
      num_heads: attention heads.
      in_features: features of a token, in and out.
      dtype: of the computation; None for that of inputs and parameters.
      rngs: the stream `params`.
    """

    def __init__(
        self, settings: Reformer, num_heads: int, in_features: int, *, dtype: Dtype | None = None, rngs: nnx.Rngs
    ):
        self.settings = settings
        heads = (num_heads, in_features // num_heads)
        self.query = nnx.LinearGeneral(in_features, heads, dtype=dtype, rngs=rngs)
        self.value = nnx.LinearGeneral(in_features, heads, dtype=dtype, rngs=rngs)
        self.out = nnx.LinearGeneral(heads, in_features, axis=(-2, -1), dtype=dtype, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "*batch tokens features"],
        *,
        mask: Bool[Array, "*batch 1 1 tokens"] | None = None,
        **unused,
    ) -> Float[Array, "*batch tokens features"]:
        """Self-attention; the other arguments that a block passes are of dropout, decoding and annealers."""
        del unused
        return self.out(self.settings(self.query(inputs), self.value(inputs), mask))
