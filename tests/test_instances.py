"""Public instances with known optima. Their folder is named by the environment variable QAMA_INSTANCES."""

import os
from pathlib import Path

import jax
import pytest

import qama_jax
from experiments.benchmarks.family import CUT_SOLVER
from experiments.benchmarks.instances import load, names

FOLDER = os.environ.get("QAMA_INSTANCES")
pytestmark = [
    pytest.mark.usefixtures("strict"),
    pytest.mark.skipif(FOLDER is None, reason="QAMA_INSTANCES names no folder of instances"),
]

# Here programs run for longer than their compilation takes.
solve = jax.jit(
    qama_jax.solve,
    static_argnames="solver",
    compiler_options={
        "xla_backend_optimization_level": 3,
        "xla_llvm_disable_expensive_passes": False,
        "xla_cpu_use_fusion_emitters": True,
    },
)

SMALL = [name for name in names(Path(FOLDER)) if name not in ("K2000", "G22", "G1", "G11")] if FOLDER else [None]


@pytest.mark.parametrize("name", SMALL)
def test_annealing_reaches_the_optimum(name):
    problem, best = load(Path(FOLDER), name)
    assert problem.shape[0] <= 250
    energy = float(qama_jax.solve(jax.random.key(0), problem, qama_jax.SimulatedAnnealing(num_reads=64)).energy)
    assert energy == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("name", "cut"), [pytest.param("K2000", 33_300, marks=pytest.mark.slow), ("G22", 13_340)])
def test_bifurcation_finds_large_cuts(name, cut):
    problem, best = load(Path(FOLDER), name)
    energy = float(solve(jax.random.key(0), problem, CUT_SOLVER).energy)
    assert best - 0.5 <= energy <= -cut
