"""The simulated machine where a real one stands: behind the host callback."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int8

from qama_jax.hardware.backend import MachineProblem, sample_one_by_one
from qama_jax.hardware.simulated_machine import SimulatedMachine
from qama_jax.solvers.schedules import evaluate


class SimulatedBackend:
    """A `SimulatedMachine` as a backend, to try out `CimSolver`, packing, retries and journals without a machine.

    The equations of `qama_jax.CoherentIsingMachine` once more, in NumPy: JAX called from a host callback can wait
    forever for the computation that waits for the callback. Random numbers come from the seed of a problem, so that
    answers can be repeated; they are not those of `SimulatedMachine`, which takes whole batches and is faster.

    Args:
      simulation: the settings. Of its `num_reads` no use is made: `CimSolver(backend, num_reads=...)` has them.

    Raises:
      ValueError: if `simulation` is no `SimulatedMachine`.

    Example:
      >>> import jax, qama_jax, tempfile
      >>> backend = qama_jax.hardware.SimulatedBackend()
      >>> runner = qama_jax.hardware.TaskRunner(backend, journal=tempfile.mkdtemp(), max_tasks=1)
      >>> solver = qama_jax.CimSolver(runner, num_reads=2)
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -2.0]])
      >>> solution = qama_jax.solve(jax.random.key(0), qubo, solver)
      >>> float(solution.energy), runner.stats.submitted
      (-2.0, 1)
    """

    def __init__(self, simulation: SimulatedMachine = SimulatedMachine()):
        if not isinstance(simulation, SimulatedMachine):
            raise ValueError(f"simulation must be a qama_jax.hardware.SimulatedMachine, got {simulation!r}")
        self.simulation = simulation
        self.machine = simulation.machine
        self.name = f"SimulatedBackend({simulation!r})"
        # Here and not in `run`, because a schedule may be a function that calls JAX.
        self._pumps = np.asarray(evaluate(simulation.pump, simulation.num_steps, jnp.dtype(jnp.float32)))

    def run(self, problem: MachineProblem, num_reads: int) -> Int8[np.ndarray, "reads m"]:
        """Spins for one problem: for each read, the spins of lowest energy on the way."""
        settings = self.simulation
        rng = np.random.default_rng(problem.seed)
        couplings, biases = self._programmed(rng, problem)
        coupled = max(np.count_nonzero(couplings.any(axis=1)), 1)
        strength = np.float32(settings.feedback_strength / (np.sqrt(np.sum(couplings**2) / coupled) or 1))

        x = rng.uniform(-0.1, 0.1, (num_reads, problem.num_spins)).astype(np.float32)
        best, lowest = np.ones(x.shape, np.int8), np.full(num_reads, np.inf, np.float32)
        for pump in self._pumps:
            noise = rng.standard_normal(x.shape, np.float32)
            force = strength * ((x + settings.measurement_noise * noise) @ couplings + biases)
            # Clipped, because an explicit step does not hold far above the target.
            x = np.clip(x + settings.time_step * ((pump - 1 - x**2) * x + force), -1.5, 1.5)
            spins = np.where(x > 0, np.float32(1), np.float32(-1))
            energies = -np.sum(spins * (spins @ couplings / 2 + biases), axis=1)
            better = energies < lowest
            best[better], lowest[better] = spins[better], energies[better]
        return best

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> list[Int8[np.ndarray, "reads m"]]:
        """See `Backend`."""
        return sample_one_by_one(self, problems, num_reads)

    def _programmed(
        self, rng: np.random.Generator, problem: MachineProblem
    ) -> tuple[Float[np.ndarray, "m m"], Float[np.ndarray, "m"]]:
        """Couplings and linear terms with their errors, as in `SimulatedMachine`."""
        couplings, biases = problem.couplings.astype(np.float32), problem.biases.astype(np.float32)
        if not self.simulation.coupling_noise:
            return couplings, biases
        largest = self.machine.largest_coupling
        if largest is None:
            largest = max(np.abs(couplings).max(), np.abs(biases).max())
        deviation = np.float32(self.simulation.coupling_noise * largest)
        upper = np.triu(deviation * rng.standard_normal(couplings.shape, np.float32), 1)
        if self.machine.auxiliary_spins == 0:
            biases = biases + deviation * rng.standard_normal(biases.shape, np.float32)
        return couplings + upper + upper.T, biases
