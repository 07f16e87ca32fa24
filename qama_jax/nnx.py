"""The layer for Flax NNX: the drop-in for `flax.nnx.MultiHeadAttention`."""

from qama_jax.layers.nnx import QAMAAttention

__all__ = ["QAMAAttention"]
