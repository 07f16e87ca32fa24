"""Equation (6) against finite differences of the exact pipeline: the ground state by enumeration, in float64.

The gradient detaches the selection. It is that of the exact output where the ground state stays the same, and knows
nothing of the jump where it changes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

# tokens, heads, head_dim, valid tokens: at most 12 bits, couplings as matrices and by their factors.
SHAPES = {"dense": (4, 3, 4, 4), "low-rank masked": (6, 2, 2, 5)}

each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


class Pipeline:
    """A weighted sum of the features as a function of (query, key, value, importance)."""

    def __init__(self, shape, seed):
        tokens, heads, head_dim, length = shape
        self.mask = np.arange(tokens) < length
        self.shape = heads, tokens
        rng = np.random.default_rng(seed)
        self.weights = rng.standard_normal((tokens, heads, head_dim))
        self.parameters, self.direction = (
            (*rng.standard_normal((3, tokens, heads, head_dim)), rng.standard_normal(head_dim)) for _ in range(2)
        )

    def moved(self, distance):
        """The parameters after a move along the direction."""
        return tuple(a + distance * v for a, v in zip(self.parameters, self.direction, strict=True))

    def exact(self, parameters):
        """Output and ground state, by the oracle."""
        problem = oracle.build(*parameters, self.mask)
        bits = ground_state(problem, self.shape) * self.mask
        return self.output(parameters, bits), bits

    def output(self, parameters, bits):
        """Output with a given selection."""
        problem = oracle.build(*parameters, self.mask)
        return (self.weights * oracle.features(problem, bits, parameters[3], self.mask.sum())).sum()

    def layer(self, parameters):
        """Output, gradient and ground state, by the layer."""
        return attend(tuple(jnp.asarray(a, jnp.float32) for a in parameters), self.weights, self.mask)

    def slope(self, gradient):
        """The derivative along the direction."""
        return sum((np.float64(g) * v).sum() for g, v in zip(gradient, self.direction, strict=True))


@jax.jit
def attend(parameters, weights, mask):
    def loss(parameters):
        features, diagnostics = qama_jax.qama_attention(
            *parameters, rng=jax.random.key(0), mask=mask, solver=qama_jax.Exhaustive()
        )
        return jnp.sum(weights.astype(jnp.float32) * features), diagnostics

    (value, diagnostics), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
    return value, gradient, diagnostics.bits


def energies(problem, states):
    """`oracle.energy` of many states [states, H, N] at once."""
    count = states.sum(1)
    token = np.einsum("kti,tij,ktj->k", states, problem.couplings, states) / 2
    return (
        -token
        - problem.rho * np.einsum("kti,ti->k", states, problem.importances)
        + problem.penalty * (count * (count - 1) / 2).sum(1)
    )


def ground_state(problem, shape):
    states = oracle.all_states(shape[0] * shape[1]).reshape(-1, *shape).astype(float)
    return states[np.argmin(energies(problem, states))]


def lowest_energy(pipeline, distance):
    problem = oracle.build(*pipeline.moved(distance), pipeline.mask)
    return oracle.energy(problem, ground_state(problem, pipeline.shape) * pipeline.mask)


def first_jump(pipeline, reach=1.0):
    """Where along the direction the ground state first changes between grid points, to 1e-9."""
    grid = np.linspace(0, reach, 41)
    states = [pipeline.exact(pipeline.moved(distance))[1] for distance in grid]
    change = next(i for i in range(1, grid.size) if not np.array_equal(states[i], states[i - 1]))
    below, above = grid[change - 1], grid[change]
    while above - below > 1e-9:
        middle = (below + above) / 2
        if np.array_equal(pipeline.exact(pipeline.moved(middle))[1], states[change - 1]):
            below = middle
        else:
            above = middle
    return below, above


@each_shape
@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_exact_output(shape, seed):
    """Central differences, every parameter."""
    pipeline = Pipeline(shape, seed)
    value, gradient, bits = pipeline.layer(pipeline.parameters)
    expected, ground = pipeline.exact(pipeline.parameters)
    np.testing.assert_array_equal(bits, ground)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    step = 1e-5
    for argument, actual in enumerate(gradient):
        for index in np.random.default_rng(seed).permutation(actual.size)[:8]:
            sides = []
            for sign in (1, -1):
                parameters = [a.copy() for a in pipeline.parameters]
                parameters[argument].reshape(-1)[index] += sign * step
                output, state = pipeline.exact(parameters)
                np.testing.assert_array_equal(state, ground)
                sides.append(output)
            difference = (sides[0] - sides[1]) / (2 * step)
            np.testing.assert_allclose(np.asarray(actual).reshape(-1)[index], difference, rtol=1e-3, atol=1e-4)


@each_shape
def test_gradient_is_blind_to_a_change_of_the_ground_state(shape):
    """Both sides of a jump have their own slope; the difference across it is another one, without bound."""
    pipeline = Pipeline(shape, seed=0)
    below, above = first_jump(pipeline)
    (left, left_bits), (right, right_bits) = (pipeline.exact(pipeline.moved(distance)) for distance in (below, above))
    assert np.any(left_bits != right_bits)
    jump = right - left
    assert abs(jump) > 1e-2
    # The lowest energy itself is continuous: the two states cross.
    np.testing.assert_allclose(lowest_energy(pipeline, below), lowest_energy(pipeline, above), atol=1e-6)

    # Float32 tells the two states apart at this distance from the crossing.
    distance, step = 1e-3, 1e-6
    slopes = []
    for start, sign, bits in ((below, -1, left_bits), (above, 1, right_bits)):
        parameters = pipeline.moved(start + sign * distance)
        value, gradient, selected = pipeline.layer(parameters)
        np.testing.assert_array_equal(selected, bits)
        near, far = (pipeline.exact(pipeline.moved(start + sign * (distance + d))) for d in (-step, step))
        one_sided = sign * (far[0] - near[0]) / (2 * step)
        slopes.append(pipeline.slope(gradient))
        np.testing.assert_allclose(slopes[-1], one_sided, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(value, pipeline.exact(parameters)[0], rtol=1e-4, atol=1e-5)

    for half in (1e-4, 1e-6):
        across = (pipeline.exact(pipeline.moved(above + half))[0] - pipeline.exact(pipeline.moved(below - half))[0]) / (
            2 * half
        )
        np.testing.assert_allclose(across * 2 * half, jump, rtol=0.05)
        assert all(abs(across - slope) > 0.9 * abs(jump) / (2 * half) for slope in slopes)
