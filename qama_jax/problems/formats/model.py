"""What a file says: the terms, the names of the variables, and whether more is better."""

import itertools
from collections.abc import Hashable
from typing import NamedTuple

from qama_jax.problems.terms import Terms


class Model(NamedTuple):
    """A problem as a file has it.

    Attributes:
      terms: of the file's objective, or of its negative where that is maximised: to be minimised.
      labels: names of the variables, in order.
      maximize: whether the file's objective is to be maximised; it is minus the energy then.
      is_cut: whether the objective is the weight of a cut.
      may_be_graph: whether what was read as a QUBO may as well be the matrix of a graph.
    """

    terms: Terms
    labels: tuple[Hashable, ...]
    maximize: bool = False
    is_cut: bool = False
    may_be_graph: bool = False


def refuse_loss(form: str, **parts: bool) -> None:
    """Raises `ValueError` for the first part that the problem has and the format cannot hold."""
    for name, is_there in parts.items():
        if is_there:
            raise ValueError(
                f"format {form!r} holds no {name.replace('_', ' ')}, which the problem has; choose another, "
                "such as 'bqm'"
            )


def has_long_integers(terms: Terms) -> bool:
    """Whether a coefficient is an integer that no float64 holds."""
    numbers = itertools.chain(terms.linear.tolist(), terms.values.tolist(), [terms.offset])
    return any(int(float(number)) != number for number in numbers if abs(number) > 2**53)
