"""The one driver: `solve` runs any solver on any problem and returns a `Solution`."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Key
from numpy.typing import ArrayLike

from qama_jax.batching import over_batch
from qama_jax.problems.base import Bits, Problem, check_bits
from qama_jax.seeds import check_key


@runtime_checkable
class Solver(Protocol):
    """A way to find low-energy states: a frozen, hashable dataclass of Python scalars.

    Equal configurations are one static argument, so that they compile once.
    """

    if TYPE_CHECKING:  # `isinstance` shall not ask for it
        __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def num_reads(self) -> int:
        """Independent runs."""
        ...

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        """All reads: bits [num_reads, *problem.shape], and what else there is to know of the run.

        `initial_bits` has the shape of the result, or is None: then the solver starts where it likes.
        """
        ...


@runtime_checkable
class HostSolver(Protocol):
    """A solver that is better off on the host with some problems, where their numbers are known more exactly."""

    def runs_on_host(self, problem: Problem) -> bool:
        """Whether this problem is one of them; never where it is the argument of a transformation."""
        ...

    def solve_on_host(self, problem: Any, initial_bits: Bits | None) -> "Solution":
        """What `solve` returns of it."""
        ...


class Solution(NamedTuple):
    """What a solver found. Energies are computed from the bits, never accumulated.

    Attributes:
      bits: int8, `problem.shape`: the read of lowest energy.
      energy: its energy.
      reads: int8, [num_reads, *problem.shape].
      read_energies: [num_reads].
      info: diagnostics of the solver, an array for each name; see the solver for their shapes.
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


def solve(key: Key[Array, ""], problem: Problem, solver: Solver, *, initial_bits: ArrayLike | None = None) -> Solution:
    """Minimises `problem` with `solver`; compiled, and usable under `jax.jit` and `jax.vmap`.

    Args:
      key: typed PRNG key, `jax.random.key(seed)`. Equal keys give equal solutions.
      problem: one problem; `jax.vmap(solve, in_axes=(0, 0, None))` solves a batch of different ones in one call.
      solver: what to run, static: a change of its settings compiles anew.
      initial_bits: warm start, `problem.shape` for all reads or [num_reads, *problem.shape], such as
        `Solution.reads` of another solver. None: each solver's own start.

    Returns:
      The `Solution`, detached: no gradient flows through it.

    Raises:
      ValueError: if `key` is no single typed key, `problem` carries a batch axis, `initial_bits` does not fit or has
        other values than 0 and 1, or any is of another type.

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
    reads = (solver.num_reads, *problem.shape)  # raises where the problem carries a batch axis
    if initial_bits is not None:
        initial_bits = jnp.asarray(initial_bits)
        if initial_bits.shape not in (problem.shape, reads):
            raise ValueError(
                f"initial_bits must have the shape {problem.shape} of the problem's bits, or {reads} for "
                f"num_reads={solver.num_reads}, got {initial_bits.shape}"
            )
        if not (initial_bits.dtype == jnp.bool_ or jnp.issubdtype(initial_bits.dtype, jnp.integer)):
            raise ValueError(f"initial_bits must be integers 0 and 1 or boolean, got {initial_bits.dtype}")
        check_bits(initial_bits, "initial_bits")
        initial_bits = jnp.broadcast_to(initial_bits, reads)
    if isinstance(solver, HostSolver) and solver.runs_on_host(problem):
        return solver.solve_on_host(problem, initial_bits)
    return over_batch(lambda key, problem, bits: _solve(key, problem, solver, bits), ())(key, problem, initial_bits)


@functools.partial(jax.jit, static_argnames="solver", inline=True)
def _solve(key: Key[Array, ""], problem: Problem, solver: Solver, initial_bits: Bits | None) -> Solution:
    problem = jax.lax.stop_gradient(problem)
    key, initial_bits = _varying_as(problem, (key, initial_bits))
    if initial_bits is not None:
        initial_bits = jax.vmap(problem.clamp)(initial_bits.astype(bool).astype(jnp.int8))
    reads, info = solver.sample(key, problem, initial_bits)
    reads = jax.vmap(problem.clamp)(reads)
    energies = jax.vmap(problem.relative_energy)(reads)
    if solver.num_reads == 1:
        # Where nothing is chosen by it, the energy is computed only if it is asked for.
        return Solution(reads[0], energies[0] + problem.offset, reads, energies + problem.offset, info)
    is_best = (jnp.arange(solver.num_reads) == jnp.argmin(energies)).reshape(-1, *[1] * len(problem.shape))
    # A sum, where an index would gather the reads of all devices to take one of them.
    best = jnp.sum(jnp.where(is_best, reads, 0), axis=0, dtype=reads.dtype)
    return Solution(best, jnp.min(energies) + problem.offset, reads, energies + problem.offset, info)


def _varying_as(problem: Problem, values: Any) -> Any:
    """The same values, under `jax.shard_map` varying over the mesh axes that the problem varies over.

    Solvers start their loops from them, and a loop must not change over which axes its state varies.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return values
    flags = [jnp.zeros_like(leaf, dtype=bool, shape=()) for leaf in jax.tree.leaves(problem)]
    varying = functools.reduce(jnp.logical_or, flags)
    return jax.tree.map(lambda value: jnp.where(varying, value, value), values)


def start_bits(key: Key[Array, ""], problem: Problem, num_reads: int, initial_bits: Bits | None) -> Bits:
    """The warm start, or independent fair bits: [num_reads, *problem.shape]."""
    if initial_bits is not None:
        return initial_bits
    return jax.random.bernoulli(key, shape=(num_reads, *problem.shape)).astype(jnp.int8)


def map_reads(
    read: Callable[[Key[Array, ""], Bits | None], Any], key: Key[Array, ""], num_reads: int, initial_bits: Bits | None
) -> Any:
    """`read(key, initial_bits)` for every read, on a leading axis."""
    if num_reads == 1:
        # Without an axis of size 1 in the innermost loop, which costs XLA a transposition in every product.
        initial = None if initial_bits is None else initial_bits[0]
        return jax.tree.map(lambda leaf: leaf[None], read(key, initial))
    return jax.vmap(read)(jax.random.split(key, num_reads), initial_bits)
