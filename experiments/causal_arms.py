"""The causal attention layers that are compared, and the controls."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from flax import nnx

from experiments.models.block import AttentionFactory
from experiments.models.controls import FixedSelection, RandomSelection, SinkMemory, UncoupledMemory
from qama_jax import MemoryReadout, MixedMemoryReadout, QAMAAttention, SteepestDescent


class MemorySizes(NamedTuple):
    """How much a decoder keeps.

    Attributes:
      chunk_size: tokens of a problem.
      radius: tokens before its own that a window has.
      num_keys: keys of a chunk and head that are remembered.
      memory_size: remembered keys of a head that are seen.
    """

    chunk_size: int = 32
    radius: int = 32
    num_keys: int = 4
    memory_size: int = 16


def _softmax(sizes: MemorySizes) -> AttentionFactory:
    del sizes
    return functools.partial(nnx.MultiHeadAttention, keep_rngs=False)


def _qama(sizes: MemorySizes, readout: type[MemoryReadout], **settings) -> AttentionFactory:
    return functools.partial(QAMAAttention, readout=readout(*sizes), keep_rngs=False, **settings)


def _fixed(sizes: MemorySizes, *, forgets: bool) -> AttentionFactory:
    readout = SinkMemory(*sizes, forgets=forgets)
    return functools.partial(QAMAAttention, readout=readout, solver=FixedSelection(), keep_rngs=False)


def _most_recent(sizes: MemorySizes) -> AttentionFactory:
    """The most recent keys before a window are a longer window."""
    return _fixed(sizes._replace(radius=sizes.radius + sizes.memory_size), forgets=True)


class CausalArm(NamedTuple):
    """An attention layer.

    Attributes:
      label: what tables call it.
      make: the layers that it has with these sizes.
    """

    label: str
    make: Callable[[MemorySizes], AttentionFactory]


CAUSAL_ARMS = {
    "softmax": CausalArm("softmax", _softmax),
    "qama": CausalArm(
        "QAMA, window and memory in a learned mixture", functools.partial(_qama, readout=MixedMemoryReadout)
    ),
    "qama-descent": CausalArm(
        "control: the mixture with keys of steepest descent",
        functools.partial(_qama, readout=MixedMemoryReadout, solver=SteepestDescent()),
    ),
    "qama-importance": CausalArm(
        "control: the mixture with keys of largest importance",
        functools.partial(_qama, readout=UncoupledMemory, solver=FixedSelection()),
    ),
    "qama-random": CausalArm(
        "control: the mixture with random keys",
        functools.partial(_qama, readout=UncoupledMemory, solver=RandomSelection()),
    ),
    "qama-joined": CausalArm("QAMA, window and memory in one softmax", functools.partial(_qama, readout=MemoryReadout)),
    "recent": CausalArm("control: window and the most recent keys before it", _most_recent),
    "sinks": CausalArm("control: window and the first tokens", functools.partial(_fixed, forgets=False)),
    "window": CausalArm("control: window alone", functools.partial(_fixed, forgets=True)),
}
