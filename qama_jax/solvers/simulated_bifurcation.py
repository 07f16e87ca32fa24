"""Simulated bifurcation."""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qama_jax.checks import check_choice, check_count, check_flag, check_not_negative, check_positive
from qama_jax.lengths import at_most
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.relaxation import Relaxation, relax
from qama_jax.solvers.schedules import Schedule, check_schedule, evaluate

# Share of the stability limit that is used, as eigenvalues are estimates.
_STABLE = 0.9

# From this many valid tokens on, every field is a sum of so many bits that it settles in few steps.
_LONG = 192
_STEPS, _STEPS_OF_LONG = 60, 20


class _State(NamedTuple):
    position: Float[Array, "..."]
    momentum: Float[Array, "..."]


class _Row(NamedTuple):
    pump: Float[Array, "*steps"]
    time_step: Float[Array, "*steps"]


@dataclasses.dataclass(frozen=True)
class SimulatedBifurcation(IterativeSolver):
    """Simulated bifurcation, then descent to a local minimum. The training default.

    Oscillators with positions x in [-1, 1] and momenta y follow, with a pump a that rises over the run,

        y += Δt [(a - 1) x + c F(x)],    x += Δt y,    and where |x| > 1: x = sign(x), y = 0

    F being half the field of the problem at the relaxed bits (1 + x)/2, the force of the Ising form ("ballistic"), or
    at the bits that the signs of x give ("discrete"). Heating adds Δt γ times the momentum before the step, so that an
    oscillator stopped by a wall is not at rest. The bits are the signs. c is `coupling_strength` over the
    root-mean-square row norm of the Ising couplings, so that one setting serves every size and scale of problem; each
    step costs one `couple` and moves all bits at once.

    Args:
      num_steps: steps of integration. None means 20 for attention problems of 192 valid tokens or more, which settle
        sooner, and 60 for all others, and where `jax.export` leaves the number of tokens open; beyond, more hardly
        lower the energies of attention problems, but more reads do.
        On tokens in few clusters or with near-duplicates, where groups of bits move as one, only more reads do.
      num_reads: independent runs; the best is the solution.
      mode: "ballistic" or "discrete".
      heating: γ, 0 for none.
      time_step: Δt, in units of the oscillators' period over 2π.
      coupling_strength: c before scaling, lowered where the explicit steps would be unstable. 0.5 is what the
        references use for random couplings; attention problems are solved better at 1.
      pump: schedule of a in units of the threshold of a free oscillator, a tuple (linear between its values) or a
        function of the fraction done. Ending below 1, oscillators that the couplings hold near 0 stay undecided
        longer, and the descent places them.
      initial_amplitude: positions and momenta start uniform in ± this. None means 0.1 for a single read, and 3 for
        several, which have to differ to be worth their cost: most oscillators then meet a wall in the first step.
        In a warm start positions have the signs of the bits.
      max_descent_steps: limit of the descent; a step costs about as much as one of the dynamics.
      record_energy: adds `energy_trace` [num_reads, num_steps], of the signs, to the info.

    Info: `descent_steps` [num_reads].

    Raises:
      ValueError: if a setting is out of range.

    References:
      Goto et al., "High-performance combinatorial optimization based on classical mechanics",
      Science Advances 7, eabe7953 (2021).
      Kanao and Goto, "Simulated bifurcation assisted by thermal fluctuation", Communications Physics 5, 153 (2022).
    """

    num_steps: int | None = None
    num_reads: int = 1
    mode: Literal["ballistic", "discrete"] = "ballistic"
    heating: float = 0.0
    time_step: float = 1.0
    coupling_strength: float = 1.0
    pump: Schedule = (0.0, 0.6)
    initial_amplitude: float | None = None
    max_descent_steps: int = 32
    record_energy: bool = False
    random_steps = False
    unroll = 10

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_reads=self.num_reads)
        if self.num_steps is not None:
            check_count(num_steps=self.num_steps)
        check_count(0, max_descent_steps=self.max_descent_steps)
        check_choice(("ballistic", "discrete"), mode=self.mode)
        check_positive(time_step=self.time_step, coupling_strength=self.coupling_strength)
        check_schedule("pump", self.pump)
        if self.initial_amplitude is not None:
            check_positive(initial_amplitude=self.initial_amplitude)
        if self.time_step >= 2:
            raise ValueError(f"time_step must be below 2, where a free oscillator is unstable, got {self.time_step!r}")
        check_not_negative(heating=self.heating)

    def arrange(self, problem: Problem) -> Relaxation:
        relaxed = relax(problem, self.coupling_strength)
        strength = relaxed.strength
        # The fastest mode has ω² = 1 + strength |lowest eigenvalue|, and explicit steps follow it while ω Δt < 2.
        stiffness = -problem.lowest_eigenvalue()
        limit = _STABLE * (4 / self.time_step**2 - 1)
        strength = jnp.where(strength * stiffness > limit, limit / jnp.where(stiffness > 0, stiffness, 1), strength)
        return relaxed._replace(strength=strength)

    def schedule(self, problem: Problem) -> _Row:
        def rows(num_steps):
            pump = evaluate(self.pump, num_steps, problem.dtype)
            return _Row(pump, jnp.full_like(pump, self.time_step))

        if self.num_steps is not None:
            return rows(self.num_steps)
        tokens = problem.shape[-1]
        if not isinstance(problem, AttentionHamiltonian) or at_most(tokens, _LONG - 1):
            return rows(_STEPS)
        if problem.mask is None:
            return rows(_STEPS_OF_LONG if at_most(_LONG, tokens) else _STEPS)
        # Padding must change nothing, so that the valid tokens count, which are known when it runs: a step of no time
        # leaves the state as it is.
        few = jax.tree.map(lambda row: jnp.pad(row, (0, _STEPS - _STEPS_OF_LONG)), rows(_STEPS_OF_LONG))
        return jax.tree.map(functools.partial(jnp.where, problem.length >= _LONG), few, rows(_STEPS))

    def init(self, key: Key[Array, ""], relaxed: Relaxation, bits: Bits | None) -> _State:
        amplitude = self.initial_amplitude or (0.1 if self.num_reads == 1 else 3.0)
        problem = relaxed.problem
        # Tokens first: JAX counts random numbers through an array, and further tokens must not change those before.
        x, y = amplitude * jax.random.uniform(key, (*problem.shape[::-1], 2), problem.dtype, -1, 1).T
        return _State(x if bits is None else jnp.abs(x) * (2 * bits.astype(x.dtype) - 1), y)

    def step(self, key: None, relaxed: Relaxation, state: _State, row: _Row) -> tuple[_State, None]:
        x, y = state
        force = relaxed.force(jnp.sign(x) if self.mode == "discrete" else x)
        pushed = y + row.time_step * ((row.pump - 1) * x + force)
        moved = x + row.time_step * pushed
        x, pushed = jnp.clip(moved, -1, 1), jnp.where(jnp.abs(moved) > 1, 0, pushed)
        return _State(x, pushed + row.time_step * self.heating * y if self.heating else pushed), None

    def bits(self, relaxed: Relaxation, state: _State) -> Bool[Array, "..."]:
        return state.position > 0
