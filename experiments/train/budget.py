"""When a run ends, when it is tested on the way, and where in its course it is."""

import dataclasses
from typing import NamedTuple

import numpy as np

# At most so many parts of a batch are trained on in one call, so that the device and not Python is the limit.
STEPS_PER_CALL = 50
_TESTS = 10


class Progress(NamedTuple):
    """How far a run is: all that a budget knows of it, and all in its checkpoint.

    Attributes:
      steps: parts of batches that it was trained on.
      seconds: of training, without compilation and tests.
    """

    steps: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class EpochBudget:
    """A number of passes over the training split, with a test after each.

    Args:
      epochs: how many.
      steps_per_epoch: parts of batches of an epoch.
    """

    epochs: int
    steps_per_epoch: int

    def is_over(self, progress: Progress) -> bool:
        """Whether the run is."""
        return progress.steps >= self.epochs * self.steps_per_epoch

    def is_test_due(self, progress: Progress, start: Progress) -> bool:
        """Whether to test now, after what was trained since `start`."""
        return progress.steps - start.steps >= self.steps_per_epoch

    def steps_of_call(self, progress: Progress) -> int:
        """How many to train now before the next look at the progress."""
        return min(STEPS_PER_CALL, self.steps_per_epoch - progress.steps % self.steps_per_epoch)

    def shares(self, progress: Progress) -> np.ndarray:
        """[STEPS_PER_CALL]: which share of the run is over before each step from now on."""
        return (progress.steps + np.arange(STEPS_PER_CALL)) / (self.epochs * self.steps_per_epoch)


@dataclasses.dataclass(frozen=True)
class TimeBudget:
    """A time of training, with 10 tests at equal distances.

    The clock is read after as many steps as take about a second by the progress so far: by nothing else, so that a
    resumed run reads it after the same steps.

    Args:
      seconds: of training.
      steps_per_epoch: parts of batches of an epoch, within which a call stays.
    """

    seconds: float
    steps_per_epoch: int

    def is_over(self, progress: Progress) -> bool:
        """See `EpochBudget`."""
        return progress.seconds >= self.seconds

    def is_test_due(self, progress: Progress, start: Progress) -> bool:
        """See `EpochBudget`."""
        return self.is_over(progress) or self._tests(progress) > self._tests(start)

    def steps_of_call(self, progress: Progress) -> int:
        """See `EpochBudget`."""
        a_second = int(progress.steps / progress.seconds) if progress.seconds else 1
        left = self.steps_per_epoch - progress.steps % self.steps_per_epoch
        return min(max(a_second, 1), STEPS_PER_CALL, left)

    def shares(self, progress: Progress) -> np.ndarray:
        """See `EpochBudget`."""
        return np.full(STEPS_PER_CALL, min(progress.seconds / self.seconds, 1.0))

    def _tests(self, progress: Progress) -> int:
        return int(progress.seconds / self.seconds * _TESTS)


Budget = EpochBudget | TimeBudget
