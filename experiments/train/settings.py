"""What defines a training besides model and data."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
from jax.tree_util import DictKey

from experiments.train.budget import Budget, EpochBudget, TimeBudget

SCHEDULES = ("constant", "cosine")
_DECAYED = ("kernel", "embedding")
# Headers of results have these in any case, and all others only where they differ from their defaults.
_ALWAYS_DESCRIBED = ("batch_size", "learning_rate", "micro_batches")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What defines a run besides model and data. The defaults are the paper's plain Adam.

    Attributes:
      seed: of parameters, order of the examples and solvers.
      epochs: passes over the training split, unless there are `minutes`.
      batch_size: examples of a step of the optimiser.
      learning_rate: of Adam, the largest of the schedule.
      micro_batches: parts of a batch, whose gradients are taken one after the other and averaged: less memory, and on
        CPU less time where the activations of a batch exceed the caches.
      minutes: of training, tests and compilation apart; None for a number of epochs.
      schedule: one of `SCHEDULES`: after the warm-up, the learning rate stays, or falls to 0 as half a cosine, over the
        share of the epochs or of the minutes that has passed.
      warmup: share of the run in which the learning rate rises from 0.
      weight_decay: of AdamW, a step and unit of learning rate, of kernels and embeddings alone: biases, scales and
        what a head learns of itself are not pulled to 0. 0 for Adam.
      augment: train on images that are cropped and mirrored at random, see `crop_and_mirror`.

    Raises:
      ValueError: if a setting is out of range, or the parts of a batch would not be equal.
    """

    seed: int = 0
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    micro_batches: int = 1
    minutes: float | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    augment: bool = False

    def __post_init__(self):
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size={self.batch_size} must be a multiple of micro_batches, got {self.micro_batches}"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be positive, or None for a number of epochs, got {self.minutes}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the run, at least 0 and less than 1, got {self.warmup}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")

    @property
    def micro_batch_size(self) -> int:
        """Examples of a part of a batch."""
        return self.batch_size // self.micro_batches

    def optimizer(self) -> optax.GradientTransformation | optax.MultiSteps:
        """It is given the gradients of a part of a batch at a time; its updates are those of the largest rate."""
        if self.weight_decay:
            adam = optax.adamw(self.learning_rate, weight_decay=self.weight_decay, mask=_decayed)
        else:
            adam = optax.adam(self.learning_rate)
        return adam if self.micro_batches == 1 else optax.MultiSteps(adam, self.micro_batches)

    def budget(self, steps_per_epoch: int) -> Budget:
        """Of a run whose epochs have so many parts of batches."""
        if self.minutes is None:
            return EpochBudget(self.epochs, steps_per_epoch)
        return TimeBudget(60 * self.minutes, steps_per_epoch)

    def rate_factors(self, shares: np.ndarray) -> np.ndarray | None:
        """float32, what updates are multiplied by when such shares of the run are over; None where it is always 1."""
        if self.schedule == "constant" and not self.warmup:
            return None
        after = np.clip((shares - self.warmup) / (1 - self.warmup), 0, 1)
        factors = (1 + np.cos(np.pi * after)) / 2 if self.schedule == "cosine" else np.ones_like(after)
        rising = shares / self.warmup if self.warmup else 1.0
        return np.where(shares < self.warmup, rising, factors).astype(np.float32)

    def described(self) -> dict[str, Any]:
        """What defines a result. The number of epochs does only where a schedule is laid over them: else runs grow."""
        described = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("seed", "epochs")
            and (field.name in _ALWAYS_DESCRIBED or getattr(self, field.name) != field.default)
        }
        over_epochs = self.minutes is None and self.rate_factors(np.zeros(1)) is not None
        return described | ({"epochs": self.epochs} if over_epochs else {})


def _decayed(params: Any) -> Any:
    """Which leaves of the parameters decay, by the names that Flax gives them."""
    return jax.tree.map_with_path(lambda path, _: any(DictKey(name) in path for name in _DECAYED), params)
