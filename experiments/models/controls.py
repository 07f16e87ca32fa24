"""Controls of the annealed selection: the same read-outs with nothing annealed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from qama_jax import (
    AttentionHamiltonian,
    EnergyReadout,
    MemoryReadout,
    MixedMemoryReadout,
    Readout,
    Solver,
    SteepestDescent,
)
from qama_jax.problems.attention import Select
from qama_jax.problems.base import Bits, Problem
from qama_jax.readouts import is_mixing
from qama_jax.readouts.selection import Selection
from qama_jax.solvers import Solution


@dataclasses.dataclass(frozen=True)
class OneField:
    """A solver that takes one step: the signs of the fields of a random state."""

    num_reads: int = 1

    def sample(self, key: jax.Array, problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, jax.Array]]:
        """See `qama_jax.Solver`."""
        del initial_bits
        start = problem.clamp(jax.random.bernoulli(key, shape=problem.shape).astype(jnp.int8))
        return (problem.field(start) > 0).astype(jnp.int8)[None], {}


@dataclasses.dataclass(frozen=True)
class FixedSelection:
    """A solver that costs nothing: every second bit, whatever the problem."""

    num_reads: int = 1

    def sample(self, key: jax.Array, problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, jax.Array]]:
        """See `qama_jax.Solver`."""
        del key, initial_bits
        bits = jnp.arange(np.prod(problem.shape)).reshape(problem.shape) % 2
        return problem.clamp(bits.astype(jnp.int8))[None], {}


@dataclasses.dataclass(frozen=True)
class ImportanceSelection:
    """A solver that sees no couplings: the signs of the importances."""

    num_reads: int = 1

    def sample(self, key: jax.Array, problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, jax.Array]]:
        """See `qama_jax.Solver`."""
        del key, initial_bits
        return problem.clamp((problem.linear > 0).astype(jnp.int8))[None], {}


@dataclasses.dataclass(frozen=True)
class AllSelected:
    """A solver that selects every token."""

    num_reads: int = 1

    def sample(self, key: jax.Array, problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, jax.Array]]:
        """See `qama_jax.Solver`."""
        del key, initial_bits
        return problem.clamp(jnp.ones(problem.shape, jnp.int8))[None], {}


@dataclasses.dataclass(frozen=True)
class RandomSelection:
    """A solver whose bits are the signs of random numbers, which its info has as `field`."""

    num_reads: int = 1

    def sample(self, key: jax.Array, problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, jax.Array]]:
        """See `qama_jax.Solver`."""
        del initial_bits
        field = jax.random.normal(key, problem.shape, problem.dtype)
        return (field > 0).astype(jnp.int8)[None], {"field": field}


@dataclasses.dataclass(frozen=True)
class UncoupledReadout:
    """A read-out that gets a problem without couplings and penalty, and its solution, the signs of its fields.

    The fields are the importances, or after `RandomSelection` random numbers. All else is as with the annealer.
    """

    readout: Readout

    @property
    def select(self) -> Select:
        """That of the read-out."""
        return self.readout.select

    @property
    def mixes(self) -> bool:
        """That of the read-out."""
        return is_mixing(self.readout)

    def read(
        self, hamiltonian: AttentionHamiltonian, solution: Solution, *arguments: jax.Array, **weights: jax.Array
    ) -> jax.Array:
        """See `qama_jax.Readout`."""
        return self.readout.read(*_uncoupled(hamiltonian, solution), *arguments, **weights)


@dataclasses.dataclass(frozen=True)
class UncoupledMemory(MixedMemoryReadout):
    """The same for `MixedMemoryReadout`, whose chunks keep the keys of largest importance, or random ones."""

    def remember(self, hamiltonian: AttentionHamiltonian, solution: Solution) -> Selection:
        """See `qama_jax.MemoryReadout`."""
        return super().remember(*_uncoupled(hamiltonian, solution))


@dataclasses.dataclass(frozen=True)
class SinkMemory(MemoryReadout):
    """A memory of the first `memory_size` tokens, at most `num_keys`, at full weight; of none if it forgets.

    Of equal gates the earlier key is kept, and so those of the first chunk.

    References:
      Xiao et al., "Efficient Streaming Language Models with Attention Sinks", arXiv:2309.17453.
    """

    forgets: bool = False

    def remember(self, hamiltonian: AttentionHamiltonian, solution: Solution) -> Selection:
        """See `qama_jax.MemoryReadout`."""
        del solution
        heads, tokens = hamiltonian.shape
        shape = (heads, min(self.num_keys, tokens))
        first = jnp.broadcast_to(jnp.arange(shape[1])[None], shape)
        gates = jnp.zeros(shape, hamiltonian.dtype)
        return Selection(first, gates, jnp.full(shape, not self.forgets))


_CONTROLS: dict[str, Solver] = {
    "descent": SteepestDescent(),
    "field": OneField(),
    "importance": ImportanceSelection(),
    "random": RandomSelection(),
    "all": AllSelected(),
}
# Whose selection a read-out gets: the annealer's, or that of a control.
SELECTIONS = ("annealed", *_CONTROLS)


def control(selection: str, readout: Readout) -> tuple[Solver, Readout]:
    """Solver and read-out of a layer with the selection of a control, one of `SELECTIONS` but "annealed".

    Of importances and random numbers, values of keys are read without couplings, as if there were none. Energies keep
    their couplings, without which each would be of its own token alone: there the selection alone differs.
    """
    uncoupled = selection in ("importance", "random") and not isinstance(readout, EnergyReadout)
    return _CONTROLS[selection], UncoupledReadout(readout) if uncoupled else readout


def _uncoupled(hamiltonian: AttentionHamiltonian, solution: Solution) -> tuple[AttentionHamiltonian, Solution]:
    field = solution.info.get("field", hamiltonian.linear)
    uncoupled = dataclasses.replace(
        hamiltonian,
        coupling=jax.tree.map(jnp.zeros_like, hamiltonian.coupling),
        linear=hamiltonian.clamp(field),
        penalty=jnp.zeros_like(hamiltonian.penalty),
    )
    bits = jax.lax.stop_gradient(hamiltonian.clamp((field > 0).astype(jnp.int8)))
    return uncoupled, solution._replace(bits=bits, reads=bits[None])
