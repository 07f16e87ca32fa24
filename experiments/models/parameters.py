"""The size of a model."""

import jax
from flax import nnx


def count_parameters(model: nnx.Module) -> int:
    """Number of trainable numbers, of a model or of its abstract shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
