"""Quantum annealing multi-head attention for JAX and Flax, in linear time and memory."""

from qama_jax.attention import AttentionDiagnostics as AttentionDiagnostics
from qama_jax.attention import qama_attention as qama_attention
from qama_jax.distribution import distribute_energy as distribute_energy
from qama_jax.nnx import Annealer as Annealer
from qama_jax.nnx import EnergyDistribution as EnergyDistribution
from qama_jax.nnx import QAMAAttention as QAMAAttention
from qama_jax.nnx import QuboConstruction as QuboConstruction
from qama_jax.problems import AttentionHamiltonian as AttentionHamiltonian
from qama_jax.problems import Ising as Ising
from qama_jax.problems import Problem as Problem
from qama_jax.problems import Qubo as Qubo
from qama_jax.problems import attention_hamiltonian as attention_hamiltonian
from qama_jax.solvers import BlockGibbs as BlockGibbs
from qama_jax.solvers import CoherentIsingMachine as CoherentIsingMachine
from qama_jax.solvers import Exhaustive as Exhaustive
from qama_jax.solvers import MeanFieldAnnealing as MeanFieldAnnealing
from qama_jax.solvers import ParallelTempering as ParallelTempering
from qama_jax.solvers import PathIntegralAnnealing as PathIntegralAnnealing
from qama_jax.solvers import SimulatedAnnealing as SimulatedAnnealing
from qama_jax.solvers import SimulatedBifurcation as SimulatedBifurcation
from qama_jax.solvers import Solution as Solution
from qama_jax.solvers import Solver as Solver
from qama_jax.solvers import SteepestDescent as SteepestDescent
from qama_jax.solvers import solve as solve
