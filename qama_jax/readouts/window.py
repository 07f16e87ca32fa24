"""Softmax attention over a window of neighbours and the strongest selected keys."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.problems.attention import Select
from qama_jax.readouts.base import check_beta
from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.selection import Selection, attend, hidden, strongest
from qama_jax.solvers.base import check_count


@dataclasses.dataclass(frozen=True)
class WindowReadout:
    """Softmax attention over the neighbours of each token and at most `num_keys` selected ones: O(N (r + k) D).

        o_i = Σ_j w_ij exp(q_i·k_j/√D) v_j / Σ_j w_ij exp(q_i·k_j/√D),    w_ij = 1 for |i - j| <= r, else m_j for the k
        selected keys of largest gate m, else 0

    m_j being the gate of key j in the head, `qama_jax.readouts.log_gate`. Sparse transformers choose such global tokens
    by their position or at random; here the annealer chooses them. Tokens in sequence are neighbours, so that a window
    on an image with c patches a row sees the 3×3 patches around each from a radius of c + 1 on.

    Args:
      radius: r, static; a window has 2 r + 1 tokens.
      num_keys: k, static.
      beta: β of the gate.

    Raises:
      ValueError: if a setting is out of range, or, when used, keys are not as many as queries.

    References:
      Beltagy et al., "Longformer: The Long-Document Transformer", arXiv:2004.05150, for the windows.
    """

    radius: int = 16
    num_keys: int = 32
    beta: float = 3.0

    select: ClassVar[Select] = "keys"

    def __post_init__(self):
        check_count(radius=self.radius, num_keys=self.num_keys)
        check_beta(self.beta)

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None):
        """See `Readout`."""
        del importance
        tokens = len(query)
        if len(key) != tokens:
            raise ValueError(
                f"WindowReadout needs as many keys as queries, {tokens}, got {len(key)}: a window is of neighbours in "
                "one sequence; for cross-attention use qama_jax.SelectedKeysReadout() or qama_jax.LinearReadout()"
            )
        selection = strongest(hamiltonian, solution, self.beta, self.num_keys)
        valid = jnp.ones(tokens, bool) if hamiltonian.mask is None else hamiltonian.mask
        if tokens <= 2 * (3 * self.radius + self.num_keys):
            # One product of all pairs is faster than blocks that see half of them or more.
            position = jnp.arange(tokens)
            near = jnp.abs(position[:, None] - position[None]) <= self.radius
            bias = jnp.where(near[None], _visible(valid, query.dtype)[None, None], selection.scatter(tokens)[:, None])
            return attend(query, key, value, bias, dropout)
        return _blockwise(query, key, value, valid, selection, self.radius, dropout)


def _blockwise(
    query: Float[Array, "tokens heads head_dim"],
    key: Float[Array, "tokens heads head_dim"],
    value: Float[Array, "tokens heads head_dim"],
    valid: Bool[Array, "tokens"],
    selection: Selection,
    radius: int,
    dropout: Dropout | None,
) -> Float[Array, "tokens heads head_dim"]:
    """In blocks of `radius` queries, which see the selected keys, their own block, and those before and after it."""
    tokens, heads, head_dim = query.shape
    blocks = -(-tokens // radius)
    past_end = blocks * radius - tokens

    def neighbourhood(x: Array) -> Array:
        x = jnp.pad(x, [(radius, radius + past_end)] + [(0, 0)] * (x.ndim - 1))
        x = x.reshape(blocks + 2, radius, *x.shape[1:])
        return jnp.concatenate([x[:-2], x[1:-1], x[2:]], axis=1)

    def candidates(x: Array) -> Array:
        selected = selection.gather(x)
        return jnp.concatenate([neighbourhood(x), jnp.broadcast_to(selected[None], (blocks, *selected.shape))], axis=1)

    query = jnp.pad(query, [(0, past_end), (0, 0), (0, 0)]).reshape(blocks, radius, heads, head_dim)
    offset = jnp.arange(3 * radius)[None] - radius - jnp.arange(radius)[:, None]
    near = (jnp.abs(offset) <= radius)[None, None] & neighbourhood(valid)[:, None, None]
    position = jnp.arange(blocks * radius).reshape(blocks, 1, radius, 1)
    far = jnp.abs(position - selection.indices[None, :, None]) > radius
    far = jnp.where(far, selection.log_gates[None, :, None], hidden(query.dtype))
    near = jnp.broadcast_to(_visible(near, query.dtype), (*far.shape[:-1], 3 * radius))
    bias = jnp.concatenate([near, far], axis=-1)
    features = attend(query, candidates(key), candidates(value), bias, dropout)
    return features.reshape(blocks * radius, heads, head_dim)[:tokens]


def _visible(seen: Bool[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """The bias of keys that are seen, or not."""
    return jnp.where(seen, 0, hidden(dtype)).astype(dtype)
