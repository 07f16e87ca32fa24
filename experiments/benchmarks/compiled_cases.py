"""What is compiled for accelerators: attention cores, layers, solvers, and the same over four devices."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.pallas.ops.tpu import flash_attention as pallas
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

import qama_jax
from experiments.benchmarks.targets import Target
from qama_jax.attention import anneal, build_hamiltonians
from qama_jax.layers.arguments import layer_solver
from qama_jax.readouts import is_mixing

BATCH, HEADS, HEAD_DIM = 8, 8, 64
LENGTHS = (1024, 4096)
# Of the problems that solvers are compiled for.
SOLVED = 256
READOUTS = {
    "energy": qama_jax.EnergyReadout(),
    "window": qama_jax.WindowReadout(),
    "window alone": qama_jax.WindowReadout(num_keys=0),
    "keys": qama_jax.SelectedKeysReadout(),
    "linear": qama_jax.LinearReadout(),
    "mixed": qama_jax.MixedReadout(),
    "memory": qama_jax.MemoryReadout(),
}
SOLVERS = (
    qama_jax.SimulatedBifurcation(),
    qama_jax.MeanFieldAnnealing(),
    qama_jax.BlockGibbs(),
    qama_jax.CoherentIsingMachine(),
    qama_jax.SimulatedAnnealing(num_sweeps=100),
    qama_jax.SimulatedAnnealing(num_sweeps=100, update="block"),
    qama_jax.ParallelTempering(num_sweeps=100),
    qama_jax.ParallelTempering(num_sweeps=100, update="block"),
    qama_jax.PathIntegralAnnealing(num_sweeps=100),
    qama_jax.PathIntegralAnnealing(num_sweeps=100, update="block"),
)
SPARSE_SOLVERS = (
    qama_jax.SimulatedBifurcation(num_reads=16),
    qama_jax.SimulatedAnnealing(num_sweeps=100, num_reads=16),
)
_PASSES = ("evaluation", "training")
_FLASH_BLOCK = 512
# Of 4 devices in a row, what each has a part of.
_SHARDED = {
    "batch": PartitionSpec("devices"),
    "tokens": PartitionSpec(None, "devices"),
    "heads": PartitionSpec(None, None, "devices"),
}
_WHOLE = PartitionSpec()


class Case(NamedTuple):
    """A program.

    Attributes:
      header: what it is; no other has an equal one.
      function: the program.
      arguments: their shapes and types, trees.
      specs: how each of them lies over the devices; None where one device has all.
    """

    header: dict[str, Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    specs: tuple[PartitionSpec, ...] | None = None


def cases(target: Target) -> Iterator[Case]:
    """Every program of a target."""
    for tokens in LENGTHS:
        yield from _cores(target, tokens, jnp.float32)
    yield from _cores(target, LENGTHS[0], jnp.bfloat16)
    yield from _layers()
    yield from _sharded()
    yield from _solvers()
    yield from _sparse(target)


def _cores(target: Target, tokens: int, dtype: DTypeLike) -> Iterator[Case]:
    size = {"tokens": tokens, "dtype": jnp.dtype(dtype).name}
    for kind in _PASSES:
        for name, core in _attention(target, kind, dtype).items():
            function = core if kind == "evaluation" else _gradients(core)
            yield Case({"part": "core", "name": name, "pass": kind, **size}, function, _core_arguments(tokens, dtype))


def _attention(target: Target, kind: str, dtype: DTypeLike) -> dict[str, Callable[..., Any]]:
    """Functions of a seed, W_ε, weights of mixing, query, key and value."""
    cores: dict[str, Callable[..., Any]] = {"softmax": functools.partial(_softmax, implementation="xla")}
    if target.is_tpu:
        cores["flash (Pallas)"] = _flash
    elif dtype == jnp.bfloat16:
        cores["flash (cuDNN)"] = functools.partial(_softmax, implementation="cudnn")
    return cores | {name: functools.partial(_qama, readout, kind) for name, readout in READOUTS.items()}


def _softmax(seed, importance, mix, query, key, value, *, implementation):
    del seed, importance, mix
    return jax.nn.dot_product_attention(query, key, value, implementation=implementation)


def _flash(seed, importance, mix, query, key, value):
    del seed, importance, mix
    block = min(_FLASH_BLOCK, query.shape[1])
    names = pallas.BlockSizes.__dataclass_fields__
    sizes = pallas.BlockSizes(**{name: 1 if name == "block_b" else block for name in names})
    heads_first = (jnp.swapaxes(array, 1, 2) for array in (query, key, value))
    scale = query.shape[-1] ** -0.5
    return jnp.swapaxes(pallas.flash_attention(*heads_first, sm_scale=scale, block_sizes=sizes), 1, 2)


def _qama(readout, kind, seed, importance, mix, query, key, value):
    solver = layer_solver(None, deterministic=kind == "evaluation")
    call = {"rng": jax.random.key(seed), "solver": solver, "readout": readout}
    return qama_jax.qama_attention(query, key, value, importance, **call, mix=mix if is_mixing(readout) else None)[0]


def _gradients(core: Callable[..., Any]) -> Callable[..., Any]:
    """Forward and backward pass: the gradients of a sum of squared features with respect to all but the seed."""

    def loss(arrays, seed):
        return jnp.sum(core(seed, *arrays).astype(jnp.float32) ** 2)

    return lambda seed, *arrays: jax.grad(loss)(arrays, seed)


def _core_arguments(tokens: int, dtype: DTypeLike) -> tuple[Any, ...]:
    shape = jax.ShapeDtypeStruct((BATCH, tokens, HEADS, HEAD_DIM), dtype)
    learned = (jax.ShapeDtypeStruct((size,), jnp.float32) for size in (HEAD_DIM, HEADS))
    return jax.ShapeDtypeStruct((), jnp.int32), *learned, shape, shape, shape


def _layers() -> Iterator[Case]:
    features = HEADS * HEAD_DIM
    for dtype in (jnp.float32, jnp.bfloat16):
        settings = {"num_heads": HEADS, "in_features": features, "decode": False, "dtype": dtype}
        layers = {
            "softmax": nnx.MultiHeadAttention(**settings, rngs=nnx.Rngs(0)),
            "energy": qama_jax.QAMAAttention(**settings, rngs=nnx.Rngs(0)),
            "window": qama_jax.QAMAAttention(**settings, readout=READOUTS["window"], rngs=nnx.Rngs(0)),
        }
        inputs = jax.ShapeDtypeStruct((BATCH, LENGTHS[0], features), dtype)
        for name, layer in layers.items():
            for kind in _PASSES:
                size = {"tokens": LENGTHS[0], "dtype": jnp.dtype(dtype).name}
                call, *states = _layer_call(layer, kind == "evaluation")
                yield Case({"part": "layer", "name": name, "pass": kind, **size}, call, (*states, inputs))


def _layer_call(layer: nnx.Module, deterministic: bool) -> tuple[Any, ...]:
    """A function of the layer's parameters, its other state, and inputs; and these two."""
    graph, parameters, others = nnx.split(layer, nnx.Param, ...)

    def apply(parameters, others, inputs):
        # A stream of this trace: that of the layer belongs to the one in which its state was made.
        return nnx.merge(graph, parameters, others)(inputs, deterministic=deterministic, rngs=nnx.Rngs(0))

    def gradients(parameters, others, inputs):
        def loss(parameters, inputs):
            return jnp.sum(apply(parameters, others, inputs).astype(jnp.float32) ** 2)

        return jax.grad(loss, (0, 1))(parameters, inputs)

    shapes = (jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), s) for s in (parameters, others))
    return apply if deterministic else gradients, *shapes


def _sharded() -> Iterator[Case]:
    size = {"tokens": LENGTHS[-1], "dtype": "float32"}
    for name, spec in _SHARDED.items():
        for kind in _PASSES:
            core = functools.partial(_qama, READOUTS["energy"], kind)
            function = core if kind == "evaluation" else _gradients(core)
            header = {"part": "sharded", "name": name, "pass": kind, **size}
            yield Case(header, function, _core_arguments(LENGTHS[-1], jnp.float32), (*[_WHOLE] * 3, *[spec] * 3))


def _solvers() -> Iterator[Case]:
    arrays = [jax.ShapeDtypeStruct((BATCH, SOLVED, HEADS, HEAD_DIM), jnp.float32)] * 3
    importance = jax.ShapeDtypeStruct((HEAD_DIM,), jnp.float32)
    problems = jax.eval_shape(build_hamiltonians, *arrays, importance)
    for solver in SOLVERS:
        header = {"part": "solver", "name": repr(solver), "tokens": SOLVED}
        yield Case(header, functools.partial(_anneal, solver), (jax.ShapeDtypeStruct((), jnp.int32), problems))


def _anneal(solver, seed, problems):
    return anneal(jax.random.key(seed), problems, solver)


def _sparse(target: Target) -> Iterator[Case]:
    # Sweeps are planned for the default device, which is not the one that they are compiled for.
    with mock.patch("jax.default_backend", return_value="tpu" if target.is_tpu else "gpu"):
        problem = _random_graph(2000, 20000)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), problem)
    for solver in SPARSE_SOLVERS:
        header = {"part": "sparse", "name": repr(solver), "bits": 2000, "edges": 20000}
        yield Case(header, functools.partial(_solve, solver), (jax.ShapeDtypeStruct((), jnp.int32), shapes))


def _solve(solver, seed, problem):
    return qama_jax.solve(jax.random.key(seed), problem, solver)


def _random_graph(nodes: int, edges: int) -> qama_jax.Ising:
    pairs = np.random.default_rng(0).choice(nodes * (nodes - 1) // 2, edges, replace=False)
    rows, columns = (triangle[pairs] for triangle in np.triu_indices(nodes, 1))
    return qama_jax.Ising.from_edges(rows, columns, -np.ones(edges))
