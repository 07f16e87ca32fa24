"""From a problem to the couplings that a machine takes, and back from its spins."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Num

from qama_jax.hardware.machine import Machine
from qama_jax.problems import AttentionHamiltonian, Ising, Problem, Qubo
from qama_jax.problems.couplings import as_couplings

# Most auxiliary spins that are chosen automatically. They give a linear term 6 bits more than a coupling has.
_MOST_AUXILIARY = 64


class Embedding(NamedTuple):
    """What is sent to a machine: minimise `-½ σᵀ couplings σ - biasesᵀ σ` over m = n + A spins σ in {-1, +1}.

    The n spins of the problem come first, then A slots for auxiliary spins. A is static; how many of them are used
    is not, and may differ between the problems of a batch. Slots not used couple to nothing: spins from
    `n + num_auxiliary` on may be cut off before sending.

    Attributes:
      couplings: [m, m], symmetric, zero diagonal: int8, int16 or int32, the smallest that holds `coupling_bits`, or
        floating-point for a machine of real couplings.
      biases: [m], of the same type: the linear terms where `auxiliary_spins == 0`, else 0.
      num_auxiliary: auxiliary spins used, the first ones.
      scale: machine units in one unit of the problem's energy; 1 for real couplings.
    """

    couplings: Num[Array, "m m"]
    biases: Num[Array, "m"]
    num_auxiliary: Int32[Array, ""]
    scale: Float[Array, ""]


def embed(problem: Problem, machine: Machine) -> Embedding:
    """Couplings of a machine for a problem; usable under `jax.jit` (with `machine` static) and `jax.vmap`.

    Linear terms h_i of the Ising form (11) become couplings to c auxiliary spins a_k, which tie each other with the
    largest coupling L of the machine:

        H = -½ Σ J_ij σ_i σ_j - Σ_k Σ_i h_ik σ_i a_k - L Σ_{k<l} a_k a_l,    Σ_k h_ik = h_i

    Where all a_k = +1 this is the problem, up to a constant; flipping all spins changes nothing. With equal shares the
    energy at given σ is concave in Σ a_k, so that in a ground state all a_k are equal. Integers come from
    scaling by `scale = L / max(max |J|, max |h| / c)` and rounding. With one auxiliary spin the largest h often is
    many times the largest J, and takes their levels away. Shared by c spins it takes c times less, and h itself is
    rounded to c times as many levels: h_i is rounded first, then split into integers that add up to it,
    `h_ik = ⌊(h_i + k) / c⌋`. Where `auxiliary_spins` is None, `c = ⌈max |h| / max |J|⌉`, the fewest at which the
    linear terms no longer set the scale, but at least 1 and at most A; more would change nothing.

    Args:
      problem: what to send, of n bits; an attention problem as its dense form, head-major.
      machine: its limits. A is `auxiliary_spins`; where that is None, the spins left, but at most 64.

    Returns:
      The `Embedding`.

    Raises:
      ValueError: if the spins of the problem and the auxiliary spins are more than the machine has.

    Example:
      >>> import jax, qama_jax
      >>> problem = qama_jax.Ising([[0.0, 1.0], [1.0, 0.0]], [-3.0, 1.0])
      >>> embedding = qama_jax.hardware.embed(problem, qama_jax.hardware.Machine(num_spins=5))
      >>> embedding.couplings[:2]
      Array([[   0,  127, -127, -127, -127],
             [ 127,    0,   42,   42,   43]], dtype=int8)
    """
    ising = as_ising(problem)
    (n,) = ising.shape
    slots = _auxiliary_slots(n, machine)
    couplings, biases = as_couplings(ising.couplings).to_dense(), ising.biases
    strongest = jnp.max(jnp.abs(couplings))
    strongest_bias = jnp.max(jnp.abs(biases))
    used = _num_auxiliary(strongest, strongest_bias, slots, machine)
    strongest = jnp.maximum(strongest, strongest_bias / jnp.maximum(used, 1).astype(ising.dtype))
    dtype = _coupling_dtype(machine, ising.dtype)
    limit = machine.largest_coupling
    if limit is None:
        scale, tie = jnp.ones_like(strongest), strongest
    else:
        scale, tie = limit / jnp.where(strongest > 0, strongest, 1), jnp.asarray(limit)
        couplings, biases = jnp.round(scale * couplings), jnp.round(scale * biases)
    if slots == 0:
        return Embedding(couplings.astype(dtype), biases.astype(dtype), used, scale)

    index = jnp.arange(slots)
    is_used = index < used
    shares = _split(biases, index[:, None], used, exact=limit is not None)
    shares = jnp.where(is_used[:, None], shares, 0).astype(dtype)
    ties = is_used[:, None] & is_used[None] & ~jnp.eye(slots, dtype=bool)
    ties = jnp.where(ties, tie, 0).astype(dtype)
    couplings = jnp.block([[couplings.astype(dtype), shares.T], [shares, ties]])
    return Embedding(couplings, jnp.zeros(n + slots, dtype), used, scale)


def decode(spins: Num[Array, "reads m"], embedding: Embedding, n: int) -> Num[Array, "reads n"]:
    """Spins of the problem from those of a machine; usable under `jax.jit` and `jax.vmap`.

    Flipping all spins of a machine without linear terms leaves its energy, so that the problem's spins are
    `σ_i · majority`, the majority being that of the auxiliary spins used; where it is a tie, the first decides. A
    machine that takes linear terms itself gives the spins as they are.

    Args:
      spins: ±1, [reads, m].
      embedding: what was sent.
      n: how many spins the problem has.

    Returns:
      Spins of the type of `spins`, [reads, n].
    """
    auxiliary = spins[:, n:]
    if auxiliary.shape[1] == 0:
        return spins
    votes = jnp.where(jnp.arange(auxiliary.shape[1])[None] < embedding.num_auxiliary, auxiliary, 0).astype(jnp.int32)
    total = 2 * jnp.sum(votes, axis=1) + votes[:, 0]
    return spins[:, :n] * jnp.sign(total).astype(spins.dtype)[:, None]


def as_ising(problem: Problem) -> Ising:
    """The problem over spins, with its bits in one row."""
    if isinstance(problem, AttentionHamiltonian):
        problem = problem.to_qubo()
    if isinstance(problem, Qubo):
        problem = problem.to_ising()
    if not isinstance(problem, Ising):
        raise ValueError(
            f"problem must be a Qubo, an Ising or an AttentionHamiltonian, got {type(problem).__name__}; make it one"
        )
    return problem.to_dense()


def _auxiliary_slots(n: int, machine: Machine) -> int:
    """A: room for auxiliary spins."""
    wanted = 1 if machine.auxiliary_spins is None else machine.auxiliary_spins
    if machine.num_spins is None:
        return _MOST_AUXILIARY if machine.auxiliary_spins is None else wanted
    left = machine.num_spins - n
    if wanted > left:
        remedy = f"at most {left} auxiliary spins are left" if left > 0 else "take fewer heads or tokens"
        raise ValueError(
            f"problem needs {n} + {wanted} auxiliary = {n + wanted} spins, but the machine has "
            f"num_spins={machine.num_spins}; {remedy}"
        )
    return min(left, _MOST_AUXILIARY) if machine.auxiliary_spins is None else wanted


def _num_auxiliary(
    strongest: Float[Array, ""], strongest_bias: Float[Array, ""], slots: int, machine: Machine
) -> Int32[Array, ""]:
    if machine.auxiliary_spins is not None:
        return jnp.int32(slots)
    ratio = jnp.ceil(strongest_bias / jnp.where(strongest > 0, strongest, jnp.inf))
    return jnp.clip(ratio, 1, slots).astype(jnp.int32)


def _split(
    biases: Float[Array, "n"], index: Int32[Array, "slots 1"], used: Int32[Array, ""], exact: bool
) -> Num[Array, "slots n"]:
    """Shares of the auxiliary spins in each linear term, equal or, where `exact`, integers that differ by 1 at most."""
    if exact:
        return (biases.astype(jnp.int32)[None] + index) // used
    return jnp.broadcast_to(biases / used.astype(biases.dtype), (index.shape[0], biases.shape[0]))


def _coupling_dtype(machine: Machine, dtype: jnp.dtype) -> jnp.dtype:
    bits = machine.coupling_bits
    if bits is None:
        return dtype
    return jnp.dtype(jnp.int8 if bits <= 8 else jnp.int16 if bits <= 16 else jnp.int32)
