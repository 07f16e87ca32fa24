"""What a program computes on its way."""

import jax


def equations(jaxpr):
    """All equations, those of inner programs included."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def array_sizes(jaxpr):
    """Numbers of elements of all intermediate arrays."""
    for equation in equations(jaxpr):
        yield from (variable.aval.size for variable in equation.outvars if hasattr(variable.aval, "size"))
