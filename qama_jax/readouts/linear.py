"""Linear attention over gated keys."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from qama_jax.problems.attention import Select
from qama_jax.readouts.base import check_beta
from qama_jax.readouts.gate import log_gate


@dataclasses.dataclass(frozen=True)
class LinearReadout:
    """Linear attention in which each key is weighted by its gate: O(N D²), for any number of keys.

        o_i = Σ_j m_j (φ(q_i)·φ(k_j)) v_j / Σ_j m_j (φ(q_i)·φ(k_j)),    φ(x) = elu(x) + 1

    Here m_j is the gate of key j in the head, see `qama_jax.readouts.log_gate`. A query without any key gets 0.

    Args:
      beta: β of the gate. Of 1, 3 and 10, 3 trained best.

    Raises:
      ValueError: if `beta` is not a positive number.

    References:
      Katharopoulos et al., "Transformers are RNNs", arXiv:2006.16236, equations (4) to (7), for m = 1.
    """

    beta: float = 3.0

    select: ClassVar[Select] = "keys"

    def __post_init__(self):
        check_beta(self.beta)

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None):
        """See `Readout`."""
        del importance
        gates = hamiltonian.clamp(jnp.exp(log_gate(hamiltonian, solution, self.beta)))
        query = jax.nn.elu(query) + 1
        key = (jax.nn.elu(key) + 1) * gates.T[..., None]
        total = jnp.einsum("nhd,hd->nh", query, jnp.sum(key, axis=0))
        if dropout is not None:
            # After the total is taken, because softmax attention also drops weights that are already normalised.
            key = key * dropout.factors((*key.shape[:2], 1), head_axis=1, dtype=key.dtype)
        features = jnp.einsum("nhd,hde->nhe", query, jnp.einsum("mhd,mhe->hde", key, value))
        return features / jnp.where(total > 0, total, 1)[..., None]
