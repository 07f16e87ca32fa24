"""Random streams of Flax NNX, and the key of evaluation."""

import jax
from flax import nnx
from flax.errors import TraceContextError
from jaxtyping import Array, Key


def first_stream(rngs: nnx.Rngs | nnx.RngStream | None, *names: str) -> nnx.RngStream | None:
    """The first of these streams that exists."""
    if rngs is None or isinstance(rngs, nnx.RngStream):
        return rngs
    for name in names:
        try:
            return getattr(rngs, name)
        except AttributeError:
            continue
    return None


def draw(stream: nnx.RngStream) -> Key[Array, ""]:
    """The next key.

    Raises:
      TraceContextError: if a transformation of JAX holds the stream that is to advance.
    """
    try:
        return stream()
    except TraceContextError as error:
        raise TraceContextError(
            "a layer that draws from its random stream changes, and plain jax.jit, jax.grad, jax.vmap or jax.lax.scan "
            "around it lose changes: use nnx.jit, nnx.grad, nnx.vmap or nnx.scan, or nnx.split and nnx.merge inside, "
            "or call model.eval() where the layer need not draw, or make the layer with keep_rngs=False, that is "
            "without random state, and pass rngs= to its calls in training"
        ) from error


def evaluation_key() -> Key[Array, ""]:
    """The key of layers that are deterministic or have no random stream: always the same."""
    return jax.random.key(0)
