"""Attention weights, for those who ask to see them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.attention import read_out
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.readouts import ChunkedReadout, Readout
from qama_jax.solvers.base import Solution


def has_attention_weights(readout: Readout) -> bool:
    """Whether features are weighted values of one selection: neither energies nor those of many chunks."""
    return readout.select == "keys" and not isinstance(readout, ChunkedReadout)


def attention_weights(
    readout: Readout,
    hamiltonians: AttentionHamiltonian,
    solutions: Solution,
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    importance: Float[Array, "head_dim"],
    mix: Float[Array, "heads"] | None,
) -> Float[Array, "*batch heads tokens keys"]:
    """How much of the value of each key a query gets, without dropout: what softmax attention sows by this name.

    A read-out that selects keys is linear in their values, so that unit vectors for values read its weights out. This
    takes N M H numbers; attention itself needs no such array.
    """
    keys, _, head_dim = key.shape[-3:]
    units = jnp.eye(keys, -(-keys // head_dim) * head_dim, dtype=query.dtype).reshape(keys, -1, 1, head_dim)

    def read(unit: Float[Array, "keys 1 head_dim"]) -> Float[Array, "*batch tokens heads head_dim"]:
        value = jnp.broadcast_to(unit.reshape((1,) * (key.ndim - 3) + unit.shape), key.shape)
        return read_out(readout, hamiltonians, solutions, query, key, value, importance, mix=mix)

    weights = jax.vmap(read, in_axes=1, out_axes=-2)(units)
    return jnp.swapaxes(weights.reshape(*query.shape[:-1], -1)[..., :keys], -3, -2)
