"""Searching on the host for as long as there is time: one compiled call, again and again."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int8, Key

from qama_jax.checks import check_count, check_positive
from qama_jax.problems import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.auto import auto_solver, lengthened
from qama_jax.solvers.base import Solution, Solver, solve
from qama_jax.solvers.iterated_annealing import IteratedAnnealing

# Without a solver, the share of its usual steps that the first call makes, and of the time limit that others take; but
# not more seconds than someone who presses Ctrl-C would wait.
_TRIAL, _SHARE, _LONGEST_CALL_S = 1 / 8, 0.8, 5.0


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
      seconds_to_best: of `run_seconds`, when the call ended that found the best state.
    """

    bits: Int8[np.ndarray, "..."]
    energy: int | float
    call_energies: list[int | float]
    solver: Solver
    stopped: Literal["target", "time", "calls", "interrupt"]
    compile_seconds: float
    run_seconds: float
    seconds_to_best: float


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a search, as `on_call` is told of it.

    Attributes:
      index: 0 for the first.
      solution: of the solver, in NumPy.
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
    if time_limit_s is None and target is None and max_calls is None:
        raise ValueError("nothing says when to stop; pass time_limit_s, target or max_calls")
    if time_limit_s is not None:
        check_positive(time_limit_s=time_limit_s)
    if max_calls is not None:
        check_count(max_calls=max_calls)
    if target is not None and np.isnan(target):
        raise ValueError("target must be a number, got nan")
    adapts_to = time_limit_s if solver is None else None
    fresh = None
    if solver is None:
        solver = auto_solver(problem)
        if isinstance(solver, IteratedAnnealing) and max_calls != 1:
            fresh = np.zeros(problem.shape, np.int8)  # its chains start hot, so that any state is a fresh one
    start_bits = fresh
    if adapts_to is not None:
        solver = lengthened(solver, _TRIAL)

    start = time.perf_counter()
    compiled = _compile(key, problem, solver, start_bits)
    lowest_energy = _lowest_energy(problem)
    jax.random.fold_in(key, 0)  # the first is slower, as it is compiled, and not to be timed
    run_start = time.perf_counter()
    compile_seconds = run_start - start
    bits, lowest, seconds_to_best = None, np.inf, 0.0
    ends, call_energies = [0.0], []
    stopped = None
    try:
        while stopped is None:
            index = len(call_energies)
            # Subkeys of `key` itself may be those that the solver draws, so several calls use none of its own.
            call_key = key if max_calls == 1 else jax.random.fold_in(key, index)
            solution = jax.device_get(compiled(call_key, problem, initial_bits=start_bits))
            energy = lowest_energy(solution)
            ends.append(time.perf_counter() - run_start)
            call_energies.append(energy)
            is_better = bits is None or energy < lowest
            if is_better:
                bits, lowest, seconds_to_best = solution.bits, energy, ends[-1]
            if fresh is not None:
                start_bits = bits if is_better or start_bits is fresh else fresh
            if on_call is not None:
                on_call(Call(index, solution, lowest, ends[-1]))
            if target is not None and lowest <= target:
                stopped = "target"
            elif len(call_energies) == max_calls:
                stopped = "calls"
            elif time_limit_s is not None and ends[-1] + max(np.diff(ends)) > time_limit_s:
                stopped = "time"
            elif adapts_to is not None:
                affordable = min(_SHARE * (adapts_to - ends[-1]), _LONGEST_CALL_S)
                longer = lengthened(solver, max(1, affordable / (ends[-1] - ends[-2])))
                if longer != solver:
                    solver = longer
                    start = time.perf_counter()
                    compiled = _compile(key, problem, solver, start_bits)
                    paused = time.perf_counter() - start
                    run_start, compile_seconds = run_start + paused, compile_seconds + paused
    except KeyboardInterrupt:
        stopped = "interrupt"
    if bits is None:
        raise KeyboardInterrupt("before the first call had ended")
    return SearchResult(bits, lowest, call_energies, solver, stopped, compile_seconds, ends[-1], seconds_to_best)


def _compile(key: Key[Array, ""], problem: Problem, solver: Solver, bits: np.ndarray | None) -> Callable[..., Solution]:
    return jax.jit(solve, static_argnums=2).lower(key, problem, solver, initial_bits=bits).compile()


def _lowest_energy(problem: Problem) -> Callable[[Solution], int | float]:
    """Of a solution, as exactly as the problem allows; its terms are got ready once."""
    if not isinstance(problem, Quadratic):
        return lambda solution: float(solution.energy)
    terms = problem.terms()
    terms.energies(np.zeros((1, terms.size), np.int8))  # the first is slower, and not to be timed
    return lambda solution: terms.energies(np.atleast_2d(solution.bits)).tolist()[0]
