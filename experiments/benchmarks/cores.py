"""Attention cores, forward and backward: time against softmax attention, time and memory over the length."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.timing import compare, exponent, interleave, summary
from qama_jax import Readout, qama_attention
from qama_jax.layers.arguments import layer_solver
from qama_jax.readouts import is_mixing

# A function of query, key and value.
Core = Callable[..., jax.Array]

SOLVER = layer_solver(None, deterministic=False)
# Beyond this a machine of 16 GB begins to swap; such programs are compiled for their memory, not run.
_MOST_BYTES = 3e9


@functools.partial(jax.jit, static_argnums=0)
def gradients(attention, query, key, value):
    """Forward and backward pass: gradients of a sum of features with respect to query, key and value."""

    def loss(query, key, value):
        return jnp.sum(attention(query, key, value) ** 2)

    return jax.grad(loss, (0, 1, 2))(query, key, value)


def qama(readout: Readout, query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """QAMA as layers train it."""
    importance, mix = jnp.ones(query.shape[-1]), jnp.ones(query.shape[-2]) if is_mixing(readout) else None
    call = {"rng": jax.random.key(0), "solver": SOLVER, "readout": readout, "mix": mix}
    return qama_attention(query, key, value, importance, **call)[0]


def inputs(batch: int, tokens: int, heads: int, head_dim: int) -> jax.Array:
    """Standard normal query, key and value."""
    return jax.random.normal(jax.random.key(tokens), (3, batch, tokens, heads, head_dim))


def against_softmax(
    cores: Mapping[str, Core], batches: Mapping[int, int], head_dim: int, repeats: int
) -> list[dict[str, Any]]:
    """All in one process, in turn.

    Args:
      cores: by their names, of which "softmax" is one.
      batches: for each number of tokens, with 8 heads.
      head_dim: of the heads.
      repeats: rounds; of 4096 tokens and more, three.
    """
    rows = []
    for tokens, batch in batches.items():
        arrays = inputs(batch, tokens, 8, head_dim)
        calls = {name: functools.partial(gradients, core, *arrays) for name, core in cores.items()}
        size = {"tokens": tokens, "batch": batch, "heads": 8, "head_dim": head_dim}
        rows.append(size | {"arms": compare(calls, repeats if tokens < 4096 else 3)})
    return rows


def compiled(cores: Mapping[str, Core], arrays: jax.Array) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Of each core, the peak of its program's temporary memory; and of those that fit, a call."""
    programs = {name: gradients.lower(core, *arrays).compile() for name, core in cores.items()}
    memory = {name: program.memory_analysis().temp_size_in_bytes for name, program in programs.items()}
    fitting = {name: program for name, program in programs.items() if memory[name] < _MOST_BYTES}
    return memory, {name: functools.partial(program, *arrays) for name, program in fitting.items()}


def scaling(cores: Mapping[int, Mapping[str, Core]], head_dim: int, repeats: int) -> dict[str, Any]:
    """Time and memory of one head over the length, those of a length in turn, and the exponents between the ends.

    Args:
      cores: of each length, by their names.
      head_dim: of the head.
      repeats: rounds.
    """
    arms: dict[str, Any] = {}
    for tokens, of_length in cores.items():
        memory, calls = compiled(of_length, inputs(1, tokens, 1, head_dim))
        seconds = interleave(calls, repeats)
        for name in of_length:
            row = arms.setdefault(name, {"seconds": {}, "temporary_bytes": {}})
            row["temporary_bytes"][str(tokens)] = memory[name]
            if name in seconds:
                row["seconds"][str(tokens)] = summary(seconds[name])
    for row in arms.values():
        row["exponent"] = exponent({tokens: times["median_s"] for tokens, times in row["seconds"].items()})
        row["memory_exponent"] = exponent(row["temporary_bytes"])
    return {"heads": 1, "head_dim": head_dim, "lengths": list(cores), "arms": arms}
