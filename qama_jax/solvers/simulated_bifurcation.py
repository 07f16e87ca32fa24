"""Ballistic simulated bifurcation."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.base import check_count, check_positive
from qama_jax.solvers.descent import descend


@dataclasses.dataclass(frozen=True)
class SimulatedBifurcation:
    """Ballistic simulated bifurcation, then descent to a local minimum. The training default.

    Oscillators with positions x in [-1, 1] and momenta y follow, at step k of K with pump `a = final_pump · k/K`,

        y += Δt [(a - 1) x + c F(x)],    x += Δt y,    and where |x| > 1: x = sign(x), y = 0

    F being half the field of the problem at the relaxed bits (1 + x)/2, the force of the Ising form. The bits are
    the signs. c is `coupling_strength` over the root-mean-square row norm of the Ising couplings, so that one
    setting serves every size and scale of problem; each step costs one `couple` and moves all bits at once.

    Args:
      num_steps: K. Beyond 60, more steps hardly lower the energies of attention problems; more reads do.
      num_reads: independent runs; the best is the solution.
      time_step: Δt, in units of the oscillators' period over 2π.
      coupling_strength: c before scaling; 1 is the largest value at which the explicit steps stay stable on
        attention problems, 0.5 is what the references use for random couplings.
      final_pump: pump at the last step, in units of the threshold of a free oscillator. Below 1 oscillators
        that the couplings hold near 0 stay undecided longer, and the descent places them.
      initial_amplitude: positions and momenta start uniform in ± this. None means 0.1 for a single read, and 1 for
        several, which have to differ to be worth their cost.
      max_descent_steps: limit of the descent; a step costs about as much as one of the dynamics.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Goto et al., "High-performance combinatorial optimization based on classical mechanics",
      Science Advances 7, eabe7953 (2021).
    """

    num_steps: int = 60
    num_reads: int = 1
    time_step: float = 1.0
    coupling_strength: float = 1.0
    final_pump: float = 0.6
    initial_amplitude: float | None = None
    max_descent_steps: int = 32

    def __post_init__(self):
        check_count(num_steps=self.num_steps, num_reads=self.num_reads)
        check_positive(time_step=self.time_step, coupling_strength=self.coupling_strength)
        if self.initial_amplitude is not None:
            check_positive(initial_amplitude=self.initial_amplitude)
        if not 0 <= self.final_pump <= 1:
            raise ValueError(f"final_pump must be between 0 and 1, got {self.final_pump!r}")
        if (
            isinstance(self.max_descent_steps, bool)
            or not isinstance(self.max_descent_steps, int)
            or self.max_descent_steps < 0
        ):
            raise ValueError(f"max_descent_steps must be an integer >= 0, got {self.max_descent_steps!r}")

    def sample(self, key: Key[Array, ""], problem: Problem) -> tuple[Bits, dict[str, Array]]:
        dtype = problem.dtype
        # Fields are linear, so one constant and the bare couplings of x give the field at (1 + x)/2.
        centre = problem.field(jnp.full(problem.shape, 0.5, dtype))
        scale = problem.coupling_scale()
        strength = self.coupling_strength / jnp.where(scale > 0, scale, 1)

        def step(index, state):
            x, y = state
            pump = self.final_pump * (index + 1).astype(dtype) / self.num_steps
            force = 2 * centre + problem.couple(x)
            y = y + self.time_step * ((pump - 1) * x + strength * force)
            moved = x + self.time_step * y
            return jnp.clip(moved, -1, 1), jnp.where(jnp.abs(moved) > 1, 0, y)

        amplitude = self.initial_amplitude or (0.1 if self.num_reads == 1 else 1.0)
        x, y = amplitude * jax.random.uniform(key, (2, *problem.shape), dtype, -1, 1)
        x, _ = jax.lax.fori_loop(0, self.num_steps, step, (x, y))
        bits = problem.clamp((x > 0).astype(jnp.int8))
        bits, descent_steps = descend(problem, bits, self.max_descent_steps)
        return bits, {"descent_steps": descent_steps}
