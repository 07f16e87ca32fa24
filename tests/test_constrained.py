"""Problems with large penalties: reads differ, and the best is feasible and as good as enumeration says."""

import itertools

import dimod
import numpy as np
import pytest

from experiments.benchmarks import constrained
from qama_jax.dimod import DimodSampler


def test_shortest_round_trip():
    """Five cities, 24 round trips; the places of the model are those that its generator draws first."""
    model = constrained.travelling_salesman(np.random.default_rng(3), 5)
    places = np.random.default_rng(3).random((5, 2))
    trips = (
        sum(np.linalg.norm(places[a] - places[b]) for a, b in itertools.pairwise((0, *trip, 0)))
        for trip in itertools.permutations(range(1, 5))
    )
    bqm, invert = dimod.cqm_to_bqm(model)
    sampleset = DimodSampler().sample(bqm, num_reads=8, seed=0)
    assert len(np.unique(sampleset.record.sample, axis=0)) > 1
    best = invert(sampleset.first.sample)
    assert model.check_feasible(best)
    np.testing.assert_allclose(model.objective.energy(best), min(trips), rtol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in constrained.KINDS if kind != "travelling salesman"])
def test_best_reads_are_feasible(kind):
    model = next(model for name, model in constrained.problems() if name == kind)
    feasible, _ = constrained.best(model, DimodSampler(), num_reads=16, seed=0)
    assert feasible
