"""Any dimod sampler as a backend: the machines of D-Wave, and the annealers of dwave-samplers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qama_jax.hardware.backend import MachineProblem, sample_one_by_one
from qama_jax.hardware.machine import Machine

if TYPE_CHECKING:
    import dimod


class DimodBackend:
    """Problems to a `dimod.Sampler`: linear terms as they are, and no rounding, which is the sampler's affair.

    Rows that the sampler has counted together are repeated. `num_reads` and, where `parameters` have none, a seed
    from the PRNG key are passed to samplers that take them, so that equal keys give equal solutions.

    Args:
      sampler: for a machine of D-Wave, one with its embedding, such as `EmbeddingComposite(DWaveSampler())`.
      **parameters: passed to every `sampler.sample`.

    Raises:
      ImportError: if dimod is not installed.
      ValueError: if `sampler` is no dimod sampler, or does not take one of the parameters.
    """

    machine = Machine(num_spins=None, coupling_bits=None, auxiliary_spins=0)

    def __init__(self, sampler: "dimod.Sampler", **parameters: Any):
        try:
            import dimod
        except ImportError as error:
            raise ImportError("DimodBackend needs dimod: pip install 'qama-jax[dimod]'") from error
        if not isinstance(sampler, dimod.Sampler):
            raise ValueError(
                f"sampler must be an instance of dimod.Sampler, such as dwave.samplers.SimulatedAnnealingSampler(), "
                f"got {sampler!r}"
            )
        unknown = set(parameters) - set(sampler.parameters)
        if unknown:
            raise ValueError(
                f"{', '.join(sorted(unknown))}: no parameter of {type(sampler).__name__}, which takes "
                f"{', '.join(sorted(sampler.parameters))}"
            )
        if "num_reads" in parameters:
            raise ValueError("num_reads is the solver's: pass CimSolver(backend, num_reads=...)")
        self.sampler = sampler
        self.parameters = parameters
        settings = [f"{name}={value!r}" for name, value in parameters.items()]
        self.name = f"DimodBackend({', '.join([type(sampler).__name__, *settings])})"

    def run(self, problem: MachineProblem, num_reads: int) -> np.ndarray:
        """Spins for one problem."""
        given = {"num_reads": num_reads, "seed": problem.seed % 2**31}
        given = {name: value for name, value in given.items() if name in self.sampler.parameters}
        samples = self.sampler.sample(_to_bqm(problem), **given | self.parameters)
        record = samples.change_vartype("SPIN", inplace=False).record
        spins = record.sample[:, np.argsort(np.asarray(samples.variables))]
        return np.repeat(spins, record.num_occurrences, axis=0)

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> list[np.ndarray]:
        """See `Backend`."""
        return sample_one_by_one(self, problems, num_reads)


def _to_bqm(problem: MachineProblem) -> "dimod.BinaryQuadraticModel":
    """The same energies, in dimod's signs: `Σ h_i σ_i + Σ_{i<j} J_ij σ_i σ_j`."""
    import dimod

    rows, columns = np.nonzero(np.triu(problem.couplings, 1))
    quadratic = rows, columns, -problem.couplings[rows, columns].astype(np.float64)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(-problem.biases.astype(np.float64), quadratic, 0.0, dimod.SPIN)
