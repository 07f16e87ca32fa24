"""Solvers: which one to choose, and how to write one.

| solver | what it is | when to use |
|---|---|---|
| `SimulatedBifurcation` | oscillators with walls, all bits at once | the default: attention, large dense problems |
| `MeanFieldAnnealing` | means of the bits, annealed | the cheapest step; long sequences |
| `SteepestDescent` | many moves at once as long as they help | polish after any other; long sequences |
| `SimulatedAnnealing` | single flips | small and medium problems; samples at a temperature |
| `IteratedAnnealing` | annealing again from the best so far | sparse problems, large ones above all |
| `ParallelTempering` | replica exchange | rugged problems; samples at many temperatures |
| `PathIntegralAnnealing` | simulated quantum annealing | rugged problems; studies of quantum annealing |
| `BlockGibbs` | Gibbs sampler, every token of attention at once | sampling attention of long sequences |
| `CoherentIsingMachine` | optical machine, simulated | what such a machine would do |
| `Exhaustive` | every state, up to 24 bits | exact; to check the others |

`solve` runs any of them on any problem, compiled. `jax.vmap` solves a batch of different problems in one call, and
`initial_bits` lets one solver start where another ended:

>>> import jax, qama_jax
>>> qubo = qama_jax.Qubo(jax.random.normal(jax.random.key(0), (50, 50)))
>>> annealed = qama_jax.solve(jax.random.key(1), qubo, qama_jax.SimulatedAnnealing(num_sweeps=20, num_reads=4))
>>> descent = qama_jax.SteepestDescent(num_reads=4)
>>> polished = qama_jax.solve(jax.random.key(2), qubo, descent, initial_bits=annealed.reads)
>>> bool(polished.energy <= annealed.energy)
True

On CPU, the states of a large batch of long problems exceed the caches. `jax.lax.map` solves the batch in parts: 256
problems of 256 or 512 tokens then take 0.3 to 0.5 of the time (`make benchmark-solver`):

>>> qubos = jax.vmap(qama_jax.Qubo)(jax.random.normal(jax.random.key(3), (32, 50, 50)))
>>> keys = jax.random.split(jax.random.key(4), 32)
>>> solver = qama_jax.SimulatedBifurcation()
>>> solutions = jax.lax.map(lambda pair: qama_jax.solve(*pair, solver), (keys, qubos), batch_size=16)
>>> solutions.energy.shape
(32,)

`qama_jax.search` runs a solver on the host until a time limit or a target is reached. If you name no solver,
`auto_solver` chooses one. The command `qama-jax solve FILE --time-limit 10s` does the same.

**A solver of your own** is a frozen dataclass that derives from `IterativeSolver` and defines one step; the loop, the
reads, the trace of energies and the polish are provided. A solver that is not iterative has `num_reads` and `sample`;
see `Solver`.
"""

from qama_jax.solvers.auto import auto_solver as auto_solver
from qama_jax.solvers.base import Solution as Solution
from qama_jax.solvers.base import Solver as Solver
from qama_jax.solvers.base import solve as solve
from qama_jax.solvers.block_gibbs import BlockGibbs as BlockGibbs
from qama_jax.solvers.coherent_ising_machine import CoherentIsingMachine as CoherentIsingMachine
from qama_jax.solvers.exhaustive import Exhaustive as Exhaustive
from qama_jax.solvers.iterated_annealing import IteratedAnnealing as IteratedAnnealing
from qama_jax.solvers.iterative import IterativeSolver as IterativeSolver
from qama_jax.solvers.mean_field_annealing import MeanFieldAnnealing as MeanFieldAnnealing
from qama_jax.solvers.parallel_tempering import ParallelTempering as ParallelTempering
from qama_jax.solvers.path_integral_annealing import PathIntegralAnnealing as PathIntegralAnnealing
from qama_jax.solvers.simulated_annealing import SimulatedAnnealing as SimulatedAnnealing
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation as SimulatedBifurcation
from qama_jax.solvers.steepest_descent import SteepestDescent as SteepestDescent
