"""A plain function as a backend."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from qama_jax.hardware.backend import Backend, MachineProblem, sample_one_by_one
from qama_jax.hardware.machine import Machine

SpinFunction = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

_UNLIMITED = Machine(num_spins=None, coupling_bits=None, auxiliary_spins=0)


@dataclasses.dataclass(frozen=True)
class CallableBackend:
    """A function `(couplings [m, m], biases [m], num_reads) -> spins [k, m]` of NumPy arrays, one call a problem.

    The spins are ±1, k >= num_reads, and should minimise `-½ σᵀ couplings σ - biasesᵀ σ`.

    Args:
      function: called on the host; it must not call JAX.
      machine: limits that it has. By default none: real couplings and linear terms.

    Example:
      >>> import jax, numpy, qama_jax
      >>> def align(couplings, biases, num_reads):
      ...     return numpy.sign(numpy.broadcast_to(biases, (num_reads, len(biases))))
      >>> solver = qama_jax.CimSolver(qama_jax.hardware.CallableBackend(align))
      >>> problem = qama_jax.Ising(numpy.zeros((3, 3)), numpy.array([1.0, -2.0, 3.0]))
      >>> qama_jax.solve(jax.random.key(0), problem, solver).bits
      Array([1, 0, 1], dtype=int8)
    """

    function: SpinFunction
    machine: Machine = _UNLIMITED

    @property
    def name(self) -> str:
        """The function's name."""
        return f"CallableBackend({getattr(self.function, '__name__', type(self.function).__name__)})"

    def run(self, problem: MachineProblem, num_reads: int) -> np.ndarray:
        """Spins for one problem."""
        return self.function(problem.couplings, problem.biases, num_reads)

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> list[np.ndarray]:
        """See `Backend`."""
        return sample_one_by_one(self, problems, num_reads)


def as_backend(value: Backend | SpinFunction, argument: str) -> Backend:
    """`value` if it is a backend, a `CallableBackend` if it is a function.

    Raises:
      ValueError: if it is neither; the message names the argument.
    """
    if isinstance(value, Backend) and not isinstance(value, type):
        return value
    if callable(value) and not isinstance(value, type):
        return CallableBackend(value)
    raise ValueError(
        f"{argument} must be a backend such as qama_jax.hardware.DimodBackend(sampler), or a function "
        f"(couplings, biases, num_reads) -> spins, got {value!r}"
    )
