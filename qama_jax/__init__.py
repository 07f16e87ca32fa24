"""Quantum annealing multi-head attention for JAX and Flax, in linear time and memory.

Three stages make the attention of QAMA. `QuboConstruction` turns queries, keys and values into the energy of a
selection of tokens by heads, the `AttentionHamiltonian`; `Annealer` finds a selection of low energy, detached from
gradients; `EnergyDistribution`, or another read-out, makes features of it. `QAMAAttention` is all three behind the
interface of `flax.nnx.MultiHeadAttention`, and `qama_jax.linen.QAMAAttention` is the same layer in Linen.

| | names |
|---|---|
| layer | `QAMAAttention`; its stages as modules: `QuboConstruction`, `Annealer`, `EnergyDistribution` |
| functions | `qama_attention`, `AttentionDiagnostics`, `attention_hamiltonian` |
| read-outs | of energies `EnergyReadout`; protocol `Readout` |
| | of values `MixedReadout`, `WindowReadout`, `SelectedKeysReadout`, `LinearReadout` |
| | of values, causal `MemoryReadout`, `MixedMemoryReadout` |
| problems | `AttentionHamiltonian`; `Qubo`, `Ising`, dense or sparse, and their `FixedProblem`; protocol `Problem` |
| batches | `stack_problems` makes one batch of problems of different sizes |
| files | `read_problem`, `write_problem`, `ProblemFile`; deprecated: `read_rudy`, `read_biqmac` |
| solving | `solve`, `Solution`; `search`, `SearchResult`, with limits; `auto_solver`; `Solver`, `IterativeSolver` |
| dynamics | `SimulatedBifurcation`, `MeanFieldAnnealing`, `CoherentIsingMachine` |
| sampling | `SimulatedAnnealing`, `IteratedAnnealing`, `ParallelTempering`, `PathIntegralAnnealing`, `BlockGibbs` |
| others | `SteepestDescent`, `Exhaustive`; `CimSolver` for machines; `qama_jax.dimod.DimodSampler` for dimod |

**Many devices** need no other code, because JAX spreads arrays over a mesh. With a batch, every device has its own
problems, and only gradients are sent. With one long sequence, every device has its own tokens:

>>> import jax, numpy as np, qama_jax
>>> from jax.sharding import Mesh, NamedSharding, PartitionSpec
>>> tokens = NamedSharding(Mesh(np.array(jax.devices()), ("tokens",)), PartitionSpec(None, "tokens"))
>>> q, k, v = (jax.device_put(x, tokens) for x in jax.random.normal(jax.random.key(0), (3, 1, 512, 2, 8)))
>>> features, _ = jax.jit(qama_jax.qama_attention)(q, k, v, jax.numpy.ones(8), rng=jax.random.key(1))
>>> features.shape
(1, 512, 2, 8)

| read-out | what devices send each other for one sequence |
|---|---|
| `EnergyReadout`, `LinearReadout` | sums over the tokens: H·D numbers per step of the solver, H·D·D a few times |
| `SelectedKeysReadout` | also the fields, H numbers per token, to find the strongest keys, and then those keys |
| `WindowReadout` | also the edges of the windows |
| `MemoryReadout` | the edges of the windows, and the gates and the keys that each chunk remembers |

The tokens are never gathered, and with the first two read-outs nothing that is sent depends on their number (tested
with eight devices).

Guides: `qama_jax.solvers` says which solver to choose and how to write one. `qama_jax.readouts` does the same for
read-outs. `qama_jax.problems` explains why all of it is linear, `qama_jax.hardware` how to run on a machine, and
`qama_jax.analysis` how to judge what a solver finds.
"""

import warnings

from qama_jax import analysis as analysis
from qama_jax import checkpoint as checkpoint
from qama_jax import hardware as hardware
from qama_jax import linen as linen
from qama_jax import nnx as nnx
from qama_jax import readouts as readouts
from qama_jax.attention import AttentionDiagnostics as AttentionDiagnostics
from qama_jax.attention import qama_attention as qama_attention
from qama_jax.hardware import CimSolver as CimSolver
from qama_jax.layers import Annealer as Annealer
from qama_jax.layers import EnergyDistribution as EnergyDistribution
from qama_jax.layers import QuboConstruction as QuboConstruction
from qama_jax.nnx import QAMAAttention as QAMAAttention
from qama_jax.problems import AttentionHamiltonian as AttentionHamiltonian
from qama_jax.problems import FixedProblem as FixedProblem
from qama_jax.problems import Ising as Ising
from qama_jax.problems import Problem as Problem
from qama_jax.problems import ProblemFile as ProblemFile
from qama_jax.problems import Qubo as Qubo
from qama_jax.problems import attention_hamiltonian as attention_hamiltonian
from qama_jax.problems import read_biqmac as read_biqmac
from qama_jax.problems import read_problem as read_problem
from qama_jax.problems import read_rudy as read_rudy
from qama_jax.problems import stack_problems as stack_problems
from qama_jax.problems import write_problem as write_problem
from qama_jax.readouts import EnergyReadout as EnergyReadout
from qama_jax.readouts import LinearReadout as LinearReadout
from qama_jax.readouts import MemoryReadout as MemoryReadout
from qama_jax.readouts import MixedMemoryReadout as MixedMemoryReadout
from qama_jax.readouts import MixedReadout as MixedReadout
from qama_jax.readouts import Readout as Readout
from qama_jax.readouts import SelectedKeysReadout as SelectedKeysReadout
from qama_jax.readouts import WindowReadout as WindowReadout
from qama_jax.solvers import BlockGibbs as BlockGibbs
from qama_jax.solvers import CoherentIsingMachine as CoherentIsingMachine
from qama_jax.solvers import Exhaustive as Exhaustive
from qama_jax.solvers import IteratedAnnealing as IteratedAnnealing
from qama_jax.solvers import IterativeSolver as IterativeSolver
from qama_jax.solvers import MeanFieldAnnealing as MeanFieldAnnealing
from qama_jax.solvers import ParallelTempering as ParallelTempering
from qama_jax.solvers import PathIntegralAnnealing as PathIntegralAnnealing
from qama_jax.solvers import SimulatedAnnealing as SimulatedAnnealing
from qama_jax.solvers import SimulatedBifurcation as SimulatedBifurcation
from qama_jax.solvers import Solution as Solution
from qama_jax.solvers import Solver as Solver
from qama_jax.solvers import SteepestDescent as SteepestDescent
from qama_jax.solvers import auto_solver as auto_solver
from qama_jax.solvers import solve as solve
from qama_jax.solvers.search import SearchResult as SearchResult
from qama_jax.solvers.search import search as search

__version__ = "0.1.0"

__all__ = [
    "Annealer",
    "AttentionDiagnostics",
    "AttentionHamiltonian",
    "BlockGibbs",
    "CimSolver",
    "CoherentIsingMachine",
    "EnergyDistribution",
    "EnergyReadout",
    "Exhaustive",
    "FixedProblem",
    "Ising",
    "IteratedAnnealing",
    "IterativeSolver",
    "LinearReadout",
    "MeanFieldAnnealing",
    "MemoryReadout",
    "MixedMemoryReadout",
    "MixedReadout",
    "ParallelTempering",
    "PathIntegralAnnealing",
    "Problem",
    "ProblemFile",
    "QAMAAttention",
    "Qubo",
    "QuboConstruction",
    "Readout",
    "SearchResult",
    "SelectedKeysReadout",
    "SimulatedAnnealing",
    "SimulatedBifurcation",
    "Solution",
    "Solver",
    "SteepestDescent",
    "WindowReadout",
    "__version__",
    "analysis",
    "attention_hamiltonian",
    "auto_solver",
    "checkpoint",
    "hardware",
    "qama_attention",
    "read_biqmac",
    "read_problem",
    "read_rudy",
    "readouts",
    "search",
    "solve",
    "stack_problems",
    "write_problem",
]


def __getattr__(name: str) -> object:
    """Former names, kept for one version."""
    if name != "distribute_energy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qama_jax.readouts.distribution import distribute_energy

    message = "qama_jax.distribute_energy is deprecated: use qama_jax.EnergyDistribution, or qama_jax.EnergyReadout"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return distribute_energy
