"""Softmax attention over a window of neighbours and the remembered keys of chunks: causal attention in linear time."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qama_jax.checks import check_count
from qama_jax.lengths import at_most, larger_of, smaller_of
from qama_jax.problems.attention import AttentionHamiltonian, Select
from qama_jax.readouts.base import check_beta
from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.selection import Selection, attention_weights, hidden, strongest
from qama_jax.readouts.window import attend_window
from qama_jax.solvers.base import Solution


class Branch(NamedTuple):
    """Keys that tokens may read, of the window or of the memory.

    Attributes:
      logits: of each token and key.
      seen: whether the token sees the key.
    """

    logits: Float[Array, "heads *tokens keys"]
    seen: Bool[Array, "#heads *tokens keys"]


@dataclasses.dataclass(frozen=True)
class MemoryReadout:
    """Softmax attention over the neighbours of each token and the remembered keys of chunks: O(N (C + r + m) D).

        o_i = Σ_j w_ij exp(q_i·k_j/√D) v_j / Σ_j w_ij exp(q_i·k_j/√D),    w_ij = 1 in the window of i, else m_j for the
        remembered keys that i sees, else 0

    The sequence is cut into chunks of C tokens, each a problem of its own with H·C bits, however long the sequence is.
    The k selected keys of largest gate m (`qama_jax.readouts.log_gate`) of each chunk and head are remembered.

    If `causal`, the window of a token is the token itself and the r tokens before it. Outside of its window it sees the
    remembered keys of finished chunks: those of largest gate, at most `memory_size`. A chunk is finished with its last
    token, and tokens of the same chunk see each other through the window alone. So nothing depends on what comes later,
    and a decoder keeps a window and a memory of fixed size, however long the text.

    If not `causal`, the window has r tokens on either side, and every token sees the same `memory_size` keys, those of
    largest gate of all chunks. With one chunk this is `WindowReadout`.

    Args:
      chunk_size: C, static. A sequence that is shorter is one chunk.
      radius: r, static.
      num_keys: k, static: how many keys are remembered per chunk and head.
      memory_size: how many keys per head a token sees outside of its window, static.
      beta: β of the gate.
      causal: whether tokens see only what came before them.

    Raises:
      ValueError: if a setting is out of range, or, when used, the numbers of keys and queries differ.

    References:
      Xiao et al., "Efficient Streaming Language Models with Attention Sinks", arXiv:2309.17453, and Zhang et al.,
      "H2O: Heavy-Hitter Oracle", arXiv:2306.14048, for caches of fixed size, there by position and attention received.
    """

    chunk_size: int = 64
    radius: int = 64
    num_keys: int = 8
    memory_size: int = 32
    beta: float = 3.0
    causal: bool = True

    select: ClassVar[Select] = "keys"

    def __post_init__(self):
        check_count(
            chunk_size=self.chunk_size, radius=self.radius, num_keys=self.num_keys, memory_size=self.memory_size
        )
        check_beta(self.beta)
        if self.num_keys > self.chunk_size:
            raise ValueError(
                f"num_keys={self.num_keys} exceeds the tokens of a chunk; pass at most chunk_size={self.chunk_size}"
            )
        if self.causal and self.radius + 1 < self.chunk_size:
            raise ValueError(
                f"radius={self.radius}: the window (a token and the radius before it) must cover a chunk, because a "
                f"chunk is remembered only once it is finished; pass at least chunk_size - 1 = {self.chunk_size - 1}"
            )

    @property
    def reach(self) -> int:
        """The largest number of chunks before its own that the window of a token touches."""
        return -(-self.radius // self.chunk_size)

    @property
    def capacity(self) -> int:
        """Keys per head: enough that every causal token finds `memory_size` outside of its window, if so many exist."""
        return self.memory_size + self.reach * self.num_keys

    def chunks(self, tokens: int) -> tuple[int, int]:
        """See `ChunkedReadout`. If `causal`, tokens after the last finished chunk belong to no problem yet.

        A symbolic number of tokens may be less than a chunk, which is then padded.
        """
        size = tokens if at_most(tokens, self.chunk_size) else self.chunk_size
        return (larger_of(tokens // size, 1) if self.causal else -(-tokens // size)), size

    def remember(self, hamiltonian: AttentionHamiltonian, solution: Solution) -> Selection:
        """The keys of one chunk that are remembered."""
        return strongest(hamiltonian, solution, self.beta, self.num_keys)

    def weigh(self, near: Branch, far: Branch, dropout: Dropout | None, mix: Array | None) -> tuple[Array, Array]:
        """The weights of keys in the window and of remembered keys, of all heads; heads are the first axis."""
        del mix
        seen = jnp.concatenate([jnp.broadcast_to(near.seen, near.logits.shape), far.seen], axis=-1)
        logits = jnp.concatenate([near.logits, far.logits], axis=-1)
        weights = attention_weights(jnp.where(seen, logits, hidden(logits.dtype)), dropout, head_axis=0)
        return weights[..., : near.logits.shape[-1]], weights[..., near.logits.shape[-1] :]

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None, segments=None, mix=None):
        """See `ChunkedReadout`."""
        del importance
        tokens = query.shape[0]
        chunk = self.chunks(tokens)[1]
        remembered = _in_sequence(jax.vmap(self.remember)(hamiltonian, solution), chunk)
        segments = jnp.ones(tokens, jnp.int32) if segments is None else segments.astype(jnp.int32)
        if self.causal:
            return _attend_causally(self, query, key, value, segments, remembered, chunk, dropout, mix)
        valid, strength = segments > 0, remembered.strength
        slots = jax.lax.top_k(strength, smaller_of(self.memory_size, strength.shape[1]))[1]
        return self._attend_to_all(query, key, value, valid, remembered.take(slots), dropout, mix)

    def _attend_to_all(self, query, key, value, valid, selection, dropout, mix):
        """What is not causal: every token sees the same remembered keys."""
        del mix
        return attend_window(query, key, value, valid, selection, self.radius, dropout)


def strongest_of(
    strength: Float[Array, "*batch slots"], later: Float[Array, "*batch more"], capacity: int
) -> tuple[Float[Array, "*batch capacity"], Int[Array, "*batch capacity"]]:
    """The largest of both, sorted, the earlier first where equal, and their places in the two joined."""
    return jax.lax.top_k(jnp.concatenate([strength, later], axis=-1), capacity)


def recalled(distant: Bool[Array, "*batch slots"], memory_size: int) -> Bool[Array, "*batch slots"]:
    """Which keys a token sees: the first `memory_size` distant ones, where keys are sorted by their gates."""
    return distant & (jnp.cumsum(distant, axis=-1) <= memory_size)


def _in_sequence(selection: Selection, chunk: int) -> Selection:
    """The selections of all chunks, [chunks, heads, k], as one of the sequence, [heads, chunks k]."""
    first = chunk * jnp.arange(selection.indices.shape[0])
    selection = selection._replace(indices=selection.indices + first[:, None, None])
    return Selection(*(jnp.moveaxis(leaf, 0, 1).reshape(leaf.shape[1], -1) for leaf in selection))


def _attend_causally(
    readout: MemoryReadout,
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    value: Float[Array, "tokens heads head_dim"],
    segments: Int[Array, "tokens"],
    remembered: Selection,
    chunk: int,
    dropout: Dropout | None,
    mix: Float[Array, "heads"] | None,
) -> Float[Array, "tokens heads head_dim"]:
    """All queries of a chunk at once: their windows touch the same chunks, and they have the same memory."""
    tokens, heads, head_dim = query.shape
    blocks = -(-tokens // chunk)
    before = blocks - 1 if at_most(blocks - 1, readout.reach) else readout.reach

    def in_blocks(x: Array) -> Array:
        """[heads or 1, blocks, chunk, ...] of [heads or 1, tokens, ...], 0 beyond the end."""
        x = jnp.pad(x, [(0, 0), (0, blocks * chunk - tokens)] + [(0, 0)] * (x.ndim - 2))
        return x.reshape(x.shape[0], blocks, chunk, *x.shape[2:])

    def with_chunks_before(x: Array) -> Array:
        """The tokens of each block after those of the blocks that their windows touch."""
        x = jnp.pad(x, [(0, 0), (before, 0)] + [(0, 0)] * (x.ndim - 2))
        return jnp.concatenate([x[:, first : first + blocks] for first in range(before + 1)], axis=2)

    # Heads first, so that every product is one of contiguous matrices.
    query, key, value = (jnp.swapaxes(x, 0, 1) for x in (query * head_dim**-0.5, key, value))
    query, segment = in_blocks(query), in_blocks(segments[None])
    near_key, near_value, near_segment = (with_chunks_before(x) for x in (in_blocks(key), in_blocks(value), segment))
    distance = jnp.arange(before * chunk, (before + 1) * chunk)[:, None] - jnp.arange((before + 1) * chunk)[None]
    in_window = ((distance >= 0) & (distance <= readout.radius))[None, None]
    near_seen = in_window & (segment[..., None] == near_segment[:, :, None]) & (near_segment > 0)[:, :, None]

    # What is remembered of a chunk belongs to its last segment.
    last = jax.lax.cummax(jnp.max(segment[0], axis=1))
    owner = jnp.pad(last[:-1], (1, 0))[None, :, None]
    slots, exists = _memories(remembered.strength, last, readout.chunks(tokens)[0], readout.capacity)
    memory = Selection(*(leaf.reshape(slots.shape) for leaf in remembered.take(slots.reshape(heads, -1))))
    # Gather the few remembered keys first, then each chunk's share: devices that share a sequence then send few.
    far_key, far_value = (
        _rows(_rows(x, remembered.indices), slots.reshape(heads, -1)).reshape(*slots.shape, head_dim)
        for x in (key, value)
    )
    position = jnp.arange(blocks * chunk).reshape(1, blocks, chunk, 1)
    distant = exists[:, :, None] & (position - memory.indices[:, :, None] > readout.radius)
    far_seen = recalled(distant & (segment == owner)[..., None], readout.memory_size)

    near = jnp.einsum("hbnd,hbmd->hbnm", query, near_key)
    far = jnp.einsum("hbnd,hbmd->hbnm", query, far_key) + memory.log_gates[:, :, None]
    near_weights, far_weights = readout.weigh(Branch(near, near_seen), Branch(far, far_seen), dropout, mix)
    features = jnp.einsum("hbnm,hbmd->hbnd", near_weights, near_value)
    features = features + jnp.einsum("hbnm,hbmd->hbnd", far_weights, far_value)
    return jnp.swapaxes(features.reshape(heads, blocks * chunk, head_dim)[:, :tokens], 0, 1)


def _rows(x: Float[Array, "heads tokens head_dim"], indices: Int[Array, "heads n"]) -> Float[Array, "heads n head_dim"]:
    return jnp.take_along_axis(x, indices[..., None], axis=1)


def _memories(
    strength: Float[Array, "heads slots"], last: Int[Array, "blocks"], chunks: int, capacity: int
) -> tuple[Int[Array, "heads blocks capacity"], Bool[Array, "heads blocks capacity"]]:
    """What is remembered before each block: slots sorted by strength, and which of them hold a key.

    These are the strongest keys of all chunks before, found by a scan over the chunks. Where the last segment of a
    chunk differs from that of the chunk before, all that came before is forgotten.
    """
    heads, slots = strength.shape
    capacity = slots if at_most(slots, capacity) else capacity

    def join(before: tuple[Array, ...], after: tuple[Array, ...]) -> tuple[Array, ...]:
        (strength, slot, anew), (later_strength, later_slot, later_anew) = before, after
        strength = jnp.where(later_anew[..., None, None], -jnp.inf, strength)
        strength, order = strongest_of(strength, later_strength, capacity)
        slot = jnp.take_along_axis(jnp.concatenate([slot, later_slot], axis=-1), order, axis=-1)
        return strength, slot, anew | later_anew

    def by_chunk(x: Array, empty: float) -> Array:
        x = jnp.moveaxis(x.reshape(heads, chunks, -1), 1, 0)
        return jnp.pad(x, [(0, 0), (0, 0), (0, capacity - x.shape[2])], constant_values=empty)

    slot = jnp.broadcast_to(jnp.arange(slots)[None], strength.shape)
    anew = last[:chunks] != jnp.pad(last[: chunks - 1], (1, 0))
    of_chunks = by_chunk(strength, -jnp.inf), by_chunk(slot, 0), anew
    nothing = (
        jnp.full((heads, capacity), -jnp.inf, strength.dtype),
        jnp.zeros((heads, capacity), slot.dtype),
        jnp.zeros((), bool),
    )
    strength, slot, _ = _running(join, of_chunks, nothing)

    def before_each_block(x: Array, empty: float) -> Array:
        x = jnp.pad(x, [(1, 0), (0, 0), (0, 0)], constant_values=empty)[: last.shape[0]]
        return jnp.swapaxes(x, 0, 1)

    return before_each_block(slot, 0), jnp.isfinite(before_each_block(strength, -jnp.inf))


def _running(join: Callable[..., Any], of_chunks: tuple[Array, ...], nothing: tuple[Array, ...]) -> tuple[Array, ...]:
    """What the chunks up to each one are, joined: in as many steps as the logarithm of their number, if it is known."""
    if isinstance(of_chunks[0].shape[0], int):
        return jax.lax.associative_scan(join, of_chunks)

    def step(before: Any, own: Any) -> tuple[Any, Any]:
        return (joined := join(before, own)), joined

    return jax.lax.scan(step, nothing, of_chunks)[1]
