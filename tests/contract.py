"""The table of solvers and problems that the contract is tested on, and what each pair gave, bit by bit.

The stored results tell whether a change of the code changed a result. Where it was meant to, store them anew:

    PYTHONPATH=. python tests/contract.py
"""

from pathlib import Path

import jax
import numpy as np

import qama_jax

STORED = Path(__file__).with_name("stored_solver_bits.npz")
WHAT = ("reads", "read_energies")

SOLVERS = {
    "bifurcation": qama_jax.SimulatedBifurcation(),
    "bifurcation reads": qama_jax.SimulatedBifurcation(num_reads=3, num_steps=20),
    "bifurcation discrete heated": qama_jax.SimulatedBifurcation(num_reads=4, mode="discrete", heating=0.05),
    "annealing": qama_jax.SimulatedAnnealing(num_sweeps=30, num_reads=2),
    "tempering": qama_jax.ParallelTempering(num_sweeps=10, num_replicas=4, num_reads=2),
    "iterated": qama_jax.IteratedAnnealing(num_rounds=2, num_sweeps=10, num_chains=4, num_reads=2),
    "block Gibbs": qama_jax.BlockGibbs(num_sweeps=40, num_reads=4),
    "path integral": qama_jax.PathIntegralAnnealing(num_sweeps=20, num_slices=4, num_reads=2),
    "coherent Ising machine": qama_jax.CoherentIsingMachine(num_steps=60, num_reads=4),
    "mean field": qama_jax.MeanFieldAnnealing(num_steps=20, num_reads=8, initial_spread=0.5),
    "descent": qama_jax.SteepestDescent(num_reads=8),
    "exhaustive": qama_jax.Exhaustive(),
}


def _matrix(seed):
    return np.random.default_rng(seed).standard_normal((10, 10)).astype(np.float32)


def _attention(seed, tokens=4, heads=3, head_dim=4, mask=None):
    inputs = np.random.default_rng(seed).standard_normal((3, tokens, heads, head_dim)).astype(np.float32)
    return qama_jax.attention_hamiltonian(*inputs, np.ones(head_dim, np.float32), mask=mask)


PROBLEMS = {
    "qubo": lambda seed: qama_jax.Qubo(_matrix(seed), 1.0),
    "ising": lambda seed: qama_jax.Ising(_matrix(seed), _matrix(seed)[0]),
    "attention": _attention,
    "attention low-rank masked": lambda seed: _attention(seed, tokens=6, heads=2, head_dim=1, mask=np.arange(6) != 1),
}


def stored(make_problem, solver):
    """The reads and their energies, key 0 on problem 0, as they were when they were stored."""
    with np.load(STORED) as arrays:
        return [arrays[f"{_name(PROBLEMS, make_problem)}, {_name(SOLVERS, solver)}, {what}"] for what in WHAT]


def _name(table, value):
    return next(name for name, entry in table.items() if entry is value)


def _store():
    arrays = {}
    for problem, make_problem in PROBLEMS.items():
        for name, solver in SOLVERS.items():
            solution = qama_jax.solve(jax.random.key(0), make_problem(0), solver)
            for what in WHAT:
                arrays[f"{problem}, {name}, {what}"] = np.asarray(getattr(solution, what))
    np.savez_compressed(STORED, **arrays)


if __name__ == "__main__":
    _store()
