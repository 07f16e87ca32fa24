"""What a user writes: type checkers take it, and `test_typing.py` runs it."""

import dataclasses

import dimod
import jax
import numpy as np
from flax import nnx

import qama_jax


@dataclasses.dataclass(frozen=True)
class Zeros:
    num_reads: int = 1

    def sample(self, key: jax.Array, problem: qama_jax.Problem, initial_bits: jax.Array | None):
        return jax.numpy.zeros((self.num_reads, *problem.shape), jax.numpy.int8), {}


def ones(couplings: np.ndarray, biases: np.ndarray, num_reads: int) -> np.ndarray:
    return np.ones((num_reads, len(biases)), np.int8)


qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -2.0]], offset=1)
ising = qama_jax.Ising(np.zeros((2, 2)), biases=[1.0, -1.0])
annealer = qama_jax.SimulatedAnnealing(num_sweeps=5, num_reads=2)
solution = qama_jax.solve(jax.random.key(0), qubo, annealer, initial_bits=[0, 1])
energies = qubo.exact_energy([0, 1]), float(solution.energy), ising.biases + ising.offset
found = qama_jax.search(jax.random.key(0), ising, qama_jax.Exhaustive(), max_calls=1)
sampler = qama_jax.hardware.DimodBackend(dimod.ExactSolver())
solvers: list[qama_jax.Solver] = [qama_jax.CimSolver(sampler), qama_jax.CimSolver(ones, num_reads=2), Zeros()]
answers = [qama_jax.solve(jax.random.key(0), qubo, solver).bits.tolist() for solver in solvers]
layer = qama_jax.QAMAAttention(2, 8, solver=annealer, readout=qama_jax.WindowReadout(), decode=False, rngs=nnx.Rngs(0))
linen = qama_jax.linen.QAMAAttention(num_heads=2, solver=Zeros(), readout=qama_jax.MixedReadout())
inputs = jax.numpy.ones((1, 4, 8))
features = layer(inputs), linen.apply(linen.init(jax.random.key(0), inputs), inputs)
