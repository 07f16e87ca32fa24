"""One problem's function for a whole batch, sharded or not."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec


def over_batch(function: Callable[..., Any], batch: tuple[int, ...], *shared: Any) -> Callable[..., Any]:
    """`function` of arguments and with results whose leaves carry the dimensions `batch` before their own.

    Arrays on a mesh with explicit axes have their sharding in their types, and every operation must say what it makes
    of it. Inside, the axes are automatic, so that the compiler does; results are sharded over the batch as the
    arguments are.

    Args:
      function: what is computed for one element of the batch.
      batch: the batch dimensions.
      *shared: last arguments of `function`, the same for the whole batch. Arrays on such a mesh must be among them,
        rather than be closed over.
    """

    def apply(*arguments: Any) -> Any:
        whole = function
        for _ in batch:
            whole = jax.vmap(whole, (0,) * len(arguments) + (None,) * len(shared))
        mesh = _first(sharding.mesh for sharding in _shardings(arguments, shared) if sharding.mesh.explicit_axes)
        if mesh is not None:
            over = (_first(sharding.spec[d] for sharding in _shardings(arguments)) for d in range(len(batch)))
            whole = jax.sharding.auto_axes(whole, out_sharding=NamedSharding(mesh, PartitionSpec(*over)))
        return whole(*arguments, *shared)

    return apply


def _shardings(*arguments: Any) -> list[NamedSharding]:
    return [jax.typeof(leaf).sharding for leaf in jax.tree.leaves(arguments)]


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
