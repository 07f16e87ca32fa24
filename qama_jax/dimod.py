"""The solvers as dimod samplers, to be used wherever D-Wave's tools take one."""

import dataclasses
from typing import Any

import jax
import numpy as np

from qama_jax.problems import Qubo
from qama_jax.problems.bqm import check_bqm
from qama_jax.seeds import choose_seed
from qama_jax.solvers import IterativeSolver, SimulatedAnnealing, Solver, SteepestDescent, solve

try:
    import dimod
except ImportError as error:
    raise ImportError("qama_jax.dimod needs dimod: pip install 'qama-jax[dimod]'") from error


# Range of the largest bias that needs no scaling. Energies are dimod's, so that scaling shows nowhere.
_HELD = 1e-12, 1e12

# Models of at most so many variables, which are dense, are padded to a multiple of the step.
_LARGEST_PADDED, _SIZE_STEP = 128, 32


class DimodSampler(dimod.Sampler):
    """A dimod sampler that runs a solver of qama_jax.

    Models of up to 32 variables compile once, as do those of up to 64, 96 and 128; larger ones where sizes are equal.
    Energies of the sample set are dimod's own, in float64.

    Args:
      solver: what to run. The default suits small and medium models, those with penalties among them.

    Raises:
      ValueError: if `solver` is not an instance of a solver.

    Example:
      >>> from qama_jax.dimod import DimodSampler
      >>> sampleset = DimodSampler().sample_ising({"a": -1.0}, {("a", "b"): -1.0}, num_reads=4, seed=0)
      >>> {variable: int(spin) for variable, spin in sampleset.first.sample.items()}
      {'a': 1, 'b': 1}
      >>> float(sampleset.first.energy)
      -2.0
    """

    def __init__(self, solver: Solver = SimulatedAnnealing(num_sweeps=1000, num_reads=8)):
        if isinstance(solver, type) or not isinstance(solver, Solver):
            raise ValueError(f"solver must be an instance such as qama_jax.SimulatedAnnealing(), got {solver!r}")
        self.solver = solver

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The keyword arguments that `sample`, `sample_ising` and `sample_qubo` take."""
        names = ("num_reads", "seed", "initial_states") if self._takes_num_reads else ("seed", "initial_states")
        return {name: [] for name in names}

    @property
    def properties(self) -> dict[str, Any]:
        """What there is to know of the sampler: its solver, written out."""
        return {"solver": repr(self.solver)}

    def sample(
        self,
        bqm: dimod.BinaryQuadraticModel,
        *,
        num_reads: int | None = None,
        seed: int | None = None,
        initial_states: Any = None,
        **kwargs: Any,
    ) -> dimod.SampleSet:
        """Samples low-energy states of a model.

        Args:
          bqm: model of either vartype, also without variables.
          num_reads: reads instead of the solver's own number.
          seed: integer below 2**32; equal seeds give equal samples. By default a fresh one.
          initial_states: warm start, anything that `dimod.as_samples` takes: one state of the model's vartype for
            all reads, or one for each. None: the solver's own start.
          **kwargs: others are ignored with dimod's `SamplerUnknownArgWarning`, as all its samplers do.

        Returns:
          A `dimod.SampleSet` of the model's vartype, a row for each read; its `info` has the `seed` and the `solver`
          that ran.

        Raises:
          ValueError: if an argument is out of range, `num_reads` is given and the solver has no such setting, or the
            model is no binary quadratic one, or has a bias that is not finite.
        """
        self.remove_unknown_kwargs(**kwargs)
        check_bqm(bqm)
        seed = choose_seed(seed)
        solver = self.solver if num_reads is None else self._with_num_reads(num_reads)
        model = dimod.BinaryQuadraticModel(bqm, dtype=np.float64)
        start = None if initial_states is None else _initial_bits(initial_states, model, solver.num_reads)
        if model.num_variables == 0:
            bits = np.zeros((solver.num_reads, 0), np.int8)
        else:
            scaled = _scaled(model)
            if isinstance(solver, IterativeSolver | SteepestDescent):
                scaled, start = _padded(scaled, start)
            reads = solve(jax.random.key(seed), Qubo.from_bqm(scaled), solver, initial_bits=start).reads
            bits = np.asarray(reads)[:, : model.num_variables]
        samples = 2 * bits - 1 if model.vartype is dimod.SPIN else bits
        info = {"seed": seed, "solver": repr(solver)}
        return dimod.SampleSet.from_samples_bqm((samples, model.variables), model, info=info)

    @property
    def _takes_num_reads(self) -> bool:
        return "num_reads" in (field.name for field in dataclasses.fields(self.solver))

    def _with_num_reads(self, num_reads: int) -> Solver:
        if not self._takes_num_reads:
            raise ValueError(
                f"num_reads is not a setting of {type(self.solver).__name__}, which makes {self.solver.num_reads}; "
                "leave it out"
            )
        if isinstance(num_reads, np.integer):
            num_reads = int(num_reads)
        return dataclasses.replace(self.solver, num_reads=num_reads)


def _scaled(model: dimod.BinaryQuadraticModel) -> dimod.BinaryQuadraticModel:
    """The model itself, or, where float32 could not hold it, divided by a power of 2, with the same lowest states."""
    biases = model.to_numpy_vectors()
    largest = max(np.max(np.abs(array), initial=0) for array in (biases.linear_biases, biases.quadratic.biases))
    if largest == 0 or not np.isfinite(largest) or _HELD[0] <= largest <= _HELD[1]:
        return model
    scaled = model.copy()
    scaled.scale(2.0 ** -np.round(np.log2(largest)))
    scaled.offset = 0
    return scaled


def _padded(
    model: dimod.BinaryQuadraticModel, start: np.ndarray | None
) -> tuple[dimod.BinaryQuadraticModel, np.ndarray | None]:
    """The model and its start with variables at the end that no energy depends on, so that few sizes are compiled."""
    size = model.num_variables
    missing = -size % _SIZE_STEP
    if missing == 0 or size > _LARGEST_PADDED:
        return model, start
    padded = model.copy()
    for index in range(missing):
        padded.add_variable(("padding", index))
    return padded, None if start is None else np.pad(start, [(0, 0)] * (start.ndim - 1) + [(0, missing)])


def _initial_bits(initial_states: Any, model: dimod.BinaryQuadraticModel, num_reads: int) -> np.ndarray:
    """Bits [n] or [num_reads, n] in the order of the model's variables."""
    states, labels = dimod.as_samples(initial_states)
    if set(labels) != set(model.variables):
        raise ValueError("initial_states must have a value for each variable of the model, and for no other")
    if not np.isin(states, (-1, 1) if model.vartype is dimod.SPIN else (0, 1)).all():
        raise ValueError(f"initial_states must have the model's vartype {model.vartype.name}; convert their values")
    if len(states) not in (1, num_reads):
        raise ValueError(f"initial_states must be one or {num_reads}, got {len(states)}; pass num_reads={len(states)}")
    states = states[:, [labels.index(variable) for variable in model.variables]]
    return ((states[0] if len(states) == 1 else states) > 0).astype(np.int8)
