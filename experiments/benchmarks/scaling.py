"""Time and memory of attention mechanisms over the length."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.layer import gradients, inputs
from experiments.timing import exponent, interleave, summary

# Beyond this a machine of 16 GB begins to swap; such programs are compiled for their memory, not run.
_MOST_BYTES = 3e9


def scaling(
    mechanisms: Mapping[int, Mapping[str, Callable[..., jax.Array]]], head_dim: int, repeats: int
) -> dict[str, Any]:
    """Forward and backward of one head, and the exponents between the ends.

    Args:
      mechanisms: of each length, functions of query, key and value; those of a length run in turn.
      head_dim: of the head.
      repeats: rounds of the timing.
    """
    arms: dict[str, Any] = {}
    for tokens, attention in mechanisms.items():
        arrays = inputs(1, tokens, 1, head_dim)
        programs = {name: gradients.lower(function, *arrays).compile() for name, function in attention.items()}
        memory = {name: temporary_bytes(program) for name, program in programs.items()}
        runnable = {name: program for name, program in programs.items() if memory[name] < _MOST_BYTES}
        seconds = interleave({name: functools.partial(p, *arrays) for name, p in runnable.items()}, repeats)
        for name in programs:
            row = arms.setdefault(name, {"seconds": {}, "temporary_bytes": {}})
            row["temporary_bytes"][str(tokens)] = memory[name]
            if name in seconds:
                row["seconds"][str(tokens)] = summary(seconds[name])
        print(f"N = {tokens}: " + ", ".join(f"{name} {np.median(s) * 1e3:.0f} ms" for name, s in seconds.items()))
    for row in arms.values():
        row["exponent"] = exponent({tokens: times["median_s"] for tokens, times in row["seconds"].items()})
        row["memory_exponent"] = exponent(row["temporary_bytes"])
    return {"heads": 1, "head_dim": head_dim, "lengths": list(mechanisms), "arms": arms}


def temporary_bytes(program: jax.stages.Compiled) -> int:
    """Peak of the temporary memory of a compiled program."""
    return program.memory_analysis().temp_size_in_bytes
