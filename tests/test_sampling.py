"""Samplers at fixed temperature against the exact Boltzmann distribution, by enumeration in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.special
import scipy.stats
from enumeration import energies

import qama_jax
from qama_jax.sampling import make_sweeper
from qama_jax.sampling.transitions import heat_bath, metropolis

pytestmark = pytest.mark.usefixtures("strict")

NUM_READS = 20_000


def _inputs(seed, tokens, heads, head_dim):
    inputs = np.random.default_rng(seed).standard_normal((3, tokens, heads, head_dim)).astype(np.float32)
    return (*inputs, np.ones(head_dim, np.float32))


def _matrix(bits):
    return np.random.default_rng(bits).standard_normal((bits, bits)).astype(np.float32)


PROBLEMS = {
    "qubo": qama_jax.Qubo(_matrix(8)),
    "ising": qama_jax.Ising(_matrix(7) / 2, _matrix(7)[0]),
    "attention": qama_jax.attention_hamiltonian(*_inputs(0, 4, 2, 4)),
    "attention low-rank": qama_jax.attention_hamiltonian(*_inputs(1, 4, 2, 1)),
    "attention masked": qama_jax.attention_hamiltonian(*_inputs(2, 4, 3, 2), mask=np.arange(4) != 1),
}
each_problem = pytest.mark.parametrize("name", PROBLEMS)


def free_states(problem):
    """All states of the bits that are not held fixed."""
    states = oracle.all_states(int(np.prod(problem.shape))).reshape(-1, *problem.shape)
    return np.unique(np.asarray(jax.vmap(problem.clamp)(states)), axis=0)


def boltzmann(problem, states, beta):
    return scipy.special.softmax(-beta * np.float64(energies(problem, states)))


def temperature(problem):
    """A beta at which the distribution is neither uniform nor a single state."""
    return float(1.5 / problem.coupling_scale())


def assert_samples_follow(reads, problem, beta):
    """Pearson's test of independent reads, rare states pooled; false alarms 1 in 10,000, for the seeds fixed here."""
    states = free_states(problem)
    expected = boltzmann(problem, states, beta) * len(reads)
    codes = {state.tobytes(): index for index, state in enumerate(states.astype(np.int8))}
    counts = np.bincount([codes[read.tobytes()] for read in np.asarray(reads)], minlength=len(states))
    rare = expected < 10
    expected, counts = (np.append(a[~rare], a[rare].sum()) for a in (expected, counts))
    keep = expected > 0
    statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    assert keep.sum() > 10
    assert statistic < scipy.stats.chi2.ppf(1 - 1e-4, keep.sum() - 1)


def test_the_check_itself_can_fail():
    problem = PROBLEMS["qubo"]
    beta = temperature(problem)
    solver = qama_jax.SimulatedAnnealing(num_sweeps=30, num_reads=NUM_READS, beta_range=(beta, beta))
    reads = qama_jax.solve(jax.random.key(0), problem, solver).reads
    with pytest.raises(AssertionError):
        assert_samples_follow(reads, problem, 1.1 * beta)


@each_problem
@pytest.mark.parametrize("update", ["metropolis", "heat_bath", "block"])
def test_fixed_temperature_is_boltzmann(name, update):
    problem = PROBLEMS[name]
    beta = temperature(problem)
    num_sweeps = 75 if update == "block" else 30
    solver = qama_jax.SimulatedAnnealing(num_sweeps, NUM_READS, (beta, beta), update=update)
    assert_samples_follow(qama_jax.solve(jax.random.key(1), problem, solver).reads, problem, beta)


@pytest.mark.parametrize("name", ["qubo", "attention"])
@pytest.mark.parametrize("update", ["metropolis", "block"])
def test_every_replica_of_the_ladder_is_boltzmann(name, update):
    problem = PROBLEMS[name]
    beta = temperature(problem)
    solver = qama_jax.ParallelTempering(
        num_sweeps=40, num_replicas=3, num_reads=NUM_READS, beta_range=(beta / 3, 1.5 * beta), update=update
    )
    info = qama_jax.solve(jax.random.key(2), problem, solver).info
    np.testing.assert_allclose(info["beta"], beta * np.array([1 / 3, (1 / 2) ** 0.5, 1.5]), rtol=1e-5)
    for index in range(3):
        assert_samples_follow(info["replicas"][:, index], problem, float(info["beta"][index]))


def test_exchange_rates_are_those_of_the_distributions():
    """In equilibrium a pair exchanges with the mean of min(1, exp(Δβ ΔE)) over both Boltzmann distributions."""
    problem = PROBLEMS["qubo"]
    solver = qama_jax.ParallelTempering(num_sweeps=400, num_replicas=3, num_reads=200, beta_range=(0.1, 1.0))
    info = qama_jax.solve(jax.random.key(3), problem, solver).info
    states = free_states(problem)
    energies = np.asarray(jax.vmap(problem.energy)(states), np.float64)
    beta = np.asarray(info["beta"], np.float64)
    for pair in range(2):
        weights = np.outer(*(boltzmann(problem, states, b) for b in beta[pair : pair + 2]))
        accepted = np.exp(np.minimum(0, (beta[pair] - beta[pair + 1]) * (energies[:, None] - energies[None])))
        np.testing.assert_allclose(info["exchange_rate"][pair], (weights * accepted).sum(), atol=0.02)


def test_tuned_ladder_exchanges_evenly():
    """Between ends that stay where they are; what it samples afterwards is Boltzmann at its temperatures."""
    problem = PROBLEMS["qubo"]
    plain = qama_jax.ParallelTempering(num_sweeps=300, num_replicas=4, num_reads=5000, beta_range=(0.02, 0.5))
    tuned = dataclasses.replace(plain, num_tuning_sweeps=260)
    before, after = (qama_jax.solve(jax.random.key(4), problem, solver).info for solver in (plain, tuned))
    assert np.ptp(before["exchange_rate"]) > 0.5
    assert np.ptp(after["exchange_rate"]) < 0.03
    np.testing.assert_allclose(after["beta"][jnp.array([0, 3])], [0.02, 0.5], rtol=1e-5)
    for index in range(4):
        assert_samples_follow(after["replicas"][:, index], problem, float(after["beta"][index]))


@pytest.mark.parametrize("cluster_interval", [1, 3])
def test_exchanged_clusters_leave_replicas_boltzmann(cluster_interval):
    """Few flips between the exchanges, of a problem that falls into clusters often."""
    edges = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (0, 7), (2, 6)]).T
    rng = np.random.default_rng(0)
    dense = qama_jax.Ising.from_edges(*edges, rng.normal(size=9), rng.normal(size=8) / 2)
    problem = qama_jax.Ising.from_terms(dense.terms(), is_sparse=True)
    beta = temperature(dense)
    solver = qama_jax.ParallelTempering(
        num_sweeps=30,
        num_replicas=2,
        num_reads=NUM_READS,
        beta_range=(beta / 2, beta),
        cluster_interval=cluster_interval,
    )
    info = qama_jax.solve(jax.random.key(5), problem, solver).info
    for index in range(2):
        assert_samples_follow(info["replicas"][:, index], dense, float(info["beta"][index]))


@each_problem
@pytest.mark.parametrize(
    ("rule", "tail"),
    [(heat_bath, lambda noise: scipy.special.expit(-noise)), (metropolis, lambda noise: np.exp(-np.maximum(noise, 0)))],
    ids=["heat_bath", "metropolis"],
)
def test_detailed_balance_of_every_step(name, rule, tail):
    """Exactly: the noise at which a bit changes its new value is found by bisection, and gives its probability."""
    problem = PROBLEMS[name]
    beta = temperature(problem)
    states = free_states(problem)
    weight = boltzmann(problem, states, beta)
    sweeper = make_sweeper(problem)
    state = sweeper.arrange(states)
    codes = {one.tobytes(): index for index, one in enumerate(states.astype(np.int8))}
    betas = jnp.full(len(states), beta, jnp.float32)
    colors, width = sweeper.shape

    @jax.jit
    def step(color, noise):
        def choose(inputs, bits, field):
            here, noise = inputs
            return jnp.where(here, functools.partial(rule, betas)(noise, bits, field), bits)

        return sweeper.sweep(state, (jnp.arange(colors) == color, noise), choose)

    def noise_everywhere(values):
        return jnp.broadcast_to(jnp.asarray(values, jnp.float32), state.shape)

    for color in range(colors):
        # Above the threshold the outcome is `high`, below it `low`.
        high, low = (np.asarray(step(color, noise_everywhere(value)))[color] for value in (60.0, -60.0))
        above, below = np.full(high.shape, 60.0), np.full(high.shape, -60.0)
        for _ in range(45):
            middle = (above + below) / 2
            outcome = np.asarray(step(color, noise_everywhere(middle)))[color]
            above, below = np.where(outcome == high, middle, above), np.where(outcome == high, below, middle)
        probability_high = tail(above)
        transition = np.zeros((len(states), len(states)))
        for choice in np.ndindex(*(2,) * width):
            taken = np.where(np.array(choice), high, low)
            after = np.asarray(state).copy()
            after[color] = taken
            probability = np.where(np.array(choice), probability_high, 1 - probability_high)
            same = high == low
            probability = np.where(same, np.where(np.array(choice), 1.0, 0.0), probability).prod(axis=1)
            restored = np.asarray(sweeper.restore(jnp.asarray(after), problem.shape))
            targets = [codes[one.tobytes()] for one in restored]
            np.add.at(transition, (np.arange(len(states)), targets), probability)
        np.testing.assert_allclose(transition.sum(1), 1, atol=1e-9)
        flow = weight[:, None] * transition
        np.testing.assert_allclose(flow, flow.T, atol=1e-6)
        assert (np.abs(transition - np.eye(len(states))) > 1e-3).any() or not np.asarray(sweeper.exists)[color].any()
