"""Simulation of a coherent Ising machine."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qama_jax.checks import check_count, check_flag, check_not_negative, check_positive
from qama_jax.problems.base import Bits, Problem
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.relaxation import Relaxation, relax
from qama_jax.solvers.schedules import Schedule, check_schedule, evaluate


class _Pulses(NamedTuple):
    """A problem as pulses feel it. Those of bits held at 0, such as padding, feel nothing and are not free: their
    error variables would outgrow all others.
    """

    relaxed: Relaxation
    free: Bool[Array, "..."]


class _State(NamedTuple):
    amplitude: Float[Array, "..."]
    error: Float[Array, "..."]


@dataclasses.dataclass(frozen=True)
class CoherentIsingMachine(IterativeSolver):
    """A simulated coherent Ising machine: mean-field equations of degenerate optical parametric oscillators.

    Amplitudes x of the pulses are measured, `x̃ = x + measurement_noise · ξ`, and fed back through the couplings; an
    error variable e of each pulse holds its amplitude at a target (chaotic amplitude control):

        dx = [(p - 1 - x²) x + feedback_strength · e F(x̃)] dt,    de = error_rate · (target - x²) e dt

    p is the pump in units of the threshold of a lone pulse, F half the field at the bits (1 + x̃/√target)/2, over
    the root-mean-square row norm of the Ising couplings. Error variables are scaled down together where their mean
    would exceed 1. The control keeps the system moving between minima, so that the lowest state on the way is taken,
    then descent. This is a model on ordinary hardware, and says nothing about the speed of an optical machine.

    Args:
      num_steps: steps of integration; each costs one product with the couplings.
      num_reads: independent runs; the best is the solution.
      time_step: dt, in photon lifetimes.
      pump: schedule of p over the run, a tuple (linear between its values) or a function of the fraction done.
      feedback_strength: strength of the couplings.
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
    keep_best = True

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_steps=self.num_steps, num_reads=self.num_reads)
        check_count(0, max_descent_steps=self.max_descent_steps)
        check_positive(time_step=self.time_step, feedback_strength=self.feedback_strength, target=self.target)
        check_schedule("pump", self.pump)
        check_not_negative(measurement_noise=self.measurement_noise, error_rate=self.error_rate)

    def arrange(self, problem: Problem) -> _Pulses:
        free = problem.clamp(jnp.ones(problem.shape, jnp.int8)) == 1
        return _Pulses(relax(problem, self.feedback_strength), free)

    def schedule(self, problem: Problem) -> Float[Array, "num_steps"]:
        return evaluate(self.pump, self.num_steps, problem.dtype)

    def init(self, key: Key[Array, ""], pulses: _Pulses, bits: Bits | None) -> _State:
        problem = pulses.relaxed.problem
        x = 0.1 * jax.random.uniform(key, problem.shape, problem.dtype, -1, 1)
        if bits is not None:
            x = jnp.abs(x) * (2 * bits.astype(x.dtype) - 1)
        return _State(x, jnp.ones_like(x))

    def step(self, key: Key[Array, ""], pulses: _Pulses, state: _State, pump: Float[Array, ""]) -> tuple[_State, None]:
        x, error = state
        noise = jax.random.normal(key, x.shape, x.dtype)
        measured = (x + self.measurement_noise * noise) / self.target**0.5
        x = x + self.time_step * ((pump - 1 - x**2) * x + error * pulses.relaxed.force(measured))
        # A pulse far above its target would leave the range in which the explicit step is stable.
        x = jnp.clip(x, -1.5 * self.target**0.5, 1.5 * self.target**0.5)
        error = error * jnp.exp(self.time_step * self.error_rate * (self.target - x**2))
        mean = jnp.sum(error, where=pulses.free) / jnp.maximum(jnp.sum(pulses.free, dtype=x.dtype), 1)
        return _State(x, error / jnp.maximum(1, mean)), None

    def bits(self, pulses: _Pulses, state: _State) -> Bool[Array, "..."]:
        return state.amplitude > 0
