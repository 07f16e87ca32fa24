import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from intermediates import array_sizes

import qama_jax
from qama_jax.problems import moments, token_blocks
from qama_jax.problems.coupling import DenseCoupling, LowRankCoupling
from qama_jax.problems.normalization import standardize
from qama_jax.sampling import make_sweeper
from qama_jax.sampling.descent import descend

pytestmark = pytest.mark.usefixtures("strict")

# Every pair of a number of heads, a number of tokens and a size of heads is in one of them.
SHAPES = [
    ((1, 2, 8)[(i + j + 1) % 3], n, d) for i, n in enumerate((1, 2, 7, 64, 512)) for j, d in enumerate((1, 8, 64))
]


def make_inputs(heads, tokens, head_dim, offset=0.0, seed=0):
    rng = np.random.default_rng([seed, heads, tokens, head_dim])
    query, key, value = rng.standard_normal((3, tokens, heads, head_dim))
    importance = rng.standard_normal(head_dim)
    # What both sides compute from are the same float32 numbers.
    return [np.asarray(a, np.float32) for a in (query + offset, key + offset, value, importance)]


def make_mask(tokens, masked):
    return (np.arange(tokens) * 7 % 10 < 7) if masked else None


def make_bits(heads, tokens, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (heads, tokens)).astype(np.int8)


def in_float64(arrays):
    return [np.asarray(a, np.float64) for a in arrays]


@functools.partial(jax.jit, static_argnames="masked")
def evaluate(inputs, bits, weights, mask, masked):
    mask = mask if masked else None

    def loss(inputs):
        hamiltonian = qama_jax.attention_hamiltonian(*inputs, mask=mask)
        # Distinct weights for each token: no error can hide in a sum.
        return jnp.sum(weights * hamiltonian.token_energy(bits)) + hamiltonian.energy(bits)

    hamiltonian = qama_jax.attention_hamiltonian(*inputs, mask=mask)
    values = (hamiltonian.energy(bits), hamiltonian.token_energy(bits), hamiltonian.field(bits))
    return values, jax.grad(loss)(inputs)


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("heads", "tokens", "head_dim"), SHAPES)
def test_forward_and_gradient_equal_the_oracle(heads, tokens, head_dim, masked, offset):
    inputs = make_inputs(heads, tokens, head_dim, offset)
    mask = make_mask(tokens, masked)
    bits = make_bits(heads, tokens)
    weights = np.random.default_rng(1).standard_normal((heads, tokens)).astype(np.float32)
    jax_mask = jnp.ones(tokens, bool) if mask is None else jnp.asarray(mask)
    (energy, token_energy, field), gradient = evaluate(inputs, bits, weights, jax_mask, masked)

    valid = np.ones(tokens) if mask is None else mask.astype(float)
    s = bits * valid
    problem = oracle.build(*in_float64(inputs), mask)
    expected_tokens = oracle.token_energy(problem, s)
    size = np.abs(expected_tokens).sum() + problem.penalty
    np.testing.assert_allclose(energy, oracle.energy(problem, s), atol=1e-5 * size)
    np.testing.assert_allclose(token_energy, expected_tokens, atol=1e-5 * np.abs(expected_tokens).max())
    expected_field = oracle.field(problem, s) * valid
    np.testing.assert_allclose(field, expected_field, atol=1e-5 * np.abs(expected_field).max())

    def loss(*inputs):
        problem = oracle.build(*inputs, mask)
        return (weights * oracle.token_energy(problem, s)).sum() + oracle.energy(problem, s)

    norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in gradient))
    # Two tokens normalise to ±1 whatever they are: a gradient of exactly 0, of which rounding leaves a trace.
    norm = max(norm, 0.1 * size, 1e-6)
    along = [np.asarray(g, np.float64) / norm for g in gradient]
    across = [np.random.default_rng(i).standard_normal(g.shape) for i, g in enumerate(gradient)]
    across_norm = np.sqrt(sum((v**2).sum() for v in across))
    for directions in (along, [v / across_norm for v in across]):
        expected = oracle.directional_derivative(loss, in_float64(inputs), directions)
        actual = sum((np.asarray(g, np.float64) * v).sum() for g, v in zip(gradient, directions, strict=True))
        assert abs(actual - expected) <= 1e-5 * max(norm, abs(expected))


@pytest.mark.parametrize(("heads", "tokens", "head_dim"), [(2, 7, 8), (2, 30, 4)])
def test_second_derivatives_equal_the_oracle(heads, tokens, head_dim):
    """Derivative along v of the gradient along v, against differences of the oracle's complex-step derivative."""
    inputs = make_inputs(heads, tokens, head_dim)
    bits = make_bits(heads, tokens)
    directions = [np.random.default_rng(i).standard_normal(a.shape).astype(np.float32) for i, a in enumerate(inputs)]

    def energy(inputs):
        return qama_jax.attention_hamiltonian(*inputs).energy(bits)

    def along(inputs):
        return jax.jvp(jax.grad(energy), (inputs,), (directions,))[1]

    gradient = jax.jit(along)([jnp.asarray(a) for a in inputs])
    actual = sum(np.vdot(g, v) for g, v in zip(gradient, directions, strict=True))

    def oracle_slope(step):
        moved = [a + step * v for a, v in zip(in_float64(inputs), in_float64(directions), strict=True)]
        return oracle.directional_derivative(
            lambda *arrays: oracle.energy(oracle.build(*arrays), bits), moved, in_float64(directions)
        )

    expected = (oracle_slope(1e-5) - oracle_slope(-1e-5)) / 2e-5
    np.testing.assert_allclose(actual, expected, rtol=1e-3)


build = jax.jit(qama_jax.attention_hamiltonian)
energy = jax.jit(lambda hamiltonian, bits: hamiltonian.energy(bits))
energies = jax.jit(lambda hamiltonian, states: jax.vmap(hamiltonian.energy)(states))
field = jax.jit(lambda hamiltonian, bits: hamiltonian.field(bits))
flip_energy = jax.jit(lambda hamiltonian, bits: hamiltonian.flip_energy(bits))
token_energy = jax.jit(lambda hamiltonian, bits: hamiltonian.token_energy(bits))
best_moves = jax.jit(lambda hamiltonian, bits, field: hamiltonian.best_moves(bits, field))
clamp = jax.jit(lambda hamiltonian, bits: hamiltonian.clamp(bits))
coupling_scale = jax.jit(lambda hamiltonian: hamiltonian.coupling_scale())
coupling_sums = jax.jit(lambda hamiltonian: hamiltonian.coupling_sums())
to_qubo = jax.jit(lambda hamiltonian: hamiltonian.to_qubo())


def number_of_colors(hamiltonian):
    return jax.eval_shape(make_sweeper, hamiltonian).shape[0]


@jax.jit
def sweep(hamiltonian, reads, noise):
    """All reads after a sweep in which a bit is 1 where its field and the noise are positive together."""

    def choose(noise, bits, field):
        return (field + noise > 0).astype(field.dtype)

    sweeper = make_sweeper(hamiltonian)
    return sweeper.restore(sweeper.sweep(sweeper.arrange(reads), noise, choose), hamiltonian.shape)


def test_form_is_chosen_by_shape():
    dense = qama_jax.attention_hamiltonian(*make_inputs(2, 16, 8))
    low_rank = qama_jax.attention_hamiltonian(*make_inputs(2, 17, 8))
    assert isinstance(dense.coupling, DenseCoupling)
    assert isinstance(low_rank.coupling, LowRankCoupling)
    assert max(leaf.size for leaf in jax.tree.leaves(low_rank)) == 2 * 17 * 8


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("heads", "tokens", "head_dim"), [(1, 9, 4), (3, 9, 8), (3, 30, 4), (5, 4, 3), (4, 12, 1)])
class TestAgainstEnergyDifferences:
    @pytest.fixture
    def hamiltonian(self, heads, tokens, head_dim, masked):
        return build(*make_inputs(heads, tokens, head_dim), mask=make_mask(tokens, masked))

    @pytest.fixture
    def bits(self, heads, tokens, masked):
        bits = make_bits(heads, tokens)
        return bits if not masked else bits * make_mask(tokens, masked).astype(np.int8)

    def test_flip_energy(self, hamiltonian, bits):
        changes = np.asarray(flip_energy(hamiltonian, bits))
        flipped = bits.reshape(-1) ^ np.eye(bits.size, dtype=np.int8)
        after = energies(hamiltonian, flipped.reshape(-1, *bits.shape))
        np.testing.assert_allclose(changes.reshape(-1), after - energy(hamiltonian, bits), atol=2e-4)

    def test_to_qubo(self, hamiltonian, bits):
        qubo = to_qubo(hamiltonian)
        states = np.stack([make_bits(*bits.shape, seed) for seed in range(4)])
        actual, expected = energies(qubo, states.reshape(4, -1)), energies(hamiltonian, states)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)

    def test_coupling_sums(self, hamiltonian, bits):
        free = np.asarray(clamp(hamiltonian, np.ones_like(bits)), np.float32)
        expected = np.asarray(field(hamiltonian, free) - field(hamiltonian, 0 * free))
        scale = 1 + float(coupling_scale(hamiltonian))
        np.testing.assert_allclose(coupling_sums(hamiltonian), expected, atol=1e-5 * scale)

    def test_sweep_visits_bits_one_after_the_other(self, hamiltonian, bits):
        """Against single updates in NumPy, each with the field of the state as it is at that moment."""
        heads, tokens = bits.shape
        colors = number_of_colors(hamiltonian)
        reads = np.stack([np.asarray(clamp(hamiltonian, read)) for read in (bits, 1 - bits)])
        free = np.asarray(clamp(hamiltonian, np.ones_like(bits)))
        scale = 1 + float(coupling_scale(hamiltonian))
        noise = np.random.default_rng(0).normal(0, scale, (colors, 2, heads)).astype(np.float32)
        after = sweep(hamiltonian, reads, noise)
        for read in range(2):
            state = reads[read].copy()
            visits = np.zeros(bits.shape, int)
            for color in range(colors):
                for head in range(heads):
                    token = color - head
                    if 0 <= token < tokens:
                        visits[head, token] += 1
                        drive = float(field(hamiltonian, state)[head, token]) + noise[color, read, head]
                        state[head, token] = (drive > 0) * free[head, token]
            assert (visits == 1).all()
            np.testing.assert_array_equal(after[read], state)

    def test_colors_share_no_coupling(self, hamiltonian, bits):
        heads, tokens = bits.shape
        couplings = np.asarray(to_qubo(hamiltonian).matrix).reshape(heads, tokens, heads, tokens)
        for color in range(number_of_colors(hamiltonian)):
            members = [(head, color - head) for head in range(heads) if 0 <= color - head < tokens]
            assert all(couplings[a][b] == 0 for a, b in itertools.permutations(members, 2))

    def test_best_moves_are_the_best_columns(self, hamiltonian, bits):
        """Against every column of bits of every token, by enumeration."""
        heads, tokens = bits.shape
        moved, gain = best_moves(hamiltonian, bits, field(hamiltonian, bits))
        before = energy(hamiltonian, bits)
        for token in range(tokens):
            columns = np.repeat(bits[None], 2**heads, axis=0)
            columns[:, :, token] = oracle.all_states(heads)
            lowest = np.asarray(energies(hamiltonian, columns)).min()
            np.testing.assert_allclose(gain[0, token], before - lowest, atol=1e-3)
            after = bits.copy()
            after[:, token] = moved[:, token]
            np.testing.assert_allclose(energy(hamiltonian, after), lowest, atol=1e-3)

    def test_descent_ends_in_a_local_minimum(self, hamiltonian, bits):
        start = clamp(hamiltonian, make_bits(*bits.shape, 5))
        end, steps = jax.jit(descend)(hamiltonian, start, 200)
        assert steps < 200
        assert float(energy(hamiltonian, end)) <= float(energy(hamiltonian, start)) + 1e-4
        assert np.max(best_moves(hamiltonian, end, field(hamiltonian, end))[1]) < 1e-3
        changes = np.asarray(flip_energy(hamiltonian, end))
        assert changes[np.asarray(clamp(hamiltonian, np.ones_like(bits))) == 1].min() > -1e-3


def test_padded_tokens_have_no_influence():
    """A masked problem is the problem without the padded tokens."""
    query, key, value, importance = make_inputs(3, 24, 8)
    mask = make_mask(24, True)
    masked = build(query, key, value, importance, mask=mask)
    short = build(query[mask], key[mask], value[mask], importance)
    bits = make_bits(3, 24)
    of_masked, of_short = token_energy(masked, bits), token_energy(short, bits[:, mask])
    np.testing.assert_allclose(of_masked[:, mask], of_short, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(energy(masked, bits), energy(short, bits[:, mask]), rtol=1e-5)
    assert not np.any(of_masked[:, ~mask])
    assert not np.any(np.asarray(clamp(masked, bits))[:, ~mask])
    poisoned = np.where(mask[:, None, None], query, np.nan)
    again = build(poisoned, key, value, importance, mask=mask)
    np.testing.assert_array_equal(token_energy(again, bits), of_masked)


def _degenerate(kind):
    query, key, value, importance = make_inputs(2, 6, 4)
    mask = None
    if kind == "one token":
        query, key, value = query[:1], key[:1], value[:1]
    elif kind == "equal tokens":
        query, key, value = (np.broadcast_to(a[:1], a.shape) for a in (query, key, value))
    elif kind == "equal couplings":
        # The corners of a simplex: all pairs are alike.
        simplex = np.eye(5, dtype=np.float32)[:, None]
        query = key = np.broadcast_to(simplex, (5, 2, 5))
        value, importance = np.ones((5, 2, 5), np.float32), np.ones(5, np.float32)
    elif kind == "cancelling":
        # Two kinds of tokens, whose queries differ in one direction and whose keys in another.
        pair = np.abs(query[:2]) * np.array([1, -1], np.float32)[:, None, None]
        query, key = (signs[None, None] * pair[[0, 0, 1, 0, 1, 0]] for signs in (np.ones(4), np.array([1, -1, 1, -1])))
        query, key = np.float32(query), np.float32(key * 3)
    elif kind == "zero":
        query, key, value = (np.zeros_like(a) for a in (query, key, value))
    elif kind == "one valid token":
        mask = np.arange(6) == 2
    elif kind == "no valid token":
        mask = np.zeros(6, bool)
    return (query, key, value, importance), mask


@jax.jit
def of_a_problem(inputs, mask, bits):
    """Couplings, energies with their gradient, the energy of a solution."""

    def total(inputs):
        hamiltonian = qama_jax.attention_hamiltonian(*inputs, mask=mask)
        return hamiltonian.energy(bits) + jnp.sum(hamiltonian.token_energy(bits) ** 2), hamiltonian

    (value, hamiltonian), gradient = jax.value_and_grad(total, has_aux=True)(inputs)
    solution = qama_jax.solve(jax.random.key(0), hamiltonian, qama_jax.SimulatedBifurcation())
    return hamiltonian.coupling.to_matrix(), (value, gradient, solution.energy)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(
    "kind", ["one token", "equal tokens", "equal couplings", "cancelling", "zero", "one valid token", "no valid token"]
)
def test_degenerate_problems_are_finite_and_couple_nothing(kind, long):
    inputs, mask = _degenerate(kind)
    if long:  # the same among many padded tokens, where the low-rank form serves
        tokens, heads, head_dim = inputs[0].shape
        mask = np.concatenate([np.ones(tokens, bool) if mask is None else mask, np.zeros(20, bool)])
        padding = np.zeros((20, heads, head_dim), np.float32)
        inputs = (*(np.concatenate([a, padding]) for a in inputs[:3]), inputs[3])
    bits = jnp.ones((2, inputs[0].shape[0]), jnp.int8)
    couplings, values = of_a_problem(inputs, mask, bits)
    np.testing.assert_array_equal(couplings, 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))


def test_scale_of_the_inputs_is_nothing():
    """Squares of them leave the range of float32."""
    *tensors, importance = make_inputs(2, 6, 4)
    bits = make_bits(2, 6)

    @jax.jit
    @jax.value_and_grad
    def evaluate(tensors):
        return qama_jax.attention_hamiltonian(*tensors, importance).energy(bits)

    ordinary, expected = evaluate(tensors)
    for exponent in (-100, -60, 60, 100):
        value, slopes = evaluate([a * np.float32(2.0**exponent) for a in tensors])
        assert value == ordinary
        for slope, ordinary_slope in zip(slopes, expected, strict=True):
            assert np.isfinite(slope).all()
            if abs(exponent) == 60:
                np.testing.assert_allclose(slope * np.float32(2.0**exponent), ordinary_slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_blocks_of_tokens_change_nothing(monkeypatch, masked):
    """Several blocks, one of them not whole, against all tokens in one; keys in other numbers than queries."""
    query, _, value, importance = make_inputs(2, 200, 4, offset=10.0)
    key = make_inputs(2, 330, 4, offset=10.0, seed=1)[1]
    masks = {"mask": make_mask(330, True), "query_mask": make_mask(200, True)} if masked else {}
    if masked:
        query, key = (
            np.where(m[:, None, None], x, 1e30) for x, m in ((query, masks["query_mask"]), (key, masks["mask"]))
        )
    bits, weights = make_bits(2, 200), np.random.default_rng(1).standard_normal((2, 200)).astype(np.float32)

    def evaluate():
        def loss(tensors):
            hamiltonian = qama_jax.attention_hamiltonian(*tensors, importance, **masks)
            return jnp.sum(weights * hamiltonian.token_energy(bits)), hamiltonian.coupling

        return jax.jit(jax.value_and_grad(loss, has_aux=True))((query, key, value))

    monkeypatch.setattr(token_blocks, "NUMBERS", 2**20)
    whole = jax.tree.leaves(evaluate())
    monkeypatch.setattr(token_blocks, "NUMBERS", 64 * 2 * 4)
    for ours, theirs in zip(jax.tree.leaves(evaluate()), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("form", [moments.in_one_product, moments.in_two_products])
def test_products_and_sums_of_each_platform(form):
    x, y = np.random.default_rng(0).standard_normal((2, 3, 7, 4)).astype(np.float32)
    products, sums = form(x, y)
    np.testing.assert_allclose(products, np.einsum("htd,hte->hde", *np.float64([x, y])), atol=1e-5)
    np.testing.assert_allclose(sums, np.float64(x).sum(1), atol=1e-5)


def test_figure_5_scale():
    """The paper's Figure 5 (H = 8, N = 64, one CIFAR-10 image): optimum -1438.95, one flip from it -1425.33 on average.

    Over 128 random problems the optimum is -1354 ± 38 (standard deviation), from -1465 to -1254.
    """
    inputs = np.random.default_rng(0).standard_normal((3, 8, 64, 8, 8)).astype(np.float32)
    importance = np.random.default_rng(1).standard_normal(8).astype(np.float32)
    solver = qama_jax.SimulatedBifurcation(num_reads=4)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, 0, 0, None))
    def solve(key, *inputs):
        hamiltonian = qama_jax.attention_hamiltonian(*inputs)
        solution = qama_jax.solve(key, hamiltonian, solver)
        return solution.energy, hamiltonian.flip_energy(solution.bits)

    energies, rises = solve(jax.random.split(jax.random.key(0), 8), *inputs, importance)
    assert energies.min() > -1500
    assert energies.max() < -1250
    assert -1400 < energies.mean() < -1310
    assert rises.min() >= 0
    assert (rises.mean((1, 2)) > 14).all()
    assert (rises.mean((1, 2)) < 18).all()


def test_no_array_grows_faster_than_the_tokens():
    """In the whole layer, forward and backward, no intermediate of a long problem has N×N elements."""

    def largest(tokens):
        inputs = [jnp.zeros((tokens, 2, 4))] * 3

        def loss(query, key, value):
            features, _ = qama_jax.qama_attention(query, key, value, jnp.ones(4), rng=jax.random.key(0))
            return jnp.sum(features)

        return max(array_sizes(jax.make_jaxpr(jax.value_and_grad(loss, (0, 1, 2)))(*inputs).jaxpr))

    assert largest(2048) <= 2 * largest(1024) < 1024 * 1024


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.zeros((2, 6, 2, 4))}, "query must be"),
        ({"key": np.zeros((5, 3, 4))}, "key must have the shape of query"),
        ({"key": np.zeros((0, 2, 4))}, "number of keys, which is at least 1"),
        ({"value": np.zeros((5, 2, 4))}, "value must have the shape of query .* a value of its own"),
        ({"importance": np.zeros(3)}, "importance must have shape"),
        ({"mask": np.ones(5, bool)}, "mask must be boolean of shape"),
        ({"mask": np.ones(6)}, "mask must be boolean of shape"),
        ({"query": np.zeros((6, 2, 4), complex)}, "query must be real"),
    ],
)
def test_errors_name_the_argument(change, message):
    inputs = dict(zip(("query", "key", "value", "importance"), make_inputs(2, 6, 4), strict=True)) | change
    positional = [inputs.pop(name) for name in ("query", "key", "value", "importance")]
    with pytest.raises(ValueError, match=message):
        qama_jax.attention_hamiltonian(*positional, **inputs)


@pytest.mark.parametrize("masked", [False, True])
def test_standardized_to_the_last_digits_about_a_large_mean(masked):
    """Where the mean is rounded to a hundredth of the spread, or worse."""
    values = (60_000 + np.random.default_rng(0).standard_normal((1000, 40))).astype(np.float32)
    mask = np.arange(1000) < 900 if masked else np.ones(1000, bool)
    found = standardize(jnp.asarray(values), jnp.asarray(mask) if masked else None, 0)
    exact = values[mask].astype(np.float64)
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(np.asarray(found)[mask], expected, rtol=2e-6, atol=2e-6)
    assert not np.asarray(found)[~mask].any()
