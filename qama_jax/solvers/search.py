"""Searching on the host for as long as there is time: one compiled call, again and again."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int8, Key

from qama_jax.problems import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.auto import auto_solver
from qama_jax.solvers.base import HostSolver, Solution, Solver, solve
from qama_jax.solvers.iterated_annealing import IteratedAnnealing
from qama_jax.solvers.searching.clock import Clock
from qama_jax.solvers.searching.limits import Limits, Reason
from qama_jax.solvers.searching.pace import Pace
from qama_jax.solvers.searching.starts import Starts

# A sum of floats may be wrong by so many times their precision, as a share of all magnitudes: beyond, reads differ.
_ROUNDING = 16


class SearchResult(NamedTuple):
    """The best state that a search found, and what it took.

    Attributes:
      bits: int8, `problem.shape`.
      energy: its energy, computed on the host as exactly as the problem allows; see `Qubo.exact_energy`.
      call_energies: the lowest energy of each call, in order.
      solver: what ran, in the last call.
      stopped: why the search ended: "target", "time", "calls", or "interrupt" for Ctrl-C.
      compile_seconds: until the first call could start.
      run_seconds: all calls together, without the compilation.
      seconds_to_best: how many of `run_seconds` had passed when the call that found the best state ended.
    """

    bits: Int8[np.ndarray, "..."]
    energy: int | float
    call_energies: list[int | float]
    solver: Solver
    stopped: Reason
    compile_seconds: float
    run_seconds: float
    seconds_to_best: float


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a search, as `on_call` is told of it.

    Attributes:
      index: 0 for the first.
      solution: the solution of the solver, in NumPy.
      energy: the lowest so far.
      run_seconds: since the first call started.
    """

    index: int
    solution: Solution
    energy: int | float
    run_seconds: float


def search(
    key: Key[Array, ""],
    problem: Problem,
    solver: Solver | None = None,
    *,
    time_limit_s: float | None = None,
    target: float | None = None,
    max_calls: int | None = None,
    on_call: Callable[[Call], Any] | None = None,
) -> SearchResult:
    """Runs `solve` on one problem, each time with fresh randomness, until time, target or calls are reached.

    It runs on the host around a call that is compiled once, and therefore not under `jax.jit`. Ctrl-C ends it after the
    call that is running, with the best state so far.

    Args:
      key: typed PRNG key. A single call uses it as it is, so that it equals `solve`.
      problem: what is minimised.
      solver: what runs. None takes `auto_solver(problem)`, and within a time limit as many steps as the calls so far
        suggest; where that is `IteratedAnnealing`, calls go on from the best state so far until that leads no
        further, and then one starts afresh.
      time_limit_s: seconds of running, compilation apart. No call starts that would end later, judged by the longest so
        far; the first always runs.
      target: an energy at which the search ends.
      max_calls: calls after which it ends.
      on_call: told of every call, for a progress bar or to keep reads.

    Returns:
      The `SearchResult`.

    Raises:
      ValueError: if nothing says when to stop, or a setting is out of range.
      KeyboardInterrupt: on Ctrl-C before the first call has ended.

    Example:
      >>> import jax, qama_jax
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -1.0]])
      >>> qama_jax.search(jax.random.key(0), qubo, target=-1.0).energy
      -1
    """
    limits = Limits(time_limit_s, target, max_calls)
    pace = Pace(time_limit_s) if solver is None and time_limit_s is not None else None
    fresh = None
    if solver is None:
        solver = auto_solver(problem)
        if isinstance(solver, IteratedAnnealing) and max_calls != 1:
            fresh = np.zeros(problem.shape, np.int8)  # its chains start hot, so that any state is a fresh one
    starts, clock = Starts(fresh), Clock()
    if pace is not None:
        solver = pace.first(solver)

    with clock.compiling():
        compiled = _compile(key, problem, solver, starts.bits)
        sharpen, lowest_energy = _sharpen(problem), _lowest_energy(problem)
        jax.random.fold_in(key, 0)  # the first is slower, as it is compiled, and not to be timed
    bits: Any = None  # an array, once a call has ended
    lowest, seconds_to_best = np.inf, 0.0
    call_energies, stopped = [], None
    try:
        while stopped is None:
            index = clock.num_calls
            # Subkeys of `key` itself may be those that the solver draws, so several calls use none of its own.
            call_key = key if max_calls == 1 else jax.random.fold_in(key, index)
            solution = sharpen(jax.device_get(compiled(call_key, problem, initial_bits=starts.bits)))
            energy = lowest_energy(solution)
            clock.end_call()
            call_energies.append(energy)
            is_better = bits is None or energy < lowest
            if is_better:
                bits, lowest, seconds_to_best = solution.bits, energy, clock.run_seconds
            starts.move(bits, is_better)
            if on_call is not None:
                on_call(Call(index, solution, lowest, clock.run_seconds))
            stopped = limits.reached(lowest, clock)
            if stopped is None and pace is not None and (longer := pace.next(solver, clock)) != solver:
                solver = longer
                with clock.compiling():
                    compiled = _compile(key, problem, solver, starts.bits)
    except KeyboardInterrupt:
        stopped = "interrupt"
    if bits is None:
        raise KeyboardInterrupt("before the first call had ended")
    return SearchResult(
        bits, lowest, call_energies, solver, stopped, clock.compile_seconds, clock.run_seconds, seconds_to_best
    )


def _compile(key: Key[Array, ""], problem: Problem, solver: Solver, bits: np.ndarray | None) -> Callable[..., Solution]:
    if isinstance(solver, HostSolver) and solver.runs_on_host(problem):
        return functools.partial(solve, solver=solver)
    return jax.jit(solve, static_argnums=2).lower(key, problem, solver, initial_bits=bits).compile()


def _lowest_energy(problem: Problem) -> Callable[[Solution], int | float]:
    """A function for the lowest energy of a solution, as exact as the problem allows; terms are prepared once."""
    if not isinstance(problem, Quadratic):
        return lambda solution: float(solution.energy)
    terms = problem.terms()
    terms.energies(np.zeros((1, terms.size), np.int8))  # the first is slower, and not to be timed
    return lambda solution: terms.energies(np.atleast_2d(solution.bits)).tolist()[0]


def _sharpen(problem: Problem) -> Callable[[Solution], Solution]:
    """A function that puts the lowest of a solution's reads in its bits, where floats do not tell several apart."""
    if not isinstance(problem, Quadratic):
        return lambda solution: solution
    terms = problem.terms()
    magnitudes = float(np.sum(np.abs(terms.linear)) + np.sum(np.abs(terms.values)) + abs(terms.offset))
    rounding = _ROUNDING * float(np.finfo(problem.dtype).eps) * magnitudes

    def sharpen(solution: Solution) -> Solution:
        near = np.flatnonzero(solution.read_energies.astype(np.float64) - solution.energy <= rounding)
        if len(near) < 2:
            return solution
        energies = terms.energies(np.asarray(solution.reads)[near]).tolist()
        return solution._replace(bits=solution.reads[near[energies.index(min(energies))]])

    return sharpen
