"""Softmax attention over a window of neighbours and the strongest selected keys."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.checks import check_count
from qama_jax.lengths import at_most
from qama_jax.problems.attention import Select
from qama_jax.readouts.base import check_beta, check_one_sequence
from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.selection import Selection, attend, hidden, strongest, unnormalized_weights

# Queries per block, in units of the radius: larger blocks make larger products, of which the windows use less.
_BLOCK = 4
# TPUs compute in tiles so wide, whether they are full or not.
_TILE = 128


@dataclasses.dataclass(frozen=True)
class WindowReadout:
    """Softmax attention over the neighbours of each token and at most `num_keys` selected ones: O(N (r + k) D).

        o_i = Σ_j w_ij exp(q_i·k_j/√D) v_j / Σ_j w_ij exp(q_i·k_j/√D),    w_ij = 1 for |i - j| <= r, else m_j for the k
        selected keys of largest gate m, else 0

    Here m_j is the gate of key j in the head, see `qama_jax.readouts.log_gate`. Sparse transformers choose such global
    tokens by their position or at random; here the annealer chooses them. Neighbours are neighbours in the sequence: on
    an image with c patches per row, a window covers the 3×3 patches around each patch once the radius is c + 1.

    Args:
      radius: r, static; a window has 2 r + 1 tokens.
      num_keys: k, static. 0 leaves only the window: nothing is selected, under `jax.jit` nothing is annealed, and W_ε
        has no effect.
      beta: β of the gate.

    Raises:
      ValueError: if a setting is out of range, or, when used, the numbers of keys and queries differ.

    References:
      Beltagy et al., "Longformer: The Long-Document Transformer", arXiv:2004.05150, for the windows.
    """

    radius: int = 16
    num_keys: int = 32
    beta: float = 3.0

    select: ClassVar[Select] = "keys"

    def __post_init__(self):
        check_count(radius=self.radius)
        check_count(0, num_keys=self.num_keys)
        check_beta(self.beta)

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None):
        """See `Readout`."""
        del importance
        check_one_sequence(self, query.shape[0], key.shape[0])
        selection = strongest(hamiltonian, solution, self.beta, self.num_keys)
        valid = jnp.ones(key.shape[0], bool) if hamiltonian.mask is None else hamiltonian.mask
        return attend_window(query, key, value, valid, selection, self.radius, dropout)


def attend_window(
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    value: Float[Array, "tokens heads head_dim"],
    valid: Bool[Array, "tokens"],
    selection: Selection,
    radius: int,
    dropout: Dropout | None,
) -> Float[Array, "tokens heads head_dim"]:
    """Softmax attention over the valid neighbours of each token, and the selected keys by their gates."""
    block = _BLOCK * radius
    tiles = -(-block // _TILE) * _TILE
    # One product of all pairs is faster than blocks that see half of them or more.
    if at_most(query.shape[0], block + 2 * (radius + selection.indices.shape[1])):
        return _all_pairs(query, key, value, valid, selection, dropout, radius)
    return jax.lax.platform_dependent(
        *(query, key, value, valid, selection, dropout),
        tpu=functools.partial(attend_in_blocks, radius=radius, block=tiles, apart=True),
        default=functools.partial(attend_in_blocks, radius=radius, block=block, apart=False),
    )


def _all_pairs(query, key, value, valid, selection, dropout, radius):
    tokens = query.shape[0]
    position = jnp.arange(tokens)
    near = jnp.abs(position[:, None] - position[None]) <= radius
    bias = jnp.where(near[None], _visible(valid, query.dtype)[None, None], selection.scatter(tokens)[:, None])
    return attend(query, key, value, bias, dropout)


def attend_in_blocks(
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    value: Float[Array, "tokens heads head_dim"],
    valid: Bool[Array, "tokens"],
    selection: Selection,
    dropout: Dropout | None,
    *,
    radius: int,
    block: int,
    apart: bool,
) -> Float[Array, "tokens heads head_dim"]:
    """`attend_window` for blocks of `block` queries, at least `radius`, each with the tokens around it.

    The selected keys take a product of their own. So do the tokens beside a block where they stay `apart` from those
    within it, as TPUs spend more time on a copy that puts both in a row than on the products.
    """
    tokens, heads, head_dim = query.shape
    blocks = -(-tokens // block)
    padding = blocks * block - tokens

    def split(x: Array) -> Array:
        """[heads, blocks, block, ...] of [heads, tokens, ...]."""
        x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
        return x.reshape(len(x), blocks, block, *x.shape[2:])

    def around(x: Array) -> list[Array]:
        """[heads, blocks, places, ...]: blocks, and the tokens before and after them."""
        rest = [(0, 0)] * (x.ndim - 2)
        before = jnp.pad(x[:, :-1, -radius:], [(0, 0), (1, 0), *rest])
        after = jnp.pad(x[:, 1:, :radius], [(0, 0), (0, 1), *rest])
        return in_parts(before, x, after, 2)

    def in_parts(before: Array, within: Array, after: Array, axis: int) -> list[Array]:
        parts = [[within], [before, after]] if apart else [[before, within, after]]
        return [jnp.concatenate(part, axis) for part in parts]

    # Heads first, so that every product is one of contiguous matrices.
    query, key, value, far_key, far_value = (
        jnp.swapaxes(x, 0, 1)
        for x in (query * head_dim**-0.5, key, value, selection.gather(key), selection.gather(value))
    )
    query, key, value, valid = (split(x) for x in (query, key, value, valid[None]))
    own = jnp.arange(block)
    places = in_parts(jnp.arange(-radius, 0), own, jnp.arange(block, block + radius), 0)

    def logits(keys: Array, seen: Array, places: Array) -> Array:
        near = jnp.abs(own[:, None] - places[None]) <= radius
        return jnp.einsum("hbnd,hbmd->hbnm", query, keys) + _visible(near[None, None] & seen[:, :, None], query.dtype)

    distant = jnp.abs(jnp.arange(blocks * block)[None, :, None] - selection.indices[:, None]) > radius
    bias = jnp.where(distant, selection.log_gates[:, None], hidden(query.dtype))
    far = jnp.einsum("hbnd,hkd->hbnk", query, far_key) + bias.reshape(heads, blocks, block, -1)
    (*near, far), total = unnormalized_weights(
        [*map(logits, around(key), around(valid), places), far], dropout, head_axis=0
    )
    features = jnp.einsum("hbnk,hkd->hbnd", far, far_value)
    for weights, values in zip(near, around(value), strict=True):
        features += jnp.einsum("hbnm,hbmd->hbnd", weights, values)
    return jnp.swapaxes((features / total).reshape(heads, blocks * block, head_dim)[:, :tokens], 0, 1)


def _visible(seen: Bool[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """The bias of keys that are seen, or not."""
    return jnp.where(seen, 0, hidden(dtype)).astype(dtype)
