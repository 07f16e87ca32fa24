"""Parameters of a model with softmax attention for the same model with QAMA, in Flax NNX and in Flax Linen."""

import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

_Path = tuple[str, ...]

# Softmax attention has no W_ε: where a checkpoint lacks it, it stays as it was initialised.
_IMPORTANCE = ("qubo", "importance")

# Linen names a layer that has no name after its class and a number.
_UNNAMED_LAYER = re.compile(r"QAMAAttention_(\d+)")
_LINEN_ATTENTION = ("MultiHeadDotProductAttention", "MultiHeadAttention")


def load_softmax(target: Any, source: Any) -> Any:
    """The parameters of a QAMA model, taken from those of the same model with Flax's attention.

    Every parameter of `target` gets the value that `source` has at the same path; only the importances W_ε
    (`.../qubo/importance`), which softmax attention has not, stay as they are. In Linen, a layer without a name of
    its own, `QAMAAttention_0`, is found as `MultiHeadDotProductAttention_0` or `MultiHeadAttention_0`. Random
    streams in an `nnx.State` stay as they are.

    Args:
      target: the QAMA model: an `nnx.Module` or its `nnx.state`, or Linen's `variables` or `variables["params"]`.
      source: the same of the softmax model, or nested dictionaries of arrays as a checkpoint gives them.

    Returns:
      A tree like `target`, for `nnx.update(model, ...)` or `model.apply(...)`: an `nnx.State` for a module. Values
      have the types of `target`.

    Raises:
      ValueError: if a parameter is missing, left over or of another shape; the message names the paths.

    Example:
      >>> from flax import nnx
      >>> import qama_jax
      >>> softmax = nnx.MultiHeadAttention(num_heads=2, in_features=8, rngs=nnx.Rngs(0))
      >>> qama = qama_jax.QAMAAttention(num_heads=2, in_features=8, rngs=nnx.Rngs(1))
      >>> nnx.update(qama, qama_jax.checkpoint.load_softmax(qama, softmax))
      >>> bool((qama.query.kernel[...] == softmax.query.kernel[...]).all())
      True
    """
    leaves, structure = _flatten(target)
    available = {path: leaf for path, leaf in _flatten(source)[0] if not isinstance(leaf, nnx.RngState)}
    loaded, used, problems = [], set(), []
    for path, fresh in leaves:
        origin = next((name for name in _names_in_softmax(path) if name in available), None)
        value = fresh
        if isinstance(fresh, nnx.RngState):
            pass
        elif origin is None:
            if path[-2:] != _IMPORTANCE:
                problems.append(f"{'/'.join(path)} is missing in source")
        elif jnp.shape(available[origin]) != jnp.shape(fresh):
            problems.append(
                f"{'/'.join(path)} has shape {jnp.shape(fresh)} in target, {jnp.shape(available[origin])} in source"
            )
        else:
            value = jnp.asarray(available[origin], fresh.dtype)
        used.add(origin)
        loaded.append(value)
    problems += [f"{'/'.join(path)} has no place in target" for path in available if path not in used]
    if problems:
        raise ValueError(
            f"target and source must be the same model but for its attention layers: {'; '.join(problems)}"
        )
    return jax.tree.unflatten(structure, loaded)


def _flatten(tree: Any) -> tuple[list[tuple[_Path, Any]], Any]:
    """Leaves with the keys that lead to them; boxes around arrays have no part in the path."""
    if isinstance(tree, nnx.Module):
        tree = nnx.state(tree)
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda leaf: isinstance(leaf, nnx.RngState))
    boxes = jax.tree_util.GetAttrKey
    return [
        (tuple(jax.tree_util.keystr((key,), simple=True) for key in path if not isinstance(key, boxes)), leaf)
        for path, leaf in leaves
    ], structure


def _names_in_softmax(path: _Path) -> list[_Path]:
    return [path, *(tuple(_UNNAMED_LAYER.sub(rf"{layer}_\1", name) for name in path) for layer in _LINEN_ATTENTION)]
