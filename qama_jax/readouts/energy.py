"""The paper's read-out: energies."""

import dataclasses
from typing import ClassVar

from qama_jax.problems.attention import Select
from qama_jax.readouts.distribution import distribute_energy


@dataclasses.dataclass(frozen=True)
class EnergyReadout:
    """The energy of each selected token along W_ε, equation (5) of the paper; see `distribute_energy`.

    A head hands one number for each token to the output projection, and no values of other tokens.

    References:
      arXiv:2504.11083v2, equations (5) and (6).
    """

    select: ClassVar[Select] = "queries"

    def read(self, hamiltonian, solution, query, key, value, importance, dropout=None):
        """See `Readout`."""
        del query, key, value
        features = distribute_energy(hamiltonian, solution.bits, importance)
        if dropout is None:
            return features
        return features * dropout.factors((*features.shape[:2], 1), head_axis=1, dtype=features.dtype)
