"""Read-outs: from a selection to features.

`EnergyReadout` is the paper's read-out, and the default. Each head gives the output projection one number per token,
its energy; what other tokens carry does not reach it. The other read-outs pass values, also at a cost that is linear in
the number of tokens, and learn what to select through a differentiable gate, `log_gate`:

- `MixedReadout`: softmax over neighbours, plus a softmax over selected keys with a weight that each head learns;
  self-attention.
- `WindowReadout`: one softmax over neighbours and selected keys, or over neighbours alone; self-attention.
- `MemoryReadout`: softmax over earlier neighbours and remembered keys of chunks; causal self-attention, decoding.
- `MixedMemoryReadout`: the same window and memory, mixed as `MixedReadout` mixes.
- `SelectedKeysReadout`: softmax over selected keys; also cross-attention.
- `LinearReadout`: linear attention over gated keys; the cheapest for long sequences; also cross-attention.

A read-out is a frozen dataclass: its `select` says whose tokens are selected, and its `read` makes the features; see
`Readout`.
"""

from qama_jax.readouts.base import ChunkedReadout as ChunkedReadout
from qama_jax.readouts.base import MixingReadout as MixingReadout
from qama_jax.readouts.base import Readout as Readout
from qama_jax.readouts.base import check_readout as check_readout
from qama_jax.readouts.base import is_mixing as is_mixing
from qama_jax.readouts.dropout import Dropout as Dropout
from qama_jax.readouts.energy import EnergyReadout as EnergyReadout
from qama_jax.readouts.gate import log_gate as log_gate
from qama_jax.readouts.linear import LinearReadout as LinearReadout
from qama_jax.readouts.memory import MemoryReadout as MemoryReadout
from qama_jax.readouts.mixed import MixedReadout as MixedReadout
from qama_jax.readouts.mixed_memory import MixedMemoryReadout as MixedMemoryReadout
from qama_jax.readouts.selected_keys import SelectedKeysReadout as SelectedKeysReadout
from qama_jax.readouts.window import WindowReadout as WindowReadout
