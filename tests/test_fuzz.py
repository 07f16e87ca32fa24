"""Two thousand calls of layer and solvers on inputs of every kind: no NaN, and the energies of float64."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from test_solvers import SOLVERS

import qama_jax
from qama_jax import EnergyReadout, LinearReadout, SelectedKeysReadout, WindowReadout
from qama_jax.attention import build_hamiltonians
from qama_jax.batching import over_batch

pytestmark = pytest.mark.slow

HEADS = 3
SOLVER = qama_jax.SimulatedBifurcation(num_steps=8, max_descent_steps=8)
MESH = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))

# Read-out, tokens, keys, head_dim, type, on a mesh, largest exponent of ten of the inputs. Softmax attention too
# overflows where products of queries and keys do.
ATTENTION = {
    "one token": (EnergyReadout(), 1, 1, 4, jnp.float32, False, 18),
    "three tokens": (EnergyReadout(), 3, 3, 8, jnp.float32, False, 18),
    "dense": (EnergyReadout(), 9, 9, 8, jnp.float32, False, 18),
    "low-rank": (EnergyReadout(), 30, 30, 4, jnp.float32, False, 18),
    "cross": (EnergyReadout(), 7, 20, 4, jnp.float32, False, 18),
    "bfloat16": (EnergyReadout(), 9, 9, 8, jnp.bfloat16, False, 18),
    "float16": (EnergyReadout(), 20, 20, 4, jnp.float16, False, 3),
    "mesh": (EnergyReadout(), 9, 9, 4, jnp.float32, True, 18),
    "linear": (LinearReadout(), 5, 11, 4, jnp.float32, False, 8),
    "selected keys": (SelectedKeysReadout(3), 5, 11, 4, jnp.float32, False, 8),
    "window": (WindowReadout(2, 2), 20, 20, 4, jnp.float32, False, 8),
}
CALLS = 110

KINDS = ["normal", "few", "repeated", "constant features", "equal", "heavy", "offset", "signs", "one-hot"]


def tokens_of_every_kind(rng, tokens, heads, head_dim):
    """[tokens, heads, head_dim], and the name of the kind."""
    x = rng.standard_normal((tokens, heads, head_dim))
    kind = rng.choice(KINDS)
    if kind == "few":
        x = x[rng.integers(0, min(tokens, rng.integers(2, 4)), tokens)]
    elif kind == "repeated":
        x = x[rng.integers(0, tokens, tokens)]
    elif kind == "constant features":
        x[:, rng.random((heads, head_dim)) < 0.5] = 1.0
    elif kind == "equal":
        x[:] = x[:1]
    elif kind == "heavy":
        x = rng.standard_t(1.5, x.shape)
    elif kind == "offset":
        x = 1e3 + rng.choice([1e-4, 1e-2, 1.0]) * x
    elif kind == "signs":
        x = np.sign(x)
    elif kind == "one-hot":
        x = np.eye(head_dim)[rng.integers(0, head_dim, (tokens, heads))]
    return x, kind


def random_mask(rng, *shape):
    return rng.random(shape) < rng.choice([0.0, 0.3, 0.7, 1.0, 1.0])


def all_finite(tree):
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree))


def energy_in_float64(couplings, linear, penalty, bits):
    """Equation (3), and the sum of its terms without their signs."""
    couplings, linear, s = (np.asarray(a, np.float64) for a in (couplings, linear, bits))
    terms = [-np.einsum("hij,hi,hj->hij", couplings, s, s) / 2, -linear * s]
    overlap = float(penalty) * (s.sum(0) * (s.sum(0) - 1)).sum() / 2
    return sum(term.sum() for term in terms) + overlap, sum(np.abs(term).sum() for term in terms) + overlap


def rounding(rows, columns, row_mask, column_mask):
    """How much rounding grows in couplings of features that nearly cancel: 1 for most inputs."""
    growth = 1.0
    for head in range(HEADS):
        q, k = (oracle.normalize(x[m, head]) for x, m in ((rows, row_mask), (columns, column_mask)) if m.any())
        share = ((q @ k.T) ** 2).sum() / max((q**2).sum() * (k**2).sum(), 1e-30)
        if share > 1e-5:  # below, they count as none
            growth = max(growth, 1e-2 / share)
    return growth


@pytest.mark.parametrize(
    ("readout", "tokens", "keys", "head_dim", "dtype", "on_mesh", "exponent"), ATTENTION.values(), ids=ATTENTION
)
def test_attention(readout, tokens, keys, head_dim, dtype, on_mesh, exponent):
    values = tokens if readout.select == "queries" else keys

    @jax.jit
    def evaluate(arrays, mask, rng):
        def loss(arrays):
            features, diagnostics = qama_jax.qama_attention(*arrays, rng=rng, mask=mask, solver=SOLVER, readout=readout)
            return jnp.sum(jnp.sin(features.astype(jnp.float32))), (features, diagnostics)

        gradient, outputs = jax.grad(loss, has_aux=True)(arrays)
        problem = build_hamiltonians(*arrays, mask=mask, select=readout.select)
        couplings = over_batch(lambda problem: problem.coupling.to_matrix(), (1,))(problem)
        return gradient, *outputs, (couplings, problem.linear, problem.penalty)

    for seed in range(CALLS):
        rng = np.random.default_rng([seed, tokens, keys])
        sizes = (tokens, keys, values)
        drawn = [tokens_of_every_kind(rng, size, HEADS, head_dim) for size in sizes]
        if tokens == keys and rng.random() < 0.5:  # projections of the same tokens
            mixing = rng.standard_normal((3, head_dim, head_dim))
            drawn = [(drawn[0][0] @ matrix, drawn[0][1]) for matrix in mixing]
        scales = 10.0 ** rng.uniform(-exponent, exponent, 3)
        limit = float(jnp.finfo(dtype).max) / 4
        arrays = [np.clip((x * scale)[None], -limit, limit) for (x, _), scale in zip(drawn, scales, strict=True)]
        arrays = [jnp.asarray(a, dtype) for a in arrays]
        arrays.append(jnp.asarray(rng.standard_normal(head_dim), dtype))
        mask = jnp.asarray(random_mask(rng, 1, keys))
        if on_mesh:
            arrays[:3] = [jax.device_put(a, NamedSharding(MESH, PartitionSpec("data"))) for a in arrays[:3]]
            arrays[3] = jax.device_put(arrays[3], NamedSharding(MESH, PartitionSpec()))
        with jax.debug_nans(True):
            gradient, features, diagnostics, terms = evaluate(arrays, mask, jax.random.key(seed))
        where = f"seed {seed}, {[kind for _, kind in drawn]}, scales {scales}"
        assert all_finite((features, diagnostics)), where
        # Of tiny inputs derivatives are large, and may leave the range of a short type.
        assert dtype != jnp.float32 or all_finite(gradient), where
        energy, size = energy_in_float64(*(np.asarray(term)[0] for term in terms), diagnostics.bits[0])
        exact_arrays = [np.asarray(a, np.float64) for a in arrays]
        roles = [a[0] for a in exact_arrays[:3]]
        if readout.select == "keys":
            roles[:2] = roles[1::-1]
        visible = np.asarray(mask)[0]
        everything = np.ones(tokens, bool)
        masks = (visible, visible) if tokens == keys else (everything, visible)
        growth = rounding(*roles[:2], *(masks if readout.select == "queries" else masks[::-1])) if visible.any() else 1
        assert abs(diagnostics.energy[0] - energy) <= 1e-5 * growth * size + 1e-6, where
        if all(kind == "normal" for _, kind in drawn) and mask.all() and tokens > 3:
            exact = oracle.build(*(a / np.abs(a).max() for a in roles), exact_arrays[3])
            assert abs(energy - oracle.energy(exact, np.asarray(diagnostics.bits[0]))) <= 1e-5 * growth * size, where


@pytest.mark.parametrize("readout", [EnergyReadout(), WindowReadout(2, 2)])
def test_layer(readout):
    """With dropout, padding, and gradients of the parameters."""
    made = qama_jax.QAMAAttention(
        HEADS, 12, solver=SOLVER, readout=readout, dropout_rate=0.3, decode=False, rngs=nnx.Rngs(0)
    )

    @nnx.jit
    def evaluate(layer, x, mask):
        def loss(layer):
            outputs = layer(x, mask=mask)
            return jnp.sum(jnp.sin(outputs)), outputs

        return nnx.grad(loss, has_aux=True)(layer)

    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, kind = tokens_of_every_kind(rng, 8, 1, 12)
        x, mask = jnp.asarray(x[None, :, 0] * 10.0 ** rng.uniform(-6, 6), jnp.float32), random_mask(rng, 1, 1, 1, 8)
        with jax.debug_nans(True):
            assert all_finite(evaluate(made, x, jnp.asarray(mask))), f"seed {seed}, {kind}"


def random_qubo(rng, size):
    matrix = rng.standard_normal((size, size)) * 10.0 ** rng.uniform(-6, 6)
    kind = rng.choice(["normal", "sparse", "integers", "repeated", "zero", "diagonal", "heavy"])
    if kind == "sparse":
        matrix *= rng.random(matrix.shape) < 0.2
    elif kind == "integers":
        matrix = rng.integers(-5, 6, matrix.shape)
    elif kind == "repeated":
        order = rng.integers(0, size, size)
        matrix = matrix[order][:, order]
    elif kind == "zero":
        matrix = np.zeros_like(matrix)
    elif kind == "diagonal":
        matrix = np.diag(np.diag(matrix))
    elif kind == "heavy":
        matrix = matrix * rng.standard_t(1.5, matrix.shape)
    return matrix.astype(np.float32), kind


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_solvers(solver):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        matrix, kind = random_qubo(rng, rng.choice([1, 9]))
        offset = np.float32([0, 1, -1e9, 1e15][seed % 4])
        with jax.debug_nans(True):
            solution = qama_jax.solve(jax.random.key(seed), qama_jax.Qubo(jnp.asarray(matrix), offset), solver)
        bits, exact = np.asarray(solution.reads, np.float64), np.float64(matrix)
        energies = np.einsum("ri,ij,rj->r", bits, exact, bits)
        sizes = np.einsum("ri,ij,rj->r", bits, np.abs(exact), bits)
        error = np.abs(np.float64(solution.read_energies) - (energies + np.float64(offset)))
        assert (error <= 1e-5 * sizes + 1e-7 * np.abs(offset)).all(), f"seed {seed}, {kind}"
        assert solution.energy == np.min(solution.read_energies)
        # The constant hides no better read.
        best = np.flatnonzero((bits == np.float64(solution.bits)).all(axis=1))[0]
        assert energies[best] <= energies.min() + 2e-5 * sizes.max(), f"seed {seed}, {kind}"
