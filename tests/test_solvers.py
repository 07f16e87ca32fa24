"""The contract that every solver keeps on every problem, and what each one adds."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import qama_jax
from qama_jax.solvers.base import _solve

pytestmark = pytest.mark.usefixtures("strict")

SOLVERS = {
    "bifurcation": qama_jax.SimulatedBifurcation(),
    "bifurcation reads": qama_jax.SimulatedBifurcation(num_reads=3, num_steps=20),
    "bifurcation discrete heated": qama_jax.SimulatedBifurcation(num_reads=4, mode="discrete", heating=0.05),
    "annealing": qama_jax.SimulatedAnnealing(num_sweeps=30, num_reads=2),
    "annealing heat-bath": qama_jax.SimulatedAnnealing(
        num_sweeps=30, num_reads=4, update="heat_bath", beta_schedule="linear"
    ),
    "tempering": qama_jax.ParallelTempering(num_sweeps=10, num_replicas=4, num_reads=2),
    "tempering block": qama_jax.ParallelTempering(num_sweeps=40, num_reads=2, num_replicas=4, update="block"),
    "block Gibbs": qama_jax.BlockGibbs(num_sweeps=40, num_reads=4),
    "path integral": qama_jax.PathIntegralAnnealing(num_sweeps=20, num_slices=4, num_reads=2),
    "coherent Ising machine": qama_jax.CoherentIsingMachine(num_steps=60, num_reads=4),
    "mean field": qama_jax.MeanFieldAnnealing(num_steps=20, num_reads=8, initial_spread=0.5),
    "descent": qama_jax.SteepestDescent(num_reads=8),
    "exhaustive": qama_jax.Exhaustive(),
}


def _matrix(seed):
    return np.random.default_rng(seed).standard_normal((10, 10)).astype(np.float32)


def _attention(seed, tokens=4, heads=3, head_dim=4, mask=None):
    inputs = np.random.default_rng(seed).standard_normal((3, tokens, heads, head_dim)).astype(np.float32)
    return qama_jax.attention_hamiltonian(*inputs, np.ones(head_dim, np.float32), mask=mask)


PROBLEMS = {
    "qubo": lambda seed: qama_jax.Qubo(_matrix(seed), 1.0),
    "ising": lambda seed: qama_jax.Ising(_matrix(seed), _matrix(seed)[0]),
    "attention": _attention,
    "attention low-rank": lambda seed: _attention(seed, tokens=5, heads=2, head_dim=1),
    "attention masked": lambda seed: _attention(seed, mask=np.arange(4) != 1),
}

contract = pytest.mark.parametrize("make_problem", PROBLEMS.values(), ids=PROBLEMS.keys())
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def lowest_energy(problem):
    """By enumeration, in plain NumPy over the energies of all states."""
    states = oracle.all_states(int(np.prod(problem.shape))).reshape(-1, *problem.shape)
    return np.asarray(jax.jit(jax.vmap(problem.energy))(states)).min()


@contract
@each_solver
class TestContract:
    def test_solution_is_consistent(self, make_problem, solver):
        problem = make_problem(0)
        solution = qama_jax.solve(jax.random.key(0), problem, solver)
        assert solution.bits.shape == problem.shape
        assert solution.reads.shape == (solver.num_reads, *problem.shape)
        assert solution.bits.dtype == solution.reads.dtype == jnp.int8
        assert set(np.unique(solution.reads)) <= {0, 1}
        np.testing.assert_array_equal(solution.spins, 2 * solution.bits - 1)
        for read, energy in zip(solution.reads, solution.read_energies, strict=True):
            np.testing.assert_allclose(energy, problem.energy(read), rtol=1e-5)
            np.testing.assert_array_equal(problem.clamp(read), read)
        best = int(np.argmin(solution.read_energies))
        np.testing.assert_array_equal(solution.bits, solution.reads[best])
        assert solution.energy == solution.read_energies[best]

    def test_same_key_same_result_however_it_is_called(self, make_problem, solver):
        problems = [make_problem(seed) for seed in (0, 1)]
        keys = jax.random.split(jax.random.key(3), 2)
        alone = [qama_jax.solve(key, problem, solver) for key, problem in zip(keys, problems, strict=True)]
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        together = jax.jit(jax.vmap(qama_jax.solve, in_axes=(0, 0, None)), static_argnums=2)(keys, batch, solver)
        for index in range(2):
            again = qama_jax.solve(keys[index], problems[index], solver)
            np.testing.assert_array_equal(again.reads, alone[index].reads)
            np.testing.assert_allclose(together.read_energies[index], alone[index].read_energies, rtol=1e-4, atol=1e-4)

    def test_finds_the_optimum_of_a_small_problem(self, make_problem, solver):
        gaps = []
        for seed in range(8):
            problem = make_problem(seed)
            lowest = lowest_energy(problem)
            energy = float(qama_jax.solve(jax.random.key(seed), problem, solver).energy)
            assert energy >= lowest - 1e-4
            gaps.append((energy - lowest) / abs(lowest))
        if isinstance(solver, qama_jax.Exhaustive):
            np.testing.assert_allclose(gaps, 0, atol=1e-5)
        # A short run may miss a problem, not most of them; problems this small have few levels, so that a miss is far.
        assert np.sum(np.array(gaps) < 1e-4) >= 3
        assert np.mean(gaps) < 0.05

    def test_no_gradient_flows_through(self, make_problem, solver):
        problem = make_problem(0)
        gradient = jax.grad(lambda p: qama_jax.solve(jax.random.key(0), p, solver).energy, allow_int=True)(problem)
        for leaf in jax.tree.leaves(gradient):
            assert leaf.dtype == jax.dtypes.float0 or not np.any(leaf)


@each_solver
def test_equal_configurations_compile_once(solver):
    twin = type(solver)(**{name: getattr(solver, name) for name in solver.__dataclass_fields__})
    assert solver == twin
    assert hash(solver) == hash(twin)
    before = _solve._cache_size()
    problem = qama_jax.Qubo(np.eye(11, dtype=np.float32))
    qama_jax.solve(jax.random.key(0), problem, solver)
    qama_jax.solve(jax.random.key(1), problem, twin)
    assert _solve._cache_size() == before + 1


def test_other_keys_give_other_reads():
    problem = qama_jax.Qubo(np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32))
    solver = qama_jax.SimulatedBifurcation(num_reads=2, max_descent_steps=0)
    first, second = (qama_jax.solve(jax.random.key(seed), problem, solver).reads for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_settings_scale_with_the_problem(scale):
    """The same problem in other units has the same solution."""
    matrix = np.random.default_rng(0).standard_normal((60, 60)).astype(np.float32)
    solver = qama_jax.SimulatedBifurcation(num_reads=4)
    reference = qama_jax.solve(jax.random.key(0), qama_jax.Qubo(matrix), solver).energy
    scaled = qama_jax.solve(jax.random.key(0), qama_jax.Qubo(scale * matrix), solver).energy
    np.testing.assert_allclose(scaled, scale * reference, rtol=1e-3)


@pytest.mark.parametrize("make_problem", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_descent_improves_the_dynamics(make_problem):
    for seed in range(3):
        problem = make_problem(seed)
        rough, polished = (
            qama_jax.solve(
                jax.random.key(seed), problem, qama_jax.SimulatedBifurcation(num_steps=5, max_descent_steps=n)
            )
            for n in (0, 32)
        )
        assert polished.energy <= rough.energy + 1e-4
        changes = problem.flip_energy(polished.bits)
        assert np.min(np.where(problem.clamp(jnp.ones(problem.shape, jnp.int8)), changes, 0)) >= -1e-3


def test_exhaustive_in_blocks():
    """14 bits take four blocks of states."""
    matrix = np.random.default_rng(0).standard_normal((14, 14)).astype(np.float32)
    states = oracle.all_states(14).astype(np.float64)
    expected = np.einsum("bi,ij,bj->b", states, matrix.astype(np.float64), states)
    solution = qama_jax.solve(jax.random.key(0), qama_jax.Qubo(matrix), qama_jax.Exhaustive())
    np.testing.assert_allclose(solution.energy, expected.min(), rtol=1e-5)
    np.testing.assert_array_equal(solution.bits, states[expected.argmin()])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: qama_jax.solve(jax.random.key(0), qama_jax.Qubo(np.eye(25)), qama_jax.Exhaustive()),
            "at most 24 bits",
        ),
        (
            lambda: qama_jax.solve(jax.random.PRNGKey(0), qama_jax.Qubo(np.eye(2)), qama_jax.Exhaustive()),
            "key must be a typed",
        ),
        (
            lambda: qama_jax.solve(
                jax.random.split(jax.random.key(0)), qama_jax.Qubo(np.eye(2)), qama_jax.Exhaustive()
            ),
            "single key",
        ),
        (lambda: qama_jax.solve(jax.random.key(0), np.eye(2), qama_jax.Exhaustive()), "qama_jax.Qubo"),
        (
            lambda: qama_jax.solve(jax.random.key(0), qama_jax.Qubo(np.eye(2)), qama_jax.Exhaustive),
            "solver must be an instance",
        ),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), jax.vmap(qama_jax.Qubo)(np.zeros((3, 2, 2))), qama_jax.Exhaustive()
            ),
            "jax.vmap",
        ),
        (lambda: qama_jax.SimulatedBifurcation(num_steps=0), "num_steps must be"),
        (lambda: qama_jax.SimulatedBifurcation(num_reads=1.5), "num_reads must be"),
        (lambda: qama_jax.SimulatedBifurcation(time_step=-1.0), "time_step must be positive"),
        (lambda: qama_jax.SimulatedBifurcation(pump=0.6), "pump must be a function"),
        (lambda: qama_jax.SimulatedBifurcation(max_descent_steps=-1), "max_descent_steps must be"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
