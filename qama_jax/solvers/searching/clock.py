"""Time that a search takes."""

import contextlib
import math
import time
from collections.abc import Iterator


class Clock:
    """Seconds of running, while compilation is counted apart.

    Attributes:
      compile_seconds: seconds of all compilations.
      ends: seconds of running after which each call ended, after a 0 for the start.
    """

    def __init__(self):
        self.compile_seconds = 0.0
        self.ends = [0.0]
        self._start = math.nan

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """Times a compilation. The search starts after the first."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._start = seconds + (start if math.isnan(self._start) else self._start)
        self.compile_seconds += seconds

    def end_call(self) -> None:
        """After a call."""
        self.ends.append(time.perf_counter() - self._start)

    @property
    def num_calls(self) -> int:
        """How many calls have ended."""
        return len(self.ends) - 1

    @property
    def run_seconds(self) -> float:
        """Seconds of all calls."""
        return self.ends[-1]

    @property
    def call_seconds(self) -> list[float]:
        """Seconds of each call."""
        return [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
