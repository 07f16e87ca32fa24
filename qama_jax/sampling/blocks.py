"""Updates of many bits at once: the two-block form of a quadratic energy.

Where the couplings are `C = B Bᵀ` off the diagonal, the Boltzmann distribution of the bits is the marginal of a joint
distribution with Gaussian variables z, one for each column of B (Hubbard-Stratonovich):

    p(x, z) ∝ exp(β [zᵀBᵀx - ½ |z|² + (b - ½ diag BBᵀ)ᵀ x - λ Σ_i k_i (k_i - 1)/2])

k_i being the number of heads that select token i. Given x, the z are independent normals of mean Bᵀx and variance 1/β;
given z, tokens are independent of each other. Alternating the two draws is a Gibbs sampler without a loop over tokens.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qama_jax.problems.base import Bits, register_pytree
from qama_jax.problems.coupling import CouplingFactor


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """A problem arranged for block updates. States are arrays [replicas, heads, tokens] of 0 and 1.

    Attributes:
      couplings: the couplings within each head, by their factor B.
      linear: b, [heads, tokens].
      penalty: λ, what two heads pay for the same token.
      exists: [heads, tokens], where there is a bit that is not held fixed at 0.
    """

    couplings: CouplingFactor
    linear: Float[Array, "heads tokens"]
    penalty: Float[Array, ""]
    exists: Bool[Array, "heads tokens"]

    def arrange(self, bits: Bits) -> Float[Array, "replicas heads tokens"]:
        """From bits [replicas, *problem.shape] to a state."""
        state = bits.astype(self.linear.dtype).reshape(-1, *self.linear.shape)
        return state * self.exists.astype(state.dtype)[None]

    def restore(self, state: Float[Array, "replicas heads tokens"], shape: tuple[int, ...]) -> Bits:
        """From a state to bits [replicas, *shape]."""
        return state.astype(jnp.int8).reshape(-1, *shape)

    def update(
        self, key: Key[Array, ""], state: Float[Array, "replicas heads tokens"], beta: Float[Array, "replicas"]
    ) -> Float[Array, "replicas heads tokens"]:
        """Draws z given the bits, then the bits given z, head by head: heat-bath, exact at any fixed beta."""
        normal_key, logistic_key = jax.random.split(key)
        replicas, heads, tokens = state.shape
        factor, dtype = self.couplings.factor, state.dtype
        z = jnp.einsum("rhn,hwn->rhw", state, factor, precision=jax.lax.Precision.HIGHEST)
        z = z + jax.random.normal(normal_key, z.shape, dtype) * jax.lax.rsqrt(beta)[:, None, None]
        field = jnp.einsum("rhw,hwn->rhn", z, factor, precision=jax.lax.Precision.HIGHEST)
        field = field + (self.linear - self.couplings.diagonal / 2)[None]
        noise = jax.random.logistic(logistic_key, (heads, replicas, tokens), dtype) / beta[None, :, None]

        def draw_head(selecting, row):
            bits, field, noise, exists = row
            selecting = selecting - bits
            new = (exists[None] & (field - self.penalty * selecting + noise > 0)).astype(dtype)
            return selecting + new, new

        rows = (jnp.moveaxis(state, 1, 0), jnp.moveaxis(field, 1, 0), noise, self.exists)
        _, new = jax.lax.scan(draw_head, jnp.sum(state, axis=1), rows)
        return jnp.moveaxis(new, 0, 1)
