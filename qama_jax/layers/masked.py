"""The stages as the layers compose them: from a mask in Flax's layout to the features."""

from collections.abc import Callable

from jaxtyping import Array, Bool, Float

from qama_jax.attention import run_stages
from qama_jax.layers.padding import key_padding
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.readouts import Dropout, Readout
from qama_jax.readouts.base import is_causal
from qama_jax.solvers.base import Solution


def run_masked_stages(
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    mask: Bool[Array, "*#batch #heads #tokens keys"] | None,
    *,
    build: Callable[..., AttentionHamiltonian],
    anneal: Callable[[AttentionHamiltonian], Solution],
    readout: Readout,
    dropout: Dropout | None,
    mix: Float[Array, "heads"] | None,
) -> tuple[Float[Array, "*batch tokens heads head_dim"], AttentionHamiltonian, Solution]:
    """`qama_jax.attention.run_stages` under the mask of an attention layer, see `key_padding`."""
    *batch, tokens, heads, _ = query.shape
    padding = None
    if mask is not None:
        padding = key_padding(
            mask, batch=tuple(batch), heads=heads, queries=tokens, keys=key.shape[-3], causal=is_causal(readout)
        )
    features, hamiltonians, solution = run_stages(
        query,
        key,
        value,
        importance,
        None if padding is None else padding.visible,
        None if padding is None else padding.asking,
        build=build,
        anneal=anneal,
        readout=readout,
        dropout=dropout,
        mix=mix,
    )
    return features if padding is None else padding.mark(features), hamiltonians, solution
