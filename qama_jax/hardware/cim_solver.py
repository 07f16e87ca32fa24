"""A machine behind a host callback, as a solver like any other."""

import dataclasses
import math
import os
import time
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from qama_jax.checks import check_count
from qama_jax.hardware.backend import Backend, HardwareError, MachineProblem, lowest_reads, sample_checked
from qama_jax.hardware.callable_backend import SpinFunction, as_backend
from qama_jax.hardware.embedding import decode, embed
from qama_jax.problems.base import Bits, Problem

# XLA copies smaller arrays at once, and hands larger ones to another thread.
_COPIED_INLINE_BYTES = 100_000


@dataclasses.dataclass(frozen=True)
class CimSolver:
    """Sends problems to a machine: `embed` on the device, one host call for a whole batch, `decode` on the device.

    However many `jax.vmap` are around it, a batch is one `jax.pure_callback`, and the backend sees all its problems
    at once. Energies are computed from the bits and the problem at full precision, whatever the machine rounds. No
    gradient flows through. JAX may run a callback again, as `jax.checkpoint` does: where tasks are paid for, wrap
    the backend in a `qama_jax.hardware.TaskRunner` with a journal, which answers from it.

    Args:
      backend: a `qama_jax.hardware` backend, or a function `(couplings, biases, num_reads) -> spins`.
      num_reads: reads per problem. If the machine gives more rows, those of lowest energy, as sent, are kept.

    Info: `solve_seconds` and `host_seconds`, scalars: the wall time of the backend, and that of the whole host call,
      over the batch, divided by its size.

    Raises:
      ValueError: if `backend` is not a backend, `num_reads` is out of range, a problem does not fit the machine, or
        the solver is given a warm start.
      jax.errors.JaxRuntimeError: when the result is used, with the text of the `HardwareError` that names the
        backend, the problem and the remedy, where the machine failed.

    Example:
      >>> import dimod, jax, qama_jax
      >>> backend = qama_jax.hardware.DimodBackend(dimod.ExactSolver())
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -2.0]])
      >>> solution = qama_jax.solve(jax.random.key(0), qubo, qama_jax.CimSolver(backend, num_reads=4))
      >>> float(solution.energy), solution.bits
      (-2.0, Array([0, 1], dtype=int8))
    """

    backend: Backend
    num_reads: int = 1

    if TYPE_CHECKING:  # what is passed, where the fields are what is kept

        def __init__(self, backend: Backend | SpinFunction, num_reads: int = 1): ...

    def __post_init__(self):
        object.__setattr__(self, "backend", as_backend(self.backend, "backend"))
        check_count(num_reads=self.num_reads)

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        if initial_bits is not None:
            raise ValueError("initial_bits cannot be honoured: a machine starts where it likes; leave them out")
        embedding = embed(problem, self.backend.machine)
        n = math.prod(problem.shape)
        result = (
            jax.ShapeDtypeStruct((self.num_reads, *embedding.biases.shape), jnp.int8),
            jax.ShapeDtypeStruct((), jnp.float32),
            jax.ShapeDtypeStruct((), jnp.float32),
        )
        spins, solve_seconds, host_seconds = jax.pure_callback(
            _HostCall(self.backend, self.num_reads, n),
            result,
            embedding.couplings,
            embedding.biases,
            embedding.num_auxiliary,
            jax.random.bits(key, (), jnp.uint32),
            vmap_method="broadcast_all",
        )
        bits = (1 + decode(spins, embedding, n)) // 2
        return bits.reshape(-1, *problem.shape), {"solve_seconds": solve_seconds, "host_seconds": host_seconds}


@dataclasses.dataclass(frozen=True)
class _HostCall:
    """What runs on the host for a batch; its arguments carry any number of leading batch axes."""

    backend: Backend
    num_reads: int
    n: int

    def __call__(
        self, couplings: Array | np.ndarray, biases: Array | np.ndarray, num_auxiliary: Array, seeds: Array | np.ndarray
    ) -> tuple[np.ndarray, ...]:
        started = time.perf_counter()
        self._check_threads(couplings.nbytes)
        batch, slots = biases.shape[:-1], biases.shape[-1]
        couplings = np.asarray(couplings).reshape(-1, slots, slots)
        biases = np.asarray(biases).reshape(-1, slots)
        sizes = self.n + np.asarray(num_auxiliary).reshape(-1)
        seeds = np.asarray(seeds).reshape(-1)
        problems = [
            MachineProblem(np.ascontiguousarray(couplings[index, :size, :size]), biases[index, :size], int(seed))
            for index, (size, seed) in enumerate(zip(sizes, seeds, strict=True))
        ]
        submitted = time.perf_counter()
        answers = sample_checked(self.backend, problems, self.num_reads)
        solved = time.perf_counter() - submitted
        spins = np.ones((len(problems), self.num_reads, slots), np.int8)
        for index, (answer, problem) in enumerate(zip(answers, problems, strict=True)):
            spins[index, :, : problem.num_spins] = lowest_reads(answer, problem, self.num_reads)
        share = 1 / max(len(problems), 1)
        solve_seconds = np.full(batch, solved * share, np.float32)
        host_seconds = np.full(batch, (time.perf_counter() - started) * share, np.float32)
        return spins.reshape(*batch, self.num_reads, slots), solve_seconds, host_seconds

    def _check_threads(self, num_bytes: int) -> None:
        """Raises where this is JAX's only thread, in which it would wait forever for the copy of a large argument."""
        one_core = len(os.sched_getaffinity(0)) == 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() == 1
        if one_core and "NPROC" not in os.environ and num_bytes >= _COPIED_INLINE_BYTES:
            raise HardwareError(
                f"{self.backend.name} was not asked: on a single core, JAX cannot pass {num_bytes} bytes to a host "
                "callback; set the environment variable NPROC=2 before Python starts"
            )
