"""Clusters of bits in which two states of a sparse problem differ, and what is gained by exchanging each.

Bits of two clusters share no coupling, so that each cluster changes the energy by its own amount whatever the others
do: of all 2^k states that k clusters allow, the lowest is found in one pass over the couplings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.problems.sparse import SparseCouplings


def clusters(couplings: SparseCouplings, member: Bool[Array, "n"]) -> Int[Array, "n"]:
    """Connected components of the graph of couplings between members.

    Every bit adopts the lowest label among its neighbours, and so does the bit that its own label names; then labels
    of labels are followed. A few rounds do, of O(edges) each, however far the ends of a cluster are apart.

    Args:
      couplings: whose entries other than 0 are the edges.
      member: the bits that belong to any cluster.

    Returns:
      int32, the smallest index of each bit's cluster; n for all others.

    References:
      Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", Journal of Algorithms 3, 57 (1982).
    """
    n = member.size
    none = jnp.int32(n)
    coupled = couplings.weights != 0

    def step(state):
        labels, _ = state
        of_lists = jnp.min(jnp.where(coupled, labels[couplings.neighbors], none), axis=0)
        lowest = of_lists[:n].at[couplings.owners].min(of_lists[n:])
        lowest = jnp.where(member, jnp.minimum(labels[:n], lowest), none)
        following = labels.at[:n].set(lowest).at[labels[:n]].min(lowest).at[n].set(none)
        following = following[following]
        following = following[following]
        return following, jnp.any(following != labels)

    own = jnp.where(member, jnp.arange(n, dtype=jnp.int32), none)
    start = (jnp.append(own, none), jnp.any(member))
    return jax.lax.while_loop(lambda state: state[1], step, start)[0][:n]


def exchange_clusters(key: Key[Array, ""], couplings: SparseCouplings, one: Bits, other: Bits) -> tuple[Bits, Bits]:
    """Two states after each of their clusters is exchanged with probability ½; the sum of their energies stays.

    Args:
      key: typed PRNG key.
      couplings: of the problem.
      one: [n], a state.
      other: the other.

    Returns:
      Both states.

    References:
      Houdayer, "A cluster Monte Carlo algorithm for 2-dimensional spin glasses", European Physical Journal B 22, 479
      (2001).
    """
    differs = one != other
    coins = jax.random.bernoulli(key, shape=(differs.size + 1,))
    exchanged = differs & coins[clusters(couplings, differs)]
    return jnp.where(exchanged, other, one), jnp.where(exchanged, one, other)


def recombine(problem: Problem, bits: Bits, other: Bits) -> Bits:
    """The state of lowest energy that takes each cluster in which two states differ from either of them.

    Where they differ in more than half of the bits, the second's complement stands in for it: problems without fields
    do not tell the two apart, and for others it is as good a partner as any. Dense problems are one cluster.

    Args:
      problem: what is minimised.
      bits: `problem.shape`, one state.
      other: the other.

    Returns:
      A state whose energy is above that of neither.

    References:
      Tinós, Whitley, Chicano, "Partition crossover for pseudo-Boolean optimization", Foundations of Genetic
      Algorithms XIII (2015).
    """
    if isinstance(problem, Quadratic) and problem.is_sparse:
        bits = _best_of_clusters(problem, bits, other)
    states = jnp.stack([bits, other])
    return states[jnp.argmin(jax.vmap(problem.relative_energy)(states))]


def _best_of_clusters(problem: Quadratic, bits: Bits, other: Bits) -> Bits:
    differs = bits != other
    differs = differs ^ (2 * jnp.sum(differs) > differs.size)
    labels = clusters(problem.as_sparse(), differs)
    here = bits.astype(problem.dtype)
    change = jnp.where(differs, 1 - 2 * here, 0)
    # Both ends of a coupling within a cluster change: half of the change is in the field of each.
    gain = change * (problem.linear + problem.couple(here + change / 2))
    gains = jnp.zeros(differs.size + 1, gain.dtype).at[labels].add(gain)
    return jnp.where(differs & (gains[labels] > 0), 1 - bits, bits)
