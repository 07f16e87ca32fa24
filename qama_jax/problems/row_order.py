"""An array moved in memory, as an operation of its own."""

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, Shaped

_in_row_order = Primitive("in_row_order")


def in_row_order(x: Shaped[Array, "rows columns"]) -> Shaped[Array, "rows columns"]:
    """The same array, each row of which lies in one piece.

    XLA lets a transposed array lie as it is and reads it in another order, a cache line a number. Programs of
    `jax.export` go without, as their format has no such constraint: they compute the same, and take longer.
    """
    return _in_row_order.bind(x)


def _moved(x: Array) -> Array:
    return with_layout_constraint(jax.lax.optimization_barrier(x), Layout(major_to_minor=tuple(range(x.ndim))))


_move = mlir.lower_fun(_moved, multiple_results=False)


def _lower(ctx: mlir.LoweringRuleContext, x):
    return [x] if ctx.module_context.lowering_parameters.for_export else _move(ctx, x)


def _batch(arguments, axes):
    (x,), (axis,) = arguments, axes
    return in_row_order(jnp.moveaxis(x, axis, 0)), 0


_in_row_order.def_impl(lambda x: x)
_in_row_order.def_abstract_eval(lambda x: x)
mlir.register_lowering(_in_row_order, _lower)
batching.primitive_batchers[_in_row_order] = _batch
