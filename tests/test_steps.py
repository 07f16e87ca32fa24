"""One step of every solver against its reference equations, in plain NumPy and written one bit at a time."""

import collections
import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quadratic
import scipy.special
import scipy.stats
from test_columns import columns

import qama_jax
from qama_jax.sampling import descent, noise
from qama_jax.sampling.descent import descend

pytestmark = pytest.mark.usefixtures("strict")

PROBLEMS = {"ising": quadratic.ising(), "attention": quadratic.attention()}
KEY = jax.random.key(7)

each_problem = pytest.mark.parametrize(("problem", "reference"), PROBLEMS.values(), ids=PROBLEMS)


def compiled(solver, problem):
    """A step from a state with a row of the schedule, under the one key."""
    return jax.jit(lambda state, row: solver.step(KEY, solver.arrange(problem), state, row))


def take_step(solver, problem, state, row):
    return compiled(solver, problem)(state, row)


def draw(shape, low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def draw_bits(reference, replicas, seed=0):
    """Random states, bits that are held fixed at 0."""
    bits = np.random.default_rng(seed).integers(0, 2, (replicas, *reference.shape)).astype(np.int8)
    return bits * reference.free.reshape(reference.shape)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)


def force(reference, x):
    """`F(x)` over the root-mean-square row norm of the couplings of the spins, which is a quarter of that of C."""
    return reference.field((1 + x) / 2) / 2 / (reference.scale() / 4)


class TestSimulatedBifurcation:
    @each_problem
    @pytest.mark.parametrize(("mode", "heating"), [("ballistic", 0.0), ("discrete", 0.2)])
    def test_step(self, problem, reference, mode, heating):
        """Equations of Goto et al., with the heating of Kanao and Goto; some oscillators meet a wall."""
        solver = qama_jax.SimulatedBifurcation(mode=mode, heating=heating, time_step=0.7, coupling_strength=0.9)
        x, y = draw((2, *reference.shape), -1, 1).astype(np.float64)
        y *= 2
        relaxed = np.sign(x) if mode == "discrete" else x
        pushed = y + 0.7 * ((0.4 - 1) * x + 0.9 * force(reference, relaxed))
        moved = x + 0.7 * pushed
        hit = np.abs(moved) > 1
        assert hit.any()
        assert not hit.all()
        expected = np.where(hit, np.sign(moved), moved), np.where(hit, 0, pushed) + 0.7 * heating * y
        state = tuple(jnp.asarray(value, jnp.float32) for value in (x, y))
        row = solver.schedule(problem)._replace(pump=jnp.float32(0.4), time_step=jnp.float32(0.7))
        actual, _ = take_step(solver, problem, type(solver.init(KEY, solver.arrange(problem), None))(*state), row)
        close(actual[0], expected[0])
        close(actual[1], expected[1])

    def test_strength_is_lowered_to_where_steps_are_stable(self):
        """`ω Δt < 2` with ω² = 1 + c |λ|, λ the lowest eigenvalue of the scaled couplings; a tenth is left."""
        couplings = -(np.ones((8, 8)) - np.eye(8))
        solver = qama_jax.SimulatedBifurcation(time_step=1.5, coupling_strength=2.0)
        relaxed = solver.arrange(qama_jax.Ising(couplings.astype(np.float32)))
        lowest = np.linalg.eigvalsh(4 * couplings)[0]
        close(relaxed.strength * -lowest, 0.9 * (4 / 1.5**2 - 1))
        free = solver.arrange(qama_jax.Ising(-couplings.astype(np.float32)))
        assert free.strength > 0.9 * relaxed.strength

    def test_start(self):
        problem, reference = PROBLEMS["ising"]
        bits = draw_bits(reference, 1)[0]
        for settings, amplitude in (({}, 0.1), ({"num_reads": 2}, 3.0), ({"initial_amplitude": 0.3}, 0.3)):
            solver = qama_jax.SimulatedBifurcation(**settings)
            many = jax.vmap(lambda key, s=solver: s.init(key, s.arrange(problem), None))(jax.random.split(KEY, 200))
            for values in many:
                assert 0.98 * amplitude < np.abs(values).max() <= amplitude
                assert np.abs(np.mean(values)) < 0.1 * amplitude
            warm = solver.init(KEY, solver.arrange(problem), jnp.asarray(bits))
            np.testing.assert_array_equal(solver.bits(solver.arrange(problem), warm), bits)

    def test_schedule(self):
        row = qama_jax.SimulatedBifurcation(3, time_step=0.7).schedule(PROBLEMS["ising"][0])
        close(row.pump, [0, 0.3, 0.6])
        close(row.time_step, [0.7, 0.7, 0.7])

    @pytest.mark.parametrize(("tokens", "padded", "steps"), [(191, 0, 60), (192, 0, 20), (191, 9, 60), (192, 9, 20)])
    def test_default_number_of_steps(self, tokens, padded, steps):
        """By the valid tokens; steps without time may follow."""
        query = jnp.zeros((tokens + padded, 2, 4))
        mask = jnp.arange(tokens + padded) < tokens if padded else None
        problem = qama_jax.attention_hamiltonian(query, query, query, jnp.ones(4), mask=mask)
        row = qama_jax.SimulatedBifurcation().schedule(problem)
        close(row.pump[:steps], np.linspace(0, 0.6, steps))
        close(row.time_step, np.arange(len(row.time_step)) < steps)

    def test_a_step_of_no_time_changes_nothing(self):
        problem, reference = PROBLEMS["ising"]
        solver = qama_jax.SimulatedBifurcation(heating=0.3)
        state = solver.init(KEY, solver.arrange(problem), None)
        row = solver.schedule(problem)._replace(pump=jnp.float32(0.0), time_step=jnp.float32(0.0))
        for after, before in zip(take_step(solver, problem, state, row)[0], state, strict=True):
            np.testing.assert_array_equal(after, before)
            assert after.shape == reference.shape

    def test_start_of_a_token_is_the_same_whatever_follows(self):
        """JAX's counter-based random numbers, laid out token by token."""

        def start(tokens):
            query = draw((tokens, 2, 4), -1, 1)
            problem = qama_jax.attention_hamiltonian(query, query, query, jnp.ones(4))
            return solver.init(KEY, solver.arrange(problem), None)

        solver = qama_jax.SimulatedBifurcation()
        for long, short in zip(start(9), start(5), strict=True):
            np.testing.assert_array_equal(long[:, :5], short)


class TestCoherentIsingMachine:
    @each_problem
    def test_step(self, problem, reference):
        """Equations of Leleu et al.; some pulses leave the range, and error variables are above a mean of 1."""
        solver = qama_jax.CoherentIsingMachine(
            time_step=0.3, feedback_strength=3.0, measurement_noise=0.2, error_rate=0.5, target=0.64
        )
        x, error = draw(reference.shape, -1.3, 1.3).astype(np.float64), draw(reference.shape, 0.5, 2, 1)
        noise = np.asarray(jax.random.normal(KEY, reference.shape), np.float64)
        fed_back = error * force(reference, (x + 0.2 * noise) / 0.8)
        moved = x + 0.3 * ((0.5 - 1 - x**2) * x + 3.0 * fed_back)
        assert (np.abs(moved) > 1.2).any()
        moved = np.clip(moved, -1.2, 1.2)
        grown = error * np.exp(0.3 * 0.5 * (0.64 - moved**2))
        mean = grown.reshape(-1)[reference.free].mean()
        assert mean > 1
        start = solver.init(KEY, solver.arrange(problem), None)
        state = type(start)(jnp.asarray(x, jnp.float32), jnp.asarray(error))
        (amplitude, variables), _ = take_step(solver, problem, state, 0.5)
        close(amplitude, moved)
        close(variables, grown / mean)
        _, below = take_step(solver, problem, state._replace(error=0.1 * state.error), 0.5)[0]
        assert np.mean(below) < 1
        close(start.error, np.ones(reference.shape))

    def test_start(self):
        problem, reference = PROBLEMS["ising"]
        solver = qama_jax.CoherentIsingMachine()
        many = jax.vmap(lambda key: solver.init(key, solver.arrange(problem), None).amplitude)(
            jax.random.split(KEY, 200)
        )
        assert 0.098 < np.abs(many).max() <= 0.1
        bits = draw_bits(reference, 1)[0]
        warm = solver.init(KEY, solver.arrange(problem), jnp.asarray(bits))
        np.testing.assert_array_equal(solver.bits(solver.arrange(problem), warm), bits)
        close(qama_jax.CoherentIsingMachine(3).schedule(problem), [0, 0.5, 1])

    def test_the_lowest_state_on_the_way_is_read(self):
        problem, _ = quadratic.ising(12)
        solver = qama_jax.CoherentIsingMachine(30, 4, measurement_noise=3.0, max_descent_steps=0, record_energy=True)
        solution = qama_jax.solve(KEY, problem, solver)
        trace = np.asarray(solution.info["energy_trace"])
        assert (trace[:, -1] > trace.min(axis=1) + 1e-3).any()
        assert (solution.read_energies <= trace.min(axis=1) + 1e-4).all()


class TestMeanFieldAnnealing:
    @each_problem
    def test_step(self, problem, reference):
        """Peterson and Anderson's equation, damped."""
        solver = qama_jax.MeanFieldAnnealing(damping=0.7)
        means = draw(reference.shape, 0, 1).astype(np.float64)
        means *= reference.free.reshape(reference.shape)
        expected = means + 0.7 * (scipy.special.expit(0.9 * reference.field(means)) - means)
        close(take_step(solver, problem, jnp.asarray(means, jnp.float32), 0.9)[0], expected)
        np.testing.assert_array_equal(solver.bits(problem, jnp.asarray([0.1, 0.5, 0.6])), [0, 0, 1])

    def test_start(self):
        problem, reference = PROBLEMS["ising"]
        solver = qama_jax.MeanFieldAnnealing(initial_spread=0.2)
        many = jax.vmap(lambda key: solver.init(key, problem, None))(jax.random.split(KEY, 200))
        assert 0.3 <= many.min() < 0.304
        assert 0.696 < many.max() <= 0.7
        bits = draw_bits(reference, 1)[0]
        close(solver.init(KEY, problem, jnp.asarray(bits)), np.where(bits, 0.7, 0.3))
        solver = qama_jax.MeanFieldAnnealing(3, beta_range=(0.5, 8.0))
        close(solver.schedule(problem), [0.5, 2, 8])


def sweep(reference, bits, noise, accept):
    """One bit after the other; bits of a colour see each other only where the problem couples them, which it must not.

    `noise` [colors, replicas, heads]; `accept(noise, bit, field, replica)` gives the new bit.
    """
    bits = bits.copy()
    by_row = bits.reshape(len(bits), -1)
    heads = 1 if len(reference.shape) == 1 else reference.shape[0]
    for color, members in enumerate(reference.colors):
        for replica, row in enumerate(by_row):
            for member in members:
                head = member // (row.size // heads)
                field = reference.field(row.astype(np.float64)).reshape(-1)[member]
                if reference.free[member]:
                    row[member] = accept(noise[color, replica, head], row[member], field, replica)
    return bits


def metropolis(beta):
    return lambda noise, bit, field, replica: 1 - bit if beta[replica] * (2 * bit - 1) * field <= noise else bit


def heat_bath(beta):
    return lambda noise, bit, field, replica: int(beta[replica] * field + noise > 0)


def sweep_noise(draw, key, reference, replicas):
    heads = 1 if len(reference.shape) == 1 else reference.shape[0]
    draw_step = jax.vmap(lambda seed: draw(seed, (replicas, heads), jnp.float32))
    return np.asarray(draw_step(noise.draw_seeds(key, len(reference.colors))), np.float64)


@each_problem
@pytest.mark.parametrize("update", ["metropolis", "heat_bath"])
def test_simulated_annealing(problem, reference, update):
    """Metropolis accepts with probability min(1, exp(-β ΔE)), heat-bath draws 1 with probability σ(β field)."""
    solver = qama_jax.SimulatedAnnealing(num_reads=6, update=update)
    bits = draw_bits(reference, 6)
    rule, draw = (metropolis, noise.exponential) if update == "metropolis" else (heat_bath, noise.logistic)
    expected = sweep(reference, bits, sweep_noise(draw, KEY, reference, 6), rule(np.full(6, 0.4)))
    assert (expected != bits).any()
    transition = solver.arrange(problem)
    state, _ = take_step(solver, problem, transition.arrange(jnp.asarray(bits)), 0.4)
    np.testing.assert_array_equal(solver.bits(transition, state), expected)


def test_start_and_schedule_of_annealing():
    problem, reference = PROBLEMS["attention"]
    solver = qama_jax.SimulatedAnnealing(num_sweeps=3, num_reads=4, beta_range=(0.5, 8.0))
    transition, bits = solver.arrange(problem), draw_bits(reference, 4)
    warm, cold = (solver.init(KEY, transition, start) for start in (jnp.asarray(bits), None))
    np.testing.assert_array_equal(solver.bits(transition, warm), bits)
    assert len(np.unique(np.asarray(solver.bits(transition, cold)), axis=0)) == 4
    rows = solver.schedule(problem)
    close(rows, [0.5, 2, 8])
    close(solver.report(transition, rows, warm, None)["beta"], [0.5, 2, 8])


def block_drive(blocks, reference, seed, bits, beta):
    """`β (B z + b - ½ diag BBᵀ)` of bits [replicas, heads, tokens], after B is seen to be a square root of C."""
    factor, (heads, tokens) = np.asarray(blocks.factor, np.float64), blocks.field.shape
    couplings = reference.couplings.reshape(heads, tokens, heads, tokens)
    diagonal = (factor**2).sum(1)
    for head in range(heads):
        square = factor[head].T @ factor[head] - np.diag(diagonal[head])
        np.testing.assert_allclose(square, couplings[head, :, head], atol=1e-4)
    mean = np.einsum("rhn,hwn->rhw", bits, factor)
    normal = np.asarray(noise.normal(seed, mean.shape, jnp.float32), np.float64)
    z = beta * mean + np.sqrt(beta) * normal
    return np.einsum("rhw,hwn->rhn", z, factor) + beta * (reference.linear.reshape(heads, tokens) - diagonal / 2)


def block_bits(reference, seed, drive, beta):
    """Those of a token together, held fixed where they are."""
    heads, tokens = reference.shape
    logistic = np.asarray(noise.logistic(seed, drive.shape, jnp.float32), np.float64)
    penalty = -reference.couplings.reshape(heads, tokens, heads, tokens)[0, 0, 1, 0]
    drawn = columns(drive, np.full(len(drive), beta * penalty), logistic)
    return drawn * reference.free.reshape(reference.shape)


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_block_gibbs(beta):
    """Normal variables of mean Bᵀx and variance 1/β, then the bits of every token given them; and the energies."""
    problem, reference = PROBLEMS["attention"]
    solver = qama_jax.SimulatedAnnealing(num_reads=5, update="block")
    transition, bits = solver.arrange(problem), draw_bits(reference, 5)
    first, second = noise.draw_seeds(KEY, 2)
    drive = block_drive(transition.blocks, reference, first, bits, beta)
    expected = block_bits(reference, second, drive, beta)
    assert (expected != bits).any()
    state, _ = take_step(solver, problem, transition.arrange(jnp.asarray(bits)), beta)
    np.testing.assert_array_equal(solver.bits(transition, state), expected)
    close(transition.energies(state), [reference.energy(one) for one in expected])
    order = np.array([2, 0, 1, 4, 3])
    exchanged, same = transition.exchange(state, order), transition.arrange(jnp.asarray(expected[order], jnp.int8))
    np.testing.assert_array_equal(exchanged.bits, same.bits)
    close(exchanged.mean, same.mean)


def test_block_gibbs_of_what_is_no_square():
    """A heat-bath of each colour."""
    problem, reference = PROBLEMS["ising"]
    solver, bits = qama_jax.BlockGibbs(num_reads=5), draw_bits(reference, 5)
    expected = sweep(reference, bits, sweep_noise(noise.logistic, KEY, reference, 5), heat_bath(np.full(5, 0.4)))
    assert (expected != bits).any()
    transition = solver.arrange(problem)
    state, _ = take_step(solver, problem, transition.arrange(jnp.asarray(bits)), 0.4)
    np.testing.assert_array_equal(solver.bits(transition, state), expected)


class TestParallelTempering:
    @each_problem
    def test_step(self, problem, reference):
        """A sweep, the lowest state of each ladder, and Hukushima and Nemoto's exchanges of the pairs of a parity."""
        solver = qama_jax.ParallelTempering(num_replicas=4, num_reads=5, beta_range=(0.05, 6.4))
        ladder = solver.arrange(problem)
        beta = 0.05 * 128 ** (np.arange(4) / 3)
        close(ladder.beta, beta)
        bits = draw_bits(reference, 20)
        flip_key, exchange_key = jax.random.split(KEY)
        drawn = sweep_noise(noise.exponential, flip_key, reference, 20)
        swept = sweep(reference, bits, drawn, metropolis(np.tile(beta, 5))).reshape(5, 4, *reference.shape)
        energies = np.array([[reference.energy(state) for state in read] for read in swept])
        lowest = np.array([1e6, -1e6, 1e6, 1e6, 1e6])
        best = swept[:, 0].copy()
        state = solver.init(KEY, ladder, None)._replace(
            chains=ladder.transition.arrange(jnp.asarray(bits)),
            best=jnp.asarray(best),
            lowest=jnp.asarray(lowest, jnp.float32),
        )
        for read in (0, 2, 3, 4):
            best[read], lowest[read] = swept[read, energies[read].argmin()], energies[read].min()
        step = compiled(solver, problem)
        for parity in (0, 1):
            expected, accepted = swept.copy(), np.zeros((5, 3), int)
            for read, key in enumerate(jax.random.split(exchange_key, 5)):
                threshold = -np.asarray(jax.random.exponential(key, (3,)), np.float64)
                for i in range(parity, 3, 2):
                    if threshold[i] < (beta[i] - beta[i + 1]) * (energies[read, i] - energies[read, i + 1]):
                        expected[read, [i, i + 1]] = expected[read, [i + 1, i]]
                        accepted[read, i] = 1
            assert 0 < accepted.sum() < accepted[:, parity::2].size
            after, actual = step(state, jnp.asarray(parity))
            np.testing.assert_array_equal(actual, accepted)
            np.testing.assert_array_equal(solver.bits(ladder, after), best)
            close(after.lowest, lowest)
            report = solver.report(ladder, jnp.asarray([0, 1, 0]), after, jnp.asarray([accepted] * 3))
            np.testing.assert_array_equal(report["replicas"], expected)
            close(report["replica_energies"], [[reference.energy(state) for state in read] for read in expected])
            close(report["exchange_rate"], accepted.sum(0) * 3 / (5 * np.array([2, 1, 2])))

    def test_start(self):
        problem, reference = PROBLEMS["ising"]
        solver = qama_jax.ParallelTempering(num_replicas=2, num_reads=3)
        ladder, bits = solver.arrange(problem), draw_bits(reference, 3)
        warm, cold = (solver.init(KEY, ladder, start) for start in (jnp.asarray(bits), None))
        np.testing.assert_array_equal(warm.best, bits)
        close(warm.lowest, [reference.energy(state) for state in bits])
        np.testing.assert_array_equal(ladder.transition.restore(warm.chains), np.repeat(bits, 2, axis=0))
        np.testing.assert_array_equal(ladder.transition.restore(cold.chains)[::2], cold.best)

    def test_steps_are_counted(self):
        np.testing.assert_array_equal(qama_jax.ParallelTempering(5).schedule(PROBLEMS["ising"][0]), np.arange(5))

    def test_tuning(self):
        """Pairs that would exchange more often than the mean move apart in log β, by steps of (1 + index)^-0.6."""
        problem, reference = PROBLEMS["ising"]
        solver = qama_jax.ParallelTempering(4, num_replicas=4, num_reads=5, beta_range=(0.05, 6.4), num_tuning_sweeps=3)
        ladder, spacing = solver.arrange(problem), np.array([0.5, -1, 0.2], np.float32)
        start = solver.init(KEY, ladder, None)
        close(start.spacing, np.full(3, np.log(np.log(128) / 3)))
        beta = 0.05 * 128 ** np.append(0, np.cumsum(scipy.special.softmax(spacing)))
        state = start._replace(spacing=jnp.asarray(spacing))
        bits = np.asarray(ladder.transition.restore(state.chains))
        drawn = sweep_noise(noise.exponential, jax.random.split(KEY)[0], reference, 20)
        swept = sweep(reference, bits, drawn, metropolis(np.tile(beta, 5))).reshape(5, 4, *reference.shape)
        energies = np.array([[reference.energy(state) for state in read] for read in swept])
        accepted = np.exp(np.minimum(np.diff(beta) * np.diff(energies), 0)).mean(axis=0)
        step = compiled(solver, problem)
        for index in (0, 2, 3):
            expected = spacing + (index < 3) * (accepted - accepted.mean()) / (1 + index) ** 0.6
            close(step(state, jnp.asarray(index))[0].spacing, expected)
        infos = np.zeros((4, 5, 3), int)
        infos[0] = infos[3, :2, 1] = 1
        report = solver.report(ladder, jnp.arange(4), state, jnp.asarray(infos))
        close(report["beta"], beta)
        close(report["exchange_rate"], [0, 0.4, 0])

    def test_clusters_are_exchanged_between_pairs_of_reads(self):
        """At every second step, after all else; reads 0 and 1, and 2 and 3, at each temperature."""
        rng = np.random.default_rng(0)
        ends = np.arange(40)
        terms = qama_jax.Ising.from_edges(ends, (ends + 1) % 40, rng.normal(size=40)).terms()
        problem = qama_jax.Ising.from_terms(terms, is_sparse=True)
        plain = qama_jax.ParallelTempering(num_replicas=3, num_reads=4)
        solver = qama_jax.ParallelTempering(num_replicas=3, num_reads=4, cluster_interval=2)
        state = plain.init(KEY, plain.arrange(problem), None)
        for index in (0, 1):
            chains = (compiled(s, problem)(state, jnp.asarray(index))[0].chains for s in (plain, solver))
            restored = map(plain.arrange(problem).transition.restore, chains)
            before, after = (np.asarray(replicas, int).reshape(2, 2, 3, 40) for replicas in restored)
            np.testing.assert_array_equal(after.sum(axis=1), before.sum(axis=1))
            moved = (after != before).any(axis=(1, 3))
            assert moved.any() == (index == 1)


class TestIteratedAnnealing:
    @each_problem
    def test_step(self, problem, reference):
        """Chains from the best state, each at its own temperatures; dense problems take over the lowest of all."""
        solver = qama_jax.IteratedAnnealing(num_sweeps=2, num_chains=4, num_reads=5)
        transition, bits = solver.arrange(problem), draw_bits(reference, 5)
        bits[0] = min(reference.states(), key=reference.energy)
        row = draw((2, 4), 0.1, 3)
        chains = np.repeat(bits, 4, axis=0)
        for index, beta in enumerate(row):
            drawn = sweep_noise(noise.exponential, jax.random.fold_in(KEY, index), reference, 20)
            chains = sweep(reference, chains, drawn, metropolis(np.tile(beta, 5)))
        candidates = np.concatenate([bits[:, None], chains.reshape(5, 4, *reference.shape)], axis=1)
        energies = np.array([[reference.energy(state) for state in read] for read in candidates])
        lowest = energies.argmin(axis=1)
        assert lowest[0] == 0
        assert len(set(lowest)) > 2
        state, _ = take_step(solver, problem, jnp.asarray(bits), jnp.asarray(row))
        np.testing.assert_array_equal(solver.bits(transition, state), candidates[np.arange(5), lowest])

    def test_temperatures(self):
        """All chains start at the hot end once, later between a quarter of the way and the cold end."""
        solver = qama_jax.IteratedAnnealing(2, 3, 2, beta_range=(1.0, 16.0), reheating=(0.25, 1.0))
        rows = solver.schedule(PROBLEMS["ising"][0])
        close(rows, [[[1, 1], [4, 4], [16, 16]], [[2, 16], [2**2.5, 16], [16, 16]]])
        hot, cold = qama_jax.SimulatedAnnealing(num_sweeps=2).schedule(PROBLEMS["ising"][0])
        rows = qama_jax.IteratedAnnealing(1).schedule(PROBLEMS["ising"][0])
        close(rows[0, [0, -1]].T, np.tile([hot, cold], (16, 1)))

    def test_start(self):
        problem, reference = PROBLEMS["attention"]
        solver, bits = qama_jax.IteratedAnnealing(num_reads=4), draw_bits(reference, 4)
        transition = solver.arrange(problem)
        np.testing.assert_array_equal(solver.init(KEY, transition, jnp.asarray(bits)), bits)
        assert len(np.unique(np.asarray(solver.init(KEY, transition, None)), axis=0)) == 4


class TestPathIntegralAnnealing:
    @each_problem
    def test_step(self, problem, reference):
        """Heat-bath of every bit in the even slices, then the odd ones, bound to their neighbours on the ring."""
        solver, weight, binding = qama_jax.PathIntegralAnnealing(num_reads=2, num_slices=4), 0.3, 0.6
        slices = solver.arrange(problem)
        bits = draw_bits(reference, 8)
        drawn = sweep_noise(noise.logistic, KEY, reference, 8)
        expected = bits.copy().reshape(2, 4, -1)
        for color, members in enumerate(reference.colors):
            before = expected.copy()
            for k in (0, 2, 1, 3):
                for read in range(2):
                    row = expected[read, k]
                    field = reference.field(before[read, k].astype(np.float64)).reshape(-1)
                    spins = 2 * expected[read].astype(int) - 1
                    for member in members:
                        head = member // (row.size // drawn.shape[-1])
                        neighbours = spins[k - 1, member] + spins[(k + 1) % 4, member]
                        drive = weight * field[member] + 2 * binding * neighbours + drawn[color, read * 4 + k, head]
                        row[member] = (drive > 0) & reference.free[member]
        expected = expected.reshape(2, 4, *reference.shape)
        state, _ = take_step(solver, problem, slices.arranged.arrange(jnp.asarray(bits)), (weight, binding))
        np.testing.assert_array_equal(solver.report(slices, None, state, None)["slices"], expected)
        lowest = [read[np.argmin([reference.energy(state) for state in read])] for read in expected]
        np.testing.assert_array_equal(solver.bits(slices, state), lowest)
        if isinstance(problem, qama_jax.Ising):  # whose slices a large constant would make alike
            far = dataclasses.replace(problem, offset=jnp.float32(1e9))
            np.testing.assert_array_equal(solver.bits(slices._replace(problem=far), state), lowest)

    def test_step_of_blocks(self):
        """All bits of the even slices, then those of the odd ones, bound to their neighbours on the ring."""
        problem, reference = PROBLEMS["attention"]
        solver = qama_jax.PathIntegralAnnealing(num_reads=2, num_slices=4, update="block")
        slices, weight, binding = solver.arrange(problem), 0.3, 0.6
        bits = draw_bits(reference, 8)
        first, *others = noise.draw_seeds(KEY, 3)
        drive = block_drive(slices.arranged, reference, first, bits, weight).reshape(2, 4, *reference.shape)
        expected = bits.copy().reshape(2, 4, *reference.shape)
        for parity, seed in enumerate(others):
            spins = 2 * expected.astype(int) - 1
            bound = drive + 2 * binding * (np.roll(spins, 1, axis=1) + np.roll(spins, -1, axis=1))
            moved = block_bits(reference, seed, bound[:, parity::2].reshape(4, *reference.shape), weight)
            expected[:, parity::2] = moved.reshape(2, 2, *reference.shape)
        assert (expected.reshape(bits.shape) != bits).any()
        state, _ = take_step(solver, problem, slices.arranged.arrange(jnp.asarray(bits)), (weight, binding))
        np.testing.assert_array_equal(solver.report(slices, None, state, None)["slices"], expected)

    def test_schedule(self):
        """`(B/P) β_t`, and `J⊥ = ½ ln coth(B α_t Γ / P)`."""
        solver = qama_jax.PathIntegralAnnealing(3, slice_beta=5.0, transverse_field=(2.0, 0.5, 0.1))
        weight, binding = solver.schedule(PROBLEMS["ising"][0])
        close(weight, [0, 2.5, 5])
        close(binding, np.log(1 / np.tanh([2.0, 0.5, 0.1])) / 2)
        problem, _ = PROBLEMS["ising"]
        cold = qama_jax.SimulatedAnnealing(num_sweeps=2).schedule(problem)[1]
        close(qama_jax.PathIntegralAnnealing(2).schedule(problem)[0], [0, cold])

    def test_start(self):
        problem, reference = PROBLEMS["ising"]
        solver, bits = qama_jax.PathIntegralAnnealing(num_reads=3, num_slices=2), draw_bits(reference, 3)
        slices = solver.arrange(problem)
        warm = solver.report(slices, None, solver.init(KEY, slices, jnp.asarray(bits)), None)["slices"]
        np.testing.assert_array_equal(warm, np.stack([bits, bits], axis=1))

    @pytest.mark.parametrize(
        ("name", "num_slices", "update"),
        [("ising", 4, "heat_bath"), ("attention", 2, "heat_bath"), ("attention", 2, "block")],
    )
    def test_slices_follow_their_law(self, name, num_slices, update):
        """`exp(-(B/P) β_t Σ_k E(s_k) + J⊥ Σ_k s_k · s_{k+1})` by enumeration; false alarms 1 in 10,000."""
        problem, reference = quadratic.ising(2) if name == "ising" else quadratic.attention(3, 2, 1)
        states, reads, binding = reference.states(), 20_000, 0.3
        transverse = np.arctanh(np.exp(-2 * binding))
        beta = 1.5 / reference.scale()
        solver = qama_jax.PathIntegralAnnealing(
            60, reads, num_slices, 2 * beta, transverse_field=(float(transverse),), problem_weight=(0.5,), update=update
        )
        energies = np.array([reference.energy(state) for state in states])
        spins = 2 * states.reshape(len(states), -1)[:, reference.free].astype(int) - 1
        alignment = spins @ spins.T
        exponent = np.zeros((len(states),) * num_slices)
        for k in range(num_slices):
            one = [1] * num_slices
            one[k] = -1
            exponent = exponent - beta * energies.reshape(one)
            pair = alignment if k + 1 < num_slices else alignment.T
            axes = sorted((k, (k + 1) % num_slices))
            two = [len(states) if axis in axes else 1 for axis in range(num_slices)]
            exponent = exponent + binding * pair.reshape(two)
        expected = scipy.special.softmax(exponent).reshape(-1) * reads
        slices = np.asarray(qama_jax.solve(jax.random.key(1), problem, solver).info["slices"])
        codes = {state.tobytes(): index for index, state in enumerate(states)}
        indices = np.array([[codes[state.tobytes()] for state in read] for read in slices])
        counts = np.bincount(
            np.ravel_multi_index(indices.T, (len(states),) * num_slices), minlength=len(states) ** num_slices
        )
        rare = expected < 10
        expected, counts = (np.append(a[~rare], a[rare].sum()) for a in (expected, counts))
        expected, counts = expected[expected > 0], counts[expected > 0]
        assert len(expected) > 15
        assert ((counts - expected) ** 2 / expected).sum() < scipy.stats.chi2.ppf(1 - 1e-4, len(expected) - 1)


def best_moves(reference, bits):
    """By enumeration of the bits that move together: one, or those of all heads for a token; the state and the gain."""
    groups = [[i] for i in range(bits.size)] if bits.ndim == 1 else np.arange(bits.size).reshape(bits.shape).T.tolist()
    moved, gains = bits.reshape(-1).copy(), np.zeros(bits.size)
    for group in groups:
        best = (reference.energy(bits), bits.reshape(-1)[group])
        candidates = np.array(np.meshgrid(*[[0, 1]] * len(group), indexing="ij")).reshape(len(group), -1).T
        if bits.ndim == 1:  # the best flip, which may raise the energy
            candidates, best = 1 - bits[group][None], (np.inf, None)
        for candidate in candidates:
            tried = bits.reshape(-1).copy()
            tried[group] = candidate * reference.free[group]
            if reference.energy(tried) < best[0]:
                best = reference.energy(tried), tried[group]
        moved[group], gains[group] = best[1], reference.energy(bits) - best[0]
    return moved.reshape(bits.shape), gains.reshape(bits.shape)


@pytest.mark.parametrize(
    ("problem", "reference"),
    [quadratic.ising(12, seed=3, loose=2), quadratic.antiferromagnet(), quadratic.attention(8, 3, 2, seed=1)],
    ids=["ising", "antiferromagnet", "attention"],
)
def test_descent(problem, reference):
    """Every move that gains `caution` times the best, tried together; caution falls after a success, else it rises."""
    steps = jax.jit(functools.partial(descend, problem))
    outcomes = set()
    for seed in range(4):
        bits = draw_bits(reference, 1, seed)[0].astype(np.int64)
        start, caution, done, taken = jnp.asarray(bits, jnp.int8), 0.0, False, 0
        for max_steps in range(1, 24):
            if not done:
                moved, gains = best_moves(reference, bits)
                best = gains.max()
                single = np.zeros(gains.shape, bool)
                single[np.unravel_index(gains.argmax(), gains.shape) if bits.ndim == 1 else (...,)] = True
                if bits.ndim == 2:
                    single = np.broadcast_to(np.arange(bits.shape[1]) == gains[0].argmax(), bits.shape)
                chosen = (gains >= caution * best if caution < 1 else single) & (gains > 1e-4)
                tried = np.where(chosen, moved, bits)
                lowers = reference.energy(tried) < reference.energy(bits) - 1e-6
                done, taken = best <= 1e-4 or (not lowers and caution >= 1), taken + 1
                outcomes.add((lowers, caution < 1))
                bits = tried if lowers else bits
                caution = max(2 * caution - 1, 0) if lowers else (1 + caution) / 2 if caution < 0.9 else 1.0
            reached, count = steps(start, max_steps=max_steps)
            np.testing.assert_array_equal(reached, bits)
            assert count == taken
    assert (False, True) in outcomes
    assert {(True, True), (True, False)} & outcomes


@each_problem
def test_few_steps_of_descent_are_made_without_looking(problem, reference, monkeypatch):
    """The loop of accelerators makes the steps that the one with an open end makes, also past a minimum."""
    starts = [jnp.asarray(draw_bits(reference, 1, seed)[0], jnp.int8) for seed in range(3)]
    with_open_end = jax.jit(functools.partial(descend, problem, max_steps=4))
    expected = [(with_open_end(start), with_open_end(with_open_end(start)[0])) for start in starts]
    monkeypatch.setattr(descent, "_until_done", descent._all_steps)
    without = jax.jit(lambda bits: descend(problem, bits, max_steps=4))
    found = [(without(start), without(without(start)[0])) for start in starts]
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_dynamics_alone_are_rough():
    """Products of the dynamics are as the device does them fastest; those of fields, energies and descent are exact."""
    problem, _ = quadratic.attention()
    bits = jnp.zeros(problem.shape)

    solver = qama_jax.SimulatedBifurcation()
    state, row = solver.init(KEY, solver.arrange(problem), None), jax.tree.map(lambda r: r[0], solver.schedule(problem))

    def products(function, *arguments):
        equations = jax.make_jaxpr(function)(*arguments).eqns
        found, inner = set(), list(equations)
        while inner:
            equation = inner.pop()
            if equation.primitive.name == "dot_general":
                found.add(equation.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2)
            for value in equation.params.values():
                inner += getattr(getattr(value, "jaxpr", None), "eqns", ())
        return found

    assert products(lambda state, row: solver.step(None, solver.arrange(problem), state, row)[0], state, row) == {False}
    for exact in (problem.couple, problem.field, problem.energy, problem.token_energy):
        assert products(exact, bits) == {True}
    assert products(lambda bits: descend(problem, bits, 4), bits) == {True}


def test_steps_are_unrolled_for_cuda_alone():
    """On GPUs what follows a product joins it in a kernel; elsewhere longer programs gain nothing."""
    problem, _ = quadratic.attention()
    solver = qama_jax.SimulatedBifurcation(20, max_descent_steps=0)
    traced = jax.jit(lambda key: qama_jax.solve(key, problem, solver).bits).trace(KEY)

    def most_calls(platform):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        return max(collections.Counter(re.findall(r"call @closed_call\w*", program)).values())

    assert most_calls("cpu") == 1
    assert most_calls("cuda") == solver.unroll
