"""Fixed bits: the reduced problem has the energies of the whole one."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.sparse

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

MATRIX = np.random.default_rng(0).integers(-5, 6, (6, 6))
MASK = np.array([False, True, True, False, False, True])


@pytest.mark.parametrize("make", [lambda: qama_jax.Qubo(MATRIX, 2.5), lambda: qama_jax.Ising(MATRIX, MATRIX[0], 2.5)])
def test_energies_are_those_of_the_whole_problem(make):
    problem = make()
    fixed = problem.fix([0, 1, 0, 0, 1, 1], MASK)
    assert type(fixed.problem) is type(problem)
    states = oracle.all_states(3)
    whole = np.asarray(fixed.expand(states))
    assert set(map(tuple, whole[:, MASK])) == {(1, 0, 1)}
    np.testing.assert_array_equal(whole[:, ~MASK], states)
    np.testing.assert_array_equal(fixed.problem.exact_energy(states), problem.exact_energy(whole))
    np.testing.assert_array_equal(jax.vmap(fixed.problem.energy)(states), jax.vmap(problem.energy)(whole))


def test_under_jit_and_of_sparse_problems():
    n = 300
    ring = scipy.sparse.csr_array(np.roll(np.eye(n), 1, axis=0))
    problem = qama_jax.Qubo(-(ring + ring.T) + scipy.sparse.eye_array(n))
    mask = np.arange(n) % 100 == 0
    assert problem.is_sparse

    @jax.jit
    def solve(key):
        fixed = problem.fix(np.ones(n, int), mask)
        solution = qama_jax.solve(key, fixed.problem, qama_jax.SteepestDescent(num_reads=3))
        return fixed.expand(solution.bits), fixed.expand(solution.reads), solution.energy

    bits, reads, energy = solve(jax.random.key(0))
    assert reads.shape == (3, n)
    assert jnp.all(bits[mask] == 1)
    assert problem.exact_energy(bits) == energy


@pytest.mark.parametrize(
    ("bits", "mask", "message"),
    [
        ([0] * 5, MASK, r"must have shape \(6,\), got \(5,\)"),
        ([0] * 6, MASK.astype(int), "boolean mask"),
        ([0] * 6, np.ones(6, bool), "must leave a bit free"),
        ([2] * 6, MASK, "bits must be 0 or 1"),
    ],
)
def test_errors(bits, mask, message):
    with pytest.raises(ValueError, match=message):
        qama_jax.Qubo(MATRIX).fix(bits, mask)
