"""Softmax attention over the strongest selected keys."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from qama_jax.checks import check_count
from qama_jax.lengths import at_most
from qama_jax.problems.attention import Select
from qama_jax.readouts.base import check_beta
from qama_jax.readouts.selection import attend, strongest


@dataclasses.dataclass(frozen=True)
class SelectedKeysReadout:
    """Softmax attention over at most `num_keys` selected keys of each head: O(N k D), for any number of keys M.

        o_i = Σ_j m_j exp(q_i·k_j/√D) v_j / Σ_j m_j exp(q_i·k_j/√D),    j among the k selected keys of largest gate m

    Here m_j is the gate of key j in the head, see `qama_jax.readouts.log_gate`. With all keys selected at equal gates
    this is softmax attention. A head that selects no key reads the visible key of largest gate; where none is visible,
    features are 0.

    Args:
      num_keys: k, static.
      beta: β of the gate.

    Raises:
      ValueError: if a setting is out of range.
    """

    num_keys: int = 32
    beta: float = 3.0

    select: ClassVar[Select] = "keys"

    def __post_init__(self):
        check_count(num_keys=self.num_keys)
        check_beta(self.beta)

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None):
        """See `Readout`."""
        del importance
        selection = strongest(hamiltonian, solution, self.beta, self.num_keys)
        if at_most(key.shape[0], 2 * self.num_keys):
            # This takes fewer operations than a gather and its derivative, a scatter.
            features = attend(query, key, value, selection.scatter(key.shape[0])[:, None], dropout)
        else:
            key, value = selection.gather(key), selection.gather(value)
            features = attend(query, key, value, selection.log_gates[:, None], dropout)
        return jnp.where(jnp.any(selection.exists, axis=1)[None, :, None], features, 0)
