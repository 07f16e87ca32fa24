import dimod
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")


@pytest.fixture
def matrix():
    return np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)


def energies(problem, states):
    return np.asarray(jax.vmap(problem.energy)(states))


def test_qubo_energies_equal_dimod(matrix):
    states = oracle.all_states(7)
    model = dimod.BinaryQuadraticModel(np.diag(matrix), np.triu(matrix + matrix.T, 1), 1.5, "BINARY")
    expected = model.energies((states, range(7)))
    np.testing.assert_allclose(energies(qama_jax.Qubo(matrix, 1.5), states), expected, atol=1e-4)
    np.testing.assert_allclose(
        energies(qama_jax.Qubo(np.triu(matrix + matrix.T) - np.diag(np.diag(matrix)), 1.5), states), expected, atol=1e-4
    )


def test_ising_energies_equal_dimod(matrix):
    states = oracle.all_states(7)
    couplings, fields = np.triu(matrix, 1), matrix[0]
    model = dimod.BinaryQuadraticModel(-fields, -couplings, 0.5, "SPIN")
    ising = qama_jax.Ising(couplings + couplings.T, fields, 0.5)
    np.testing.assert_allclose(energies(ising, states), model.energies((2 * states - 1, range(7))), atol=1e-4)


def test_conversions_keep_every_energy(matrix):
    states = oracle.all_states(7)
    qubo = qama_jax.Qubo(matrix, -2.0)
    ising = qubo.to_ising()
    np.testing.assert_allclose(energies(ising, states), energies(qubo, states), atol=1e-4)
    np.testing.assert_allclose(energies(ising.to_qubo(), states), energies(qubo, states), atol=1e-4)


@pytest.mark.parametrize("kind", ["qubo", "ising"])
def test_fields_and_moves(matrix, kind):
    problem = qama_jax.Qubo(matrix) if kind == "qubo" else qama_jax.Ising(matrix, matrix[0])
    for state in oracle.all_states(7)[::9]:
        energy = problem.energy(jnp.asarray(state))
        flipped = state ^ np.eye(7, dtype=np.int8)
        changes = problem.flip_energy(jnp.asarray(state))
        np.testing.assert_allclose(changes, energies(problem, flipped) - energy, atol=1e-4)
        moved, gain = problem.best_moves(jnp.asarray(state), problem.field(jnp.asarray(state)))
        np.testing.assert_array_equal(moved, 1 - state)
        np.testing.assert_allclose(gain, -changes, atol=1e-4)


def test_coupling_scale_is_the_norm_of_a_row(matrix):
    couplings = -(matrix + matrix.T)
    np.fill_diagonal(couplings, 0)
    expected = np.sqrt((couplings**2).sum(1).mean())
    np.testing.assert_allclose(qama_jax.Qubo(matrix).coupling_scale(), expected, rtol=1e-5)
    np.testing.assert_allclose(qama_jax.Qubo(matrix).to_ising().coupling_scale(), expected, rtol=1e-5)


def test_attention_coupling_scale_is_that_of_its_qubo():
    inputs = np.random.default_rng(0).standard_normal((3, 12, 3, 4)).astype(np.float32)
    for mask in (None, np.arange(12) < 8):
        hamiltonian = qama_jax.attention_hamiltonian(*inputs, np.ones(4, np.float32), mask=mask)
        np.testing.assert_allclose(hamiltonian.coupling_scale(), hamiltonian.to_qubo().coupling_scale(), rtol=1e-5)


def test_problems_are_batched_by_vmap(matrix):
    qubos = jax.vmap(qama_jax.Qubo)(jnp.stack([matrix, 2 * matrix]))
    states = jnp.ones((2, 7), jnp.int8)
    energies = jax.vmap(lambda qubo, bits: qubo.energy(bits))(qubos, states)
    np.testing.assert_allclose(energies, [matrix.sum(), 2 * matrix.sum()], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qama_jax.Qubo(np.zeros((2, 3))), "matrix must be square"),
        (lambda: qama_jax.Qubo(np.zeros((4, 3, 3))), "jax.vmap"),
        (lambda: qama_jax.Qubo(np.zeros((0, 0))), "matrix must be square"),
        (lambda: qama_jax.Qubo(np.zeros((2, 2)), offset=[1.0, 2.0]), "offset must be a scalar"),
        (lambda: qama_jax.Qubo(np.zeros((2, 2), complex)), "matrix must be real"),
        (lambda: qama_jax.Qubo("matrix"), "matrix must be an array"),
        (lambda: qama_jax.Ising(np.zeros((2, 3))), "couplings must be square"),
        (lambda: qama_jax.Ising(np.zeros((2, 2)), np.zeros(3)), "fields must have shape"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
