"""The gate: how probable each selection is, given the annealed state."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.solvers.base import Solution


def log_gate(hamiltonian: AttentionHamiltonian, solution: Solution, beta: float) -> Float[Array, "heads tokens"]:
    """`log m_ti` with `m_ti = σ(β f_ti(s) / r_t)`: the probability of each bit given all others.

    This is the conditional expectation of the bit in the Boltzmann distribution at inverse temperature β / r_t, where
    r_t is the root mean square of the fields f of a head, detached. The annealed bits s are 0 or 1, and no gradient
    passes them. The gate lies between 0 and 1 and is differentiable in queries, keys, values and W_ε; s is detached.
    With several reads the gate is the mean over them, an estimate of the marginal probability of the bit.

    Args:
      hamiltonian: the problem that was solved.
      solution: its solution.
      beta: β, dimensionless.

    Returns:
      [H, N]; the entries of padded tokens mean nothing.

    References:
      arXiv:2504.11083v2, equation (12), for the field.
    """

    def given(bits):
        field = hamiltonian.differentiable_field(jax.lax.stop_gradient(bits))
        square = jnp.sum(jax.lax.stop_gradient(field) ** 2, axis=1, keepdims=True) / jnp.maximum(hamiltonian.length, 1)
        return jax.nn.log_sigmoid(beta * field * jax.lax.rsqrt(jnp.where(square > 0, square, 1)))

    num_reads = len(solution.reads)
    if num_reads == 1:
        return given(solution.bits)
    return jax.nn.logsumexp(jax.vmap(given)(solution.reads), axis=0) - jnp.log(num_reads)
