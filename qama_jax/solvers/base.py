"""The one driver: `solve` runs any solver on any problem and returns a `Solution`."""

import functools
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Key

from qama_jax.problems.base import Bits, Problem


@runtime_checkable
class Solver(Protocol):
    """A way to find low-energy states: a frozen, hashable dataclass of Python scalars.

    Equal configurations are one static argument, so that they compile once.
    """

    num_reads: int

    def sample(self, key: Key[Array, ""], problem: Problem) -> tuple[Bits, dict[str, Array]]:
        """One read: bits of shape `problem.shape`, and what else there is to know of the run."""
        ...


class Solution(NamedTuple):
    """What a solver found. Energies are computed from the bits, never accumulated.

    Attributes:
      bits: int8, `problem.shape`: the read of lowest energy.
      energy: its energy.
      reads: int8, [num_reads, *problem.shape].
      read_energies: [num_reads].
      info: diagnostics of the solver, an array for each name, with a leading axis of reads.
    """

    bits: Int8[Array, "..."]
    energy: Float[Array, ""]
    reads: Int8[Array, "reads ..."]
    read_energies: Float[Array, "reads"]
    info: dict[str, Any]

    @property
    def spins(self) -> Int8[Array, "..."]:
        """`2 bits - 1`."""
        return 2 * self.bits - 1


def solve(key: Key[Array, ""], problem: Problem, solver: Solver) -> Solution:
    """Minimises `problem` with `solver`; compiled, and usable under `jax.jit` and `jax.vmap`.

    Args:
      key: typed PRNG key, `jax.random.key(seed)`. Equal keys give equal solutions.
      problem: one problem; `jax.vmap(solve, in_axes=(0, 0, None))` solves a batch of different ones in one call.
      solver: what to run, static: a change of its settings compiles anew.

    Returns:
      The `Solution`, detached: no gradient flows through it.

    Raises:
      ValueError: if `key` is no single typed key, `problem` carries a batch axis, or either is of another type.

    Example:
      >>> import jax, qama_jax
      >>> qubo = qama_jax.Qubo(jax.random.normal(jax.random.key(0), (20, 20)))
      >>> solution = qama_jax.solve(jax.random.key(1), qubo, qama_jax.SimulatedBifurcation(num_reads=8))
      >>> solution.reads.shape
      (8, 20)
    """
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem must be a Qubo, an Ising or an AttentionHamiltonian, got {type(problem).__name__}; "
            "wrap a matrix as qama_jax.Qubo(matrix)"
        )
    if isinstance(solver, type) or not isinstance(solver, Solver):
        raise ValueError(f"solver must be an instance such as qama_jax.SimulatedBifurcation(), got {solver!r}")
    check_key(key, "key")
    problem.shape  # noqa: B018 - raises where the problem carries a batch axis
    return _solve(key, problem, solver)


@functools.partial(jax.jit, static_argnames="solver", inline=True)
def _solve(key: Key[Array, ""], problem: Problem, solver: Solver) -> Solution:
    problem = jax.lax.stop_gradient(problem)
    if solver.num_reads == 1:
        # Without an axis of size 1 in the innermost loop, which costs XLA a transposition in every product.
        reads, info = jax.tree.map(lambda leaf: leaf[None], solver.sample(key, problem))
    else:
        reads, info = jax.vmap(solver.sample, in_axes=(0, None))(jax.random.split(key, solver.num_reads), problem)
    reads = jax.vmap(problem.clamp)(reads)
    energies = jax.vmap(problem.energy)(reads)
    best = jnp.argmin(energies)
    return Solution(reads[best], energies[best], reads, energies, info)


def check_key(key: Any, name: str) -> None:
    """Raises `ValueError`, naming the argument, unless `key` is a single typed PRNG key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"{name} must be a typed PRNG key; pass jax.random.key(seed), not jax.random.PRNGKey(seed)")
    if key.shape != ():
        raise ValueError(f"{name} must be a single key, got shape {key.shape}; for a batch of keys, use jax.vmap")


def check_positive(**settings: float) -> None:
    """Raises `ValueError` for the first setting that is not a positive number."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")


def check_count(**settings: int) -> None:
    """Raises `ValueError` for the first setting that is not an integer of at least 1."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
