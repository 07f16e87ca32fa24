"""Cost of QAMA in a whole model: forward and backward of SimpleViT-S against the same with softmax attention.

    python -m experiments.benchmarks.drop_in

The arms take turns in one process, A B A B. Variants of the solver say what of the difference is annealing. On a GPU
softmax also runs through cuDNN's flash attention, its inputs in bfloat16.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.cores import SOLVER
from experiments.benchmarks.harness import make_parser, write_parts
from experiments.benchmarks.layer import flash_attention
from experiments.models.block import AttentionFactory
from experiments.models.parameters import count_parameters
from experiments.models.simple_vit import SimpleViT
from experiments.result_files import load
from experiments.tables import Table
from experiments.timing import compare, interleave
from qama_jax import QAMAAttention, SimulatedBifurcation
from qama_jax.attention import anneal, build_hamiltonians, distribute_energies

VIT_S = {
    "image_shape": (224, 224, 3),
    "patch_size": 16,
    "num_classes": 1000,
    "width": 384,
    "depth": 6,
    "num_heads": 6,
    "mlp_dim": 1536,
}

_ONE_STEP = SimulatedBifurcation(num_steps=1, max_descent_steps=0)
_NO_DESCENT = dataclasses.replace(SOLVER, max_descent_steps=0)


def arms() -> dict[str, AttentionFactory]:
    """The attention layers that are compared, and what divides QAMA's time."""
    compared = {
        "softmax": nnx.MultiHeadAttention,
        "qama": QAMAAttention,
        "none": None,
        "qama, 1 step": functools.partial(QAMAAttention, solver=_ONE_STEP),
        "qama, no descent": functools.partial(QAMAAttention, solver=_NO_DESCENT),
    }
    if jax.default_backend() == "gpu":
        compared["flash"] = functools.partial(nnx.MultiHeadAttention, attention_fn=flash_attention)
    return compared


def training_step(attention: AttentionFactory, batch: int) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Compiled loss and gradient of one model at fixed images, and what there is to say of it."""
    model = SimpleViT(**VIT_S, attention=attention, rngs=nnx.Rngs(params=0))
    graph, params = nnx.split(model)
    image_key, label_key = jax.random.split(jax.random.key(0))
    images = jax.random.normal(image_key, (batch, *VIT_S["image_shape"]))
    labels = jax.random.randint(label_key, (batch,), 0, VIT_S["num_classes"])

    @jax.jit
    @jax.value_and_grad
    def loss(params, images, labels, key):
        logits = nnx.merge(graph, params)(images, deterministic=False, rngs=nnx.Rngs(key))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    arguments = params, images, labels, jax.random.key(1)
    start = time.perf_counter()
    compiled = loss.lower(*arguments).compile()
    about = {"compile_s": time.perf_counter() - start, "parameters": count_parameters(model)}
    return functools.partial(compiled, *arguments), about


def models(batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of a forward and backward pass of every arm, and the ratio of each to softmax."""
    steps = {name: training_step(attention, batch) for name, attention in arms().items()}
    times = compare({name: step for name, (step, _) in steps.items()}, repeats)
    return {name: about | times[name] for name, (_, about) in steps.items()}


def cores(batch: int, repeats: int) -> dict[str, float]:
    """Median seconds of one attention core at the shape of the model, without projections."""
    heads, tokens = VIT_S["num_heads"], (VIT_S["image_shape"][0] // VIT_S["patch_size"]) ** 2
    head_dim = VIT_S["width"] // heads
    query, key, value = jax.random.normal(jax.random.key(0), (3, batch, tokens, heads, head_dim))
    importance = jnp.ones(head_dim)
    hamiltonians = build_hamiltonians(query, key, value, importance)
    bits = anneal(jax.random.key(0), hamiltonians, SOLVER).bits

    def qama_energies(query, key, value):
        """Everything but the annealing, with a fixed selection."""
        return distribute_energies(build_hamiltonians(query, key, value, importance), bits, importance)

    def backward(attention):
        return jax.jit(jax.grad(lambda *arrays: jnp.sum(attention(*arrays) ** 2), (0, 1, 2)))

    functions = {
        "softmax forward": jax.jit(jax.nn.dot_product_attention),
        "softmax forward and backward": backward(jax.nn.dot_product_attention),
        "qama but annealing, forward": jax.jit(qama_energies),
        "qama but annealing, forward and backward": backward(qama_energies),
    }
    calls = {name: functools.partial(function, query, key, value) for name, function in functions.items()}
    calls["annealing"] = functools.partial(anneal, jax.random.key(0), hamiltonians, SOLVER)
    return {name: statistics.median(values) for name, values in interleave(calls, repeats).items()}


def table() -> Table:
    """Forward and backward time of SimpleViT-S with each attention layer."""
    arms = load("benchmark_drop_in")["models"].items()
    rows = (f"{name} | {arm['median_s'] * 1e3:.0f} | {arm['ratio']:.2f}" for name, arm in arms)
    return Table.of("attention | forward + backward, ms | ratio", rows)


TABLES = {"drop_in": table}


def main() -> None:
    """Runs the benchmark."""
    options = make_parser(__doc__, "benchmark_drop_in.json", batch=4, repeats=9).parse_args()
    about = {"solver": repr(SOLVER), "model": VIT_S, "batch": options.batch}
    parts = {"models": models, "core_seconds": cores}
    calls = {name: functools.partial(part, options.batch, options.repeats) for name, part in parts.items()}
    write_parts(options.result, about, calls)


if __name__ == "__main__":
    main()
