"""Autoregressive decoding with a memory: a cache of fixed size, however long the text."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from qama_jax.attention import AttentionDiagnostics, diagnose
from qama_jax.batching import over_batch
from qama_jax.layers.grouped_heads import for_every_head
from qama_jax.layers.padding import KeyPadding, key_padding
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.readouts.base import without_padding
from qama_jax.readouts.memory import Branch, MemoryReadout, recalled, strongest_of
from qama_jax.readouts.selection import Selection, hidden
from qama_jax.solvers.base import Solution


class MemoryCache(NamedTuple):
    """What a decoder with a causal `MemoryReadout` keeps; batch axes come first in all but the index.

    Attributes:
      cached_key, cached_value: [*batch, W, kv_heads, head_dim], the last W tokens, token i in slot i mod W. W is a
        multiple of the chunk's size, at least a window.
      cached_valid: bool [*batch, W], false for hidden tokens.
      cached_query: [*batch, C, heads, head_dim], the queries of the chunk that is not finished yet, for its problem.
      remembered_key, remembered_value: [*batch, capacity, heads, head_dim], the strongest keys of finished chunks.
      remembered_log_gates: [*batch, heads, capacity], descending.
      remembered_positions: int32 [*batch, heads, capacity], which tokens they are; -1 where there is none yet.
      cache_index: int32, how many tokens have come so far.
    """

    cached_key: Float[Array, "*batch slots kv_heads head_dim"]
    cached_value: Float[Array, "*batch slots kv_heads head_dim"]
    cached_valid: Bool[Array, "*batch slots"]
    cached_query: Float[Array, "*batch chunk heads head_dim"]
    remembered_key: Float[Array, "*batch capacity heads head_dim"]
    remembered_value: Float[Array, "*batch capacity heads head_dim"]
    remembered_log_gates: Float[Array, "*batch heads capacity"]
    remembered_positions: Int[Array, "*batch heads capacity"]
    cache_index: Int[Array, ""]

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch dimensions."""
        return self.cached_valid.shape[:-1]


def empty_cache(
    readout: MemoryReadout, batch: tuple[int, ...], *, heads: int, kv_heads: int, head_dim: int, dtype: jnp.dtype
) -> MemoryCache:
    """The cache before the first token."""
    chunk, capacity = readout.chunk_size, readout.capacity
    slots = -(-(readout.radius + 1) // chunk) * chunk
    gate_dtype = _at_least_float32(dtype)
    return MemoryCache(
        cached_key=jnp.zeros((*batch, slots, kv_heads, head_dim), dtype),
        cached_value=jnp.zeros((*batch, slots, kv_heads, head_dim), dtype),
        cached_valid=jnp.zeros((*batch, slots), bool),
        cached_query=jnp.zeros((*batch, chunk, heads, head_dim), dtype),
        remembered_key=jnp.zeros((*batch, capacity, heads, head_dim), dtype),
        remembered_value=jnp.zeros((*batch, capacity, heads, head_dim), dtype),
        remembered_log_gates=jnp.full((*batch, heads, capacity), hidden(gate_dtype), gate_dtype),
        remembered_positions=jnp.full((*batch, heads, capacity), -1, jnp.int32),
        cache_index=jnp.zeros((), jnp.int32),
    )


def decode_token(
    cache: MemoryCache,
    query: Float[Array, "*batch 1 heads head_dim"],
    key: Float[Array, "*batch 1 kv_heads head_dim"],
    value: Float[Array, "*batch 1 kv_heads head_dim"],
    mask: Num[Array, "*#batch #heads 1 1"] | None,
    *,
    readout: MemoryReadout,
    build: Callable[..., AttentionHamiltonian],
    anneal: Callable[[AttentionHamiltonian], Solution],
    mix: Float[Array, "heads"] | None,
) -> tuple[Float[Array, "*batch 1 heads head_dim"], MemoryCache, AttentionDiagnostics]:
    """The features of the next token, and the cache after it; with the last token of a chunk, its problem is solved.

    The diagnostics [*batch, 1, ...] are those of the chunk, and until it is finished those of an empty selection.

    Args:
      cache: what was kept of the tokens before.
      query, key, value: those of the token.
      mask: whether the token may be seen, by itself and by later ones; None where it may.
      readout: the read-out that the cache was made for.
      build: makes Hamiltonians, from queries, keys and values [*batch, C, heads, head_dim] and visible keys.
      anneal: solves them. It is traced in a branch, and so must not change any state.
      mix: the weights of a read-out that mixes.

    Raises:
      ValueError: if there are several tokens, or the batch or the mask does not fit.
    """
    padding = _check_token(cache, query, mask)
    query, key, value = without_padding(padding.visible, query, key, value)
    index, chunk = cache.cache_index, readout.chunk_size
    slot = index % cache.cached_valid.shape[-1]
    cache = cache._replace(
        cached_key=_write(cache.cached_key, key, slot, axis=-3),
        cached_value=_write(cache.cached_value, value, slot, axis=-3),
        cached_valid=_write(cache.cached_valid, padding.visible, slot, axis=-1),
        cached_query=_write(cache.cached_query, query, index % chunk, axis=-3),
    )
    dtype = _at_least_float32(query.dtype)

    def attend(query: Array, *leaves_and_mix: Array) -> Array:
        *leaves, mix = leaves_and_mix
        return _attend(MemoryCache(*leaves), query.astype(dtype), readout, mix)

    def finish(cache: MemoryCache) -> tuple[MemoryCache, AttentionDiagnostics]:
        return _remember_chunk(cache, readout, build, anneal)

    def wait(cache: MemoryCache) -> tuple[MemoryCache, AttentionDiagnostics]:
        return cache, _nothing_selected(cache)

    features = over_batch(attend, cache.batch, index, mix)(query, *cache[:-1])
    cache, diagnostics = jax.lax.cond((index + 1) % chunk == 0, finish, wait, cache)
    return padding.mark(features.astype(query.dtype)), cache._replace(cache_index=index + 1), diagnostics


def _check_token(cache: MemoryCache, query: Array, mask: Num[Array, "..."] | None) -> KeyPadding:
    """Whether the token is visible, [*batch, 1]."""
    *batch, tokens, heads, _ = query.shape
    if tokens != 1:
        raise ValueError(
            f"inputs_q must be one token where decode=True and there is a cache, [*batch, 1, features], got {tokens}; "
            "pass them one after another, or all at once with decode=False"
        )
    if tuple(batch) != cache.batch:
        raise ValueError(
            f"inputs_q has the batch dimensions {tuple(batch)}, and the cache was made for {cache.batch}; make it with "
            "inputs of the same batch"
        )
    if mask is None:
        return KeyPadding(jnp.ones((*cache.batch, 1), bool), None, None)
    if mask.shape[-1:] != (1,):
        raise ValueError(
            f"mask must be [*batch, 1, 1, 1] where decode=True, whether the token is visible, got shape {mask.shape}; "
            "the cache knows which earlier tokens were hidden"
        )
    return key_padding(mask, batch=cache.batch, heads=heads, queries=1, keys=1)


def _attend(
    cache: MemoryCache,
    query: Float[Array, "1 heads head_dim"],
    readout: MemoryReadout,
    mix: Float[Array, "heads"] | None,
) -> Float[Array, "1 heads head_dim"]:
    """One token's attention over its window and its memory; the cache is without batch axes."""
    index, slots = cache.cache_index, cache.cached_valid.shape[0]
    heads, head_dim = query.shape[1:]
    query = query[0] * head_dim**-0.5
    position = index - (index - jnp.arange(slots)) % slots
    near_seen = cache.cached_valid & (index - position <= readout.radius)
    distant = (cache.remembered_positions >= 0) & (index - cache.remembered_positions > readout.radius)
    far_seen = recalled(distant, readout.memory_size)

    near_key, near_value = (for_every_head(x, heads) for x in (cache.cached_key, cache.cached_value))
    near = jnp.einsum("hd,whd->hw", query, near_key.astype(query.dtype))
    far = jnp.einsum("hd,mhd->hm", query, cache.remembered_key.astype(query.dtype)) + cache.remembered_log_gates
    weights = readout.weigh(Branch(near, near_seen[None]), Branch(far, far_seen), None, mix)
    values = jnp.concatenate([near_value, cache.remembered_value]).astype(query.dtype)
    return jnp.einsum("hm,mhd->hd", jnp.concatenate(weights, axis=1), values)[None]


def _remember_chunk(
    cache: MemoryCache,
    readout: MemoryReadout,
    build: Callable[..., AttentionHamiltonian],
    anneal: Callable[[AttentionHamiltonian], Solution],
) -> tuple[MemoryCache, AttentionDiagnostics]:
    """The cache with the strongest keys of the chunk that the last token finishes, and what was selected there."""
    heads, slots = cache.cached_query.shape[-2], cache.cached_valid.shape[-1]
    first = cache.cache_index - (readout.chunk_size - 1)

    def of_chunk(x: Array, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, first % slots, readout.chunk_size, x.ndim + axis)

    key, value = (for_every_head(of_chunk(x, axis=-3), heads) for x in (cache.cached_key, cache.cached_value))
    hamiltonians = build(cache.cached_query, key, value, of_chunk(cache.cached_valid, axis=-1))

    def merge(hamiltonian, solution, key, value, old_key, old_value, old_gates, old_positions, first):
        old = Selection(old_positions, old_gates, old_positions >= 0)
        new = readout.remember(hamiltonian, solution)
        new_key, new_value = new.gather(key), new.gather(value)
        positions = jnp.where(new.exists, new.indices + first, -1).astype(jnp.int32)
        new = Selection(positions, new.log_gates.astype(old_gates.dtype), new.exists)
        _, order = strongest_of(old.strength, new.strength, readout.capacity)
        kept = Selection(*(jnp.concatenate(pair, axis=1) for pair in zip(old, new, strict=True))).take(order)

        def rows(old: Array, new: Array) -> Array:
            return jnp.take_along_axis(jnp.concatenate([old, new.astype(old.dtype)]), order.T[..., None], axis=0)

        return rows(old_key, new_key), rows(old_value, new_value), kept.log_gates, kept.indices

    old = cache.remembered_key, cache.remembered_value, cache.remembered_log_gates, cache.remembered_positions
    solution = anneal(hamiltonians)
    merged = over_batch(merge, cache.batch, first)(hamiltonians, solution, key, value, *old)
    names = "remembered_key", "remembered_value", "remembered_log_gates", "remembered_positions"
    found, empty = diagnose(hamiltonians, solution), _nothing_selected(cache)
    diagnostics = jax.tree.map(lambda leaf, like: leaf.reshape(like.shape).astype(like.dtype), found, empty)
    return cache._replace(**dict(zip(names, merged, strict=True))), diagnostics


def _nothing_selected(cache: MemoryCache) -> AttentionDiagnostics:
    """Of a chunk that is not finished: bits and energies are 0."""
    *batch, chunk, heads, _ = cache.cached_query.shape
    dtype = _at_least_float32(cache.cached_query.dtype)
    of_tokens = *batch, 1, heads, chunk
    return AttentionDiagnostics(
        bits=jnp.zeros(of_tokens, jnp.int8),
        energy=jnp.zeros((*batch, 1), dtype),
        token_energy=jnp.zeros(of_tokens, dtype),
    )


def _write(cache: Array, entry: Array, slot: Int[Array, ""], axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(cache, entry.astype(cache.dtype), slot, cache.ndim + axis)


def _at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)
