"""Images whose patches are out of order: neighbours in a sequence are then no neighbours in the image."""

import numpy as np

from experiments.data.dataset import Dataset

_SIDE = 4
_SEED = 0


def shuffle_patches(data: Dataset) -> Dataset:
    """The same images, their patches of 4×4 pixels in one random order, the same for every image of both splits."""
    rows, columns = (side // _SIDE for side in data.train_inputs.shape[1:3])
    order = np.random.default_rng(_SEED).permutation(rows * columns)

    def shuffled(images: np.ndarray) -> np.ndarray:
        patches = images.reshape(-1, rows, _SIDE, columns, _SIDE, images.shape[-1]).swapaxes(2, 3)
        patches = patches.reshape(len(images), rows * columns, *patches.shape[3:])[:, order]
        return patches.reshape(-1, rows, columns, *patches.shape[2:]).swapaxes(2, 3).reshape(images.shape)

    return Dataset(shuffled(data.train_inputs), data.train_labels, shuffled(data.test_inputs), data.test_labels)
