import dimod
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.sparse

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
    couplings, biases = np.triu(matrix, 1), matrix[0]
    model = dimod.BinaryQuadraticModel(-biases, -couplings, 0.5, "SPIN")
    ising = qama_jax.Ising(couplings + couplings.T, biases, 0.5)
    np.testing.assert_allclose(energies(ising, states), model.energies((2 * states - 1, range(7))), atol=1e-4)


def test_ising_problems_in_the_signs_of_dimod(matrix):
    h = {0: 1.5, 5: -2.0, 3: 0.25}
    pairs = {(i, j): float(matrix[i, j]) for i in range(6) for j in range(6) if i != j and (i + j) % 3}
    states = oracle.all_states(6)
    model = dimod.BinaryQuadraticModel.from_ising(h, pairs, -0.5)
    expected = model.energies((2 * states - 1, range(6)))
    ising = qama_jax.Ising.from_ising(h, pairs, -0.5)
    np.testing.assert_allclose(energies(ising, states), expected, atol=1e-4)
    np.testing.assert_allclose(ising.exact_energy(states), expected, rtol=1e-12, atol=1e-12)
    as_list = qama_jax.Ising.from_ising([1.5, 0, 0, 0.25, 0, -2], pairs, -0.5)
    np.testing.assert_array_equal(as_list.exact_energy(states), ising.exact_energy(states))
    assert qama_jax.Ising.from_ising({}, {(np.int64(0), 2): 1}, size=4).shape == (4,)
    assert qama_jax.Ising.from_ising([1, 2, 3], {}).exact_energy([1, 0, 1]) == 2


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


def test_coupling_sums_are_those_of_rows(matrix):
    couplings = -(matrix + matrix.T)
    np.fill_diagonal(couplings, 0)
    np.testing.assert_allclose(qama_jax.Qubo(matrix).coupling_sums(), couplings.sum(1), atol=1e-5)


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


LARGE = [[3_000_000_000, 0], [0, -5_000_000_000]]


@pytest.mark.parametrize(
    "matrix",
    [LARGE, np.array(LARGE), scipy.sparse.csr_array(np.array(LARGE)), [[2**70, 0], [0, 2**70 + 1]]],
    ids=["lists", "NumPy", "SciPy", "beyond int64"],
)
def test_large_integers(matrix):
    """Floats for JAX, which would wrap them, and the integers themselves for exact energies."""
    expected = matrix.toarray() if scipy.sparse.issparse(matrix) else np.array(matrix, dtype=object)
    qubo = qama_jax.Qubo(matrix)
    np.testing.assert_allclose(qubo.matrix, np.asarray(expected, float), rtol=1e-6)
    for bits in ([1, 0], [0, 1], [1, 1]):
        energy = sum(int(expected[i, i]) for i in range(2) if bits[i])
        assert qubo.exact_energy(bits) == energy
        assert isinstance(qubo.exact_energy(bits), int)
    ising = qama_jax.Ising(np.array([[0, 2**40 + 1], [2**40 + 1, 0]]), np.array([2**50 + 1, 0]), 2**45 + 1)
    assert ising.exact_energy([1, 1]) == -(2**40) - 2**50 + 2**45 - 1


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    matrix = np.random.default_rng(0).normal(0, 300, (100, 100)).astype(dtype)
    bits = np.random.default_rng(1).integers(0, 2, 100).astype(np.int8)
    wide = matrix.astype(np.float64)
    for given in (matrix, jnp.asarray(matrix)):
        qubo = qama_jax.Qubo(given)
        assert qubo.dtype == np.float32
        np.testing.assert_allclose(qubo.energy(jnp.asarray(bits)), bits @ wide @ bits, rtol=1e-5)
        np.testing.assert_allclose(qubo.exact_energy(bits), bits @ wide @ bits, rtol=1e-12)


def test_exact_energies_of_reals_are_those_of_float64(matrix):
    wide = matrix.astype(np.float64) + 1e-9
    bits = oracle.all_states(7)
    expected = np.einsum("ri,ij,rj->r", bits, wide, bits) + 0.1
    np.testing.assert_allclose(qama_jax.Qubo(wide, 0.1).exact_energy(bits), expected, rtol=1e-13)
    spins = 2.0 * bits - 1
    expected = -np.einsum("ri,ij,rj->r", spins, wide - np.diag(np.diag(wide)), spins) / 2 - spins @ wide[0]
    np.testing.assert_allclose(qama_jax.Ising(wide, wide[0]).exact_energy(bits), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-25, 1e19, 1e25])
def test_scales_do_not_overflow(matrix, scale):
    """Squares of such couplings are beyond float32."""
    large, small = qama_jax.Qubo(matrix * np.float64(scale)), qama_jax.Qubo(matrix)

    @jax.jit
    def scales(qubo):
        return qubo.coupling_scale(), -qubo.lowest_eigenvalue(), *qubo.flip_energy_range()

    found, expected = np.array(scales(large), np.float64), np.array(scales(small), np.float64)
    np.testing.assert_allclose(found / scale, expected, rtol=1e-4)


def test_nothing_is_checked_inside_of_transformations(matrix):
    energy = jax.jit(lambda matrix: qama_jax.Ising(jnp.triu(matrix)).energy(jnp.ones(7)))(matrix * np.float32(np.nan))
    assert np.isnan(energy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qama_jax.Qubo(np.zeros((2, 3))), "matrix must be square"),
        (lambda: qama_jax.Qubo(np.zeros((4, 3, 3))), "jax.vmap"),
        (lambda: qama_jax.Qubo(np.zeros((0, 0))), "matrix must be square"),
        (lambda: qama_jax.Qubo(np.zeros((2, 2)), offset=[1.0, 2.0]), "offset must be a scalar"),
        (lambda: qama_jax.Qubo(np.zeros((2, 2), complex)), "matrix must be real"),
        (lambda: qama_jax.Qubo("matrix"), "matrix must be an array"),
        (lambda: qama_jax.Qubo([[1, 2], [3]]), "matrix must be an array"),
        (lambda: qama_jax.Qubo({(0, 1): 1.0}), r"got a dict; pass qama_jax\.Qubo\.from_bqm\(.*from_qubo"),
        (lambda: qama_jax.Ising({0: 1.0}), r"got a dict; pass qama_jax\.Ising\.from_ising\(h, J\)"),
        (lambda: qama_jax.Qubo(dimod.BinaryQuadraticModel("SPIN")), r"pass qama_jax\.Qubo\.from_bqm\(model\)"),
        (lambda: qama_jax.Qubo.from_bqm(dimod.ConstrainedQuadraticModel()), r"dimod\.cqm_to_bqm"),
        (lambda: qama_jax.Qubo([[0.0, np.nan], [0.0, 1.0]]), r"matrix\[0, 1\] is nan; every entry must be finite"),
        (lambda: qama_jax.Qubo(jnp.array([[jnp.inf]])), r"matrix\[0, 0\] is inf"),
        (lambda: qama_jax.Qubo(scipy.sparse.csr_array([[np.nan]])), r"matrix\[0\] is nan"),
        (lambda: qama_jax.Qubo([[1.0]], np.nan), "offset is nan"),
        (lambda: qama_jax.Ising(np.zeros((2, 2)), [0.0, -np.inf]), r"biases\[1\] is -inf"),
        (lambda: qama_jax.Qubo([[1e35]]), "matrix has coefficients up to 1e\\+35, whose energies overflow float32"),
        (lambda: qama_jax.Qubo([[1e-40]]), "float32 loses such small energies; divide all coefficients by 1e-40"),
        (lambda: qama_jax.Ising([[0.0, 1.0], [0.0, 0.0]]), r"couplings is triangular.*pass couplings \+ couplings\.T"),
        (lambda: qama_jax.Ising(scipy.sparse.csr_array([[0, 0], [1, 0]])), "couplings is triangular"),
        (lambda: qama_jax.Ising.from_ising({"a": 1.0}, {}), r"got 'a'; for labels, pass qama_jax\.Ising\.from_bqm"),
        (lambda: qama_jax.Ising.from_ising({}, {(0, "b"): 1.0}), "h and J must have indices of spins as keys, got 'b'"),
        (lambda: qama_jax.Ising.from_ising({}, {3: 1.0}), "h and J must have indices of spins as keys"),
        (lambda: qama_jax.Ising.from_ising([0.0], np.zeros((1, 1))), "J must be a dict from pairs of indices"),
        (lambda: qama_jax.Ising.from_ising({}, {(1, 1): 1.0}), "J and J must be different"),
        (lambda: qama_jax.Ising.from_ising({-1: 1.0}, {}, size=2), "h must have indices between 0 and 1, got -1"),
        (lambda: qama_jax.Ising.from_ising([0.0], {(0, 1): 1.0}), "J must be between 0 and 0, got 1"),
        (lambda: qama_jax.Ising.from_ising({0: np.nan}, {}), "h.* is nan"),
        (lambda: qama_jax.Ising.from_ising({}, {}), "size must be at least 1"),
        (lambda: qama_jax.Ising(np.zeros((2, 3))), "couplings must be square"),
        (lambda: qama_jax.Ising(np.zeros((2, 2)), np.zeros(3)), "biases must have shape"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
