"""Where the calls of a search start."""

import numpy as np
from jaxtyping import Int8


class Starts:
    """From the best state so far until that leads no further, and then afresh.

    Attributes:
      bits: where the next call starts, or None: where the solver likes.
    """

    def __init__(self, fresh: Int8[np.ndarray, "..."] | None):
        self._fresh = fresh
        self.bits = fresh

    def move(self, best: Int8[np.ndarray, "..."] | None, is_new: bool) -> None:
        """After a call, from the best state so far and whether this call found it."""
        if self._fresh is not None:
            self.bits = best if is_new or self.bits is self._fresh else self._fresh
