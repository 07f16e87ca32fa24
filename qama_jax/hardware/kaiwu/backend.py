"""A coherent Ising machine of QBoson, through an optimizer of its Kaiwu SDK."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from qama_jax.checks import check_positive
from qama_jax.hardware.backend import HardwareError, MachineProblem, sample_one_by_one
from qama_jax.hardware.machine import Machine


class KaiwuBackend:
    """Problems to an optimizer of the Kaiwu SDK, which is given, never imported.

    A problem of real couplings is sent as `M = J / 2`, the SDK's own convention, see `qubo_to_kaiwu`. One of integer
    couplings is sent as `M = J`, so that the 8-bit integers stay integers: all energies are doubled, which changes
    no order. The auxiliary spins come last.

    Args:
      optimizer: anything with `solve(ising_matrix)` that gives spins ±1 [k, m], in any order, a single read [m], or
        None while the task is pending: then it is asked again with the same matrix. See `make_kaiwu_optimizer`
        for one of the SDK, and `InterpreterBridge` for an SDK in another interpreter.
      machine: its limits, `Machine(num_spins=1000)` for the larger ones.
      poll_interval_s: seconds between questions while a task is pending.
      timeout_s: seconds after which a pending task is given up. A `solve` that never returns is another matter, see
        `TaskRunner`.

    Raises:
      ValueError: if `optimizer` has no `solve`, `machine` takes linear terms, or a setting is out of range.
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        machine: Machine = Machine(),
        poll_interval_s: float = 60.0,
        timeout_s: float = 3600.0,
    ):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "solve", None)):
            raise ValueError(f"optimizer must be an instance with solve(ising_matrix), got {optimizer!r}")
        if machine.auxiliary_spins == 0:
            raise ValueError("machine.auxiliary_spins must not be 0: the SDK takes no linear terms; pass None or 1")
        check_positive(poll_interval_s=poll_interval_s, timeout_s=timeout_s)
        self.optimizer = optimizer
        self.machine = machine
        self.poll_interval_s = poll_interval_s
        self.timeout_s = timeout_s
        self.name = f"KaiwuBackend({type(optimizer).__name__})"

    def run(self, problem: MachineProblem, num_reads: int) -> np.ndarray:
        """Spins for one problem; how many is a setting of the optimizer."""
        del num_reads
        matrix = _matrix(problem)
        deadline = time.monotonic() + self.timeout_s
        while (spins := self.optimizer.solve(matrix)) is None:
            if time.monotonic() + self.poll_interval_s > deadline:
                raise HardwareError(
                    f"pending for timeout_s={self.timeout_s} seconds (solve returned None); raise timeout_s, or "
                    "look for the task on the machine's platform"
                )
            time.sleep(self.poll_interval_s)
        return spins

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> list[np.ndarray]:
        """See `Backend`."""
        return sample_one_by_one(self, problems, num_reads)


def _matrix(problem: MachineProblem) -> Float[np.ndarray, "m m"]:
    is_integer = np.issubdtype(problem.couplings.dtype, np.integer)
    return problem.couplings.astype(np.float64) / (1 if is_integer else 2)
