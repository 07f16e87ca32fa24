"""The contract that every solver keeps on every problem, and what each one adds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from contract import PROBLEMS, SOLVERS, stored
from enumeration import lowest_energy

import qama_jax
from qama_jax.solvers.base import _solve

pytestmark = pytest.mark.usefixtures("strict")

each_problem = pytest.mark.parametrize("make_problem", PROBLEMS.values(), ids=PROBLEMS.keys())


def parametrize_solvers(solvers):
    return pytest.mark.parametrize("solver", solvers.values(), ids=solvers.keys())


each_solver = parametrize_solvers(SOLVERS)


@each_problem
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

    def test_same_bits_as_stored(self, make_problem, solver):
        reads, energies = stored(make_problem, solver)
        solution = qama_jax.solve(jax.random.key(0), make_problem(0), solver)
        np.testing.assert_array_equal(solution.reads, reads)
        np.testing.assert_allclose(solution.read_energies, energies, rtol=1e-5, atol=1e-5)

    def test_a_large_constant_changes_no_state(self, make_problem, solver):
        """Though in float32 it swallows what states differ by."""
        problem = make_problem(0)
        if isinstance(problem, qama_jax.AttentionHamiltonian):
            return  # which has none
        near, far = (
            qama_jax.solve(jax.random.key(0), dataclasses.replace(problem, offset=jnp.float32(offset)), solver)
            for offset in (0.0, 1e9)
        )
        np.testing.assert_array_equal(far.reads, near.reads)
        np.testing.assert_array_equal(far.bits, near.bits)
        np.testing.assert_array_equal(far.read_energies, near.read_energies + np.float32(1e9))
        assert near.energy == near.read_energies.min()

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
        assert np.mean(gaps) < 0.1


@each_solver
def test_no_gradient_flows_through(solver):
    problem = PROBLEMS["attention"](0)
    gradient = jax.grad(lambda p: qama_jax.solve(jax.random.key(0), p, solver).energy, allow_int=True)(problem)
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jax.dtypes.float0 or not np.any(leaf)


WARM = {name: solver for name, solver in SOLVERS.items() if name != "exhaustive"}


@parametrize_solvers(WARM)
class TestWarmStart:
    def test_from_the_optimum_it_stays_there(self, solver):
        """At low temperature, or from a small kick, nobody leaves a deep minimum."""
        problem = PROBLEMS["ising"](0)
        solver = dataclasses.replace(solver, **_cold(solver))
        best = qama_jax.solve(jax.random.key(0), problem, qama_jax.Exhaustive())
        solution = qama_jax.solve(jax.random.key(1), problem, solver, initial_bits=best.bits)
        np.testing.assert_allclose(solution.energy, best.energy, rtol=1e-5)

    def test_one_state_for_all_reads_or_one_for_each(self, solver):
        problem = PROBLEMS["attention low-rank masked"](0)
        start = np.zeros(problem.shape, np.int8)
        everywhere = np.broadcast_to(start, (solver.num_reads, *problem.shape))
        one, many = (
            qama_jax.solve(jax.random.key(1), problem, solver, initial_bits=bits) for bits in (start, everywhere)
        )
        np.testing.assert_array_equal(one.reads, many.reads)


def test_warm_start_of_booleans():
    """As that of integers; what makes one of the other is the same for all solvers."""
    problem, solver = PROBLEMS["attention low-rank masked"](0), SOLVERS["descent"]
    start = np.random.default_rng(0).integers(0, 2, problem.shape)
    whole, boolean = (
        qama_jax.solve(jax.random.key(1), problem, solver, initial_bits=bits) for bits in (start, start.astype(bool))
    )
    np.testing.assert_array_equal(whole.reads, boolean.reads)


def _cold(solver):
    if hasattr(solver, "beta_range"):
        return {"beta_range": (50.0, 100.0)}
    if isinstance(solver, qama_jax.PathIntegralAnnealing):
        return {"slice_beta": 100.0, "transverse_field": (0.01, 0.01), "problem_weight": (1.0, 1.0)}
    return {}


RECORDING = {name: solver for name, solver in SOLVERS.items() if hasattr(solver, "record_energy")}


@parametrize_solvers(RECORDING)
def test_energy_trace(solver):
    """One energy a step and read; it ends where the run does, and recording changes no result."""
    problem = PROBLEMS["attention"](0)
    silent = qama_jax.solve(jax.random.key(0), problem, solver)
    assert "energy_trace" not in silent.info
    recorded = qama_jax.solve(jax.random.key(0), problem, dataclasses.replace(solver, record_energy=True))
    np.testing.assert_array_equal(recorded.reads, silent.reads)
    trace = np.asarray(recorded.info["energy_trace"])
    steps = next(getattr(solver, name) for name in ("num_rounds", "num_sweeps", "num_steps") if hasattr(solver, name))
    assert trace.shape == (solver.num_reads, steps or 60)
    lowest, last = trace.min(axis=1), trace[:, -1]
    if isinstance(solver, qama_jax.SimulatedAnnealing | qama_jax.BlockGibbs | qama_jax.PathIntegralAnnealing):
        np.testing.assert_allclose(last, recorded.read_energies, rtol=1e-5, atol=1e-4)
    elif isinstance(solver, qama_jax.ParallelTempering | qama_jax.IteratedAnnealing):
        np.testing.assert_allclose(last, recorded.read_energies, rtol=1e-5, atol=1e-4)
        assert (np.diff(trace, axis=1) <= 0).all()
    elif isinstance(solver, qama_jax.CoherentIsingMachine):
        assert (recorded.read_energies <= lowest + 1e-4).all()
    else:  # descent follows
        assert (recorded.read_energies <= last + 1e-4).all()


@pytest.mark.parametrize(("tokens", "steps"), [(191, 60), (192, 20)])
def test_default_steps_of_bifurcation(tokens, steps):
    """Fewer for long sequences, with and without factors of low rank; the same program as with the number given."""
    for head_dim in (4, 128):
        query, key, value = jnp.ones((3, tokens, 2, head_dim))
        problem = jax.eval_shape(qama_jax.attention_hamiltonian, query, key, value, jnp.ones(head_dim))
        derived, given = (
            jax.jit(functools.partial(qama_jax.solve, solver=solver)).trace(jax.random.key(1), problem)
            for solver in (qama_jax.SimulatedBifurcation(number, record_energy=True) for number in (None, steps))
        )
        assert derived.out_info.info["energy_trace"].shape == (1, steps)
        assert str(derived.jaxpr) == str(given.jaxpr)


def test_padding_does_not_damp_a_coherent_ising_machine():
    """As close to the best known energies with three padded tokens to each valid one as without."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 16, 32, 4, 8))
    keys = jax.random.split(jax.random.key(1), 16)

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def energies(solver, padding):
        q, k, v = (jnp.pad(array, ((0, 0), (0, padding), (0, 0), (0, 0))) for array in (query, key, value))
        build = functools.partial(qama_jax.attention_hamiltonian, mask=jnp.arange(32 + padding) < 32)
        problems = jax.vmap(build, (0, 0, 0, None))(q, k, v, jnp.ones(8))
        return jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver).energy)(keys, problems)

    best = energies(qama_jax.SimulatedBifurcation(num_steps=200, num_reads=16), 0)
    machine = qama_jax.CoherentIsingMachine(max_descent_steps=0)
    alone, padded = (np.mean((energies(machine, padding) - best) / np.abs(best)) for padding in (0, 96))
    assert padded < alone + 0.02


def test_few_steps_solve_long_sequences():
    """Within 0.1 % of the best of many long runs, on average."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 4, 196, 4, 16))
    problems = jax.vmap(qama_jax.attention_hamiltonian, (0, 0, 0, None))(query, key, value, jnp.ones(16))
    default, best = (
        jax.jit(jax.vmap(lambda key, problem, s=solver: qama_jax.solve(key, problem, s).energy))(
            jax.random.split(jax.random.key(1), 4), problems
        )
        for solver in (qama_jax.SimulatedBifurcation(), qama_jax.SimulatedBifurcation(num_steps=200, num_reads=16))
    )
    assert np.mean((default - best) / np.abs(best)) < 1e-3


class TestSchedules:
    def test_forms_of_a_schedule_agree(self):
        """A function, its values as a tuple, and the range it spans are the same schedule."""
        problem = PROBLEMS["qubo"](0)
        forms = (
            qama_jax.SimulatedAnnealing(num_sweeps=5, beta_range=(0.5, 2.5), beta_schedule="linear"),
            qama_jax.SimulatedAnnealing(num_sweeps=5, beta_schedule=(0.5, 2.5)),
            qama_jax.SimulatedAnnealing(num_sweeps=5, beta_schedule=(0.5, 1.0, 1.5, 2.0, 2.5)),
            qama_jax.SimulatedAnnealing(num_sweeps=5, beta_schedule=lambda fraction: 0.5 + 2 * fraction),
        )
        solutions = [qama_jax.solve(jax.random.key(0), problem, form) for form in forms]
        for solution in solutions:
            np.testing.assert_allclose(solution.info["beta"], [0.5, 1.0, 1.5, 2.0, 2.5], rtol=1e-6)
            np.testing.assert_array_equal(solution.bits, solutions[0].bits)

    def test_geometric(self):
        solver = qama_jax.SimulatedAnnealing(num_sweeps=4, beta_range=(0.1, 100.0))
        beta = qama_jax.solve(jax.random.key(0), PROBLEMS["qubo"](0), solver).info["beta"]
        np.testing.assert_allclose(beta, [0.1, 1.0, 10.0, 100.0], rtol=1e-5)

    def test_automatic_range_is_close_to_that_of_dwave(self):
        """For integer problems, hot ln2 / max, cold ln100 / min, but not below what couplings are on average."""
        rng = np.random.default_rng(0)
        couplings = np.triu(rng.integers(1, 4, (12, 12)) * rng.choice([-1, 1], (12, 12)), 1).astype(np.float32)
        couplings += couplings.T
        biases = rng.integers(3, 9, 12).astype(np.float32)
        beta = qama_jax.solve(
            jax.random.key(0), qama_jax.Ising(couplings, biases), qama_jax.SimulatedAnnealing(num_sweeps=2)
        ).info["beta"]
        largest = (2 * (np.abs(couplings).sum(1) + np.abs(biases))).max()
        smallest = 2 * np.abs(couplings[couplings != 0]).min()
        norms = np.linalg.norm(4 * couplings, axis=1)
        harmonic = 1 / np.mean(1 / (2 * np.abs(couplings[couplings != 0])))
        floor = min(norms.min() ** 2 / np.sqrt((norms**2).sum()), harmonic)
        np.testing.assert_allclose(beta, [np.log(2) / largest, np.log(100) / max(smallest, floor)], rtol=1e-5)

    def test_largest_flip_energy_is_a_bound(self):
        for name, make_problem in PROBLEMS.items():
            problem = make_problem(0)
            smallest, largest = problem.flip_energy_range()
            states = oracle.all_states(int(np.prod(problem.shape))).reshape(-1, *problem.shape)
            changes = np.abs(jax.vmap(problem.flip_energy)(states))
            assert changes.max() <= largest * (1 + 1e-5), name
            assert 0 < smallest <= largest


@each_problem
def test_lowest_eigenvalue(make_problem):
    """Not below the true one, and close enough to it to bound a step."""
    problem = make_problem(1)
    size = int(np.prod(problem.shape))
    units = np.eye(size, dtype=np.float32).reshape(size, *problem.shape)
    matrix = np.asarray(jax.vmap(problem.couple)(units)).reshape(size, size)
    lowest = min(np.linalg.eigvalsh(matrix)[0], 0)
    estimate = float(problem.lowest_eigenvalue())
    assert lowest * 1.01 - 1e-4 <= estimate <= 0
    if not isinstance(problem, qama_jax.AttentionHamiltonian):
        assert estimate <= 0.8 * lowest


def test_bifurcation_is_stable_where_one_mode_is_stiff():
    """Dense unweighted MAX-CUT: the uniform mode is far outside of the spectrum, and explicit steps would diverge."""
    rng = np.random.default_rng(0)
    weights = np.triu(rng.random((100, 100)) < 0.5, 1).astype(np.float32)
    problem = qama_jax.Ising(-(weights + weights.T))
    annealed = qama_jax.solve(jax.random.key(0), problem, qama_jax.SimulatedAnnealing(num_reads=16)).energy
    solver = qama_jax.SimulatedBifurcation(num_reads=16, num_steps=200, max_descent_steps=0)
    assert float(qama_jax.solve(jax.random.key(0), problem, solver).energy) <= 0.85 * float(annealed)


@each_solver
def test_equal_configurations_compile_once(solver):
    twin = type(solver)(**{name: getattr(solver, name) for name in solver.__dataclass_fields__})
    assert solver == twin
    assert hash(solver) == hash(twin)
    problem = PROBLEMS["qubo"](0)
    qama_jax.solve(jax.random.key(0), problem, solver)
    before = _solve._cache_size()
    qama_jax.solve(jax.random.key(1), problem, twin)
    assert _solve._cache_size() == before


def test_other_keys_give_other_reads():
    problem = qama_jax.Qubo(np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32))
    solver = qama_jax.SimulatedBifurcation(num_steps=10, num_reads=2, max_descent_steps=0)
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


@each_problem
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
        (lambda: qama_jax.SimulatedBifurcation(mode="adiabatic"), "mode must be one of 'ballistic', 'discrete'"),
        (lambda: qama_jax.SimulatedBifurcation(heating=-0.1), "heating must not be negative"),
        (lambda: qama_jax.SimulatedBifurcation(time_step=2.0), "time_step must be below 2"),
        (lambda: qama_jax.SimulatedBifurcation(pump=(0.0, "1")), "pump must hold Python numbers"),
        (lambda: qama_jax.SimulatedAnnealing(beta_range=(1.0,)), "beta_range must be a pair"),
        (lambda: qama_jax.SimulatedAnnealing(beta_range=(0.0, 1.0)), "beta_range must be a pair"),
        (lambda: qama_jax.SimulatedAnnealing(beta_schedule="cosine"), "beta_schedule must be 'geometric'"),
        (lambda: qama_jax.SimulatedAnnealing(beta_range=(1.0, 2.0), beta_schedule=(1.0, 2.0)), "beta_range has no"),
        (lambda: qama_jax.SimulatedAnnealing(update="blocks"), "update must be one of"),
        (lambda: qama_jax.PathIntegralAnnealing(update="metropolis"), "update must be one of"),
        (lambda: qama_jax.IteratedAnnealing(num_chains=0), "num_chains must be"),
        (lambda: qama_jax.IteratedAnnealing(reheating=(0.5, 0.2)), "reheating must be a pair"),
        (lambda: qama_jax.IteratedAnnealing(reheating=0.5), "reheating must be a function"),
        (lambda: qama_jax.ParallelTempering(num_replicas=1), "num_replicas must be an integer >= 2"),
        (lambda: qama_jax.ParallelTempering(num_sweeps=5, num_tuning_sweeps=5), "num_tuning_sweeps must be below"),
        (
            lambda: qama_jax.ParallelTempering(num_tuning_sweeps=5, beta_schedule=(0.0, 1.0)),
            "num_tuning_sweeps must be 0",
        ),
        (lambda: qama_jax.ParallelTempering(num_reads=3, cluster_interval=1), "num_reads must be even"),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), qama_jax.Qubo(np.eye(2)), qama_jax.ParallelTempering(num_reads=2, cluster_interval=1)
            ),
            "cluster_interval must be None",
        ),
        (lambda: qama_jax.PathIntegralAnnealing(num_slices=3), "num_slices must be even"),
        (lambda: qama_jax.MeanFieldAnnealing(damping=1.5), "damping must be at most 1"),
        (lambda: qama_jax.CoherentIsingMachine(error_rate=-1.0), "error_rate must not be negative"),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), qama_jax.Qubo(np.eye(2)), qama_jax.SteepestDescent(), initial_bits=np.zeros(3, int)
            ),
            "initial_bits must have the shape",
        ),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), qama_jax.Qubo(np.eye(2)), qama_jax.SteepestDescent(), initial_bits=np.zeros(2)
            ),
            "initial_bits must be integers",
        ),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), qama_jax.Qubo(np.eye(2)), qama_jax.Exhaustive(), initial_bits=np.zeros(2, int)
            ),
            "initial_bits cannot be honoured",
        ),
        (lambda: qama_jax.SimulatedBifurcation(max_descent_steps=-1), "max_descent_steps must be"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
