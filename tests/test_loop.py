"""What all solvers share: the loop over steps, `solve`, schedules, settings; and the scales of problems they use."""

import dataclasses
import doctest
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quadratic
from contract import SOLVERS

import qama_jax
from qama_jax.sampling.descent import descend
from qama_jax.solvers import IterativeSolver
from qama_jax.solvers.base import map_reads, start_bits
from qama_jax.solvers.schedules import beta_range, betas, check_betas, evaluate

pytestmark = pytest.mark.usefixtures("strict")

KEY = jax.random.key(7)
PROBLEMS = {"ising": quadratic.ising(), "qubo": quadratic.qubo(), "attention": quadratic.attention(4, 3, 2)}

each_problem = pytest.mark.parametrize(("problem", "reference"), PROBLEMS.values(), ids=PROBLEMS)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)


@dataclasses.dataclass(frozen=True)
class Walk(IterativeSolver):
    """Visits the states whose numbers are its schedule, and remembers the key of each step."""

    num_reads: int = 1
    record_energy: bool = False
    max_descent_steps: int | None = None
    reads_together: bool = False
    random_steps: bool = True
    keep_best: bool = False

    def schedule(self, problem):
        return {"number": jnp.asarray([5, 12, 2, 9], jnp.int32)}

    def init(self, key, problem, bits):
        reads = (self.num_reads,) if self.reads_together else ()
        start = jnp.zeros(reads, jnp.int32)
        if bits is not None:
            start = sum(bits[..., i].astype(jnp.int32) << i for i in range(6))
        return start, jax.random.key_data(key)

    def step(self, key, problem, state, row):
        number = jnp.broadcast_to(row["number"], state[0].shape)
        assert (key is not None) == self.random_steps
        return (number, state[1]), jax.random.key_data(key) if self.random_steps else None

    def bits(self, problem, state):
        return jnp.stack([state[0] >> i & 1 for i in range(6)], axis=-1)

    def report(self, problem, rows, state, infos):
        return {"start": state[1]} | ({"keys": infos} if self.random_steps else {})


class TestTheLoop:
    @pytest.mark.parametrize("reads_together", [False, True])
    @pytest.mark.parametrize("num_reads", [1, 3])
    @pytest.mark.parametrize("keep_best", [False, True])
    def test_reads_trace_and_best_state(self, reads_together, num_reads, keep_best):
        problem, reference = PROBLEMS["ising"]
        solver = Walk(num_reads, True, reads_together=reads_together, keep_best=keep_best)
        bits = np.array([[number >> i & 1 for i in range(6)] for number in (7, 5, 12, 2, 9)])
        energies = np.array([reference.energy(state) for state in bits])
        assert energies.argmin() not in (0, 4)
        start = jnp.tile(jnp.asarray(bits[:1], jnp.int8), (num_reads, 1))
        reads, info = jax.jit(lambda: solver.sample(KEY, problem, start))()
        assert reads.dtype == jnp.int8
        close(info["energy_trace"], np.tile(energies[1:], (num_reads, 1)))
        expected = bits[energies.argmin()] if keep_best else bits[-1]
        np.testing.assert_array_equal(reads, np.tile(expected, (num_reads, 1)))
        assert "descent_steps" not in info

    def test_a_best_state_at_the_start_is_kept(self):
        start = [7 >> i & 1 for i in range(6)]
        towards = 2 * np.array(start) - 1
        problem = qama_jax.Ising(np.zeros((6, 6), np.float32), towards.astype(np.float32))
        reads, _ = Walk(keep_best=True).sample(KEY, problem, jnp.asarray([start], jnp.int8))
        np.testing.assert_array_equal(reads[0], start)

    def test_descent_follows(self):
        problem, _ = PROBLEMS["ising"]
        for together in (False, True):
            solver = Walk(2, max_descent_steps=32, reads_together=together)
            reads, info = jax.jit(lambda s=solver: s.sample(KEY, problem, None))()
            bits, steps = descend(problem, jnp.asarray([9 >> i & 1 for i in range(6)], jnp.int8), 32)
            np.testing.assert_array_equal(reads, np.tile(bits, (2, 1)))
            np.testing.assert_array_equal(info["descent_steps"], [steps, steps])
            assert steps > 0

    def test_every_step_and_read_has_a_key_of_its_own(self):
        _, info = Walk(3).sample(KEY, PROBLEMS["ising"][0], None)
        keys = np.concatenate([info["keys"].reshape(12, -1), info["start"].reshape(3, -1)])
        assert len(np.unique(keys, axis=0)) == 15
        # As they always were: other keys would be other results.
        start_key, step_key = jax.random.split(KEY)
        _, info = Walk(1).sample(KEY, PROBLEMS["ising"][0], None)
        np.testing.assert_array_equal(info["start"][0], jax.random.key_data(start_key))
        np.testing.assert_array_equal(info["keys"][0, 3], jax.random.key_data(jax.random.fold_in(step_key, 3)))
        _, info = Walk(1, random_steps=False).sample(KEY, PROBLEMS["ising"][0], None)
        np.testing.assert_array_equal(info["start"][0], jax.random.key_data(KEY))

    def test_example_of_the_docstring(self):
        (example,) = doctest.DocTestFinder(recurse=False).find(IterativeSolver, "IterativeSolver")
        result = doctest.DocTestRunner().run(example)
        assert result.attempted > 0
        assert result.failed == 0


@dataclasses.dataclass(frozen=True)
class Given:
    """Finds what it is given, and reports where it started."""

    reads: tuple

    @property
    def num_reads(self):
        return len(self.reads)

    def sample(self, key, problem, initial_bits):
        return jnp.asarray(self.reads, jnp.int8), {"start": initial_bits}


class TestSolve:
    def test_the_lowest_read_is_the_solution(self):
        problem, reference = PROBLEMS["ising"]
        reads = ((1, 0, 0, 1, 0, 1), (0, 1, 1, 0, 0, 1), (1, 1, 1, 1, 1, 0))
        energies = np.array([reference.energy(np.array(read)) for read in reads])
        order = np.argsort(energies)
        for turn in (order, np.roll(order, 1), np.roll(order, 2)):
            solution = qama_jax.solve(KEY, problem, Given(tuple(reads[i] for i in turn)))
            close(solution.read_energies, energies[turn])
            close(solution.energy, energies.min())
            np.testing.assert_array_equal(solution.bits, reads[order[0]])

    def test_padded_tokens_are_never_selected(self):
        problem, reference = PROBLEMS["attention"]
        ones = np.ones((3, 4), np.int8)
        solver = Given((tuple(map(tuple, ones.tolist())),))
        solution = qama_jax.solve(KEY, problem, solver, initial_bits=ones)
        free = reference.free.reshape(3, 4)
        for bits in (solution.bits, solution.reads[0], solution.info["start"][0]):
            np.testing.assert_array_equal(bits, free)

    def test_a_large_constant_hides_no_read(self):
        problem, reference = PROBLEMS["ising"]
        far = dataclasses.replace(problem, offset=jnp.float32(1e9))
        reads = np.array([(1, 0, 0, 1, 0, 1), (0, 1, 1, 0, 0, 1), (1, 1, 1, 1, 1, 0)])
        lowest = reads[np.argmin([reference.energy(read) for read in reads])]
        for turn in range(3):
            solution = qama_jax.solve(KEY, far, Given(tuple(map(tuple, np.roll(reads, turn, axis=0).tolist()))))
            np.testing.assert_array_equal(solution.bits, lowest)
            assert solution.energy == np.float32(1e9)

    def test_no_gradient(self):
        def energy(biases):
            problem = qama_jax.Ising(jnp.zeros((6, 6)), biases)
            return qama_jax.solve(KEY, problem, Given(((1, 0, 0, 1, 0, 1),))).energy

        assert not np.any(jax.grad(energy)(jnp.ones(6)))

    def test_start(self):
        problem, _ = PROBLEMS["ising"]
        bits = jnp.asarray([[1, 0, 0, 1, 0, 1]] * 2, jnp.int8)
        np.testing.assert_array_equal(start_bits(KEY, problem, 2, bits), bits)
        assert 0.45 < start_bits(KEY, problem, 1000, None).mean(dtype=jnp.float32) < 0.55
        for count in (1, 2):
            np.testing.assert_array_equal(map_reads(lambda key, bits: bits, KEY, count, bits[:count]), bits[:count])


class TestSchedules:
    def test_values(self):
        close(evaluate((0.0, 1.0, 4.0), 5, jnp.float32), [0, 0.5, 1, 2.5, 4])
        close(evaluate((0.0, 1.0, 4.0), 1, jnp.float32), [4])
        close(evaluate(lambda fraction: fraction**2, 3, jnp.float32), [0, 0.25, 1])
        problem, _ = PROBLEMS["ising"]
        close(betas(problem, 3, (0.1, 10.0), "geometric"), [0.1, 1, 10])
        close(betas(problem, 3, (0.1, 10.0), "linear"), [0.1, 5.05, 10])
        close(betas(problem, 2, None, (1.0, 3.0)), [1, 3])

    def test_range(self):
        """That of dwave-samplers; a problem without energies has none to go by."""
        problem, _ = PROBLEMS["qubo"]
        smallest, largest = problem.flip_energy_range()
        close(beta_range(problem), [np.log(2) / largest, np.log(100) / smallest])
        close(beta_range(qama_jax.Qubo(np.zeros((3, 3), np.float32))), [1, 1])

    @pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (1.0,), (math.nan, 1.0), (1.0, math.inf)])
    def test_a_range_is_of_positive_numbers(self, limits):
        with pytest.raises(ValueError, match="beta_range must"):
            check_betas(limits, "geometric")


class TestScales:
    @each_problem
    def test_couplings(self, problem, reference):
        close(problem.coupling_scale(), reference.scale())
        lowest = np.linalg.eigvalsh(reference.couplings)[0]
        estimate = problem.lowest_eigenvalue()
        if isinstance(problem, qama_jax.AttentionHamiltonian):
            close(estimate, 2 * reference.couplings.reshape(3, 4, 3, 4)[0, 0, 1, 0])
        else:
            assert 1.01 * lowest < estimate < 0.8 * lowest

    @each_problem
    def test_flip_energies(self, problem, reference):
        smallest, largest = problem.flip_energy_range()
        changes = np.array([np.abs(reference.field(state)).max() for state in reference.states().astype(float)])
        assert changes.max() <= largest * (1 + 1e-5)
        if isinstance(problem, qama_jax.AttentionHamiltonian):
            close(smallest, reference.scale() / np.sqrt(reference.linear.size))
        else:
            centre = np.abs(reference.field(np.full(6, 0.5)))
            close(largest, (np.abs(reference.couplings).sum(0) / 2 + centre).max())
            terms = np.append(np.abs(reference.couplings[reference.couplings != 0]) / 2, centre)
            close(smallest, max(terms.min(), reference.smallest_field()))

    def test_smallest_flip_energy_of_penalties(self):
        """Of a slack bit of weight 1 beside items: (Σ w x - c)² costs 1 where it is off by 1, halved as by spins."""
        weights = np.array([1, 2, 4, 8, 13, 17, 19, 20], np.float32)
        matrix = np.outer(weights, weights) - 2 * weights.sum() / 2 * np.diag(weights)
        smallest, _ = qama_jax.Qubo(matrix).flip_energy_range()
        assert 1 <= smallest <= 4
        centers = np.random.default_rng(0).random((8, 2))
        distances = np.linalg.norm(centers[:, None] - centers, axis=-1)
        blocks = np.kron(np.eye(8), 10 * (1 - np.eye(4))) + np.kron(distances, np.eye(4))
        smallest, _ = qama_jax.Qubo(blocks / 2).flip_energy_range()
        assert distances[distances > 0].min() / 2 <= smallest <= np.median(distances)

    def test_smallest_flip_energy_of_integers(self):
        """That of one coupling, where it is above the floor; terms that are not there do not count."""
        matrix = np.zeros((40, 40), np.float32)
        matrix[np.arange(39), np.arange(1, 40)] = -3
        smallest, _ = qama_jax.Qubo(matrix).flip_energy_range()
        close(smallest, 1.5)


def test_steepest_descent():
    problem, _ = PROBLEMS["ising"]
    bits = jnp.asarray([[1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 1, 1]], jnp.int8)
    solver = qama_jax.SteepestDescent(num_reads=2)
    for start in (bits, None):
        reads, info = jax.jit(lambda start=start: solver.sample(KEY, problem, start))()
        start = start_bits(KEY, problem, 2, start)
        expected, steps = jax.jit(jax.vmap(lambda bits: descend(problem, bits, 1000)))(start)
        np.testing.assert_array_equal(reads, expected)
        np.testing.assert_array_equal(info["descent_steps"], steps)
        assert max(steps) > 1


def test_exhaustive():
    """Of two blocks of states, in either of which the lowest may be."""
    for sign in (1, -1):
        biases = np.append(np.random.default_rng(0).standard_normal(12), sign).astype(np.float32)
        problem = qama_jax.Ising(np.zeros((13, 13), np.float32), biases)
        reads, _ = jax.jit(lambda problem: qama_jax.Exhaustive().sample(KEY, problem, None))(problem)
        np.testing.assert_array_equal(reads[0], biases > 0)


class TestSettings:
    @pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
    def test_settings_are_python_values(self, solver):
        """Arrays are not, whose equality is no truth value and which have no hash."""
        for field in dataclasses.fields(solver):
            for value in (jnp.float32(0.5), jnp.int32(3), np.array(3), np.array([1.0, 2.0]), object(), (jnp.ones(()),)):
                with pytest.raises(ValueError, match=f"{field.name} must"):
                    dataclasses.replace(solver, **{field.name: value})

    def test_the_remedy_for_a_scalar(self):
        with pytest.raises(ValueError, match=r"must be a Python number, got .*; pass float\(coupling_strength\)"):
            qama_jax.SimulatedBifurcation(coupling_strength=jnp.float32(0.5))
        with pytest.raises(ValueError, match=r"must be an integer >= 1, got .*; pass int\(num_reads\)"):
            qama_jax.SteepestDescent(num_reads=jnp.int32(2))
        for value in ("0.5", None, True, np.float32(0.5), 1j):
            with pytest.raises(ValueError, match="damping must be a Python number"):
                qama_jax.MeanFieldAnnealing(damping=value)
        assert qama_jax.MeanFieldAnnealing(damping=np.float64(0.5)) == qama_jax.MeanFieldAnnealing(damping=0.5)

    @pytest.mark.parametrize("value", [np.int64(3), np.int32(3), np.uint8(3)])
    def test_integers_of_numpy_are_counts(self, value):
        solver = qama_jax.ParallelTempering(num_sweeps=value, num_replicas=value, num_reads=value)
        given = qama_jax.ParallelTempering(num_sweeps=3, num_replicas=3, num_reads=3)
        assert solver == given
        assert hash(solver) == hash(given)

    @pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float32(2), "2", None, np.array([2])])
    def test_what_is_no_integer_is_no_count(self, value):
        with pytest.raises(ValueError, match="num_reads must be an integer >= 1"):
            qama_jax.SteepestDescent(num_reads=value)

    @pytest.mark.parametrize("value", [np.inf, np.nan, -np.inf])
    def test_settings_are_finite(self, value):
        with pytest.raises(ValueError, match="time_step must be positive and finite"):
            qama_jax.SimulatedBifurcation(time_step=value)
        with pytest.raises(ValueError, match="measurement_noise must not be negative"):
            qama_jax.CoherentIsingMachine(measurement_noise=value)

    def test_limits(self):
        with pytest.raises(ValueError, match="time_step must be positive"):
            qama_jax.SimulatedBifurcation(time_step=0.0)
        with pytest.raises(ValueError, match="num_reads must be"):
            qama_jax.SteepestDescent(num_reads=0)
        qama_jax.SteepestDescent(num_reads=1)
        qama_jax.SimulatedBifurcation(heating=0.0)
