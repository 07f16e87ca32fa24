"""What follows the annealer: from a selection to features."""

import math
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.problems.attention import AttentionHamiltonian, Select
from qama_jax.readouts.dropout import Dropout
from qama_jax.solvers.base import Solution


@runtime_checkable
class Readout(Protocol):
    """A way to make features of a selection: a frozen, hashable dataclass of Python scalars.

    Attributes:
      select: whose tokens the annealer selects for it: "queries", which have the values, or "keys".
    """

    select: ClassVar[Select]

    def read(
        self,
        hamiltonian: AttentionHamiltonian,
        solution: Solution,
        query: Float[Array, "tokens heads head_dim"],
        key: Float[Array, "keys heads head_dim"],
        value: Float[Array, "selected heads head_dim"],
        importance: Float[Array, "head_dim"],
        dropout: Dropout | None = None,
    ) -> Float[Array, "tokens heads head_dim"]:
        """Features of one problem. The solution is detached: gradients flow through everything else.

        `dropout`, where given, drops weights of tokens after they are normalised.
        """
        ...


@runtime_checkable
class ChunkedReadout(Readout, Protocol):
    """A read-out whose problems are chunks of the sequence; for other read-outs the whole sequence is one problem.

    Its `read` gets Hamiltonians and solutions with a leading axis of the chunks. Where tokens are hidden, it also gets
    `segments` [tokens]. They are 0 for hidden tokens and positive for all others: either True, or ascending numbers of
    the sequences that are packed into one.
    """

    @property
    def causal(self) -> bool:
        """Whether tokens see only what came before them."""
        ...

    def chunks(self, tokens: int) -> tuple[int, int]:
        """How many problems a sequence of `tokens` tokens makes, and how many tokens each problem has."""
        ...


class MixingReadout(Readout, Protocol):
    """A read-out that mixes branches by weights that the layer learns.

    Its `read` also gets the weights by their name, `mix` [H]. A layer holds them in its parameter `mix`, which starts
    at 0.
    """

    @property
    def mixes(self) -> bool:
        """True."""
        ...


def is_mixing(readout: Readout) -> bool:
    """Whether it is a `MixingReadout`."""
    return getattr(readout, "mixes", False)


def is_causal(readout: Readout) -> bool:
    """Whether tokens see only what came before them."""
    return isinstance(readout, ChunkedReadout) and readout.causal


def check_readout(readout: Any) -> None:
    """Raises `ValueError` unless `readout` is an instance of a read-out."""
    if isinstance(readout, type) or not isinstance(readout, Readout):
        raise ValueError(f"readout must be an instance such as qama_jax.WindowReadout(), got {readout!r}")


def check_one_sequence(readout: Readout, queries: int, keys: int) -> None:
    """Raises `ValueError` where windows would be of two sequences."""
    if keys != queries:
        raise ValueError(
            f"{type(readout).__name__} needs as many keys as queries, {queries}, got {keys}: a window holds neighbours "
            "in one sequence; for cross-attention use qama_jax.SelectedKeysReadout() or qama_jax.LinearReadout()"
        )


def without_padding(
    mask: Bool[Array, "*batch tokens"] | None, *arrays: Float[Array, "*batch tokens heads head_dim"]
) -> tuple[Float[Array, "*batch tokens heads head_dim"], ...]:
    """The arrays with 0 for padded tokens, which may hold anything, even NaN."""
    if mask is None:
        return arrays
    return tuple(jnp.where(mask[..., None, None], array, 0) for array in arrays)


def check_beta(beta: Any) -> None:
    """Raises `ValueError` unless `beta` is a positive number."""
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 < beta < math.inf:
        raise ValueError(f"beta must be a positive number, got {beta!r}")
