"""What an Ising machine can take."""

import dataclasses

from qama_jax.checks import check_count

# Integers up to 2**23 and their roundings are exact in float32.
_MOST_BITS = 24


@dataclasses.dataclass(frozen=True)
class Machine:
    """Limits of an Ising machine. The defaults are those of a coherent Ising machine of 550 spins and 8 bits.

    Args:
      num_spins: how many spins it has, auxiliary spins included; None for no limit.
      coupling_bits: bits of a signed coupling, 2 to 24: couplings are integers in ±(2^(bits-1) - 1), ±127 for 8 bits.
        None for real numbers.
      auxiliary_spins: spins that carry the linear terms of a problem, for a machine that has couplings alone. None:
        as few as keep the linear terms from setting the scale of the couplings, see `embed`. 0: the machine takes
        linear terms itself.

    Raises:
      ValueError: if a setting is out of range.
    """

    num_spins: int | None = 550
    coupling_bits: int | None = 8
    auxiliary_spins: int | None = None

    def __post_init__(self):
        if self.num_spins is not None:
            check_count(num_spins=self.num_spins)
        if self.coupling_bits is not None:
            check_count(2, coupling_bits=self.coupling_bits)
            if self.coupling_bits > _MOST_BITS:
                raise ValueError(
                    f"coupling_bits must be at most {_MOST_BITS}, got {self.coupling_bits}; "
                    "pass None for a machine of real couplings"
                )
        if self.auxiliary_spins is not None:
            check_count(0, auxiliary_spins=self.auxiliary_spins)

    @property
    def largest_coupling(self) -> int | None:
        """`2^(coupling_bits - 1) - 1`, or None for real couplings."""
        return None if self.coupling_bits is None else 2 ** (self.coupling_bits - 1) - 1
