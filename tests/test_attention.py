import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from coins import Coins
from intermediates import equations

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

BATCH, TOKENS, HEADS, HEAD_DIM = 3, 12, 2, 4


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, BATCH, TOKENS, HEADS, HEAD_DIM)).astype(np.float32)
    return *arrays, rng.standard_normal(HEAD_DIM).astype(np.float32)


@pytest.fixture
def mask():
    return np.arange(TOKENS) < np.array([[12], [7], [0]])


def attend(inputs, **settings):
    return qama_jax.qama_attention(*map(jnp.asarray, inputs), **({"rng": jax.random.key(0)} | settings))


@pytest.mark.parametrize("masked", [False, True])
def test_features_equal_the_oracle(inputs, mask, masked):
    features, diagnostics = attend(inputs, mask=jnp.asarray(mask) if masked else None)
    for index in range(BATCH):
        valid = mask[index] if masked else np.ones(TOKENS, bool)
        problem = oracle.build(*(np.float64(a[index]) for a in inputs[:3]), np.float64(inputs[3]), valid)
        s = np.asarray(diagnostics.bits[index])
        assert not s[:, ~valid].any()
        scale = max(valid.sum(), 1)
        expected = oracle.features(problem, s, inputs[3], scale)
        np.testing.assert_allclose(features[index], expected, atol=1e-5)
        np.testing.assert_allclose(diagnostics.energy[index], oracle.energy(problem, s), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(diagnostics.token_energy[index], oracle.token_energy(problem, s), atol=1e-4)


def test_gradient_is_equation_6(inputs):
    """The selection detached, the gradient is that of the energies alone, checked against complex-step derivatives."""
    weights = np.random.default_rng(1).standard_normal((BATCH, TOKENS, HEADS, HEAD_DIM)).astype(np.float32)
    bits = np.asarray(attend(inputs)[1].bits)

    def loss(*inputs):
        return jnp.sum(weights * attend(inputs)[0])

    gradient = jax.grad(loss, argnums=(0, 1, 2, 3))(*map(jnp.asarray, inputs))

    def detached(query, key, value, importance):
        total = 0
        for index in range(BATCH):
            problem = oracle.build(query[index], key[index], value[index], importance)
            total = total + (weights[index] * oracle.features(problem, bits[index], importance, TOKENS)).sum()
        return total

    wide = [np.asarray(a, np.float64) for a in inputs]
    for argument, actual in enumerate(gradient):
        for index in np.random.default_rng(argument).permutation(actual.size)[:20]:
            directions = [np.zeros(a.shape) for a in wide]
            directions[argument].reshape(-1)[index] = 1
            expected = oracle.directional_derivative(detached, wide, directions)
            np.testing.assert_allclose(np.asarray(actual).reshape(-1)[index], expected, rtol=1e-3, atol=2e-5)


CROSS = [(7, 3), (7, 30), (30, 5), (6, 1), (1, 4)]  # the matrix form is for at most 8 of both, as head_dim is 4


@pytest.mark.parametrize("visible", ["all", "some", "none"])
@pytest.mark.parametrize(("tokens", "keys"), CROSS)
def test_cross_attention_equals_the_oracle(tokens, keys, visible):
    """Keys of another number than the queries: energies, and their derivatives along all four arguments."""
    rng = np.random.default_rng([tokens, keys])
    shapes = [(tokens, HEADS, HEAD_DIM), (keys, HEADS, HEAD_DIM), (tokens, HEADS, HEAD_DIM), (HEAD_DIM,)]
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    mask = {"all": None, "some": np.arange(keys) % 3 != 1, "none": np.zeros(keys, bool)}[visible]
    bits = rng.integers(0, 2, (HEADS, tokens)).astype(np.int8)
    weights = rng.standard_normal((HEADS, tokens)).astype(np.float32)
    directions = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    @jax.jit
    def evaluate(inputs):
        def loss(inputs):
            hamiltonian = qama_jax.attention_hamiltonian(*inputs, mask=mask)
            return jnp.sum(weights * hamiltonian.token_energy(bits)) + hamiltonian.energy(bits)

        hamiltonian = qama_jax.attention_hamiltonian(*inputs, mask=mask)
        return hamiltonian.energy(bits), hamiltonian.token_energy(bits), hamiltonian.field(bits), jax.grad(loss)(inputs)

    energy, token_energy, field, gradient = evaluate(inputs)

    def oracle_loss(*inputs):
        problem = oracle.build(*inputs, mask)
        return (weights * oracle.token_energy(problem, bits)).sum() + oracle.energy(problem, bits)

    wide = [np.float64(a) for a in inputs]
    problem = oracle.build(*wide, mask)
    size = 1 + np.abs(oracle.token_energy(problem, bits)).sum() + problem.penalty
    np.testing.assert_allclose(energy, oracle.energy(problem, bits), atol=1e-5 * size)
    np.testing.assert_allclose(token_energy, oracle.token_energy(problem, bits), atol=1e-5 * size)
    np.testing.assert_allclose(field, oracle.field(problem, bits), atol=1e-5 * size)
    expected = oracle.directional_derivative(oracle_loss, wide, directions)
    actual = sum(np.vdot(np.float64(g), v) for g, v in zip(gradient, directions, strict=True))
    assert abs(actual - expected) <= 1e-4 * (abs(expected) + sum(np.linalg.norm(g) for g in gradient)) + 1e-5


def test_features_of_cross_attention(inputs, mask):
    query, key, value, importance = inputs
    key, mask = key[:, :5], mask[:, 5:10]
    features, diagnostics = attend((query, key, value, importance), mask=jnp.asarray(mask))
    for index in range(BATCH):
        arrays = (np.float64(a[index]) for a in (query, key, value))
        problem = oracle.build(*arrays, np.float64(importance), mask[index])
        s = np.asarray(diagnostics.bits[index])
        np.testing.assert_allclose(features[index], oracle.features(problem, s, importance, TOKENS), atol=1e-5)


def test_keys_are_a_set(inputs):
    """A hidden key is one that is not there, and the order of keys is nothing to the queries."""
    query, key, value, importance = inputs
    bits = np.random.default_rng(2).integers(0, 2, (HEADS, TOKENS))

    def energy(key, mask=None):
        return qama_jax.attention_hamiltonian(query[0], key, value[0], importance, mask=mask).token_energy(bits)

    long = np.concatenate([key[0], key[1]])
    shuffled = np.random.default_rng(3).permutation(2 * TOKENS)
    np.testing.assert_allclose(energy(long), energy(long[shuffled]), atol=1e-4)
    np.testing.assert_allclose(energy(long, np.arange(2 * TOKENS) < 9), energy(key[0, :9]), atol=1e-4)


def test_padded_batch_elements_are_zero_and_so_are_their_gradients(inputs, mask):
    @jax.jit
    def evaluate(*inputs):
        features, _ = attend(inputs, mask=jnp.asarray(mask))
        return jnp.sum(features**2), features

    gradient, features = jax.grad(evaluate, argnums=(0, 1, 2), has_aux=True)(*inputs)
    assert not np.any(features[2])
    for g in gradient:
        assert np.isfinite(g).all()
        assert np.any(g[0])
        assert not np.any(g[2])


def test_no_gradient_through_the_selection(inputs):
    """Diagnostics are detached, and so are the bits: the solver contributes exactly 0."""

    def discrete_path(*inputs):
        diagnostics = attend(inputs)[1]
        return (
            jnp.sum(diagnostics.energy)
            + jnp.sum(diagnostics.token_energy)
            + jnp.sum(diagnostics.bits.astype(jnp.float32))
        )

    gradient = jax.grad(discrete_path, argnums=(0, 1, 2, 3))(*map(jnp.asarray, inputs))
    assert all(not np.any(g) for g in gradient)


def test_layer_follows_the_solver(inputs):
    """With the exact solver, the selection has the lowest energy of all states."""
    short = [a[:, :6] for a in inputs[:3]] + [inputs[3]]
    _, diagnostics = attend(short, solver=qama_jax.Exhaustive())
    for index in range(BATCH):
        problem = oracle.build(*(np.float64(a[index]) for a in short[:3]), np.float64(short[3]))
        lowest = min(oracle.energy(problem, s.reshape(HEADS, 6)) for s in oracle.all_states(HEADS * 6))
        np.testing.assert_allclose(diagnostics.energy[index], lowest, rtol=1e-5)


def test_any_number_of_batch_dimensions(inputs):
    flat, _ = attend(inputs, solver=qama_jax.SimulatedBifurcation(max_descent_steps=0))
    query, key, value, importance = inputs
    one, diagnostics = attend((query[0], key[0], value[0], importance))
    assert one.shape == (TOKENS, HEADS, HEAD_DIM)
    assert diagnostics.energy.shape == ()
    nested, diagnostics = attend((query[None], key[None], value[None], importance))
    assert nested.shape == (1, *flat.shape)
    assert diagnostics.bits.shape == (1, BATCH, HEADS, TOKENS)


def test_vmap_agrees_with_the_batch(inputs):
    """A batch through jax.vmap with the batch's own keys gives the same problems and selections."""
    query, key, value, importance = map(jnp.asarray, inputs)
    _, together = attend(inputs)
    keys = jax.random.split(jax.random.key(0), BATCH)
    solve_one = jax.vmap(
        lambda rng, q, k, v: (
            qama_jax.solve(
                rng, qama_jax.attention_hamiltonian(q, k, v, importance), qama_jax.SimulatedBifurcation()
            ).bits
        )
    )
    np.testing.assert_array_equal(solve_one(keys, query, key, value), together.bits)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_inputs(inputs, dtype):
    low = [jnp.asarray(a, dtype) for a in inputs]
    features, diagnostics = attend(low)
    assert features.dtype == dtype
    assert diagnostics.energy.dtype == jnp.float32
    exact, _ = attend([a.astype(jnp.float32) for a in low])
    np.testing.assert_allclose(features.astype(jnp.float32), exact, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.bfloat16, 0.02), (jnp.float16, 0.0025)])
@pytest.mark.parametrize("tokens", [8, 49, 256])
def test_rounding_of_the_inputs_moves_features_little(tokens, dtype, tolerance):
    """Equal selections: the solver decides which, and near ties it decides otherwise after any rounding."""
    rng = np.random.default_rng(tokens)
    arrays = [*rng.standard_normal((3, 4, tokens, 4, 8)).astype(np.float32), rng.standard_normal(8).astype(np.float32)]
    attend_compiled = jax.jit(functools.partial(attend, solver=Coins()))
    exact, _ = attend_compiled(arrays)
    rounded, diagnostics = attend_compiled([jnp.asarray(a, dtype) for a in arrays])
    assert diagnostics.token_energy.dtype == jnp.float32
    error = np.linalg.norm(rounded.astype(jnp.float32) - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < tolerance


def test_features_stay_of_order_one_at_every_length():
    for tokens in (16, 64, 256):
        arrays = np.random.default_rng(0).standard_normal((3, 4, tokens, 8, 8)).astype(np.float32)
        features, _ = attend((*arrays, np.ones(8, np.float32)))
        assert 0.1 < np.sqrt(np.mean(np.square(features))) < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.zeros((4, 3))}, "query must be"),
        ({"key": np.zeros((BATCH, TOKENS, HEADS, 5))}, "key must have the shape of query"),
        ({"key": np.zeros((1, TOKENS, HEADS, HEAD_DIM))}, "key must have the shape of query"),
        ({"value": np.zeros((1, TOKENS, HEADS, HEAD_DIM))}, "value must have the shape of query"),
        ({"value": np.zeros((BATCH, 5, HEADS, HEAD_DIM))}, "a value of its own; keys alone may be more or fewer"),
        ({"importance": np.zeros(9)}, "importance must have shape"),
        ({"mask": np.ones((BATCH, 3), bool)}, r"mask must be boolean of shape \(3, 12\)"),
        ({"mask": np.ones((BATCH, TOKENS), np.float32)}, "mask must be boolean"),
        ({"rng": jax.random.PRNGKey(0)}, "rng must be a typed PRNG key"),
        ({"solver": "annealing"}, "solver must be an instance"),
    ],
)
def test_errors_name_the_argument(inputs, change, message):
    arguments = dict(zip(("query", "key", "value", "importance"), map(jnp.asarray, inputs), strict=True))
    arguments |= {"rng": jax.random.key(0)} | change
    positional = [jnp.asarray(arguments.pop(name)) for name in ("query", "key", "value", "importance")]
    with pytest.raises(ValueError, match=message):
        qama_jax.qama_attention(*positional, **arguments)


@pytest.mark.parametrize("tokens", [7, 40])  # of either form of the couplings
def test_products_keep_problems_apart(tokens):
    """Where a product makes the batch a dimension beside the tokens, XLA copies its operands into that order."""

    def loss(*arrays):
        return jnp.sum(attend(arrays)[0] ** 2)

    array = jnp.ones((BATCH, tokens, HEADS, HEAD_DIM))
    program = jax.make_jaxpr(jax.grad(loss, (0, 1, 2, 3)))(array, array, array, jnp.ones(HEAD_DIM))
    products = [equation for equation in equations(program.jaxpr) if equation.primitive.name == "dot_general"]
    assert len(products) > 20
    for product in products:
        contracted, batch = product.params["dimension_numbers"]
        left, right = (operand.aval.shape for operand in product.invars)
        for shape, other, dimensions in (
            (left, right, (*contracted[0], *batch[0])),
            (right, left, (*contracted[1], *batch[1])),
        ):
            # W_ε is shared by the batch.
            assert BATCH not in shape or shape.index(BATCH) in dimensions or other == (HEAD_DIM,), product
