"""Sparse problems against the dense ones of equal energies, and against sweeps one bit at a time in NumPy."""

import dimod
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import qama_jax
from qama_jax.problems.coloring import color_bits, plan_steps
from qama_jax.problems.dense import DenseCouplings
from qama_jax.sampling import make_sweeper

pytestmark = pytest.mark.usefixtures("strict")


def couplings(n, edges, hub=0, seed=0):
    """Integers; the last bit is coupled to the first `hub` ones besides."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((n, n))
    matrix[rng.integers(0, n, edges), rng.integers(0, n, edges)] = rng.integers(1, 4, edges)
    matrix[-1, :hub] = -2
    matrix = np.triu(matrix, 1) + np.tril(matrix, -1).T
    return matrix + matrix.T


# Lists that are one fused loop, lists that are several, and lists that are several a bit.
GRAPHS = {"few neighbours": (150, 220, 0), "many neighbours": (220, 1500, 0), "hub": (150, 200, 140)}


@pytest.fixture(params=GRAPHS.values(), ids=GRAPHS.keys(), scope="module")
def pair(request):
    """A sparse Ising problem, and its couplings and biases in NumPy."""
    n, edges, hub = request.param
    matrix, biases = couplings(n, edges, hub), np.arange(n) % 7 - 3.0
    return qama_jax.Ising(scipy.sparse.csr_array(matrix), biases, 2.0), matrix, biases


def states(n, reads=3):
    return np.random.default_rng(1).integers(0, 2, (reads, n)).astype(np.int8)


def test_form_and_memory(pair):
    problem, matrix, biases = pair
    assert problem.is_sparse
    assert problem.couplings.weights.size < 5 * np.count_nonzero(matrix) + 8 * len(matrix)
    np.testing.assert_array_equal(problem.couplings.to_dense(), matrix)
    # A Qubo has its linear terms on the diagonal.
    dense = problem.to_qubo().to_dense().matrix
    np.testing.assert_array_equal(np.diag(dense), 2 * matrix.sum(axis=0) - 2 * biases)


def test_energies_and_fields(pair):
    """Of integers, so that they are exact; of single states and of several, of both kinds of problem."""
    problem, matrix, biases = pair
    bits = states(len(matrix))
    spins = 2.0 * bits - 1
    energies = 2.0 - np.sum(spins * (spins @ matrix / 2 + biases), axis=1)
    gains = 2 * spins @ matrix + 2 * biases
    back = problem.to_qubo().to_ising()
    for same in (problem, problem.to_qubo(), back):
        assert same.is_sparse
        several, alone = jax.jit(lambda same: (jax.vmap(same.energy)(bits), same.field(bits[0])))(same)
        np.testing.assert_array_equal(several, energies)
        np.testing.assert_array_equal(alone, gains[0])
        np.testing.assert_array_equal(same.exact_energy(bits), energies)
    np.testing.assert_array_equal(jax.vmap(problem.field)(bits), gains)
    np.testing.assert_array_equal(back.couplings.to_dense(), matrix)
    np.testing.assert_array_equal(back.biases, biases)


def test_scales(pair):
    problem, matrix, biases = pair
    qubo = problem.to_qubo()
    coupled = 4 * matrix
    scale = np.sqrt(np.sum(coupled**2) / np.sum(np.any(coupled != 0, axis=1)))
    centre = np.abs(2 * biases)
    rows = np.linalg.norm(coupled, axis=1)
    floor = min(
        rows[rows > 0].min() ** 2 / (scale * np.sqrt(len(matrix))), 1 / np.mean(2 / np.abs(coupled[matrix != 0]))
    )
    smallest = max(min(2.0, centre[centre > 0].min()), floor)
    largest = np.max(np.abs(coupled).sum(axis=0) / 2 + centre)
    found = jax.jit(lambda *problems: [(p.coupling_scale(), *p.flip_energy_range()) for p in problems])(problem, qubo)
    np.testing.assert_allclose(found, [(scale, smallest, largest)] * 2, rtol=1e-5)
    lowest = np.linalg.eigvalsh(coupled)[0]
    assert lowest - 1e-2 <= problem.lowest_eigenvalue() <= 0.8 * lowest


def test_dense_and_sparse_couplings_have_the_same_methods(pair):
    problem, matrix, _ = pair
    rng = np.random.default_rng(0)
    diagonal = rng.integers(-3, 4, len(matrix)).astype(np.float32)
    sparse = problem.couplings.scaled(2.0, diagonal)
    whole = 2 * matrix + np.diag(diagonal)
    dense = DenseCouplings(jnp.asarray(matrix, jnp.float32)).scaled(2.0, jnp.asarray(diagonal))
    x = rng.integers(-2, 3, len(matrix)).astype(np.float32)
    for couplings in (sparse, dense):
        np.testing.assert_array_equal(couplings.to_dense(), whole)
        np.testing.assert_array_equal(couplings.diagonal, diagonal)
        np.testing.assert_array_equal(couplings.product(x), 2 * matrix @ x)
        np.testing.assert_array_equal(couplings.quadratic_form(x), x @ whole @ x)
        np.testing.assert_array_equal(couplings.row_sums(jnp.abs(couplings.entries)), 2 * np.abs(matrix).sum(axis=1))
        assert (couplings.shape, couplings.ndim, couplings.dtype) == (matrix.shape, 2, np.float32)
        rows, columns, sums = couplings.to_pairs()
        assert (rows < columns).all()
        again = type(couplings).from_pairs(diagonal, rows, columns, sums / 2, np.float32)
        np.testing.assert_array_equal(again.to_dense(), whole)
    names = {name for name in dir(DenseCouplings) if not name.startswith("_")}
    assert names <= set(dir(sparse))


def test_sweeps_are_as_one_bit_after_another(pair):
    problem, matrix, _ = pair
    n = len(matrix)
    bits = states(n)
    sweeper = make_sweeper(problem)
    state = sweeper.arrange(jnp.asarray(bits))
    np.testing.assert_array_equal(sweeper.restore(state, (n,)), bits)
    steps, size = sweeper.shape
    noise = np.random.default_rng(2).normal(0, 5, (steps, len(bits), size)).astype(np.float32)

    def choose(noise, bits, field):
        return jnp.where(field > noise, 1 - bits, 0)

    sweep = jax.jit(lambda state: sweeper.sweep(state, noise, choose))
    after = np.asarray(sweeper.restore(sweep(state), (n,)))

    linear = np.asarray(problem.linear, float)
    x, visited = bits.astype(float), []
    for step, slot in np.argwhere(np.asarray(sweeper.bits) >= 0):
        bit = int(sweeper.bits[step, slot])
        x[:, bit] = (4 * x @ matrix[bit] + linear[bit] > noise[step, :, slot]) * (1 - x[:, bit])
        visited.append(bit)
    assert sorted(visited) == list(range(n))
    np.testing.assert_array_equal(after, x)


def test_sweeps_are_over_every_coupling_once():
    """Also where the first and the last entry of the lists are couplings, and rows between are shorter."""
    matrix = couplings(150, 0, hub=7) + np.diag(np.ones(149), 1) + np.diag(np.ones(149), -1)
    problem = qama_jax.Ising(scipy.sparse.csr_array(matrix))
    weights = np.asarray(problem.couplings.weights)
    assert weights[0, 0] != 0
    assert weights[-1, -1] != 0
    assert np.count_nonzero(make_sweeper(problem).weights) == np.count_nonzero(matrix)


def test_coupled_bits_have_different_colors():
    matrix = couplings(150, 1500)
    colors = color_bits([np.flatnonzero(row) for row in matrix])
    rows, columns = np.nonzero(matrix)
    assert np.all(colors[rows] != colors[columns])
    assert colors.max() <= np.count_nonzero(matrix, axis=0).max()


def test_steps_on_accelerators_are_colors(monkeypatch):
    """Where a step is a few launches, whatever its size; a core cuts large colours to the size of small ones."""
    matrix = couplings(600, 1500)
    neighbors = [np.flatnonzero(row) for row in matrix]
    colors = color_bits(neighbors)
    assert len(plan_steps(neighbors)) > colors.max() + 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    steps = plan_steps(neighbors)
    assert len(steps) == colors.max() + 1
    for step in steps:
        assert len(set(colors[step[step >= 0]])) == 1
    assert sorted(steps[steps >= 0]) == list(range(600))


@pytest.fixture(scope="module")
def batch():
    """Problems of different sizes and degrees, alone and stacked."""
    problems = [qama_jax.Ising(scipy.sparse.csr_array(couplings(*graph, seed=graph[0]))) for graph in GRAPHS.values()]
    stacked = qama_jax.stack_problems(problems)
    assert stacked.is_sparse
    return problems, stacked


def test_energies_and_scales_of_a_batch(batch):
    problems, stacked = batch
    bits = states(220, reads=2)

    def quantities(problem, bits):
        return jax.vmap(problem.energy)(bits), problem.coupling_scale(), problem.lowest_eigenvalue()

    together = jax.jit(jax.vmap(quantities, in_axes=(0, None)))(stacked, bits)
    for index, problem in enumerate(problems):
        n = problem.shape[0]
        np.testing.assert_array_equal(together[0][index], problem.exact_energy(bits[:, :n]))
        np.testing.assert_allclose(together[1][index], problem.coupling_scale(), rtol=1e-5)
        np.testing.assert_allclose(together[2][index], problem.lowest_eigenvalue(), rtol=0.2)


def test_solving_a_batch(batch):
    """Each problem is at a local minimum of its own at the end of a cold run, and its energy is the problem's."""
    problems, stacked = batch
    solver = qama_jax.SimulatedAnnealing(num_sweeps=60, num_reads=2, beta_range=(0.01, 10.0))
    visited = jax.vmap(lambda problem: jnp.sum(make_sweeper(problem).bits >= 0))(stacked)
    np.testing.assert_array_equal(visited, [220] * 3)
    keys = jax.random.split(jax.random.key(0), len(problems))
    solutions = jax.jit(jax.vmap(qama_jax.solve, in_axes=(0, 0, None)), static_argnums=2)(keys, stacked, solver)
    for problem, bits, energy in zip(problems, solutions.bits, solutions.energy, strict=True):
        own = np.asarray(bits[: problem.shape[0]])
        assert problem.exact_energy(own) == energy
        flips = own ^ np.eye(len(own), dtype=np.int8)
        assert np.all(problem.exact_energy(flips) >= int(energy))


def test_dense_problems_are_stacked_too():
    qubos = [qama_jax.Qubo([[1.0]], 2.0), qama_jax.Qubo([[0.0, 3.0], [0.0, -1.0]])]
    batch = qama_jax.stack_problems(qubos)
    assert batch.matrix.shape == (2, 2, 2)
    np.testing.assert_array_equal(jax.vmap(lambda qubo: qubo.energy(jnp.ones(2)))(batch), [3.0, 2.0])
    with pytest.raises(ValueError, match="not of both"):
        qama_jax.stack_problems([qubos[0], qubos[0].to_ising()])
    with pytest.raises(ValueError, match="problems must be one Qubo or more"):
        qama_jax.stack_problems([])


def test_gradients_with_respect_to_couplings_and_bits():
    matrix = couplings(150, 200, 140)
    sparse, dense = (qama_jax.Ising(form(matrix)) for form in (scipy.sparse.csr_array, np.asarray))
    bits = states(150).astype(np.float32)

    def total(problem, bits):
        return jnp.sum(jax.vmap(problem.energy)(bits) ** 2)

    of_sparse, of_bits = jax.grad(total, argnums=(0, 1), allow_int=True)(sparse, bits)
    of_dense, expected = jax.grad(total, argnums=(0, 1))(dense, bits)
    np.testing.assert_allclose(of_bits, expected, rtol=1e-4, atol=1e-2)
    moved = sparse.couplings.scaled(1.0, sparse.couplings.diagonal)
    ascent = jnp.sum(of_sparse.couplings.weights * moved.weights)
    np.testing.assert_allclose(ascent, jnp.sum(of_dense.couplings * dense.couplings), rtol=1e-4)


def test_edges_and_models_stay_sparse_and_exact():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 1000, (2, 2000))
    rows, columns = rows[rows != columns], columns[rows != columns]
    values, linear = rng.normal(size=len(rows)), rng.normal(size=1000)
    spins = dimod.BinaryQuadraticModel("SPIN")
    bits_model = dimod.BinaryQuadraticModel("BINARY")
    for model, sign in ((spins, -1), (bits_model, 1)):
        model.add_linear_from_array(sign * linear)
        for row, column, value in zip(rows.tolist(), columns.tolist(), sign * values, strict=True):
            model.add_quadratic(row, column, value)
        model.offset = 0.25
    bits = states(1000)
    ising = qama_jax.Ising.from_edges(rows, columns, values, linear, 0.25)
    qubo = qama_jax.Qubo.from_edges(rows, columns, values, linear, 0.25)
    for problem, model, variables in (
        (ising, spins, 2 * bits - 1),
        (qubo, bits_model, bits),
        (qama_jax.Ising.from_bqm(spins), spins, 2 * bits - 1),
        (qama_jax.Ising.from_bqm(bits_model), bits_model, bits),
        (qama_jax.Qubo.from_bqm(spins), spins, 2 * bits - 1),
    ):
        assert problem.is_sparse
        expected = model.energies((variables, range(1000)))
        np.testing.assert_allclose(problem.exact_energy(bits), expected, rtol=1e-12)
        np.testing.assert_allclose(jax.vmap(problem.energy)(bits), expected, atol=1e-3)
        back = problem.to_bqm()
        same = 2 * bits - 1 if back.vartype is dimod.SPIN else bits
        np.testing.assert_allclose(back.energies((same, range(1000))), expected, rtol=1e-12)


def test_exported_program_computes_the_same():
    """States of one problem, whose transposed rows the compiled program moves in memory."""
    problem, bits = qama_jax.Ising(scipy.sparse.csr_array(couplings(150, 220))), states(150, 6).reshape(2, 3, 150)
    leaves, tree = jax.tree.flatten(problem)

    @jax.jit
    def energies(leaves, bits):
        return jax.vmap(jax.vmap(jax.tree.unflatten(tree, leaves).energy))(bits)

    assert "LayoutConstraint" in energies.lower(leaves, bits).as_text()
    np.testing.assert_array_equal(jax.export.export(energies)(leaves, bits).call(leaves, bits), energies(leaves, bits))


def test_memory_is_bounded_and_the_arithmetic_named():
    rows = np.arange(29_999)
    ising = qama_jax.Ising.from_edges(rows, rows + 1, np.ones(29_999))
    assert ising.is_sparse
    with pytest.raises(ValueError, match=r"30000 x 30000 entries of 4 bytes takes 3\.4 GiB, above the limit of 2 GiB"):
        ising.to_dense()
    with pytest.raises(ValueError, match="above the limit"):
        jax.jit(lambda problem: problem.as_matrix())(ising)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qama_jax.Ising.from_edges([0, 1], [1, 1], [1, 1]), "rows and columns must be different, got 1"),
        (lambda: qama_jax.Ising.from_edges([0], [1], [1], [0.0]), r"columns must be between 0 and 0, got 1"),
        (lambda: qama_jax.Qubo.from_edges([0], [-1], [1]), r"columns must be between"),
        (lambda: qama_jax.Qubo.from_edges([0], [1], [1, 2]), "one entry for each pair"),
        (lambda: qama_jax.Qubo.from_edges([0.5], [1], [1]), "rows must be a list of integers"),
        (lambda: qama_jax.Qubo.from_edges([0], [1], [np.nan]), r"values\[0\] is nan"),
        (lambda: qama_jax.Qubo.from_edges([], [], []), "size must be at least 1"),
        (lambda: qama_jax.Qubo.from_edges([0], [1], [1], [1.0, np.inf]), r"linear\[1\] is inf"),
        (lambda: qama_jax.Qubo.from_edges([0], [1], [1], offset=[1.0]), "offset must be a scalar"),
    ],
)
def test_errors_of_edges(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_improvements_of_all_chains_add_up():
    """A chain of random couplings has the energy -Σ|J|; annealing alone leaves walls between its parts."""
    strengths = np.random.default_rng(0).normal(size=599)
    chain = qama_jax.Ising.from_edges(np.arange(599), np.arange(1, 600), strengths)
    annealed = qama_jax.solve(jax.random.key(0), chain, qama_jax.SimulatedAnnealing(num_sweeps=400, num_reads=16))
    iterated = qama_jax.solve(
        jax.random.key(0), chain, qama_jax.IteratedAnnealing(num_rounds=4, num_sweeps=100, num_reads=2)
    )
    lowest = -np.abs(strengths).sum()
    assert (np.asarray(iterated.read_energies) - lowest < (annealed.energy - lowest) / 10).all()
