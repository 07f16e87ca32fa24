"""Parameters of a model with softmax attention for the same model with QAMA, in Flax NNX and in Flax Linen."""

import collections
import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

_Path = tuple[str, ...]

# Softmax attention has neither W_ε nor weights of branches: what a checkpoint lacks stays as it was initialised.
_IMPORTANCE, _MIX = ("qubo", "importance"), "mix"

# Linen names a layer that has no name after its class, and a number.
_UNNAMED_LAYER = re.compile(r".+(_\d+)")


def load_softmax(target: Any, source: Any) -> Any:
    """The parameters of a QAMA model, taken from those of the same model with Flax's attention.

    Every parameter of `target` gets the value that `source` has at the same path; only the importances W_ε
    (`.../qubo/importance`) and the weights of `MixedReadout` (`.../mix`), which softmax attention lacks, stay as they
    are. Linen names a layer without a name of its own after its class and a number, `QAMAAttention_0`: whatever the
    classes, it is found as the layer of its number and its parameters, if that is the only one beside. Random streams
    in an `nnx.State` stay as they are.

    Args:
      target: the QAMA model: an `nnx.Module` or its `nnx.state`, or Linen's `variables` or `variables["params"]`.
      source: the same for the softmax model, or nested dictionaries of arrays as a checkpoint gives them.

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
    attention = {path[:-2] for path, _ in leaves if path[-2:] == _IMPORTANCE}
    mixes = {(*layer, _MIX) for layer in attention}
    layers, unclear = _find_layers([path for path, _ in leaves if path not in mixes], list(available))
    loaded, used, problems = [], set(), []
    for path, fresh in leaves:
        origin = (*layers.get(path[:-2], path[:-2]), *path[-2:])
        value = fresh
        if isinstance(fresh, nnx.RngState):
            pass
        elif origin not in available:
            if path[-2:] != _IMPORTANCE and path not in mixes:
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
    problems += [
        f"{'/'.join(layer)} is not clearly one of {', '.join('/'.join(other) for other in others)} in source: give "
        "layers the same names in both models, or rename these keys of source"
        for layer, others in unclear.items()
    ]
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


def _find_layers(target: list[_Path], source: list[_Path]) -> tuple[dict[_Path, _Path], dict[_Path, list[_Path]]]:
    """Where source has layers of target under other names, and the layers for which that is unclear."""
    of_target, of_source = _by_layer(target), _by_layer(source)
    found: dict[_Path, list[_Path]] = {}
    for layer, parameters in of_target.items():
        unnamed = _UNNAMED_LAYER.fullmatch(layer[-1])
        if unnamed and _IMPORTANCE in parameters and layer not in of_source:
            found[layer] = [
                other
                for other, theirs in of_source.items()
                if other[:-1] == layer[:-1] and other[-1].endswith(unnamed[1])
                if other not in of_target and theirs | {_IMPORTANCE} == parameters
            ]
    claims = collections.Counter(other for others in found.values() for other in others)
    clear = {layer: others[0] for layer, others in found.items() if len(others) == 1 and claims[others[0]] == 1}
    return clear, {layer: others for layer, others in found.items() if others and layer not in clear}


def _by_layer(paths: list[_Path]) -> dict[_Path, set[_Path]]:
    """The parameters of all that may be attention layers: modules of modules that have parameters."""
    parameters: dict[_Path, set[_Path]] = {}
    for path in paths:
        if len(path) > 2:
            parameters.setdefault(path[:-2], set()).add(path[-2:])
    return parameters
