"""The one loop over steps, for every solver that moves a state."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.descent import descend
from qama_jax.solvers.base import map_reads


class IterativeSolver:
    """A solver that moves a state step by step: say what a step is, and `sample` does the rest.

    A subclass is a frozen dataclass of Python scalars that defines `schedule`, `init`, `step` and `bits`. The loop, the
    reads, the energies on the way, the best state and the descent are written here, once. What a step needs of the
    problem and does not change, `arrange` computes before the loop.

    Attributes:
      num_reads: independent runs.
      record_energy: adds to the info `energy_trace` [num_reads, num_steps], the energies of `bits` after each step.
      max_descent_steps: limit of the descent that follows, its steps being `descent_steps` [num_reads] of the info;
        None for no descent.
      reads_together: whether a state holds all reads, in whatever order of axes makes it fast: then bits come and go
        as [num_reads, *problem.shape]. By default it is the state of one read, and bits have the problem's shape.
      random_steps: whether steps draw random numbers. Where not, their key is None.
      keep_best: whether the read is the lowest state on the way, the start included, and not the last one.
      unroll: steps that an iteration of the compiled loop makes on GPUs by CUDA, where what follows a step then joins
        it in a kernel, and each kernel is a launch. More take longer to compile.

    Example:
      >>> import dataclasses, jax, qama_jax
      >>> @dataclasses.dataclass(frozen=True)
      ... class Glauber(qama_jax.solvers.IterativeSolver):
      ...     num_reads: int = 1
      ...     def schedule(self, problem):
      ...         return jax.numpy.linspace(0, 5, 100, dtype=problem.dtype)
      ...     def init(self, key, problem, bits):
      ...         return jax.numpy.zeros(problem.shape, problem.dtype) if bits is None else bits.astype(problem.dtype)
      ...     def step(self, key, problem, state, beta):
      ...         noise = jax.random.logistic(key, (), problem.dtype)
      ...         index = jax.random.randint(key, (), 0, state.size)
      ...         chosen = beta * problem.field(state)[index] + noise > 0
      ...         return state.at[index].set(chosen.astype(state.dtype)), None
      ...     def bits(self, problem, state):
      ...         return state
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -2.0]])
      >>> qama_jax.solve(jax.random.key(0), qubo, Glauber()).bits
      Array([0, 1], dtype=int8)
    """

    num_reads: int = 1
    record_energy: bool = False
    max_descent_steps: Any = None  # int or None, and in a subclass perhaps int alone
    reads_together: ClassVar[bool] = False
    random_steps: ClassVar[bool] = True
    keep_best: ClassVar[bool] = False
    unroll: ClassVar[int] = 1

    def arrange(self, problem: Problem) -> Any:
        """What `init`, `step`, `bits` and `report` take as the problem; by default the problem itself."""
        return problem

    def schedule(self, problem: Problem) -> Any:
        """What changes from step to step: a pytree of arrays whose leading axis is that of the steps."""
        raise NotImplementedError

    def init(self, key: Key[Array, ""], arranged: Any, bits: Bits | None, /) -> Any:
        """The state before the first step, from `bits` in a warm start."""
        raise NotImplementedError

    def step(self, key: Any, arranged: Any, state: Any, row: Any, /) -> tuple[Any, Any]:
        """The next state, and what `report` shall see of the step; `row` is that of the schedule."""
        raise NotImplementedError

    def bits(self, arranged: Any, state: Any, /) -> Shaped[Array, "..."]:
        """The bits of a state, 0 and 1 of any type. Those that the problem holds fixed may be anything."""
        raise NotImplementedError

    def report(self, arranged: Any, rows: Any, state: Any, infos: Any, /) -> dict[str, Array]:
        """Entries of the info, from the schedule, the last state, and what the steps returned, stacked."""
        del arranged, rows, state, infos
        return {}

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        """All reads and the info, see `Solver`."""
        run = functools.partial(self._run, problem, self.arrange(problem), self.schedule(problem))
        return run(key, initial_bits) if self.reads_together else map_reads(run, key, self.num_reads, initial_bits)

    def _run(
        self, problem: Problem, arranged: Any, rows: Any, key: Key[Array, ""], initial_bits: Bits | None
    ) -> tuple[Bits, dict[str, Array]]:
        each = jax.vmap if self.reads_together else lambda function: function
        energy, clamp = each(problem.relative_energy), each(problem.clamp)
        steps = jnp.arange(len(jax.tree.leaves(rows)[0]))
        keys = None
        if self.random_steps:
            key, step_key = jax.random.split(key)
            keys = jax.vmap(functools.partial(jax.random.fold_in, step_key))(steps)

        def read(state):
            return clamp(self.bits(arranged, state).astype(jnp.int8))

        def advance(carry, row):
            (state, best), (here, row) = carry, row
            state, info = self.step(here, arranged, state, row)
            reached = None
            if self.record_energy or self.keep_best:
                bits = read(state)
                reached = energy(bits)
                if best is not None:
                    best = each(lower)(best[0], best[1], bits, reached)
            return (state, best), (info, reached if self.record_energy else None)

        state = self.init(key, arranged, initial_bits)
        best = (read(state), energy(read(state))) if self.keep_best else None
        (state, best), (infos, trace) = _scan(advance, (state, best), (keys, rows), self.unroll)
        bits = read(state) if best is None else best[0]
        info = self.report(arranged, rows, state, infos)
        if self.max_descent_steps is not None:
            polish = each(functools.partial(descend, problem, max_steps=self.max_descent_steps))
            bits, info["descent_steps"] = polish(bits)
        if trace is not None:
            info["energy_trace"] = jnp.swapaxes(trace, 0, -1) + problem.offset
        return bits, info


def _scan(step: Callable[..., Any], carry: Any, rows: Any, unroll: int) -> tuple[Any, Any]:
    """The steps one after the other, several in an iteration where that spares launches."""
    if unroll == 1:
        return jax.lax.scan(step, carry, rows)
    unrolled = functools.partial(jax.lax.scan, step, unroll=unroll)
    return jax.lax.platform_dependent(carry, rows, cuda=unrolled, default=functools.partial(jax.lax.scan, step))


def lower(best: Bits, lowest: Float[Array, ""], bits: Bits, energy: Float[Array, ""]) -> tuple[Bits, Float[Array, ""]]:
    """The state of lower energy of two, the first where they are equal, and its energy."""
    is_lower = energy < lowest
    return jnp.where(is_lower, bits, best), jnp.where(is_lower, energy, lowest)
