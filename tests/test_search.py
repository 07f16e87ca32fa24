"""Searching: when it ends, what it keeps, and that its result is the best of its calls."""

import jax
import numpy as np
import pytest

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

SOLVER = qama_jax.SimulatedAnnealing(num_sweeps=2, num_reads=2)


@pytest.fixture(scope="module")
def problem():
    return qama_jax.Qubo(np.random.default_rng(0).integers(-9, 10, (40, 40)))


def test_one_call_is_solve(problem):
    found = qama_jax.search(jax.random.key(3), problem, SOLVER, max_calls=1)
    solution = qama_jax.solve(jax.random.key(3), problem, SOLVER)
    np.testing.assert_array_equal(found.bits, solution.bits)
    assert found.energy == int(solution.energy)
    assert (found.stopped, found.solver) == ("calls", SOLVER)


def test_the_best_of_different_calls(problem):
    told = []
    found = qama_jax.search(jax.random.key(0), problem, SOLVER, max_calls=8, on_call=told.append)
    assert len(set(found.call_energies)) > 1
    assert found.energy == min(found.call_energies) == problem.exact_energy(found.bits)
    assert [call.index for call in told] == list(range(8))
    assert [call.energy for call in told] == np.minimum.accumulate(found.call_energies).tolist()
    first = np.argmin(found.call_energies)
    assert found.seconds_to_best == told[first].run_seconds
    assert found.run_seconds == told[-1].run_seconds


def test_calls_differ_from_what_a_single_call_draws(problem):
    """Their keys are none that the solver derives from the key of the search."""
    starts = []
    for calls in (1, 2):
        qama_jax.search(
            jax.random.key(0), problem, SOLVER, max_calls=calls, on_call=lambda call: starts.append(call.solution.reads)
        )
    assert len({start.tobytes() for start in starts}) == 3


def test_target(problem):
    lowest = qama_jax.search(jax.random.key(0), problem, SOLVER, max_calls=8).call_energies
    target = sorted(set(lowest))[1]
    found = qama_jax.search(jax.random.key(0), problem, SOLVER, target=target, max_calls=8)
    reached = next(index for index, energy in enumerate(lowest) if energy <= target)
    assert (found.stopped, found.call_energies) == ("target", lowest[: reached + 1])


def test_time_limit_counts_calls_that_would_end_too_late(problem, monkeypatch):
    """A clock that says 4 s a call: of 11 s, the third call would not end in time."""
    clock = iter(np.cumsum([0.0, 100.0, 4.0, 4.0, 4.0, 4.0]))
    monkeypatch.setattr("qama_jax.solvers.searching.clock.time.perf_counter", lambda: next(clock))
    found = qama_jax.search(jax.random.key(0), problem, SOLVER, time_limit_s=11)
    assert (found.stopped, len(found.call_energies)) == ("time", 2)
    assert (found.compile_seconds, found.run_seconds) == (100, 8)


def test_without_a_solver_calls_are_as_long_as_the_time_suggests(problem, monkeypatch):
    """A clock by which a call of 128 sweeps takes 1 s, and longer ones 5 s: 80 % of the 9 s left allow four times."""
    clock = iter(np.cumsum([0.0, 10.0, 1.0, 0.0, 4.0, 5.0]))
    monkeypatch.setattr("qama_jax.solvers.searching.clock.time.perf_counter", lambda: next(clock))
    found = qama_jax.search(jax.random.key(0), problem, time_limit_s=10)
    assert found.solver == qama_jax.SimulatedAnnealing(num_sweeps=512, num_reads=16)
    assert (found.stopped, len(found.call_energies)) == ("time", 2)
    assert (found.compile_seconds, found.run_seconds) == (14, 6)


def test_calls_are_lengthened_again_where_the_first_was_slow(problem, monkeypatch):
    """The first says 1 s for 128 sweeps, the second takes 0.5 s for 512; what could not be twice as long stays."""
    clock = iter(np.cumsum([0.0, 10.0, 1.0, 0.0, 4.0, 0.5, 0.0, 4.0, 4.5]))
    monkeypatch.setattr("qama_jax.solvers.searching.clock.time.perf_counter", lambda: next(clock))
    found = qama_jax.search(jax.random.key(0), problem, time_limit_s=10)
    assert found.solver.num_sweeps == 4096
    assert (found.stopped, len(found.call_energies)) == ("time", 3)
    clock = iter(np.cumsum([0.0, 10.0, 3.0, 3.0, 3.0]))
    found = qama_jax.search(jax.random.key(0), problem, time_limit_s=10)
    assert (found.solver.num_sweeps, len(found.call_energies)) == (128, 3)


def test_iterated_annealing_goes_on_from_the_best_until_it_is_stuck(monkeypatch):
    short = qama_jax.IteratedAnnealing(num_rounds=1, num_sweeps=2, num_chains=4)
    monkeypatch.setattr("qama_jax.solvers.search.auto_solver", lambda _: short)
    rng = np.random.default_rng(1)
    ends = np.arange(400), (np.arange(400) + rng.integers(1, 400, 400)) % 400
    graph = qama_jax.Ising.from_edges(*ends, rng.choice([-1.0, 1.0], 400))

    def energies(solver):
        return np.array(qama_jax.search(jax.random.key(0), graph, solver, max_calls=40).call_energies)

    ours = energies(None)
    assert min(ours) < min(energies(short))
    # A call from the best state so far is never worse; one that is, has started afresh, after one that was stuck.
    lowest = np.minimum.accumulate(ours)
    fresh = np.flatnonzero(ours[1:] > lowest[:-1]) + 1
    assert len(fresh) > 0
    assert all(ours[fresh - 1] == lowest[fresh - 1])
    assert all(lowest[fresh - 2] == lowest[fresh - 1])
    assert all(np.diff(ours)[fresh[fresh < 39]] < 0)


def test_no_call_is_too_long_for_an_interrupt(problem, monkeypatch):
    """However much time there is, the longest takes 5 s: here 4 times as many sweeps as the first, of 1 s."""
    clock = iter(np.cumsum([0.0, 10.0, 1.0, 0.0, 4.0, 4.0]))
    monkeypatch.setattr("qama_jax.solvers.searching.clock.time.perf_counter", lambda: next(clock))
    found = qama_jax.search(jax.random.key(0), problem, time_limit_s=3600, max_calls=2)
    assert found.solver.num_sweeps == 512


@pytest.mark.parametrize("size", [8, 300])
def test_solver_of_a_dense_problem(size):
    matrix = np.random.default_rng(0).normal(size=(size, size))
    assert isinstance(
        qama_jax.auto_solver(qama_jax.Qubo(matrix)),
        qama_jax.SimulatedAnnealing if size == 8 else qama_jax.SimulatedBifurcation,
    )


def test_temperatures_of_a_sparse_problem():
    """A ring of 200 spins: the changes that flips of random states make, -4, 0, 0 and 4, spread by √8."""
    spins = np.arange(200)
    ring = qama_jax.Ising.from_edges(spins, (spins + 1) % 200, np.ones(200))
    solver = qama_jax.auto_solver(ring)
    assert isinstance(solver, qama_jax.IteratedAnnealing)
    hot, cold = solver.beta_range
    np.testing.assert_allclose((hot, cold), (2 / np.sqrt(8), np.log(200) / 2), rtol=1e-6)
    empty = qama_jax.Ising.from_edges([0], [199], [0.0])
    assert qama_jax.auto_solver(empty).beta_range == pytest.approx((1, np.log(200) / np.log(100)))


def test_interrupt_returns_the_best_so_far(problem):
    def interrupt(call):
        if call.index == 2:
            raise KeyboardInterrupt

    found = qama_jax.search(jax.random.key(0), problem, SOLVER, max_calls=8, on_call=interrupt)
    assert (found.stopped, len(found.call_energies)) == ("interrupt", 3)
    assert found.energy == min(found.call_energies)


def test_attention_problems_and_the_solver_that_is_chosen():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 9, 2, 4))
    hamiltonian = qama_jax.attention_hamiltonian(query, key, value, jax.numpy.ones(4))
    found = qama_jax.search(jax.random.key(0), hamiltonian, max_calls=1)
    assert found.solver == qama_jax.SimulatedBifurcation()
    np.testing.assert_allclose(found.energy, hamiltonian.energy(found.bits), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "pass time_limit_s, target or max_calls"),
        ({"time_limit_s": 0.0}, "time_limit_s must be positive"),
        ({"max_calls": 0}, "max_calls must be an integer >= 1"),
        ({"target": float("nan")}, "target must be a number"),
    ],
)
def test_bad_settings(problem, settings, message):
    with pytest.raises(ValueError, match=message):
        qama_jax.search(jax.random.key(0), problem, SOLVER, **settings)
