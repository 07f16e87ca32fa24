"""Samplers of other projects behind one interface, each at its defaults but for the budget and with its own clock.

`prepare` converts a problem and is never timed. `run` returns the best state as bits and the seconds of the sampling
alone, which is the most favourable figure that each project gives of itself.
"""

import importlib.metadata
import statistics
import time
import warnings
from collections.abc import Iterable
from typing import Any, Protocol

import dimod
import numpy as np
import openjij
import simulated_bifurcation
import torch
from dwave.samplers import SimulatedAnnealingSampler

from qama_jax import AttentionHamiltonian, Ising

PACKAGES = ("dimod", "dwave-samplers", "openjij", "simulated-bifurcation", "torch")
_PROBE_SPINS, _PROBE_AGENTS, _PROBE_STEPS, _PROBE_REPEATS = 512, 32, 30, 7


class Opponent(Protocol):
    """A sampler under a name for tables."""

    name: str

    def prepare(self, problem: AttentionHamiltonian | Ising) -> Any:
        """The problem in the sampler's own form."""
        ...

    def run(self, model: Any, seed: int, **budget: Any) -> tuple[np.ndarray, float]:
        """The best of all reads, bits [n], and the seconds of the sampling."""
        ...


def versions() -> dict[str, str]:
    """Versions of the opponents' packages."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def choose_torch_threads(counts: Iterable[int]) -> int:
    """Sets PyTorch to that number of threads which is fastest now, and returns it.

    More are faster on idle cores alone: its threads wait by spinning, and where one of them has to share a core, each
    of the many short products takes a time slice of the system.
    """

    def seconds(count: int) -> float:
        torch.set_num_threads(count)
        model = simulated_bifurcation.Ising(torch.eye(_PROBE_SPINS).flip(0), dtype=torch.float32)
        times = []
        for _ in range(_PROBE_REPEATS):
            start = time.perf_counter()
            model.minimize(agents=_PROBE_AGENTS, max_steps=_PROBE_STEPS, early_stopping=False, verbose=False)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    fastest = min(counts, key=seconds)
    torch.set_num_threads(fastest)
    return fastest


class DwaveAnnealing:
    """Simulated annealing of dwave-samplers, on one thread.

    Its clock is `sampling_ns` of the sample set's timing: the C++ call, which also arranges the couplings.
    """

    name = "dwave-samplers SA"

    def prepare(self, problem: AttentionHamiltonian | Ising) -> tuple[dimod.BinaryQuadraticModel, list[float]]:
        """A model of spins and its default range of β, which the sampler else finds anew in every call."""
        model = problem.to_qubo().to_bqm().change_vartype("SPIN", inplace=False)
        return model, SimulatedAnnealingSampler().sample(model, num_sweeps=1).info["beta_range"]

    def run(
        self, model: tuple[dimod.BinaryQuadraticModel, list[float]], seed: int, *, num_sweeps: int, num_reads: int
    ) -> tuple[np.ndarray, float]:
        spins, beta_range = model
        found = SimulatedAnnealingSampler().sample(
            spins, num_sweeps=num_sweeps, num_reads=num_reads, beta_range=beta_range, seed=seed
        )
        return _bits(found), found.info["timing"]["sampling_ns"] * 1e-9


class OpenJij:
    """An annealer of OpenJij, "SA" or "SQA", on one thread; the couplings sparse, as by default.

    Its clock is `execution_time`, the mean over the reads of the C++ call alone, in microseconds. With a seed all
    reads of one call are equal, so each is a call with a seed of its own.
    """

    def __init__(self, kind: str):
        self.name = f"OpenJij {kind}"
        self._sampler = {"SA": openjij.SASampler, "SQA": openjij.SQASampler}[kind]

    def prepare(self, problem: AttentionHamiltonian | Ising) -> openjij.BinaryQuadraticModel:
        model = problem.to_qubo().to_bqm()
        return openjij.BinaryQuadraticModel(
            dict(model.linear), dict(model.quadratic), model.offset, model.vartype, sparse=True
        )

    def run(
        self, model: openjij.BinaryQuadraticModel, seed: int, *, num_sweeps: int, num_reads: int
    ) -> tuple[np.ndarray, float]:
        seeds = np.random.SeedSequence(seed).generate_state(num_reads)
        reads = [self._sampler().sample(model, num_sweeps=num_sweeps, num_reads=1, seed=int(s)) for s in seeds]
        best = min(reads, key=lambda read: read.first.energy)
        return _bits(best), sum(float(read.info["execution_time"]) for read in reads) * 1e-6


class TorchBifurcation:
    """`simulated_bifurcation` on PyTorch, "ballistic" or "discrete", in float32 and on all threads of PyTorch.

    It has no clock of its own. Timed is the wall time of `Ising.minimize`, which is `simulated_bifurcation.minimize`
    without the conversion to an Ising problem before it and the choice of the best agent after it.
    """

    def __init__(self, mode: str):
        self.name = f"simulated-bifurcation {mode}"
        self._mode = mode

    def prepare(self, problem: AttentionHamiltonian | Ising) -> tuple[simulated_bifurcation.Ising, np.ndarray]:
        matrix = np.array(problem.to_qubo().matrix, np.float32)
        model = simulated_bifurcation.build_model(torch.from_numpy(matrix), dtype=torch.float32)
        return model.to_ising("binary"), matrix

    def run(
        self, model: tuple[simulated_bifurcation.Ising, np.ndarray], seed: int, **budget: Any
    ) -> tuple[np.ndarray, float]:
        ising, matrix = model
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", simulated_bifurcation.ConvergenceWarning)
            start = time.perf_counter()
            spins = ising.minimize(mode=self._mode, verbose=False, **budget)
            seconds = time.perf_counter() - start
        agents = (spins.numpy().T > 0).astype(np.float32)
        best = np.argmin(np.sum(agents @ matrix * agents, axis=1))
        return agents[best].astype(np.int8), seconds


def _bits(found: dimod.SampleSet) -> np.ndarray:
    """The first sample in the order of the variables 0 to n - 1."""
    sample = found.first.sample
    return np.array([sample[variable] > 0 for variable in range(len(sample))], np.int8)
