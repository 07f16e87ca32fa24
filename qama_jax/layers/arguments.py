"""What the layers for Flax NNX and Flax Linen share: their arguments, completed or refused."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.checks import check_count
from qama_jax.problems.attention import Select
from qama_jax.readouts import MemoryReadout, Readout
from qama_jax.solvers.auto import attention_solver
from qama_jax.solvers.base import Solver


def check_settings(
    *,
    num_heads: int,
    qkv_features: int,
    attention_fn: Callable,
    flax_attention_fn: Callable,
    dropout_rate: float,
    **sizes: int | None,
) -> None:
    """Raises `ValueError` for settings of a Flax attention layer that QAMA cannot honour; other sizes may be None."""
    given = {name: size for name, size in sizes.items() if size is not None}
    check_count(num_heads=num_heads, **given, qkv_features=qkv_features)
    if qkv_features % num_heads != 0:
        raise ValueError(f"qkv_features={qkv_features} must be divisible by num_heads={num_heads}")
    if attention_fn is not flax_attention_fn:
        raise ValueError("attention_fn is what QAMAAttention replaces; use Flax's MultiHeadAttention to choose one")
    if isinstance(dropout_rate, jax.Array):
        raise ValueError(f"dropout_rate must be a Python number, got {dropout_rate!r}; pass float(dropout_rate)")
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"dropout_rate must be a probability, at least 0 and below 1, got {dropout_rate}")


def layer_solver(solver: Solver | None, deterministic: bool | None) -> Solver:
    """The solver of a layer: `solver`, or if that is None, the default of evaluation or of training."""
    return attention_solver(training=not deterministic) if solver is None else solver


def causal_readout(readout: Readout, argument: str) -> MemoryReadout:
    """The read-out, or `ValueError` where an argument asks it to be causal and it is not."""
    if not (isinstance(readout, MemoryReadout) and readout.causal):
        raise ValueError(
            f"{argument} needs a causal read-out, got {readout!r}, which selects keys for all queries at once; pass "
            "readout=qama_jax.MemoryReadout() to the layer"
        )
    return readout


def check_decoding(deterministic: bool | None, dropout_rate: float) -> None:
    """Raises `ValueError` where a decoder would drop entries."""
    if not deterministic and dropout_rate > 0:
        raise ValueError(f"decode=True drops nothing: pass deterministic=True, or dropout_rate=0, got {dropout_rate}")


def complete_inputs(
    inputs_q: Float[Array, "*batch tokens in_features"],
    inputs_k: Float[Array, "*batch keys in_kv_features"] | None,
    inputs_v: Float[Array, "*batch selected in_kv_features"] | None,
    select: Select,
) -> tuple[Float[Array, "*batch keys in_kv_features"], Float[Array, "*batch selected in_kv_features"]]:
    """The keys' and values' inputs, by default those of the queries and of the keys, as in Flax.

    Raises:
      ValueError: if there are values without keys, batch dimensions differ, or the number of values is not that of the
        selected tokens, queries or keys.
    """
    if inputs_k is None:
        if inputs_v is not None:
            raise ValueError("inputs_k must be given where inputs_v is; to use one array for both, pass inputs_k")
        inputs_k = inputs_q
    from_keys = inputs_v is None
    if from_keys:
        inputs_v = inputs_k
    for inputs, name in ((inputs_q, "inputs_q"), (inputs_k, "inputs_k"), (inputs_v, "inputs_v")):
        if inputs.ndim < 2 or inputs.shape[:-2] != inputs_q.shape[:-2] or inputs.dtype == jnp.bool_:
            raise ValueError(
                f"{name} must be [*batch, tokens, features] with the batch dimensions of inputs_q {inputs_q.shape}, "
                f"got {inputs.dtype} {inputs.shape}; pass an attention mask by its name, mask="
            )
    if select == "keys" and inputs_v.shape[-2] != inputs_k.shape[-2]:
        raise ValueError(
            f"inputs_v must have as many tokens as inputs_k, {inputs_k.shape[-2]}, got {inputs_v.shape[-2]}"
        )
    if select == "queries" and inputs_v.shape[-2] != inputs_q.shape[-2]:
        raise ValueError(
            f"inputs_v must have as many tokens as inputs_q, {inputs_q.shape[-2]}, got {inputs_v.shape[-2]}"
            + (" from inputs_k, its default" if from_keys else "")
            + ": the importance of a query token is computed from a value of its own, while keys may be more or fewer; "
            "for cross-attention pass inputs_v=inputs_q, or readout=qama_jax.SelectedKeysReadout(), which selects keys"
        )
    return inputs_k, inputs_v
