"""Energy distribution: from a selection back to features, equation (5)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from qama_jax.problems.attention import AttentionHamiltonian


def distribute_energy(
    hamiltonian: AttentionHamiltonian, bits: Int8[Array, "heads tokens"], importance: Float[Array, "head_dim"]
) -> Float[Array, "tokens heads head_dim"]:
    """Features `E_dist = e_ti · W_εᵀ / scale` of each token and head, equation (5).

    The bits are detached: by equation (6) the gradient flows through the couplings, the importances and W_ε
    alone, which is exact wherever the solution is locally constant. Token energies grow with the number of
    tokens; `hamiltonian.energy_scale()` divides them, so that features stay of order 1 at every length.

    Args:
      hamiltonian: the problem that was solved.
      bits: [H, N], its solution.
      importance: [D], W_ε.

    Returns:
      [N, H, D], in the type of `importance`; 0 for tokens that a head did not select.
    """
    energies = hamiltonian.token_energy(jax.lax.stop_gradient(bits)) / hamiltonian.energy_scale()
    # A product, whose derivatives are products: sums of products of arrays take XLA many times longer on CPUs.
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("hn,d->nhd", energies, importance.astype(energies.dtype), precision=highest)
