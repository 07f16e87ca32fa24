"""When a search ends."""

import dataclasses
import math
from typing import Literal

from qama_jax.checks import check_count, check_positive
from qama_jax.solvers.searching.clock import Clock

Reason = Literal["target", "time", "calls", "interrupt"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of a search, of which one at least is given; see `qama_jax.search`."""

    time_limit_s: float | None
    target: float | None
    max_calls: int | None

    def __post_init__(self):
        if self.time_limit_s is None and self.target is None and self.max_calls is None:
            raise ValueError("nothing says when to stop; pass time_limit_s, target or max_calls")
        if self.time_limit_s is not None:
            check_positive(time_limit_s=self.time_limit_s)
        if self.max_calls is not None:
            check_count(max_calls=self.max_calls)
        if self.target is not None and math.isnan(self.target):
            raise ValueError("target must be a number, got nan")

    def reached(self, lowest: float, clock: Clock) -> Reason | None:
        """Which of them ends the search after a call, if any; that of time ends it before a call would overrun it."""
        if self.target is not None and lowest <= self.target:
            return "target"
        if clock.num_calls == self.max_calls:
            return "calls"
        if self.time_limit_s is not None and clock.run_seconds + max(clock.call_seconds) > self.time_limit_s:
            return "time"
        return None
