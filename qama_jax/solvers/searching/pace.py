"""How long the calls of a search are, where it chooses the solver."""

from qama_jax.solvers.auto import lengthened
from qama_jax.solvers.base import Solver
from qama_jax.solvers.searching.clock import Clock

# Of the solver's usual steps, the share that the first call makes; of the time that is left, the share that the next
# one may take; and the most seconds that someone who presses Ctrl-C would wait.
_TRIAL, _SHARE, _LONGEST_CALL_S = 1 / 8, 0.8, 5.0


class Pace:
    """Gives each call as many steps as the calls so far suggest for a time limit."""

    def __init__(self, time_limit_s: float):
        self._time_limit_s = time_limit_s

    def first(self, solver: Solver) -> Solver:
        """The solver for the first call, from whose time the next follows."""
        return lengthened(solver, _TRIAL)

    def next(self, solver: Solver, clock: Clock) -> Solver:
        """The solver for the next call, of as many steps as in the last or of more."""
        affordable = min(_SHARE * (self._time_limit_s - clock.run_seconds), _LONGEST_CALL_S)
        return lengthened(solver, max(1, affordable / clock.call_seconds[-1]))
