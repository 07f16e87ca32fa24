"""Simulation of a coherent Ising machine."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.base import check_count, check_positive, map_reads
from qama_jax.solvers.descent import descend
from qama_jax.solvers.schedules import Schedule, check_schedule, evaluate


@dataclasses.dataclass(frozen=True)
class CoherentIsingMachine:
    """A simulated coherent Ising machine: mean-field equations of degenerate optical parametric oscillators.

    Amplitudes x of the pulses are measured, `x̃ = x + measurement_noise · ξ`, and fed back through the couplings; an
    error variable e of each pulse holds its amplitude at a target (chaotic amplitude control):

        dx = [(p - 1 - x²) x + feedback_strength · e F(x̃)] dt,    de = error_rate · (target - x²) e dt

    p is the pump in units of the threshold of a lone pulse, F half the field at the bits (1 + x̃/√target)/2, over
    the root-mean-square row norm of the Ising couplings. Error variables are scaled down together where their mean
    would exceed 1. The control keeps the system moving between minima, so that the lowest state on the way is taken,
    then descent. This is a model on ordinary hardware, and says nothing of the speed of an optical machine.

    Args:
      num_steps: steps of integration; each costs one product with the couplings.
      num_reads: independent runs; the best is the solution.
      time_step: dt, in photon lifetimes.
      pump: schedule of p over the run, a tuple (linear between its values) or a function of the fraction done.
      feedback_strength: of the couplings.
      measurement_noise: standard deviation of the measured amplitudes.
      error_rate: how fast the error variables react; 0 turns the control off.
      target: squared amplitude that the control aims at.
      max_descent_steps: limit of the descent.
      record_energy: adds `energy_trace` [num_reads, num_steps], of the signs, to the info.

    Info: `descent_steps` [num_reads].

    Raises:
      ValueError: if a setting is out of range.

    References:
      Leleu, Yamamoto, McMahon, Aihara, "Destabilization of local minima in analog spin systems by correction of
      amplitude heterogeneity", Physical Review Letters 122, 040607 (2019).
      Inagaki et al., "A coherent Ising machine for 2000-node optimization problems", Science 354, 603 (2016).
    """

    num_steps: int = 200
    num_reads: int = 1
    time_step: float = 0.1
    pump: Schedule = (0.0, 1.0)
    feedback_strength: float = 1.0
    measurement_noise: float = 0.1
    error_rate: float = 0.3
    target: float = 1.0
    max_descent_steps: int = 32
    record_energy: bool = False

    def __post_init__(self):
        check_count(num_steps=self.num_steps, num_reads=self.num_reads)
        check_count(0, max_descent_steps=self.max_descent_steps)
        check_positive(time_step=self.time_step, feedback_strength=self.feedback_strength, target=self.target)
        check_schedule("pump", self.pump)
        for name in ("measurement_noise", "error_rate"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        dtype = problem.dtype
        # Fields are linear, so one constant and the bare couplings of x give the field at (1 + x)/2.
        centre = problem.field(jnp.full(problem.shape, 0.5, dtype))
        scale = problem.coupling_scale()
        strength = self.feedback_strength / jnp.where(scale > 0, scale, 1)
        pumps = evaluate(self.pump, self.num_steps, dtype)
        # Bits held at 0, such as those of padding, feel nothing, and their error variables would outgrow all others.
        free = problem.clamp(jnp.ones(problem.shape, jnp.int8)) == 1

        def read(key, initial_bits):
            start_key, noise_key = jax.random.split(key)

            def step(state, row):
                x, error, best, lowest = state
                index, pump = row
                noise = jax.random.normal(jax.random.fold_in(noise_key, index), x.shape, dtype)
                measured = (x + self.measurement_noise * noise) / self.target**0.5
                force = strength * (2 * centre + problem.couple(measured))
                x = x + self.time_step * ((pump - 1 - x**2) * x + error * force)
                # A pulse far above its target would leave the range in which the explicit step is stable.
                x = jnp.clip(x, -1.5 * self.target**0.5, 1.5 * self.target**0.5)
                error = error * jnp.exp(self.time_step * self.error_rate * (self.target - x**2))
                error = error / jnp.maximum(1, jnp.sum(error, where=free) / jnp.maximum(jnp.sum(free, dtype=dtype), 1))
                bits = problem.clamp((x > 0).astype(jnp.int8))
                energy = problem.energy(bits)
                best = jnp.where(energy < lowest, bits, best)
                return (x, error, best, jnp.minimum(energy, lowest)), energy if self.record_energy else None

            x = 0.1 * jax.random.uniform(start_key, problem.shape, dtype, -1, 1)
            if initial_bits is not None:
                x = jnp.abs(x) * (2 * initial_bits.astype(dtype) - 1)
            start = problem.clamp((x > 0).astype(jnp.int8))
            state = x, jnp.ones_like(x), start, problem.energy(start)
            (_, _, best, _), trace = jax.lax.scan(step, state, (jnp.arange(self.num_steps), pumps))
            bits, descent_steps = descend(problem, best, self.max_descent_steps)
            return bits, {"descent_steps": descent_steps} | ({"energy_trace": trace} if self.record_energy else {})

        return map_reads(read, key, self.num_reads, initial_bits)
