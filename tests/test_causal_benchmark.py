"""The benchmark of causal attention: what it decodes, and its tables."""

import functools

import numpy as np
from flax import nnx

from experiments.benchmarks import causal
from qama_jax import QAMAAttention


def test_decoders_go_on_at_the_end_of_the_sequence():
    """Of the length that is asked for: with an empty cache behind them, the values are those of what they see."""
    softmax = causal._decoder(nnx.MultiHeadAttention, 8, 2)()
    memory = causal._decoder(functools.partial(QAMAAttention, readout=causal.READOUTS["memory"]), 8, 2)()
    assert softmax.shape == memory.shape == (2, 1, 1, causal.HEADS * causal.HEAD_DIM)
    assert np.isfinite(memory).all()
    # Softmax gives its share to the six keys of zeros, and the memory knows that none came.
    assert np.linalg.norm(softmax) < np.linalg.norm(memory)


def test_tables(monkeypatch):
    time, of_token = {"median_s": 0.002}, {"median_s": 3e-5}
    arm = {"seconds": dict.fromkeys(map(str, causal.LENGTHS), time), "exponent": 1.05, "memory_exponent": 1.0}
    tokens = dict.fromkeys(map(str, causal.DECODED_LENGTHS), of_token)
    result = {
        "against_softmax": [{"tokens": 1024, "arms": {"softmax": time, "memory": time | {"ratio": 0.25}}}],
        "scaling": {"arms": {"memory": arm}},
        "decoding": {"arms": {"softmax": tokens, "memory": tokens}},
    }
    monkeypatch.setattr(causal, "load", lambda name: result)
    assert causal.cost_table().rows == [("1,024", "2.0", "0.25")]
    softmax, memory = causal.scaling_table().rows
    assert memory == ("memory", "2", "2", "2", "1.05", "1.00", "30", "30", "30")
    assert softmax == ("softmax", "", "", "", "", "", "30", "30", "30")
    assert len(causal.scaling_table().header) == len(memory)
