"""How good a solution training needs: CIFAR-10 with fewer and more steps of bifurcation."""

import statistics
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.attention_arms import ARMS
from experiments.data.dataset import Dataset
from experiments.look import hamiltonians
from experiments.reproduce.queue import Places, trained
from experiments.reproduce.spread import last_and_best, training_of
from experiments.reproduce.study import Amount, Budget, Result, Results, Run, Study, Table, make_run
from qama_jax import SimulatedBifurcation, analysis
from qama_jax.attention import anneal
from qama_jax.layers.arguments import layer_solver
from qama_jax.solvers import Solver

_STEPS = (5, 10, 20, 50, 100)
_IMAGES = 64
_REFERENCE = SimulatedBifurcation(num_steps=200, num_reads=64)


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """One for each number of steps, which its arm is named after."""
    for steps in _STEPS:
        yield make_run(
            budget,
            Amount(5, 12_500),
            study="steps",
            case="cifar10",
            arm=str(steps),
            dataset="cifar10",
            seed=seed,
            layer=ARMS["qama"],
            solver=SimulatedBifurcation(num_steps=steps),
        )


def train_and_measure(run: Run, data: Dataset, places: Places, on_epoch: Callable[[], object]) -> Result:
    """The trained run, and how far its solver stays behind."""
    result, model = trained(run, data, places, on_epoch)
    return result | {"gap": solver_gap(run, data, model)}


def solver_gap(run: Run, data: Dataset, model: nnx.Module) -> dict[str, float]:
    """How far the run's solver stays behind on the problems of its trained model.

    Returns:
      Mean and standard error of the gap to the best of many long reads, over the first test images.
    """
    problems = hamiltonians(model, jnp.asarray(data.test_inputs[:_IMAGES]))

    def energies(solver: Solver) -> np.ndarray:
        return np.asarray(anneal(jax.random.key(0), problems, solver).energy)

    found, reference = energies(layer_solver(run.solver, True)), energies(_REFERENCE)
    gap = analysis.relative_gap(found, np.minimum(found, reference))
    return {"mean": float(gap.mean), "standard_error": float(gap.standard_error), "images": _IMAGES}


def table(results: Results) -> Table | None:
    """Accuracy and gap with each number of steps."""
    rows = []
    for steps in _STEPS:
        own = [result for result in results["steps"] if result["arm"] == str(steps)]
        if own:
            gap = statistics.mean(result["gap"]["mean"] for result in own)
            rows.append(f"{steps} | {gap:.2%} | {last_and_best(own)}")
    if not rows:
        return None
    header = "steps | mean gap to the best of 64 reads of 200 steps | last epoch | best epoch"
    title = "Solver budget: CIFAR-10 with fewer and more steps of bifurcation"
    return Table.of(header, rows, title, training_of(results["steps"]))


STUDY = Study("steps", runs, table, carry_out=train_and_measure)
