"""Updates of many bits at once: the two-block form of a quadratic energy.

Where the couplings are `C = B Bᵀ` off the diagonal, the Boltzmann distribution of the bits is the marginal of a joint
distribution with Gaussian variables z, one for each column of B (Hubbard-Stratonovich):

    p(x, z) ∝ exp(β [zᵀBᵀx - ½ |z|² + (b - ½ diag BBᵀ)ᵀ x - λ Σ_i k_i (k_i - 1)/2])

k_i being the number of heads that select token i. Given x, the z are independent normals of mean Bᵀx and variance 1/β;
given z, tokens are independent of each other, and the bits of a token are drawn together (`draw_columns`). Alternating
the two draws is a Gibbs sampler without a loop over tokens: two products with B and a few fused loops an update.

z remembers the bits: a bit with diagonal d of BBᵀ whose flip is free still has to overcome d/2, by noise of variance
d/β, and flips in about `exp(-β d / 8)` of the updates.

References:
  Hubbard, "Calculation of partition functions", Physical Review Letters 3, 77 (1959); Martens and Sutskever,
  "Parallelizable sampling of Markov random fields", AISTATS (2010); Zhang, Sutton, Storkey, Ghahramani, "Continuous
  relaxations for discrete Hamiltonian Monte Carlo", NIPS (2012).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from qama_jax.problems.base import Bits, register_pytree
from qama_jax.sampling import noise
from qama_jax.sampling.columns import draw_columns


class BlockState(NamedTuple):
    """States of several replicas.

    Attributes:
      bits: 0 and 1, in the problem's type.
      mean: Bᵀx, the means of z given the bits.
    """

    bits: Float[Array, "replicas heads tokens"]
    mean: Float[Array, "replicas heads width"]


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """A problem arranged for block updates.

    Attributes:
      factor: Bᵀ of each head, [heads, width, tokens].
      field: b - ½ diag BBᵀ, [heads, tokens].
      penalty: λ, what two heads pay for the same token.
      exists: [heads, tokens], where there is a bit that is not held fixed at 0.
    """

    factor: Float[Array, "heads width tokens"]
    field: Float[Array, "heads tokens"]
    penalty: Float[Array, ""]
    exists: Bool[Array, "heads tokens"]

    def arrange(self, bits: Bits) -> BlockState:
        """From bits [replicas, *problem.shape] to a state."""
        return self.with_means(bits.astype(self.field.dtype).reshape(-1, *self.field.shape))

    def restore(self, state: BlockState, shape: tuple[int, ...]) -> Bits:
        """From a state to bits [replicas, *shape]."""
        return state.bits.astype(jnp.int8).reshape(-1, *shape)

    def energies(self, state: BlockState) -> Float[Array, "replicas"]:
        """`-½ |Bᵀx|² - (b - ½ diag BBᵀ)ᵀ x + λ Σ_i k_i (k_i - 1)/2`, of each replica."""
        others = jnp.sum(state.bits, axis=1, keepdims=True) - 1
        alone = jnp.sum(state.bits * (self.penalty / 2 * others - self.field[None]), axis=(1, 2))
        return alone - jnp.sum(state.mean**2, axis=(1, 2)) / 2

    def update(self, key: Key[Array, ""], state: BlockState, beta: Float[Array, "replicas"]) -> BlockState:
        """Draws z given the bits, then the bits given z: exact at any fixed beta."""
        first, second = noise.draw_seeds(key, 2)
        return self.with_means(self.draw_bits(second, self.draw_drive(first, state, beta), beta))

    def draw_drive(
        self, seed: UInt32[Array, "2"], state: BlockState, beta: Float[Array, "replicas"]
    ) -> Float[Array, "replicas heads tokens"]:
        """`β (B z + b - ½ diag BBᵀ)`, the log-odds of each bit without the penalty, with z drawn given the bits."""
        beta = beta[:, None, None]
        normal = noise.normal(seed, state.mean.shape, state.mean.dtype)
        z = beta * state.mean + jnp.sqrt(beta) * normal  # times β, so that it exists at β = 0
        return jnp.einsum("rhw,hwn->rhn", z, self.factor, precision=jax.lax.Precision.HIGHEST) + beta * self.field[None]

    def draw_bits(
        self,
        seed: UInt32[Array, "2"],
        drive: Float[Array, "replicas heads tokens"],
        beta: Float[Array, "replicas"],
    ) -> Float[Array, "replicas heads tokens"]:
        """The bits given their log-odds without the penalty, those of a token together."""
        return draw_columns(drive, beta * self.penalty, noise.logistic(seed, drive.shape, drive.dtype))

    def with_means(self, bits: Float[Array, "replicas heads tokens"]) -> BlockState:
        """The state of these bits, those that are held fixed set to 0."""
        bits = bits * self.exists.astype(bits.dtype)[None]
        mean = jnp.einsum("rhn,hwn->rhw", bits, self.factor, precision=jax.lax.Precision.HIGHEST)
        return BlockState(bits, mean)
