"""A window and selected keys, each with a softmax of its own, in a mixture that each head learns."""

import dataclasses
from typing import ClassVar

from jaxtyping import Array, Float

from qama_jax.problems.attention import AttentionHamiltonian, Select
from qama_jax.readouts.base import check_beta, check_one_sequence
from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.selected_keys import SelectedKeysReadout
from qama_jax.readouts.window import WindowReadout
from qama_jax.solvers.base import Solution


@dataclasses.dataclass(frozen=True)
class MixedReadout:
    """The neighbours of each token, plus selected keys with a weight that each head learns: O(N (r + k) D).

        o_i = softmax over the window of i + g_t · softmax over the selected keys

    In `WindowReadout` the selected keys share one softmax with the neighbours, and dilute them from the first step on.
    Here each of the two is normalised on its own. The weights g_t, one per head, start at 0, so that a layer begins as
    the window alone and opens to the selected keys where they help. The weights are a parameter of the layer, `mix`.

    Args:
      radius: r, static; a window has 2 r + 1 tokens.
      num_keys: k, static.
      beta: β of the gate, `qama_jax.readouts.log_gate`.

    Raises:
      ValueError: if a setting is out of range, or, when used, the numbers of keys and queries differ.

    References:
      Yuan et al., "Native Sparse Attention", arXiv:2502.11089, equation (5), for branches that are normalised apart;
      Bachlechner et al., "ReZero is All You Need", arXiv:2003.04887, for weights that start at 0.
    """

    radius: int = 16
    num_keys: int = 32
    beta: float = 3.0

    select: ClassVar[Select] = "keys"
    mixes: ClassVar[bool] = True

    def __post_init__(self):
        check_beta(self.beta)
        self._window()
        self._keys()

    def read(
        self,
        hamiltonian: AttentionHamiltonian,
        solution: Solution,
        query: Float[Array, "tokens heads head_dim"],
        key: Float[Array, "tokens heads head_dim"],
        value: Float[Array, "tokens heads head_dim"],
        importance: Float[Array, "head_dim"],
        dropout: Dropout | None = None,
        mix: Float[Array, "heads"] | None = None,
    ) -> Float[Array, "tokens heads head_dim"]:
        """See `Readout`; `mix` is g, and without it this is the window alone, as at the start."""
        check_one_sequence(self, query.shape[0], key.shape[0])
        arguments = (hamiltonian, solution, query, key, value, importance)
        of_near, of_far = (None, None) if dropout is None else dropout.split()
        near, far = self._window().read(*arguments, of_near), self._keys().read(*arguments, of_far)
        return near if mix is None else near + mix.astype(far.dtype)[None, :, None] * far

    def _window(self) -> WindowReadout:
        return WindowReadout(self.radius, num_keys=0, beta=self.beta)

    def _keys(self) -> SelectedKeysReadout:
        return SelectedKeysReadout(self.num_keys, self.beta)
