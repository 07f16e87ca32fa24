"""The bits of a token in all heads, drawn together: heads see of each other only how many select the token."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def draw_columns(
    drive: Float[Array, "replicas heads tokens"],
    cost: Float[Array, "replicas"],
    noise: Float[Array, "replicas heads tokens"],
) -> Float[Array, "replicas heads tokens"]:
    """Draws the bits x of every token with probability proportional to `exp(Σ_t a_t x_t - κ k (k - 1)/2)`, k = Σ_t x_t.

    Head after head is drawn given those before it, and those after it are summed out: they weigh Z_t(k) from head t on
    where k heads before have selected the token. The log-odds of head t are then `a_t + R_{t+1}(k)`, with
    `R_t(k) = ln Z_t(k + 1) - ln Z_t(k)` from the last head to the first, in O(H²) operations a token:

        R_H(k) = -κ k,    R_t(k) = R_{t+1}(k) + s(a_t + R_{t+1}(k + 1)) - s(a_t + R_{t+1}(k)),    s(y) = ln(1 + exp y)

    Args:
      drive: a, the log-odds of each bit where no other head selects the token.
      cost: κ >= 0, what the log-odds lose for each head before.
      noise: standard logistic, independent.

    Returns:
      The bits, 0 and 1 in the type of `drive`.

    References:
      After Chen, Dempster, Liu, "Weighted finite population sampling to maximize entropy", Biometrika 81, 457 (1994),
      where the number of selected units is given.
    """
    heads = drive.shape[1]
    counts = jnp.arange(heads, dtype=drive.dtype)[:, None, None]
    # Unrolled over heads: a few fused loops, without one that starts for every head.
    following = jnp.broadcast_to(-counts * cost[None, :, None], (heads, drive.shape[0], drive.shape[2]))
    rows = []
    for head in reversed(range(heads)):
        rows.append(following)
        worth = jax.nn.softplus(drive[:, head][None] + following)
        following = following[:head] + worth[1 : head + 1] - worth[:head]
    bits, selecting = [], jnp.zeros_like(drive[:, 0])
    for head, row in enumerate(reversed(rows)):
        others = row[0]
        for count in range(1, head + 1):
            others = jnp.where(selecting == count, row[count], others)
        bits.append((drive[:, head] + others + noise[:, head] > 0).astype(drive.dtype))
        selecting = selecting + bits[-1]
    return jnp.stack(bits, axis=1)
