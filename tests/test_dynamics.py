"""Solvers without a descent, where neither random bits nor a descent from them come close: the dynamics alone."""

import functools

import jax
import numpy as np
import pytest
import quadratic

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

# Mean energy of reads above the best known, as a share of it.
CLOSE = 0.065


@functools.cache
def glass():
    """Sherrington and Kirkpatrick's spin glass, and the lowest energy that any of thousands of reads had."""
    couplings = np.triu(np.random.default_rng(0).standard_normal((100, 100)), 1).astype(np.float32)
    return qama_jax.Ising(couplings + couplings.T), -687.865


def gap(problem, best, reads_of):
    energies = np.array([reads_of(jax.random.key(seed)) for seed in range(4)])
    assert energies.min() > best * (1 + 1e-5)
    return (energies.mean() - best) / abs(best)


def gap_of(solver, problem, best):
    return gap(problem, best, lambda key: np.asarray(qama_jax.solve(key, problem, solver).read_energies))


def test_random_bits_fail_and_so_does_a_descent_from_them():
    problem, best = glass()
    energy = jax.jit(jax.vmap(problem.energy))
    assert gap(problem, best, lambda key: energy(jax.random.bernoulli(key, shape=(8, 100)))) > 10 * CLOSE
    assert gap_of(qama_jax.SteepestDescent(num_reads=8), problem, best) > 1.2 * CLOSE


@pytest.mark.parametrize(
    "solver",
    [
        qama_jax.SimulatedBifurcation(100, 8, max_descent_steps=0),
        qama_jax.SimulatedBifurcation(100, 8, mode="discrete", heating=0.02, max_descent_steps=0),
        qama_jax.MeanFieldAnnealing(150, 8, max_descent_steps=0),
        qama_jax.CoherentIsingMachine(150, 8, max_descent_steps=0),
        qama_jax.SimulatedAnnealing(60, 8),
        qama_jax.IteratedAnnealing(2, 30, 4, 8),
        qama_jax.ParallelTempering(40, 8, 8),
        qama_jax.PathIntegralAnnealing(60, 8, 4),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_dynamics_come_close(solver):
    assert gap_of(solver, *glass()) < CLOSE


def test_blocks_come_close_where_they_are_made_for():
    """On attention problems; couplings that are no square but for their diagonal slow the chain."""
    problem, reference = quadratic.attention(24, 4, 3)
    energies = [reference.energy(bits) for bits in np.random.default_rng(0).integers(0, 2, (32, *reference.shape))]
    best = float(qama_jax.solve(jax.random.key(0), problem, qama_jax.SimulatedBifurcation(100, 32)).energy)
    assert (np.mean(energies) - best) / abs(best) > 10 * CLOSE
    assert gap_of(qama_jax.BlockGibbs(150, 8), problem, best) < CLOSE
