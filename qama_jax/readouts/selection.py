"""The strongest selected keys of each head, and softmax attention over them."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qama_jax.lengths import at_most
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.gate import log_gate
from qama_jax.solvers.base import Solution


class Selection(NamedTuple):
    """At most k keys of each head.

    Attributes:
      indices: [H, k].
      log_gates: [H, k], what each key adds to its logits; `hidden` where fewer than k keys are selected.
      exists: bool [H, k], false where fewer than k keys are selected.
    """

    indices: Int[Array, "heads k"]
    log_gates: Float[Array, "heads k"]
    exists: Bool[Array, "heads k"]

    @property
    def strength(self) -> Float[Array, "heads k"]:
        """The values that keys are ranked by, detached; -inf where no key exists."""
        return jnp.where(self.exists, jax.lax.stop_gradient(self.log_gates), -jnp.inf)

    def take(self, slots: Int[Array, "heads n"]) -> "Selection":
        """The keys of each head at these places among the k."""
        return Selection(*(jnp.take_along_axis(leaf, slots, axis=1) for leaf in self))

    def gather(self, array: Float[Array, "keys heads head_dim"]) -> Float[Array, "k heads head_dim"]:
        """The rows of the selected keys."""
        return jax.lax.platform_dependent(array, self.indices, tpu=take_by_product, default=take_by_index)

    def scatter(self, keys: int) -> Float[Array, "heads keys"]:
        """The logarithms of the gates at the places of their keys, `hidden` at all others."""
        # The derivative of a sum over comparisons is a product; that of a scatter is a gather.
        chosen = (self.indices[..., None] == jnp.arange(keys)[None, None]) & self.exists[..., None]
        values = jnp.sum(jnp.where(chosen, self.log_gates[..., None], 0), axis=1)
        return jnp.where(jnp.any(chosen, axis=1), values, hidden(values.dtype))


def take_by_index(
    array: Float[Array, "keys heads head_dim"], indices: Int[Array, "heads k"]
) -> Float[Array, "k heads head_dim"]:
    """`array[indices[t, i], t]` for each head t."""
    return jnp.take_along_axis(array, indices.T[..., None], axis=0)


def take_by_product(
    array: Float[Array, "keys heads head_dim"], indices: Int[Array, "heads k"]
) -> Float[Array, "k heads head_dim"]:
    """The same: TPUs gather and scatter rows one after the other, and copy whole arrays for it."""
    chosen = indices[..., None] == jnp.arange(array.shape[0])[None, None]
    return jnp.einsum("hkn,nhd->khd", chosen.astype(array.dtype), array)


def hidden(dtype: jnp.dtype) -> float:
    """What is added to the logits of keys that are not seen: far below all others, and finite."""
    return float(jnp.finfo(dtype).min) / 2


def strongest(hamiltonian: AttentionHamiltonian, solution: Solution, beta: float, num_keys: int) -> Selection:
    """The `num_keys` selected keys of largest gate in each head; see `log_gate`.

    A head that selects no key gets the visible key of largest gate, so that no output depends on whether the annealer
    found the empty selection or another of the same energy.
    """
    if num_keys == 0:
        empty = (hamiltonian.shape[0], 0)
        return Selection(jnp.zeros(empty, jnp.int32), jnp.zeros(empty, hamiltonian.dtype), jnp.zeros(empty, bool))
    gates = log_gate(hamiltonian, solution, beta)
    selected = hamiltonian.clamp(solution.bits) > 0
    visible = hamiltonian.clamp(jnp.ones_like(solution.bits)) > 0
    nothing = ~jnp.any(selected, axis=1, keepdims=True)
    strength = jnp.where(selected | nothing & visible, jax.lax.stop_gradient(gates), -jnp.inf)
    tokens = gates.shape[1]
    if at_most(tokens, num_keys):
        num_keys = tokens
    elif not at_most(num_keys, tokens):
        # A symbolic number of tokens may be smaller than k: slots that hold no token fill the gap.
        strength = jnp.pad(strength, ((0, 0), (0, num_keys)), constant_values=-jnp.inf)
    strength, indices = jax.lax.top_k(strength, num_keys)
    exists = jnp.isfinite(strength) & ~(nothing & (jnp.arange(num_keys)[None] > 0))
    indices = jnp.where(exists, indices, 0)
    gates = jnp.where(exists, jnp.take_along_axis(gates, indices, axis=1), hidden(gates.dtype))
    return Selection(indices, gates, exists)


def attend(
    query: Float[Array, "*blocks queries heads head_dim"],
    key: Float[Array, "*blocks keys heads head_dim"],
    value: Float[Array, "*blocks keys heads head_dim"],
    bias: Float[Array, "*#blocks heads #queries keys"],
    dropout: Dropout | None,
) -> Float[Array, "*blocks queries heads head_dim"]:
    """Softmax attention with a bias on the logits of each key."""
    logits = jnp.einsum("...nhd,...mhd->...hnm", query * query.shape[-1] ** -0.5, key)
    return jnp.einsum("...hnm,...mhd->...nhd", attention_weights(logits + bias, dropout, head_axis=-3), value)


def attention_weights(
    logits: Float[Array, "*axes keys"], dropout: Dropout | None, *, head_axis: int
) -> Float[Array, "*axes keys"]:
    """The softmax of the logits over the keys, and dropout of its entries."""
    weights = jax.nn.softmax(logits, axis=-1)
    if dropout is None:
        return weights
    return weights * dropout.factors(weights.shape, head_axis=head_axis, dtype=weights.dtype)


def unnormalized_weights(
    parts: Sequence[Float[Array, "*axes _keys"]], dropout: Dropout | None, *, head_axis: int
) -> tuple[list[Float[Array, "*axes _keys"]], Float[Array, "*axes 1"]]:
    """The softmax over the keys of all parts together, as `attention_weights` has it, before its division by the sum.

    The parts stay apart: joined, logits would be copied, and weights once more to part them. Features are divided
    instead, which have fewer numbers.

    Args:
      parts: logits of the same queries, of different keys.
      dropout: of the entries; it draws what it would for all keys in one array.
      head_axis: of the heads.

    Returns:
      The exponentials of each part, and the sum that they are to be divided by.
    """
    largest = functools.reduce(jnp.maximum, (jnp.max(part, axis=-1, keepdims=True, initial=-jnp.inf) for part in parts))
    raised = [jnp.exp(part - jax.lax.stop_gradient(largest)) for part in parts]
    total = functools.reduce(jnp.add, (jnp.sum(part, axis=-1, keepdims=True) for part in raised))
    if dropout is None:
        return raised, total
    ends = np.cumsum([part.shape[-1] for part in raised])
    factors = dropout.factors((*raised[0].shape[:-1], ends[-1]), head_axis=head_axis, dtype=total.dtype)
    return [part * kept for part, kept in zip(raised, jnp.split(factors, ends[:-1], axis=-1), strict=True)], total
