"""One problem's function for a whole batch, sharded or not."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float


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


def constant_like(array: Float[Array, "..."], value: float) -> Float[Array, "..."]:
    """An array of `value`, with the shape, the type and the batch of `array`, which must be free of NaN.

    A plain constant has no batch under `jax.vmap`: in a product with arrays that have one, their batch becomes a free
    dimension beside others, and XLA copies the arrays into that order.
    """
    return jnp.clip(array, value, value)
