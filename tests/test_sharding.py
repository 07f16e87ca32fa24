"""Attention and annealing over eight devices, in a process of their own: what they compute, and what they send."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import qama_jax

DEVICES = 8
FLAG = f"--xla_force_host_platform_device_count={DEVICES}"

# A sequence over the devices: its read-out and length.
TOKENS = {
    "512 tokens, energies": (qama_jax.EnergyReadout(), 512),
    "1024 tokens, energies": (qama_jax.EnergyReadout(), 1024),
    "1024 tokens, linear": (qama_jax.LinearReadout(), 1024),
}

_COLLECTIVES = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast"


def collectives(compiled):
    """Name and number of elements of everything that devices send each other, from the compiled program."""
    found = []
    for line in compiled.as_text().splitlines():
        if match := re.search(rf"= (.*?) ({_COLLECTIVES})(?:-start)?\(", line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", match[1])
            found.append((match[2], sum(prod(int(n) for n in shape.split(",") if n) for shape in shapes)))
    return sorted(set(found))


def attention(query, key, value, importance, readout=qama_jax.EnergyReadout()):
    """Features, bits and gradients."""

    def loss(*arrays):
        features, diagnostics = qama_jax.qama_attention(*arrays, rng=jax.random.key(0), readout=readout)
        return jnp.sum(jnp.sin(features)), (features, diagnostics.bits)

    (_, outputs), gradients = jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(
        query, key, value, importance
    )
    return outputs, gradients


def attention_inputs(batch, tokens, heads, head_dim):
    return *jax.random.normal(jax.random.key(0), (3, batch, tokens, heads, head_dim)), jnp.ones(head_dim)


def layer_case():
    """The NNX layer and the gradient of its parameters."""
    layer = qama_jax.QAMAAttention(num_heads=4, in_features=16, deterministic=True, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def apply(params, inputs):
        def loss(params):
            outputs = nnx.merge(graph, params, rest, copy=True)(inputs)
            return jnp.sum(jnp.sin(outputs)), outputs

        gradients, outputs = jax.grad(loss, has_aux=True)(params)
        return outputs, gradients

    return apply, (params, jax.random.normal(jax.random.key(1), (16, 12, 16)))


def hamiltonian():
    query, key, value = jax.random.normal(jax.random.key(2), (3, 40, 2, 4))
    return qama_jax.attention_hamiltonian(query, key, value, jnp.ones(4))


def reads(key, problem):
    """Many reads by one call, and the best of them."""
    solution = qama_jax.solve(key, problem, qama_jax.SimulatedBifurcation(num_reads=16, initial_amplitude=1.0))
    return solution.reads, solution.read_energies, solution.bits, solution.energy


def reads_by_keys(mesh):
    """The same with a key for each read. The amplitude is given, as its default depends on the number of reads."""
    one_read = jax.vmap(partial(qama_jax.solve, solver=qama_jax.SimulatedBifurcation(initial_amplitude=1.0)), (0, None))
    each, whole = PartitionSpec("x"), PartitionSpec()
    all_reads = jax.shard_map(one_read, mesh=mesh, in_specs=(each, whole), out_specs=each)

    def solve(key, problem):
        solutions = all_reads(jax.random.split(key, 16), problem)
        return solutions.bits, solutions.energy

    return solve


def cases(mesh):
    """Name, function of one device, the same for many, arguments and how they are spread."""
    first, heads, whole = (PartitionSpec("x"), PartitionSpec(None, None, "x"), PartitionSpec())
    batch = jax.jit(attention), jax.jit(attention)
    yield "batch, dense", *batch, attention_inputs(16, 8, 2, 4), (first, first, first, whole)
    yield "batch, low-rank", *batch, attention_inputs(16, 24, 2, 4), (first, first, first, whole)
    tokens = PartitionSpec(None, "x")
    for name, (readout, length) in TOKENS.items():
        sequence = (jax.jit(partial(attention, readout=readout)),) * 2
        yield name, *sequence, attention_inputs(1, length, 2, 8), (tokens, tokens, tokens, whole)
    yield "heads", *batch, attention_inputs(2, 24, 8, 4), (heads, heads, heads, whole)
    apply, arguments = layer_case()
    yield "batch, layer", jax.jit(apply), jax.jit(apply), arguments, (whole, first)
    arguments = jax.random.key(3), hamiltonian()
    each = NamedSharding(mesh, first)
    yield "reads", jax.jit(reads), jax.jit(reads, out_shardings=(each, each, None, None)), arguments, (whole, whole)
    solve = partial(qama_jax.solve, solver=qama_jax.SimulatedAnnealing(num_sweeps=5))
    problems = jax.vmap(qama_jax.Qubo)(jax.random.normal(jax.random.key(4), (16, 12, 12)))
    each_problem = jax.jit(jax.vmap(lambda key, problem: solve(key, problem)[:2]))
    yield "problems", each_problem, each_problem, (jax.random.split(jax.random.key(5), 16), problems), (first, first)
    two = jax.jit(lambda key, problem: reads(key, problem)[:2])
    yield "reads by keys", two, jax.jit(reads_by_keys(mesh)), arguments, (whole, whole)


def sharded_kernels():
    """How far a layer with grouped keys, whose kernels say on which mesh axis heads are, is from that of one device.

    On a mesh as `jax.make_mesh` gives it; the projection to the output needs to be told how its result is sharded, as
    Flax's does.
    """
    metadata = {
        "kernel_metadata": {"out_sharding": PartitionSpec(None, "heads")},
        "bias_metadata": {"out_sharding": PartitionSpec("heads")},
        "out_kernel_metadata": {"out_sharding": PartitionSpec("heads")},
        "out_bias_metadata": {"out_sharding": PartitionSpec()},
    }
    inputs = jax.random.normal(jax.random.key(1), (16, 12, 16))

    def outputs(metadata, inputs, spread):
        settings = {"num_kv_heads": 2, "readout": qama_jax.WindowReadout(2, 2), "deterministic": True, "decode": False}
        layer = qama_jax.QAMAAttention(num_heads=4, in_features=16, rngs=nnx.Rngs(0), **settings, **metadata)

        def loss(layer, inputs):
            outputs = layer(inputs, mask=np.ones((16, 1, 12, 12)), out_sharding=spread)
            return jnp.sum(jnp.sin(outputs)), outputs

        gradients, outputs = nnx.jit(nnx.grad(loss, has_aux=True))(layer, inputs)
        return outputs, nnx.to_pure_dict(gradients)

    alone, batch = outputs({}, inputs, None), PartitionSpec("batch")
    with jax.set_mesh(jax.make_mesh((DEVICES // 2, 2), ("batch", "heads"))):
        spread = outputs(metadata, jax.device_put(inputs, batch), batch)
    assert jax.typeof(spread[1]["key"]["kernel"]).sharding.spec == PartitionSpec(None, "heads", None)
    return difference(spread, alone)


def difference(actual, expected):
    """The largest, relative to the largest number in each array; 1e-3 of that of all where an array is but noise."""
    actual, expected = ([np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)] for tree in (actual, expected))
    largest = max(np.abs(leaf).max() for leaf in expected)
    return max(
        np.abs(mine - theirs).max() / max(np.abs(theirs).max(), 1e-3 * largest)
        for mine, theirs in zip(actual, expected, strict=True)
    )


def main():
    """Prints a line of JSON for every case."""
    alone = {}
    for kind, mesh in (
        ("", Mesh(np.array(jax.devices()), ("x",))),
        ("explicit: ", jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Explicit,))),
    ):
        for name, one, many, arguments, specs in cases(mesh):
            if kind + name not in SENT:
                continue
            if name not in alone:
                alone[name] = one(*arguments)
            placed = [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip(arguments, specs, strict=True)]
            compiled = many.lower(*placed).compile()
            outputs = compiled(*placed)
            row = {
                "difference": difference(outputs, alone[name]),
                "collectives": collectives(compiled),
                "spread": not jax.tree.leaves(outputs)[0].sharding.is_fully_replicated,
            }
            print(json.dumps([kind + name, row]))
    print(json.dumps(["sharded kernels", sharded_kernels()]))


@pytest.fixture(scope="module")
def measured():
    """What `main` prints, run where there are eight devices."""
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAG}", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run((sys.executable, __file__), env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return dict(map(json.loads, run.stdout.splitlines()))


# By name, what devices send each other at most, in numbers.
SENT = {
    # The gradient of the importance, [4] in two parts; a step of the descent asks whether any device goes on.
    "batch, dense": {"all-reduce": 8},
    "batch, low-rank": {"all-reduce": 8},
    # The gradients of all parameters.
    "batch, layer": {"all-reduce": 4 * (16 * 16 + 16) + 4 + 4},
    # How many heads select each token, [2, 24], once a step of the dynamics. The descent ranks the heads: it passes on
    # the field of each, and then all of them, as compared in two ways.
    "heads": {"all-reduce": 2 * 8 * 2 * 24, "collective-permute": 2 * 24},
    # The lowest energies of all devices; then one read, [2, 40].
    "reads": {"all-gather": 16, "all-reduce": 2 * 40},
    "reads by keys": {},
    "problems": {},
}
# Sums over the tokens, D×D numbers a head at most and some of them in one message, whatever the length; where the
# descent looks for the best move, that of each device.
SENT |= {name: {"all-reduce": 2 * 2 * 8 * 8, "all-gather": DEVICES} for name in TOKENS}
# On a mesh with explicit axes; what else works there is traced in `test_transforms`.
SENT |= {f"explicit: {name}": SENT[name] for name in ("batch, layer", "problems")}


@pytest.mark.parametrize("name", SENT)
def test_same_result_without_needless_communication(measured, name):
    case = measured[name]
    # Sums over many tokens, in another order.
    assert case["difference"] <= (2e-5 if name in TOKENS else 2e-6)
    assert case["spread"]
    for operation, size in case["collectives"]:
        assert size <= SENT[name].get(operation, 0)


def test_kernels_that_say_how_they_are_sharded(measured):
    assert measured["sharded kernels"] <= 1e-5


if __name__ == "__main__":
    main()
