"""What is measured on trained models, besides their accuracy."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.look import hamiltonians
from experiments.reproduce.queue import Places, trained_model
from experiments.train.run import Run
from qama_jax import SimulatedBifurcation, analysis
from qama_jax.attention import anneal
from qama_jax.layers.arguments import layer_solver
from qama_jax.solvers import Solver

_IMAGES = 64
_REFERENCE = SimulatedBifurcation(num_steps=200, num_reads=64)


def solver_gap(name: str, run: Run, places: Places) -> dict[str, float]:
    """How far the run's solver stays behind on the problems of its trained model.

    Returns:
      Mean and standard error of the gap to the best of many long reads, over the first test images.
    """
    model, data = trained_model(name, run, places)
    problems = hamiltonians(model, jnp.asarray(data.test_inputs[:_IMAGES]))

    def energies(solver: Solver) -> np.ndarray:
        return np.asarray(anneal(jax.random.key(0), problems, solver).energy)

    found, reference = energies(layer_solver(run.solver, True)), energies(_REFERENCE)
    gap = analysis.relative_gap(found, np.minimum(found, reference))
    return {"mean": float(gap.mean), "standard_error": float(gap.standard_error), "images": _IMAGES}
