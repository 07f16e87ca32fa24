"""The layers under the transformations of Flax and JAX: each gives what the plain call gives."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from coins import Coins
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from test_solvers import PROBLEMS, SOLVERS

import qama_jax

BATCH, TOKENS, FEATURES, DEPTH = 3, 10, 8, 3

MESH = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))

# Far from converged, so that other random numbers give other selections.
SOLVER = qama_jax.SimulatedBifurcation(num_steps=8, max_descent_steps=0)


READOUTS = (
    qama_jax.EnergyReadout(),
    qama_jax.LinearReadout(),
    qama_jax.SelectedKeysReadout(3),
    qama_jax.WindowReadout(2, 2),
)


def make(rngs=None):
    rngs = nnx.Rngs(0) if rngs is None else rngs
    return qama_jax.QAMAAttention(num_heads=2, in_features=FEATURES, solver=SOLVER, decode=False, rngs=rngs)


def loss_of(layer, inputs):
    return jnp.sum(jnp.sin(layer(inputs)))


# Compiled once for all tests; `TestNnx.test_jit` compares with the call as it stands.
call = nnx.jit(lambda layer, inputs: layer(inputs))
gradient = nnx.jit(nnx.grad(loss_of))


def assert_close(actual, expected):
    actual, expected = (jax.tree.leaves(tree) for tree in (actual, expected))
    for mine, theirs in zip(actual, expected, strict=True):
        if not jnp.issubdtype(theirs.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (BATCH, TOKENS, FEATURES))


class TestNnx:
    def test_the_key_matters(self, inputs):
        """Without this, the equalities below would say little."""
        layer = make()
        first = call(layer, inputs)
        assert np.abs(call(layer, inputs) - first).max() > 1e-3

    def test_jit(self, inputs):
        """Outputs, and the stream's count after two calls."""
        plain, compiled = make(), make()
        for _ in range(2):
            assert_close(call(compiled, inputs), plain(inputs))
        assert_close(nnx.state(compiled), nnx.state(plain))

    def test_grad(self, inputs):
        """The gradient of NNX is that of JAX over the parameters."""
        graph, parameters, rest = nnx.split(make(), nnx.Param, ...)

        @jax.jit
        @jax.grad
        def expected(parameters):
            return loss_of(nnx.merge(graph, parameters, rest, copy=True), inputs)

        assert_close(gradient(make(), inputs), expected(parameters))

    def test_vmap_with_a_key_for_each_example(self, inputs):
        layer, rngs = make(), nnx.Rngs(anneal=3)
        keys = jax.random.split(nnx.Rngs(anneal=3).anneal(), BATCH)
        one = nnx.jit(lambda layer, x, rngs: layer(x, rngs=rngs))
        apart = [one(layer, x, nnx.Rngs(anneal=key)) for x, key in zip(inputs, keys, strict=True)]
        together = nnx.jit(nnx.vmap(lambda layer, x, rngs: layer(x, rngs=rngs), in_axes=(None, 0, 0)))
        assert_close(together(layer, inputs, rngs.split(BATCH)), jnp.stack(apart))

    def test_vmap_over_an_ensemble(self, inputs):
        together = nnx.jit(nnx.vmap(lambda layer, inputs: layer(inputs), in_axes=(0, None)))(stack_of_layers(), inputs)
        assert_close(together, jnp.stack([call(layer, inputs) for layer in unstack(stack_of_layers())]))

    def test_scan_over_layers(self, inputs):
        @nnx.jit
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def scanned(layer, x):
            return x + layer(x)

        x, layers = inputs, unstack(stack_of_layers())
        for layer in layers:
            x = x + call(layer, x)
        stack = stack_of_layers()
        assert_close(scanned(stack, inputs), x)
        for mine, theirs in zip(unstack(stack), layers, strict=True):
            assert_close(nnx.state(mine), nnx.state(theirs))

    def test_remat(self, inputs):
        """The recomputation anneals with the key of the forward pass, and the stream advances once."""
        plain, recomputed = make(), make()
        remat = nnx.remat(lambda layer, inputs: layer(inputs))
        through_remat = nnx.jit(nnx.grad(lambda layer, inputs: jnp.sum(jnp.sin(remat(layer, inputs)))))
        for _ in range(2):
            assert_close(through_remat(recomputed, inputs), gradient(plain, inputs))
        assert_close(nnx.state(recomputed), nnx.state(plain))

    def test_remat_inside_scan(self, inputs):
        """The gradient of a deep stack, the way it is trained where memory is short."""

        def gradient(transform):
            @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
            @transform
            def body(layer, x):
                return x + layer(x)

            return nnx.jit(nnx.grad(lambda stack, x: jnp.sum(body(stack, x) ** 2)))(stack_of_layers(), inputs)

        assert_close(gradient(nnx.remat), gradient(lambda function: function))


class TestJax:
    """The functional core, and layers split into functions of their state."""

    @pytest.fixture
    def arrays(self):
        query, key, value = jax.random.normal(jax.random.key(1), (3, BATCH, TOKENS, 2, 4))
        return query, key, value, jnp.linspace(0.5, 1.5, 4)

    @staticmethod
    @jax.jit
    def attend(rng, *arrays):
        return qama_jax.qama_attention(*arrays, rng=rng, solver=SOLVER)[0]

    def test_checkpoint(self, arrays):
        def gradient(attend):
            loss = jax.jit(jax.value_and_grad(lambda *arrays: jnp.sum(attend(*arrays) ** 2), argnums=(1, 2, 3, 4)))
            return loss(jax.random.key(2), *arrays)

        assert_close(gradient(jax.checkpoint(self.attend)), gradient(self.attend))

    def test_vmap(self, arrays):
        keys = jax.random.split(jax.random.key(2), BATCH)
        together = jax.jit(jax.vmap(self.attend, in_axes=(0, 0, 0, 0, None)))(keys, *arrays)
        apart = [self.attend(key, *(a[i] for a in arrays[:3]), arrays[3]) for i, key in enumerate(keys)]
        assert_close(together, jnp.stack(apart))

    @pytest.mark.parametrize(("constraints", "tokens"), [(["n >= 192"], 200), (["n <= 8"], 7)])
    def test_export_with_a_symbolic_number_of_tokens(self, constraints, tokens):
        def attend(query):
            return self.attend(jax.random.key(2), query, query, query, jnp.ones(4))

        shape = jax.export.symbolic_shape("b, n, 2, 4", constraints=constraints)
        exported = jax.export.export(jax.jit(attend))(jax.ShapeDtypeStruct(shape, jnp.float32))
        query = jax.random.normal(jax.random.key(1), (1, tokens, 2, 4))
        assert_close(exported.call(query), attend(query))

    @pytest.mark.parametrize(
        ("readout", "solver", "same"),
        [
            (qama_jax.EnergyReadout(), qama_jax.SimulatedBifurcation(), qama_jax.SimulatedBifurcation(num_steps=60)),
            (qama_jax.SelectedKeysReadout(3), Coins(), Coins()),
            (qama_jax.WindowReadout(2, 3), Coins(), Coins()),
        ],
    )
    def test_export_of_one_program_for_all_lengths(self, readout, solver, same):
        """As each length is computed where it is known, also where there are fewer tokens than keys to select."""

        def attend(solver, query):
            settings = {"rng": jax.random.key(2), "readout": readout, "solver": solver}
            return qama_jax.qama_attention(query, query, query, jnp.linspace(0.5, 1.5, 4), **settings)[0]

        shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, 2, 4"), jnp.float32)
        exported = jax.export.export(jax.jit(functools.partial(attend, solver)))(shape)
        for tokens in (2, 30):
            query = jax.random.normal(jax.random.key(tokens), (tokens, 2, 4))
            assert_close(exported.call(query), jax.jit(functools.partial(attend, same))(query))

    def test_vmap_of_a_deterministic_layer(self, inputs):
        graph, state = nnx.split(make())
        apply = jax.jit(lambda x: nnx.merge(graph, state)(x, deterministic=True))
        assert_close(jax.vmap(apply)(inputs), jnp.stack([apply(x) for x in inputs]))

    def test_shard_map(self, arrays):
        """Gradients and values, with all checks of `shard_map`; more devices in `test_sharding`."""
        split, whole = PartitionSpec("data"), PartitionSpec()
        sharded = jax.shard_map(self.attend, mesh=MESH, in_specs=(whole, split, split, split, whole), out_specs=split)

        def gradient(attend):
            loss = jax.value_and_grad(lambda *arrays: jnp.sum(attend(*arrays) ** 2), argnums=(1, 2, 3, 4))
            return jax.jit(loss)(jax.random.key(2), *arrays)

        assert_close(gradient(sharded), gradient(self.attend))


@pytest.mark.parametrize(
    ("split", "make_problem"), [("keys", PROBLEMS["qubo"]), ("problems", PROBLEMS["attention low-rank masked"])]
)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
@pytest.mark.usefixtures("strict")
def test_every_solver_inside_shard_map(solver, make_problem, split):
    """Loops keep what varies over the devices, which `shard_map` checks when it traces."""
    over_devices, whole = PartitionSpec("data"), PartitionSpec()
    in_specs = (over_devices, whole) if split == "keys" else (whole, over_devices)

    def solve(keys, problems):
        problem = jax.tree.map(lambda leaf: leaf[0], problems)
        return jax.tree.map(lambda leaf: leaf[None], qama_jax.solve(keys[0], problem, solver).bits)

    problems = jax.tree.map(lambda leaf: leaf[None], make_problem(0))
    sharded = jax.shard_map(solve, mesh=MESH, in_specs=in_specs, out_specs=over_devices)
    assert jax.eval_shape(sharded, jax.random.split(jax.random.key(0), 1), problems).dtype == jnp.int8


EXPLICIT = jax.sharding.AbstractMesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)


def on_explicit_mesh(*shape, dtype=jnp.float32, axes=("data",)):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(EXPLICIT, PartitionSpec(*axes)))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_every_solver_on_a_mesh_with_explicit_axes(solver):
    """Where each operation must know how its result is sharded; traced, as what is computed is that of `solve`."""

    def solve(key, matrix):
        return qama_jax.solve(key, qama_jax.Qubo(matrix), solver)

    keys = on_explicit_mesh(4, dtype=jax.random.key(0).dtype)
    solutions = jax.eval_shape(jax.vmap(solve), keys, on_explicit_mesh(4, 6, 6))
    assert solutions.bits.sharding.spec == PartitionSpec("data", None)


@pytest.mark.parametrize("axes", [("data",), (("data", "model"),)])
@pytest.mark.parametrize("readout", READOUTS)
def test_every_readout_on_a_mesh_with_explicit_axes(readout, axes):
    """Forward and backward, with masks and keys that are on no mesh; random keys as well."""

    def gradient(query, key, importance):
        def loss(*arrays):
            settings = {"solver": SOLVER, "readout": readout, "mask": jnp.ones((4, 24), bool)}
            features, _ = qama_jax.qama_attention(*arrays, rng=jax.random.key(0), **settings)
            return jnp.sum(features), features

        return jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(query, key, key, importance)

    arguments = on_explicit_mesh(4, 24, 2, 4, axes=axes), jax.ShapeDtypeStruct((4, 24, 2, 4), jnp.float32)
    gradients, features = jax.eval_shape(gradient, *arguments, on_explicit_mesh(4, axes=()))
    assert features.sharding.spec == gradients[0].sharding.spec == PartitionSpec(*axes, None, None, None)
    assert gradients[3].sharding.spec == PartitionSpec(None)


class Residual(nn.Module):
    """A block for `nn.scan`."""

    make: Callable[[], nn.Module]

    @nn.compact
    def __call__(self, x, _):
        return x + self.make()(x), None


class TestLinen:
    @pytest.fixture
    def make(self):
        linen = pytest.importorskip("qama_jax.linen")
        return functools.partial(linen.QAMAAttention, num_heads=2, solver=Coins())

    @staticmethod
    def rngs(seed=3):
        return {"anneal": jax.random.key(seed)}

    @pytest.fixture
    def variables(self, make, inputs):
        return jax.jit(make().init)({"params": jax.random.key(0), **self.rngs()}, inputs)

    def gradient(self, module, variables, *inputs):
        @jax.jit
        @jax.value_and_grad
        def gradient(variables):
            outputs = jax.tree.leaves(module.apply(variables, *inputs, rngs=self.rngs()))
            return sum(jnp.sum(jnp.sin(output)) for output in outputs)

        return gradient(variables)

    def test_jit_and_vmap(self, make, variables, inputs):
        plain = make().apply(variables, inputs, rngs=self.rngs())
        assert np.abs(make().apply(variables, inputs, rngs=self.rngs(4)) - plain).max() > 1e-3
        apply = jax.jit(lambda x, key: make().apply(variables, x, rngs={"anneal": key}))
        assert_close(apply(inputs, jax.random.key(3)), plain)
        keys = jax.random.split(jax.random.key(3), BATCH)
        apart = [apply(x, key) for x, key in zip(inputs, keys, strict=True)]
        assert_close(jax.vmap(apply)(inputs, keys), jnp.stack(apart))

    def test_remat(self, make, variables, inputs):
        recomputed = nn.remat(make.func)(**make.keywords)
        assert_close(self.gradient(recomputed, variables, inputs), self.gradient(make(), variables, inputs))

    def test_scan_over_layers(self, make, inputs):
        def stack(block=Residual, **settings):
            scanned = nn.scan(
                block, variable_axes={"params": 0}, split_rngs={"params": True, "anneal": True}, length=DEPTH
            )
            return scanned(functools.partial(make, **settings))

        variables = jax.jit(stack().init)({"params": jax.random.key(0), **self.rngs()}, inputs, None)
        x = inputs
        for index in range(DEPTH):
            layer = jax.tree.map(lambda leaf, index=index: leaf[index], variables)
            x, _ = jax.jit(Residual(functools.partial(make, deterministic=True)).apply)(layer, x, None)
        assert_close(jax.jit(stack(deterministic=True).apply)(variables, inputs, None)[0], x)
        assert_close(
            self.gradient(stack(nn.remat(Residual)), variables, inputs, None),
            self.gradient(stack(), variables, inputs, None),
        )

    def test_layers_of_a_scan_draw_their_own_keys(self, make, variables, inputs):
        """Equal layers of equal inputs anneal differently."""

        class Repeated(nn.Module):
            @nn.compact
            def __call__(self, x, _):
                return x, make(name="attention")(x)

        scanned = nn.scan(
            Repeated, variable_broadcast="params", split_rngs={"params": False, "anneal": True}, length=DEPTH
        )()
        variables = {"params": {"attention": variables["params"]}}
        _, outputs = jax.jit(scanned.apply)(variables, inputs, None, rngs=self.rngs())
        assert np.abs(outputs[1:] - outputs[:-1]).max(axis=(1, 2, 3)).min() > 1e-3


def stack_of_layers():
    return nnx.vmap(make)(nnx.Rngs(0).split(DEPTH))


def unstack(stack):
    graph, state = nnx.split(stack)
    return [nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state)) for i in range(DEPTH)]
