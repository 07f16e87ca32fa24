"""What the precision of a machine does to a problem, before any machine is there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key

from qama_jax.hardware.embedding import as_ising, embed
from qama_jax.hardware.machine import Machine
from qama_jax.problems import Ising, Problem
from qama_jax.problems.couplings import as_couplings
from qama_jax.solvers import Solver, solve


class RoundingReport(NamedTuple):
    """What rounding to the couplings of a machine leaves of a problem.

    Attributes:
      levels: different values among the rounded couplings J_ij, i < j, of the at most `2 largest_coupling + 1`.
      zeroed_share: share of the couplings J_ij ≠ 0 that became 0.
      num_auxiliary: auxiliary spins used.
      scale: machine units in one unit of the problem's energy.
    """

    levels: Int32[Array, ""]
    zeroed_share: Float[Array, ""]
    num_auxiliary: Int32[Array, ""]
    scale: Float[Array, ""]


class RoundingLoss(NamedTuple):
    """Energy that rounding costs.

    Attributes:
      energy: energy of the best state of the problem.
      rounded_energy: energy, on the problem itself, of the best state of the rounded problem.
      loss: `(rounded_energy - energy) / |energy|`, as measured never below 0.
    """

    energy: Float[Array, ""]
    rounded_energy: Float[Array, ""]
    loss: Float[Array, ""]


def rounded_problem(problem: Problem, machine: Machine) -> Ising:
    """The problem that a machine minimises for `problem` where its auxiliary spins agree, in `problem`'s units.

    It has n bits and no auxiliary spins, so that any solver finds what rounding alone does. For a machine of real
    couplings it is the problem itself, in its Ising form.

    Args:
      problem: a problem of n bits; an attention problem counts them head-major.
      machine: its limits.

    Raises:
      ValueError: if `problem` does not fit on the machine.
    """
    ising = as_ising(problem)
    (n,) = ising.shape
    embedding = embed(ising, machine)
    couplings = embedding.couplings[:n].astype(ising.dtype)
    biases = embedding.biases[:n].astype(ising.dtype) + jnp.sum(couplings[:, n:], axis=1)
    return Ising(couplings[:, :n] / embedding.scale, biases / embedding.scale, ising.offset)


def rounding_report(problem: Problem, machine: Machine) -> RoundingReport:
    """How much of a problem survives the rounding to the couplings of a machine.

    Usable under `jax.jit` (with `machine` static) and `jax.vmap`.

    Args:
      problem: of n bits.
      machine: its limits; `coupling_bits` must not be None.

    Returns:
      The `RoundingReport`.

    Raises:
      ValueError: if `problem` does not fit on the machine, or the machine rounds nothing.

    Example:
      >>> import jax, qama_jax
      >>> problem = qama_jax.Ising([[0.0, 1.0, 0.1], [1.0, 0.0, 1.0], [0.1, 1.0, 0.0]], [20.0, 0.0, 0.0])
      >>> machine = qama_jax.hardware.Machine(coupling_bits=4, auxiliary_spins=1)
      >>> one = qama_jax.hardware.rounding_report(problem, machine)
      >>> float(one.zeroed_share), int(one.levels)
      (1.0, 1)
      >>> split = qama_jax.hardware.rounding_report(problem, qama_jax.hardware.Machine(coupling_bits=4))
      >>> float(split.zeroed_share), int(split.levels), int(split.num_auxiliary)
      (0.0, 2, 20)
    """
    if machine.coupling_bits is None:
        raise ValueError("machine rounds nothing with coupling_bits=None; pass the bits of its couplings")
    ising = as_ising(problem)
    (n,) = ising.shape
    embedding = embed(ising, machine)
    upper = jnp.triu_indices(n, 1)
    couplings, rounded = as_couplings(ising.couplings).to_dense()[upper], embedding.couplings[upper]
    levels = jnp.sum(jnp.diff(jnp.sort(rounded)) != 0, dtype=jnp.int32) + min(rounded.size, 1)
    present = couplings != 0
    share = jnp.sum(present & (rounded == 0)) / jnp.maximum(jnp.sum(present), 1)
    return RoundingReport(levels, share, embedding.num_auxiliary, embedding.scale)


def rounding_loss(key: Key[Array, ""], problem: Problem, machine: Machine, solver: Solver) -> RoundingLoss:
    """Energy lost because a machine minimises the rounded problem.

    `solver` solves the problem and the rounded problem. The best state of each is then the best by its own energy
    among all reads of both, so that what the solver misses on one side it may find on the other. Where `solver` does
    not find optima, part of the loss is its own: give it reads until the loss stops falling. Of states that are equal
    for the machine, those found on the rounded problem come first.

    Usable under `jax.jit` (with `machine` and `solver` static) and `jax.vmap`.

    Args:
      key: typed PRNG key.
      problem: of n bits.
      machine: its limits.
      solver: how to solve both.

    Returns:
      The `RoundingLoss`.

    Raises:
      ValueError: if `problem` does not fit on the machine.

    Example:
      >>> import jax, qama_jax
      >>> problem = qama_jax.Ising([[0.0, 1.0, 0.1], [1.0, 0.0, 1.0], [0.1, 1.0, 0.0]], [20.0, -0.5, 0.0])
      >>> machine = qama_jax.hardware.Machine(coupling_bits=4, auxiliary_spins=1)
      >>> solver = qama_jax.Exhaustive()
      >>> lost = qama_jax.hardware.rounding_loss(jax.random.key(0), problem, machine, solver)
      >>> bool(lost.loss > 0)
      True
    """
    rounded = rounded_problem(problem, machine)
    keys = jax.random.split(key)
    own = solve(keys[0], problem, solver)
    other = solve(keys[1], rounded, solver)
    reads = jnp.concatenate([other.reads, own.reads.reshape(len(own.reads), -1)])
    energies = jax.vmap(problem.relative_energy)(reads.reshape(-1, *problem.shape))
    lowest, of_rounded = jnp.min(energies), energies[jnp.argmin(jax.vmap(rounded.relative_energy)(reads))]
    energy = lowest + problem.offset
    loss = (of_rounded - lowest) / jnp.where(energy == 0, 1, jnp.abs(energy))
    return RoundingLoss(energy, of_rounded + problem.offset, loss)
