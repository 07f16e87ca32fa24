"""Running on an Ising machine.

To run a trained model on a machine, change its solver. `CimSolver` is one host callback for a whole batch, inside
`jax.jit` and `jax.grad`; behind it stands a backend: `DimodBackend` for any sampler of dimod (D-Wave's machines,
dwave-samplers), `KaiwuBackend` for an optimizer of QBoson's Kaiwu SDK, or `CallableBackend` for a function.

    backend = qama_jax.hardware.DimodBackend(dimod.SimulatedAnnealingSampler(), num_sweeps=100)
    solver = qama_jax.CimSolver(backend, num_reads=2)

Four names have to do with such machines; they differ in what does the computing:

| name | what it is | what computes | when to use |
|---|---|---|---|
| `qama_jax.CoherentIsingMachine` | a solver: the equations of an ideal machine | JAX, compiled | to solve problems |
| `SimulatedMachine` | a solver: these equations with a machine's limits and noise | JAX, compiled | to see the loss |
| `qama_jax.CimSolver` | a solver that sends problems to a backend | a host callback | with a machine, or any sampler |
| `SimulatedBackend` | a backend: `SimulatedMachine` in NumPy | that callback | to rehearse tasks and journals |

**Before you have a machine**, `SimulatedMachine` answers as one would, with its number of spins, its 8-bit couplings
and its noise. Linear terms need auxiliary spins there. Spread over several of them (`Machine()` takes as few as are
enough), linear terms no longer cost the couplings their bits. `rounding_report` says what a problem loses.

>>> import jax, qama_jax
>>> query, key, value = jax.random.normal(jax.random.key(1), (3, 49, 8, 8))
>>> problem = qama_jax.attention_hamiltonian(query, key, value, jax.numpy.ones(8))
>>> one = qama_jax.hardware.rounding_report(problem, qama_jax.hardware.Machine(auxiliary_spins=1))
>>> split = qama_jax.hardware.rounding_report(problem, qama_jax.hardware.Machine())
>>> bool(split.zeroed_share < 0.2 * one.zeroed_share)
True

**The Kaiwu SDK** is closed and needs Python 3.10. You inject it, or it runs in an interpreter of its own, with its
licence in the environment variables `KAIWU_USER_ID` and `KAIWU_SDK_CODE`. A `TaskRunner` packs small problems into one
task, tries again with a timeout, keeps to a budget, and journals every answer, so that a program that was killed does
not pay for a finished task again.

    bridge = InterpreterBridge("/opt/kaiwu/bin/python", {"task_name": "qama", "sample_number": 10})
    runner = TaskRunner(KaiwuBackend(bridge), journal="tasks", max_tasks=1000)
    solver = qama_jax.CimSolver(runner, num_reads=10)

**A backend of your own** has a name, the limits of its machine, and a method `sample` that turns problems into spins;
see `Backend`, which also says what it must not do. A function will do where there are no limits:

>>> import numpy as np
>>> def descend(couplings, biases, num_reads):  # minimises -½ σᵀ couplings σ - biasesᵀ σ
...     spins = np.where(np.random.default_rng(0).random((num_reads, len(biases))) < 0.5, -1, 1)
...     for _ in range(10):
...         for i in range(len(biases)):
...             spins[:, i] = np.where(spins @ couplings[i] + biases[i] > 0, 1, -1)
...     return spins
>>> ising = qama_jax.Ising([[0.0, 2.0], [2.0, 0.0]], [1.0, 0.5])
>>> qama_jax.solve(jax.random.key(0), ising, qama_jax.CimSolver(descend, num_reads=8)).spins
Array([1, 1], dtype=int8)
"""

from qama_jax.hardware.backend import Backend as Backend
from qama_jax.hardware.backend import HardwareError as HardwareError
from qama_jax.hardware.backend import MachineProblem as MachineProblem
from qama_jax.hardware.callable_backend import CallableBackend as CallableBackend
from qama_jax.hardware.cim_solver import CimSolver as CimSolver
from qama_jax.hardware.dimod_backend import DimodBackend as DimodBackend
from qama_jax.hardware.embedding import Embedding as Embedding
from qama_jax.hardware.embedding import decode as decode
from qama_jax.hardware.embedding import embed as embed
from qama_jax.hardware.kaiwu.backend import KaiwuBackend as KaiwuBackend
from qama_jax.hardware.kaiwu.conversions import kaiwu_bits as kaiwu_bits
from qama_jax.hardware.kaiwu.conversions import kaiwu_energies as kaiwu_energies
from qama_jax.hardware.kaiwu.conversions import kaiwu_matrix as kaiwu_matrix
from qama_jax.hardware.kaiwu.conversions import qubo_to_kaiwu as qubo_to_kaiwu
from qama_jax.hardware.kaiwu.factory import make_kaiwu_optimizer as make_kaiwu_optimizer
from qama_jax.hardware.kaiwu.interpreter_bridge import InterpreterBridge as InterpreterBridge
from qama_jax.hardware.machine import Machine as Machine
from qama_jax.hardware.rounding import RoundingLoss as RoundingLoss
from qama_jax.hardware.rounding import RoundingReport as RoundingReport
from qama_jax.hardware.rounding import rounded_problem as rounded_problem
from qama_jax.hardware.rounding import rounding_loss as rounding_loss
from qama_jax.hardware.rounding import rounding_report as rounding_report
from qama_jax.hardware.simulated_backend import SimulatedBackend as SimulatedBackend
from qama_jax.hardware.simulated_machine import SimulatedMachine as SimulatedMachine
from qama_jax.hardware.tasks.journal import Journal as Journal
from qama_jax.hardware.tasks.packing import group_by_size as group_by_size
from qama_jax.hardware.tasks.packing import pack as pack
from qama_jax.hardware.tasks.packing import unpack as unpack
from qama_jax.hardware.tasks.runner import TaskRunner as TaskRunner
from qama_jax.hardware.tasks.runner import TaskStats as TaskStats
