"""A data set in memory, and its cache."""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Inputs [n, ...] (uint8 images, or token ids of which 0 is padding) and int32 labels [n] of both splits."""

    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray

    @functools.cached_property
    def channel_moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the training images."""
        pixels = self.train_inputs.astype(np.float32)
        return tuple(pixels.mean((0, 1, 2)).tolist()), tuple(pixels.std((0, 1, 2)).tolist())

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1

    def take(self, train_examples: int | None, test_examples: int | None = None) -> "Dataset":
        """The first examples of each split; all of them for None."""
        return Dataset(
            self.train_inputs[:train_examples],
            self.train_labels[:train_examples],
            self.test_inputs[:test_examples],
            self.test_labels[:test_examples],
        )


def cached(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """The data set in the file `path`; where there is none, it is made and written, whole or not at all."""
    if path.exists():
        with np.load(path) as arrays:
            return Dataset(**arrays)
    dataset = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, **dataclasses.asdict(dataset))
    os.replace(file.name, path)
    return dataset
