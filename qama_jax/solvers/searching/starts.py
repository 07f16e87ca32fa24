"""Where the calls of a search start."""

import numpy as np
from jaxtyping import Int8


class Starts:
    """Starts calls from the best state so far until that leads no further, and then afresh.

    Attributes:
      bits: where the next call starts; None leaves it to the solver.
    """

    def __init__(self, fresh: Int8[np.ndarray, "..."] | None):
        self._fresh = fresh
        self.bits = fresh

    def move(self, best: Int8[np.ndarray, "..."] | None, is_new: bool) -> None:
        """Chooses the next start from the best state so far and whether the last call found it."""
        if self._fresh is not None:
            self.bits = best if is_new or self.bits is self._fresh else self._fresh
