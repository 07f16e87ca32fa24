"""The layer for Flax Linen: the drop-in for `flax.linen.MultiHeadDotProductAttention`."""

from qama_jax.layers.linen import QAMAAttention, SelfAttention

__all__ = ["QAMAAttention", "SelfAttention"]
