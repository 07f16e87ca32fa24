"""States are of 0 and 1, compared without the problem's constant; and the lowest of all is found exactly."""

import dimod
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import qama_jax
from qama_jax.dimod import DimodSampler
from qama_jax.problems.enumeration import lowest_state
from qama_jax.solvers.base import HostSolver

pytestmark = pytest.mark.usefixtures("strict")

SPINS = np.array([1, -1, 1, 1])
QUBO = qama_jax.Qubo(np.random.default_rng(0).normal(size=(4, 4)), 0.5)
ISING = QUBO.to_ising()
ATTENTION = qama_jax.attention_hamiltonian(*np.random.default_rng(0).normal(size=(3, 4, 1, 2)), np.ones(2))
FIXED = QUBO.fix(np.zeros(4, int), np.arange(4) < 0)


def solve(bits):
    solver = qama_jax.SteepestDescent()
    return qama_jax.solve(jax.random.key(0), QUBO, solver, initial_bits=jnp.asarray(bits).astype(jnp.int8)).bits


# Everything that takes a state.
TAKERS = {
    "Qubo.energy": lambda bits: QUBO.energy(jnp.asarray(bits)),
    "Ising.energy": lambda bits: ISING.energy(np.asarray(bits)),
    "AttentionHamiltonian.energy": lambda bits: ATTENTION.energy(jnp.asarray(bits)[None]),
    "token_energy": lambda bits: ATTENTION.token_energy(jnp.asarray(bits)[None]),
    "flip_energy": lambda bits: ISING.flip_energy(jnp.asarray(bits)),
    "best_moves": lambda bits: ISING.best_moves(jnp.asarray(bits), jnp.ones(4)),
    "best_moves of attention": lambda bits: ATTENTION.best_moves(jnp.asarray(bits)[None], jnp.ones((1, 4))),
    "Qubo.exact_energy": QUBO.exact_energy,
    "Ising.exact_energy": lambda bits: ISING.exact_energy(np.asarray([bits, bits])),
    "terms": lambda bits: ISING.terms().energies(np.asarray([bits])),
    "fix": lambda bits: QUBO.fix(bits, np.arange(4) < 3).bits,
    "expand": FIXED.expand,
    "flip_statistics": lambda bits: qama_jax.analysis.flip_statistics(QUBO, bits),
    "flip_path": lambda bits: qama_jax.analysis.flip_path(QUBO, bits, [0]),
    "selection_density": lambda bits: qama_jax.analysis.selection_density(jnp.asarray(bits)[None]),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_what_is_no_bit_is_refused_and_the_conversion_named(take):
    for wrong in (SPINS, SPINS.astype(np.float32), [0, 1, 2, 0], [0.5, 0.0, 1.0, 1.0], [np.nan, 0.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match=r"must be 0 or 1, got .*; from spins, pass \(1 \+ spins\) // 2"):
            take(wrong)
    bits = (1 + SPINS) // 2
    alike = [take(bits.astype(dtype)) for dtype in (np.int8, bool, np.float32)]
    for other in alike[1:]:
        jax.tree.map(np.testing.assert_array_equal, alike[0], other)


@pytest.mark.parametrize("wrong", [SPINS, 7 * np.ones(4, int), [2, 0, 1, 0]])
def test_warm_starts_are_bits(wrong):
    with pytest.raises(ValueError, match=r"initial_bits must be 0 or 1, got .*; from spins, pass \(1 \+ spins\) // 2"):
        solve(wrong)


def test_inside_of_transformations_nothing_is_checked():
    assert np.isfinite(jax.jit(lambda bits: QUBO.energy(bits))(SPINS))
    assert np.isfinite(jax.vmap(ISING.energy)(SPINS[None])).all()


@pytest.mark.parametrize("offset", [1e9, -3e12])
def test_a_search_leaves_the_constant_out(offset):
    """Of calls with several reads, whose energies are all the same in float32."""
    matrix = np.random.default_rng(1).integers(-9, 10, (20, 20))
    solver = qama_jax.SimulatedAnnealing(num_sweeps=3, num_reads=4)
    plain, far = (qama_jax.search(jax.random.key(0), p, solver, max_calls=3) for p in _with_offsets(matrix, offset))
    np.testing.assert_array_equal(plain.bits, far.bits)
    assert far.energy == plain.energy + int(offset)
    assert far.call_energies == [energy + int(offset) for energy in plain.call_energies]


def test_a_search_tells_apart_what_floats_do_not():
    """Reads whose energies of about 2^40 differ by 1 to 3: the last is the lowest."""
    large = 2**40
    qubo = qama_jax.Qubo(np.diag([-large, -large - 1, -large - 3]) + 2 * large * np.triu(np.ones((3, 3), int), 1))

    class Three:
        num_reads = 3

        def sample(self, key, problem, initial_bits):
            return jnp.eye(3, dtype=jnp.int8), {}

    found = qama_jax.search(jax.random.key(0), qubo, Three(), max_calls=1)
    assert found.energy == -large - 3
    assert found.bits.tolist() == [0, 0, 1]


def test_dimod_samples_of_a_model_with_a_large_constant():
    rng = np.random.default_rng(2)
    model = dimod.BinaryQuadraticModel({i: float(rng.normal()) for i in range(8)}, {}, 1e9, "BINARY")
    for i in range(8):
        for j in range(i):
            model.add_quadratic(i, j, float(rng.normal()))
    best = dimod.ExactSolver().sample(model).first
    assert DimodSampler(qama_jax.Exhaustive()).sample(model).first.sample == best.sample


def _with_offsets(matrix, offset):
    return qama_jax.Qubo(matrix), qama_jax.Qubo(matrix, offset)


WIDE = np.random.default_rng(3).integers(-(10**5), 10**5 + 1, (2, 14, 14))
EVERY = oracle.all_states(14)


@pytest.mark.parametrize("kind", ["qubo", "ising", "qubo, far"])
def test_integers_past_float32_under_jit_and_vmap(kind):
    """Sums of them are not whole numbers in float32."""
    make = {
        "qubo": qama_jax.Qubo,
        "ising": lambda matrix: qama_jax.Ising(matrix + matrix.T, matrix[0]),
        "qubo, far": lambda matrix: qama_jax.Qubo(matrix, 10**9),
    }[kind]
    problems = [make(matrix) for matrix in WIDE]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    keys = jax.random.split(jax.random.key(0), 2)
    solutions = jax.jit(jax.vmap(qama_jax.solve, in_axes=(0, 0, None)), static_argnums=2)(
        keys, batch, qama_jax.Exhaustive()
    )
    for problem, bits in zip(problems, np.asarray(solutions.bits), strict=True):
        assert problem.exact_energy(bits) == problem.exact_energy(EVERY).min()


def test_the_lowest_of_near_ties_in_the_second_digit():
    """All bits are best: -3·2^23 - 1, which float32 rounds to the energy without the last."""
    qubo = qama_jax.Qubo(np.diag(np.float32([-(2**23), -(2**23), -(2**23), -1])))
    solution = jax.jit(qama_jax.solve, static_argnums=2)(jax.random.key(0), qubo, qama_jax.Exhaustive())
    assert solution.bits.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", [qama_jax.Qubo, qama_jax.Ising])
def test_number_partitioning(kind):
    """Coefficients of 2·10¹⁰, which float32 does not hold: differences of sums are found as dimod finds them."""
    numbers = np.random.default_rng(4).integers(1, 100_001, 10)
    pairs = {(i, j): 2 * int(numbers[i]) * int(numbers[j]) for i in range(10) for j in range(i)}
    model = dimod.BinaryQuadraticModel.from_ising({}, pairs, float(np.sum(numbers.astype(object) ** 2)))
    lowest = dimod.ExactSolver().sample(model).first.energy
    problem = kind.from_bqm(model)
    solution = qama_jax.solve(jax.random.key(0), problem, qama_jax.Exhaustive())
    assert problem.exact_energy(solution.bits) == lowest
    assert float(solution.energy) == lowest
    assert solution.read_energies.shape == (1,)
    found = qama_jax.search(jax.random.key(0), problem, qama_jax.Exhaustive(), max_calls=1)
    assert found.energy == lowest
    # Closed over, the numbers are known as well.
    traced = jax.jit(lambda key: qama_jax.solve(key, problem, qama_jax.Exhaustive()).bits)(jax.random.key(0))
    np.testing.assert_array_equal(traced, solution.bits)


@pytest.mark.parametrize("spins", [False, True])
@pytest.mark.parametrize("size", [1, 5, 14])
@pytest.mark.parametrize("numbers", ["integers", "reals", "beyond int64"])
def test_lowest_state_on_the_host(numbers, size, spins):
    rng = np.random.default_rng(size)
    values = rng.normal(size=(size, size)) if numbers == "reals" else rng.integers(-(2**30), 2**30, (size, size))
    if numbers == "beyond int64":
        values = values.astype(object) * 2**40
    symmetric = values + values.T
    problem = qama_jax.Ising(symmetric, values[0]) if spins else qama_jax.Qubo(symmetric)
    states = oracle.all_states(size)
    order = np.argsort(states @ 2.0 ** np.arange(size))
    energies = problem.exact_energy(states[order])
    np.testing.assert_array_equal(lowest_state(problem.terms()), states[order][np.argmin(energies)])


def test_what_runs_on_the_host():
    exhaustive = qama_jax.Exhaustive()
    assert isinstance(exhaustive, HostSolver)
    assert not isinstance(qama_jax.SteepestDescent(), HostSolver)
    rounded, held = qama_jax.Qubo([[0.1, 2**24 + 1], [0, 0]]), qama_jax.Qubo([[0.5, 2**24], [0, 0]], 0.1)
    assert exhaustive.runs_on_host(rounded)
    assert not exhaustive.runs_on_host(held)
    assert not exhaustive.runs_on_host(ATTENTION)
    assert not exhaustive.runs_on_host(qama_jax.Qubo.from_terms(held.terms()))
    asked = []
    jax.jit(lambda problem: asked.append(exhaustive.runs_on_host(problem)))(rounded)
    assert asked == [False]
    with pytest.raises(ValueError, match="initial_bits cannot be honoured"):
        qama_jax.solve(jax.random.key(0), rounded, exhaustive, initial_bits=[0, 1])


def test_integers_of_53_bits_and_more_are_kept():
    assert qama_jax.Qubo(np.array([[2**53 + 1]])).exact_energy([1]) == 2**53 + 1
    assert qama_jax.Ising([[0, 2**53 + 1], [2**53 + 1, 0]]).exact_energy([1, 1]) == -(2**53) - 1
