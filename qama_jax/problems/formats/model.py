"""What a file says: the terms, the names of the variables, and whether more is better."""

from collections.abc import Hashable
from typing import NamedTuple

from qama_jax.problems.terms import Terms


class Model(NamedTuple):
    """A problem as a file has it.

    Attributes:
      terms: of the file's objective, or of its negative where that is maximised: to be minimised.
      labels: names of the variables, in order.
      maximize: whether the file's objective is to be maximised; it is minus the energy then.
    """

    terms: Terms
    labels: tuple[Hashable, ...]
    maximize: bool = False


def refuse_loss(form: str, **parts: bool) -> None:
    """Raises `ValueError` for the first part that the problem has and the format cannot hold."""
    for name, is_there in parts.items():
        if is_there:
            raise ValueError(
                f"format {form!r} holds no {name.replace('_', ' ')}, which the problem has; choose another, as 'bqm'"
            )
