"""A coherent Ising machine with the limits of a real one, simulated."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Key

from qama_jax.checks import check_not_negative
from qama_jax.hardware.embedding import Embedding, decode, embed
from qama_jax.hardware.machine import Machine
from qama_jax.problems import Ising, Problem
from qama_jax.problems.base import Bits
from qama_jax.solvers import CoherentIsingMachine
from qama_jax.solvers.schedules import Schedule


@dataclasses.dataclass(frozen=True)
class SimulatedMachine:
    """What a machine would answer, without one: a solver for planning, and for training against the machine.

    A problem goes the way of `CimSolver`: `embed` to couplings that the machine can take, there the dynamics of
    `qama_jax.CoherentIsingMachine`, `decode` by the majority of the auxiliary spins. Nothing is repaired afterwards:
    there is no descent, and the dynamics see the rounded couplings alone. As machines have no control of amplitudes,
    the error variables of that model are off. All of it is JAX, usable under `jax.jit` and `jax.vmap` and as
    `solver=` of an attention layer. It says how good a machine's answers are, and nothing about its speed.

    Args:
      machine: limits: number of spins, bits of a coupling, auxiliary spins. With `auxiliary_spins=0` strong linear
        terms, at full strength while pulses are small, decide too early, and attention problems are solved badly.
      coupling_noise: standard deviation of Gaussian errors of all couplings between spins used, and of linear terms
        where the machine takes them, in units of the largest coupling it can take, or for real couplings, of the
        largest there is. Drawn once per problem, as reads share what was programmed. Machines that compute the feedback
        digitally have none.
      num_reads: independent runs of the machine.
      num_steps: steps of integration.
      time_step: in photon lifetimes. Linear terms make a few rows of the couplings heavy, and steps twice as long
        become unstable.
      pump: schedule in units of the threshold, see `CoherentIsingMachine`. It starts far below: then the couplings
        decide which pulses rise first.
      feedback_strength: strength of the couplings over their root-mean-square row norm.
      measurement_noise: standard deviation of the measured amplitudes, in each step. With less, reads differ less.

    Info: `auxiliary_agreement` [num_reads], `|Σ a_k| / c` of the c auxiliary spins used: 1 where all agree.

    Raises:
      ValueError: if a setting is out of range, a problem does not fit on the machine, or the solver is given a
        warm start.

    Example:
      >>> import jax, qama_jax
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -2.0]])
      >>> solver = qama_jax.hardware.SimulatedMachine(num_reads=4)
      >>> solution = qama_jax.solve(jax.random.key(0), qubo, solver)
      >>> float(solution.energy), solution.bits
      (-2.0, Array([0, 1], dtype=int8))

    References:
      Inagaki et al., "A coherent Ising machine for 2000-node optimization problems", Science 354, 603 (2016).
    """

    machine: Machine = dataclasses.field(default=Machine())
    coupling_noise: float = 0.0
    num_reads: int = 1
    num_steps: int = 300
    time_step: float = 0.03
    pump: Schedule = (-4.0, 1.0)
    feedback_strength: float = 6.0
    measurement_noise: float = 0.3

    def __post_init__(self):
        if not isinstance(self.machine, Machine):
            raise ValueError(f"machine must be a qama_jax.hardware.Machine, got {self.machine!r}")
        check_not_negative(coupling_noise=self.coupling_noise)
        self._dynamics()  # which checks its settings

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        if initial_bits is not None:
            raise ValueError("initial_bits cannot be honoured: a machine starts where it likes; leave them out")
        noise_key, key = jax.random.split(key)
        embedding = embed(problem, self.machine)
        n = math.prod(problem.shape)
        couplings, biases = self._programmed(noise_key, embedding, n, problem.dtype)
        bits, _ = self._dynamics().sample(key, _Programmed(couplings, biases), None)
        spins = 2 * bits - 1
        bits = (1 + decode(spins, embedding, n)) // 2
        return bits.reshape(-1, *problem.shape), {"auxiliary_agreement": _agreement(spins, embedding, n)}

    def _dynamics(self) -> CoherentIsingMachine:
        return CoherentIsingMachine(
            num_steps=self.num_steps,
            num_reads=self.num_reads,
            time_step=self.time_step,
            pump=self.pump,
            feedback_strength=self.feedback_strength,
            measurement_noise=self.measurement_noise,
            error_rate=0.0,
            max_descent_steps=0,
        )

    def _programmed(
        self, key: Key[Array, ""], embedding: Embedding, n: int, dtype: jnp.dtype
    ) -> tuple[Float[Array, "m m"], Float[Array, "m"]]:
        """Couplings and linear terms as the machine has them."""
        couplings, biases = embedding.couplings.astype(dtype), embedding.biases.astype(dtype)
        if not self.coupling_noise:
            return couplings, biases
        largest = self.machine.largest_coupling
        if largest is None:
            largest = jnp.maximum(jnp.max(jnp.abs(couplings)), jnp.max(jnp.abs(biases)))
        deviation = self.coupling_noise * jnp.asarray(largest, dtype)
        errors = deviation * jax.random.normal(key, (len(biases) + 1, len(biases)), dtype)
        used = jnp.arange(len(biases)) < n + embedding.num_auxiliary
        upper = jnp.where(used[:, None] & used[None], jnp.triu(errors[:-1], 1), 0)
        if self.machine.auxiliary_spins == 0:
            biases = biases + errors[-1]
        return couplings + upper + upper.T, biases


@dataclasses.dataclass(frozen=True, eq=False)
class _Programmed(Ising):
    """What the machine minimises. Spins without couplings, as slots not used are, have no part in the scale."""

    def coupling_scale(self) -> Float[Array, ""]:
        couplings = self.as_matrix()
        coupled = jnp.sum(jnp.any(couplings != 0, axis=1))
        return jnp.sqrt(jnp.sum(couplings**2) / jnp.maximum(coupled, 1).astype(couplings.dtype))


def _agreement(spins: Int8[Array, "reads m"], embedding: Embedding, n: int) -> Float[Array, "reads"]:
    used = jnp.arange(spins.shape[1] - n)[None] < embedding.num_auxiliary
    total = jnp.sum(jnp.where(used, spins[:, n:], 0), axis=1, dtype=jnp.int32)
    return jnp.where(embedding.num_auxiliary > 0, jnp.abs(total) / jnp.maximum(embedding.num_auxiliary, 1), 1.0)
