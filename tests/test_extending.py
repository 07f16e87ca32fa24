"""What it takes to add a solver or a read-out: the file that defines it. In the package, a line exports it besides."""

import dataclasses
import importlib.util
import sys

import dimod
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx

import qama_jax
import qama_jax.dimod

pytestmark = pytest.mark.usefixtures("strict")

SOLVER = '''
import dataclasses
import jax
import jax.numpy as jnp
import qama_jax


@dataclasses.dataclass(frozen=True)
class Greedy(qama_jax.IterativeSolver):
    """Each step flips the bit that lowers the energy most."""

    num_reads: int = 1
    num_steps: int = 40
    record_energy: bool = False
    max_descent_steps: int | None = None
    keep_best = True

    def schedule(self, problem):
        return jnp.arange(self.num_steps)

    def init(self, key, problem, bits):
        return jax.random.bernoulli(key, shape=problem.shape).astype(jnp.int8) if bits is None else bits

    def step(self, key, problem, state, index):
        change = problem.flip_energy(state)
        best = jnp.arange(state.size).reshape(state.shape) == jnp.argmin(change)
        return jnp.where(best & (change < 0), 1 - state, state), None

    def bits(self, problem, state):
        return state
'''

READOUT = '''
import dataclasses
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class MeanReadout:
    """The mean of the values that a head selects, for every query the same."""

    select = "keys"

    def read(self, hamiltonian, solution, query, key, value, importance, *, dropout=None):
        bits = hamiltonian.clamp(solution.bits).astype(value.dtype)
        count = jnp.maximum(jnp.sum(bits, axis=1), 1)
        mean = jnp.einsum("hm,mhd->hd", bits, value) / count[:, None]
        return jnp.broadcast_to(mean[None], query.shape)
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The class of a new file."""

    def load(source, name):
        path = tmp_path / f"{name.lower()}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return getattr(module, name)

    return load


def test_a_solver(load):
    solver = load(SOLVER, "Greedy")(num_reads=8)
    matrix = np.random.default_rng(0).integers(-9, 10, (8, 8))
    qubo = qama_jax.Qubo(matrix)
    lowest = int(min(qubo.exact_energy(oracle.all_states(8))))
    assert qama_jax.solve(jax.random.key(0), qubo, solver).energy == lowest
    assert qama_jax.search(jax.random.key(0), qubo, solver, target=lowest, max_calls=4).energy == lowest
    batch = qama_jax.stack_problems([qubo, qubo])
    keys = jax.random.split(jax.random.key(1), 2)
    together = jax.jit(jax.vmap(qama_jax.solve, in_axes=(0, 0, None)), static_argnums=2)(keys, batch, solver)
    assert together.reads.shape == (2, 8, 8)
    # Traces, a polish and warm starts come with the base class.
    traced = dataclasses.replace(solver, num_steps=3, record_energy=True, max_descent_steps=9)
    solution = qama_jax.solve(jax.random.key(0), qubo, traced, initial_bits=np.ones(8, int))
    assert solution.info["energy_trace"].shape == (8, 3)
    assert solution.info["energy_trace"][0, 0] < qubo.exact_energy(np.ones(8, int))
    assert solution.info["descent_steps"].shape == (8,)
    model = dimod.BinaryQuadraticModel.from_qubo({(i, j): int(matrix[i, j]) for i in range(8) for j in range(8)})
    sampler = qama_jax.dimod.DimodSampler(solver)
    assert sampler.sample(model, seed=0).first.energy == dimod.ExactSolver().sample(model).first.energy
    with jax.numpy_rank_promotion("allow"):
        layer = qama_jax.QAMAAttention(2, 8, solver=solver, decode=False, rngs=nnx.Rngs(0))
        assert np.isfinite(layer(jnp.ones((1, 5, 8)))).all()


def test_a_readout(load):
    readout = load(READOUT, "MeanReadout")()
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 6, 2, 4))
    features, diagnostics = qama_jax.qama_attention(
        query, key, value, jnp.ones(4), rng=jax.random.key(1), readout=readout
    )
    bits, value = np.asarray(diagnostics.bits, np.float64), np.asarray(value, np.float64)
    mean = np.einsum("bhm,bmhd->bhd", bits, value) / np.maximum(bits.sum(-1), 1)[..., None]
    np.testing.assert_allclose(features, np.broadcast_to(mean[:, None], features.shape), rtol=1e-5, atol=1e-6)
    with jax.numpy_rank_promotion("allow"):
        layer = qama_jax.QAMAAttention(2, 8, readout=readout, decode=False, rngs=nnx.Rngs(0))
        assert layer(jnp.ones((1, 5, 8)), jnp.ones((1, 7, 8))).shape == (1, 5, 8)
