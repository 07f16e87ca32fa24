"""The analysis against plain NumPy in float64: enumeration, brute force over paths, sets."""

import doctest
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

import qama_jax
from qama_jax import analysis

pytestmark = pytest.mark.usefixtures("strict")


def integer_matrix(seed, size=4):
    """Integers: every energy and every change is exact."""
    return np.triu(np.random.default_rng(seed).integers(-5, 6, (size, size))).astype(np.float32)


def qubo_energy(matrix, bits):
    x = np.asarray(bits, np.float64)
    return x @ np.asarray(matrix, np.float64) @ x


def attention(seed, tokens=4, heads=3, mask=None):
    """One attention problem, and its energy as a function of bits [H, N] by the oracle."""
    inputs = np.random.default_rng(seed).standard_normal((3, tokens, heads, 4)).astype(np.float32)
    importance = np.linspace(-1, 1, 4, dtype=np.float32)
    problem = oracle.build(*inputs.astype(np.float64), importance.astype(np.float64), mask)
    valid = np.ones(tokens) if mask is None else mask
    hamiltonian = qama_jax.attention_hamiltonian(*inputs, importance, mask=mask)
    return hamiltonian, lambda s: oracle.energy(problem, s * valid)


def flips(bits):
    """All states one flip away, [n, *shape]."""
    return bits ^ np.eye(bits.size, dtype=np.int8).reshape(bits.size, *bits.shape)


def random_bits(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.int8)


def simple_paths(bits, target):
    """Every path over single flips that visits no state twice, as lists of states."""

    def extend(path):
        if path[-1] == target:
            yield path
            return
        for place in range(len(bits)):
            flipped = tuple(bit ^ (index == place) for index, bit in enumerate(path[-1]))
            if flipped not in path:
                yield from extend([*path, flipped])

    return extend([bits])


class TestReads:
    def test_success_probability_counts_reads_at_the_target(self):
        energies = np.array([[-3.0, -2.0, -3.0, -1.0], [-3.0, -3.0, -3.0, -3.0]])
        np.testing.assert_allclose(analysis.success_probability(energies, -3.0), [0.5, 1.0])
        np.testing.assert_allclose(analysis.success_probability(energies, [-2.0, -4.0]), [0.75, 0.0])
        assert analysis.success_probability(np.array([-3, -2]), -3) == 0.5

    def test_tolerance_is_relative_and_absolute_near_zero(self):
        assert analysis.success_probability([-1438.949], -1438.95) == 1
        assert analysis.success_probability([-1438.9], -1438.95) == 0
        assert analysis.success_probability([-1438.9], -1438.95, tolerance=1e-4) == 1
        assert analysis.success_probability([-1438.949], -1438.95, tolerance=0) == 0
        np.testing.assert_allclose(analysis.success_probability([1e-6, -1e-6, 1e-3, -1.0], 0.0), 0.75)
        assert analysis.success_probability([-49999.0, np.nan], -50000.0) == 0

    def test_time_to_solution(self):
        probability = np.array([1e-6, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0])
        with np.errstate(divide="ignore"):
            expected = 3.0 * np.log(0.01) / np.log(1 - probability)
        times = analysis.time_to_solution(3.0, probability)
        np.testing.assert_allclose(times, expected, rtol=1e-4)
        np.testing.assert_allclose(times[4], 3.0, rtol=1e-4)
        assert times[5] < 3.0
        assert times[6] == 0
        assert analysis.time_to_solution(3.0, 0.0) == np.inf
        assert analysis.time_to_solution(0.0, 0) == np.inf
        np.testing.assert_allclose(analysis.time_to_solution([1.0, 2.0], 0.5, confidence=0.5), [1.0, 2.0], rtol=1e-6)

    def test_independent_runs_reach_the_confidence(self):
        runs = 20
        probability = 1 - 0.01 ** (1 / runs)
        np.testing.assert_allclose(analysis.time_to_solution(1.0, probability), runs, rtol=1e-5)
        successes = np.random.default_rng(0).random((20_000, runs)) < probability
        np.testing.assert_allclose(successes.any(1).mean(), 0.99, atol=0.003)

    def test_residual_energy(self):
        energies = np.random.default_rng(0).standard_normal((3, 50)) - 1000
        reference = energies.min(1)
        residual = analysis.residual_energy(energies, reference)
        np.testing.assert_allclose(residual.mean, (energies - reference[:, None]).mean(1), rtol=1e-4)
        np.testing.assert_allclose(residual.standard_error, energies.std(1, ddof=1) / np.sqrt(50), rtol=1e-4)
        single = analysis.residual_energy([-2.0], -3.0)
        assert single.mean == 1
        assert np.isnan(single.standard_error)

    def test_relative_gap(self):
        best = np.array([-100.0, 50.0, -2.0, 0.0])
        energies = np.array([-90.0, 55.0, -2.0, 0.0])
        gap = analysis.relative_gap(energies, best)
        expected = np.array([0.1, 0.1, 0, 0])
        np.testing.assert_allclose(gap.mean, expected.mean(), rtol=1e-5)
        np.testing.assert_allclose(gap.standard_error, expected.std(ddof=1) / 2, rtol=1e-5)
        assert analysis.relative_gap([1.0, 1.0], [0.0, 1.0]).mean == np.inf

    def test_jit_and_vmap_give_the_same(self):
        matrices = np.stack([integer_matrix(seed) for seed in (0, 1)])
        states = random_bits((2, 16, 4))
        energies = np.array([[qubo_energy(matrix, x) for x in xs] for matrix, xs in zip(matrices, states, strict=True)])
        best = energies.min(1)
        shares = jax.jit(jax.vmap(analysis.success_probability))(energies, best)
        np.testing.assert_allclose(shares, (energies == best[:, None]).mean(1))
        times = jax.jit(jax.vmap(analysis.time_to_solution, in_axes=(None, 0)))(1.0, shares)
        np.testing.assert_allclose(times, analysis.time_to_solution(1.0, shares))
        residual = jax.jit(jax.vmap(analysis.residual_energy))(energies, best)
        np.testing.assert_allclose(residual.mean, energies.mean(1) - best, rtol=1e-5)
        gap = jax.jit(jax.vmap(analysis.relative_gap))(energies, energies - 100)
        np.testing.assert_allclose(gap.mean, (100 / np.abs(energies - 100)).mean(1), rtol=1e-5)


class TestPaths:
    @pytest.mark.parametrize("mask", [None, np.arange(4) != 2], ids=["all", "masked"])
    def test_changes_are_energy_differences(self, mask):
        hamiltonian, energy = attention(0, mask=mask)
        start, order = random_bits((3, 4)), np.array([3, 7, 3, -1, 11, 0, 6, 3])
        states = [start.copy()]
        for place in order:
            states.append(states[-1].copy())
            if place >= 0:
                states[-1].reshape(-1)[place] ^= 1
        expected = np.diff([energy(state) for state in states])
        changes = analysis.flip_path(hamiltonian, start, order)
        np.testing.assert_allclose(changes, expected, atol=1e-4)
        assert changes[3] == 0
        np.testing.assert_allclose(analysis.path_barrier(changes), max(0, expected.max()), atol=1e-4)
        np.testing.assert_allclose(analysis.path_climb(changes), expected[expected > 0].sum(), atol=1e-4)

    def test_a_path_downhill_has_no_barrier(self):
        changes = jnp.array([[-1.0, -2.0], [3.0, 1.0], [-1.0, 2.0]])
        np.testing.assert_array_equal(analysis.path_barrier(changes), [0, 3, 2])
        np.testing.assert_array_equal(analysis.path_climb(changes), [0, 4, 2])
        assert analysis.path_barrier(jnp.zeros(0)) == analysis.path_climb(jnp.zeros(0)) == 0

    def test_greedy_path_takes_the_cheapest_differing_bit(self):
        hamiltonian, energy = attention(1)
        start, target = random_bits((3, 4), 1), random_bits((3, 4), 2)
        expected, state = [], start.copy()
        while (state != target).any():
            differing = np.flatnonzero(state != target)
            place = min(differing, key=lambda place: energy(flips(state)[place]))
            expected.append(place)
            state = flips(state)[place]
        expected += [-1] * (start.size - len(expected))
        order = analysis.greedy_path(hamiltonian, start, target)
        np.testing.assert_array_equal(order, expected)
        changes = analysis.flip_path(hamiltonian, start, order)
        np.testing.assert_allclose(changes.sum(), energy(target) - energy(start), atol=1e-4)

    def test_greedy_path_between_equal_states_is_empty(self):
        qubo, state = qama_jax.Qubo(integer_matrix(0)), random_bits(4)
        np.testing.assert_array_equal(analysis.greedy_path(qubo, state, state), [-1] * 4)
        hamiltonian, _ = attention(0, mask=np.arange(4) != 2)
        padded = np.zeros((3, 4), np.int8)
        padded[:, 2] = 1
        np.testing.assert_array_equal(analysis.greedy_path(hamiltonian, padded, 0 * padded), [-1] * 12)

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_minimal_barrier_against_all_simple_paths(self, size):
        for seed in range(8):
            matrix = integer_matrix(seed, size)
            start, target = tuple(random_bits(size, seed)), tuple(1 - random_bits(size, seed))
            energies = {tuple(state): qubo_energy(matrix, state) for state in oracle.all_states(size)}
            rises = [
                [max(0, energies[after] - energies[before]) for before, after in itertools.pairwise(path)]
                for path in simple_paths(start, target)
            ]
            found = analysis.minimal_barrier(qama_jax.Qubo(matrix), start, target)
            assert found.barrier == min(max(path) for path in rises)
            assert found.climb == min(sum(path) for path in rises)

    def test_detours_through_equal_bits_count(self):
        # Bit 2 is 0 at both ends; while it is set, neither of the others costs anything.
        qubo = qama_jax.Qubo([[4.0, -8.0, -4.0], [0.0, 4.0, 4.0], [0.0, 0.0, 1.0]])
        assert analysis.minimal_barrier(qubo, [0, 0, 0], [1, 1, 0]) == (1, 1)
        np.testing.assert_array_equal(analysis.flip_path(qubo, [0, 0, 0], [2, 0, 1, 2]), [1, 0, 0, -1])
        for order in ([0, 1], [1, 0]):
            np.testing.assert_array_equal(analysis.flip_path(qubo, [0, 0, 0], order), [4, -4])

    @pytest.mark.parametrize("mask", [None, np.arange(4) != 2], ids=["all", "masked"])
    def test_minimal_barrier_against_scipy(self, mask):
        hamiltonian, energy = attention(3, mask=mask)
        start, target = random_bits((3, 4), 3), random_bits((3, 4), 4)
        states = oracle.all_states(12)
        energies = np.array([energy(state.reshape(3, 4)) for state in states])
        before = np.repeat(np.arange(4096, dtype=np.int32), 12)
        after = before ^ np.tile(np.int32(1) << np.arange(12, dtype=np.int32), 4096)
        rises = np.maximum(energies[after] - energies[before], 0)

        def number(state):
            return int(state.reshape(-1) @ (1 << np.arange(12)[::-1]))

        # A sparse graph has no edges of length 0.
        climb = dijkstra(coo_array((rises + 1e-12, (before, after))).tocsr(), indices=number(start))[number(target)]
        found = analysis.minimal_barrier(hamiltonian, start, target)
        np.testing.assert_allclose(found.climb, climb, rtol=1e-4, atol=1e-4)
        # The barrier is the least threshold that leaves the ends connected.
        thresholds = np.unique(rises)

        def connects(threshold):
            kept = rises <= threshold
            graph = coo_array((np.ones(kept.sum()), (before[kept], after[kept])), (4096, 4096)).tocsr()
            return np.isfinite(dijkstra(graph, indices=number(start), unweighted=True)[number(target)])

        low, high = 0, thresholds.size - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if connects(thresholds[middle]) else (middle + 1, high)
        np.testing.assert_allclose(found.barrier, thresholds[low], rtol=1e-4, atol=1e-4)

    def test_greedy_path_bounds_the_minimal_barrier(self):
        qubos = [qama_jax.Qubo(integer_matrix(seed, 6)) for seed in range(6)]
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *qubos)
        starts, targets = random_bits((6, 6), 1), random_bits((6, 6), 2)
        found = jax.jit(jax.vmap(analysis.minimal_barrier))(batch, starts, targets)
        orders = jax.jit(jax.vmap(analysis.greedy_path))(batch, starts, targets)
        changes = jax.jit(jax.vmap(analysis.flip_path))(batch, starts, orders)
        assert (found.barrier <= analysis.path_barrier(changes)).all()
        assert (found.climb <= analysis.path_climb(changes)).all()
        assert (found.barrier <= found.climb).all()
        for index, qubo in enumerate(qubos):
            alone = analysis.minimal_barrier(qubo, starts[index], targets[index])
            assert (found.barrier[index], found.climb[index]) == alone
            order = analysis.greedy_path(qubo, starts[index], targets[index])
            np.testing.assert_array_equal(orders[index], order)
            np.testing.assert_array_equal(changes[index], analysis.flip_path(qubo, starts[index], order))

    def test_barrier_over_sixteen_bits(self):
        found = analysis.minimal_barrier(qama_jax.Qubo(integer_matrix(0, 16)), [0] * 16, [1] * 16)
        assert 0 <= found.barrier <= found.climb < np.inf


class TestFlips:
    @pytest.mark.parametrize("mask", [None, np.arange(6) % 3 != 1], ids=["all", "masked"])
    def test_statistics_and_landscape(self, mask):
        hamiltonian, energy = attention(5, tokens=6, mask=mask)
        bits = random_bits((3, 6), 5)
        after = np.array([energy(state) for state in flips(bits)]).reshape(3, 6)
        landscape = analysis.flip_landscape(hamiltonian, bits)
        np.testing.assert_allclose(landscape.energy, energy(bits), atol=1e-4)
        np.testing.assert_allclose(landscape.flipped, after, atol=1e-4)

        valid = np.ones(6, bool) if mask is None else mask
        changes = (after - energy(bits))[:, valid]
        statistics = analysis.flip_statistics(hamiltonian, bits)
        expected = (changes.min(), changes.mean(), changes.std(), (changes < 0).mean())
        np.testing.assert_allclose(statistics, expected, atol=1e-4)

    def test_no_flip_improves_a_local_minimum(self):
        matrix = integer_matrix(2, 8)
        best = min(oracle.all_states(8), key=lambda bits: qubo_energy(matrix, bits))
        statistics = analysis.flip_statistics(qama_jax.Qubo(matrix), best)
        assert statistics.share_negative == 0
        assert statistics.minimum >= 0
        assert (analysis.flip_landscape(qama_jax.Qubo(matrix), best).flipped >= qubo_energy(matrix, best)).all()

    def test_jit_and_vmap_give_the_same(self):
        problems = [attention(seed)[0] for seed in (0, 1)]
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        bits = random_bits((2, 3, 4))
        for function in (analysis.flip_statistics, analysis.flip_landscape):
            together = jax.jit(jax.vmap(function))(batch, bits)
            for index, problem in enumerate(problems):
                alone = function(problem, bits[index])
                jax.tree.map(
                    lambda a, b, index=index: np.testing.assert_allclose(a[index], b, atol=1e-4), together, alone
                )


class TestSelections:
    bits = random_bits((2, 5, 4, 7))

    def test_head_overlap_is_that_of_sets(self):
        bits = self.bits.copy()
        bits[0, 0, :2] = 0  # two empty heads
        overlaps = analysis.head_overlap(bits)
        assert overlaps.shape == (2, 5, 4, 4)
        for index in np.ndindex(2, 5):
            sets = [set(np.flatnonzero(head)) for head in bits[index]]
            expected = [[len(a & b) / len(a | b) if a | b else 1.0 for a in sets] for b in sets]
            np.testing.assert_allclose(overlaps[index], expected, rtol=1e-6)

    def test_density_and_heads_per_token_over_valid_tokens(self):
        mask = random_bits((2, 5, 7), 1).astype(bool)
        mask[0, 0] = False
        density = analysis.selection_density(self.bits, mask)
        shares = analysis.heads_per_token(self.bits, mask)
        for index in np.ndindex(2, 5):
            valid = self.bits[index][:, mask[index]]
            count = max(valid.shape[1], 1)
            np.testing.assert_allclose(density[index], valid.sum(1) / count, rtol=1e-6)
            np.testing.assert_allclose(shares[index], np.bincount(valid.sum(0), minlength=5) / count, rtol=1e-6)
        np.testing.assert_allclose(analysis.selection_density(self.bits), self.bits.mean(-1), rtol=1e-6)
        np.testing.assert_allclose(analysis.heads_per_token(self.bits).sum(-1), np.ones((2, 5)), rtol=1e-6)

    def test_jit_and_vmap_give_the_same(self):
        for function in (analysis.head_overlap, analysis.selection_density, analysis.heads_per_token):
            np.testing.assert_allclose(jax.jit(jax.vmap(function))(self.bits), function(self.bits), rtol=1e-6)


def _qubo():
    return qama_jax.Qubo(integer_matrix(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.success_probability([], 0.0), "read_energies must be .* at least one"),
        (lambda: analysis.success_probability(1.0, 0.0), "read_energies must be"),
        (lambda: analysis.success_probability([1.0], [0.0, 0.0]), "target must be a scalar"),
        (lambda: analysis.success_probability([1.0], 0.0, tolerance=-1e-3), "tolerance must be at least 0"),
        (lambda: analysis.time_to_solution(1.0, 50.0), "success_probability must lie in .* divide percents"),
        (lambda: analysis.time_to_solution(1.0, [0.5, np.nan]), "success_probability must lie in"),
        (lambda: analysis.time_to_solution(1.0, 0.5, confidence=1.0), "confidence must be between"),
        (lambda: analysis.residual_energy([[1.0]], [0.0, 0.0]), "reference must be a scalar"),
        (lambda: analysis.relative_gap([1.0, 2.0], 1.0), "best_energies must have the shape"),
        (lambda: analysis.flip_path(_qubo(), [0, 1], [0]), "start must have the shape .* jax.vmap"),
        (lambda: analysis.flip_path(_qubo(), [-1, 1, 1, 1], [0]), "start must be 0 or 1, got -1; from spins"),
        (lambda: analysis.flip_path(_qubo(), [0.5, 1, 1, 1], [0]), "start must be 0 or 1, got 0.5"),
        (lambda: analysis.flip_path(_qubo(), [0] * 4, [0.0]), "order must be integers"),
        (lambda: analysis.flip_path(_qubo(), [0] * 4, [[0]]), "order must be integers"),
        (lambda: analysis.flip_path(_qubo(), [0] * 4, [0, 4]), r"order must lie in \[-1, 3\], got 4"),
        (lambda: analysis.greedy_path(_qubo(), [0] * 4, [0] * 3), "target must have the shape"),
        (lambda: analysis.minimal_barrier(np.eye(4), [0] * 4, [0] * 4), "problem must be .* qama_jax.Qubo"),
        (
            lambda: analysis.minimal_barrier(qama_jax.Qubo(np.eye(17)), [0] * 17, [1] * 17),
            "at most 16 bits, problem has 17: .* greedy_path",
        ),
        (lambda: analysis.flip_statistics(_qubo(), [0] * 5), "bits must have the shape"),
        (lambda: analysis.flip_landscape(_qubo(), [[0] * 4]), "bits must have the shape"),
        (lambda: analysis.head_overlap([0, 1]), "bits must be .*heads, tokens"),
        (lambda: analysis.head_overlap([[-1, 1]]), "bits must be 0 or 1"),
        (lambda: analysis.selection_density([[0, 1]], [1, 1]), "mask must be boolean"),
        (lambda: analysis.heads_per_token([[0, 1]], [True]), "mask must be boolean of shape"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_examples_run():
    modules = (analysis.barriers, analysis.estimates, analysis.flips, analysis.heads)
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.attempted for result in results) > 20
    assert sum(result.failed for result in results) == 0
