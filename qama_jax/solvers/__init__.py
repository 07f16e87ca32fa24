from qama_jax.solvers.base import Solution as Solution
from qama_jax.solvers.base import Solver as Solver
from qama_jax.solvers.base import solve as solve
from qama_jax.solvers.exhaustive import Exhaustive as Exhaustive
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation as SimulatedBifurcation
