"""Image data sets: those of the paper by tensorflow-datasets, scikit-learn's digits, and what we make of them."""

from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset, cached
from experiments.data.digit_groups import make_digit_groups
from experiments.data.groups import make_groups
from experiments.data.prepared import read_columns
from experiments.data.shuffled import shuffle_patches

NAMES = ("cifar10", "mnist", "fashion_mnist", "digits", "groups", "digit_groups", "mnist_shuffled")


def load_images(name: str, cache_dir: Path) -> Dataset:
    """Loads a data set of uint8 images [n, height, width, channels]; decoded arrays are cached in `cache_dir`.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
      ValueError: if there is no data set of that name.
    """
    if name not in NAMES:
        raise ValueError(f"dataset must be one of {', '.join(NAMES)}, got {name!r}")
    if name == "digits":
        return _digits()
    if name == "groups":
        return make_groups()
    if name == "digit_groups":
        return make_digit_groups(_digits())
    if name == "mnist_shuffled":
        return shuffle_patches(load_images("mnist", cache_dir))
    return cached(cache_dir / f"images-{name}.npz", lambda: _decode(name))


def _digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return Dataset(train_images, train_labels, test_images, test_labels)


def _decode(name: str) -> Dataset:
    arrays = []
    for split in ("train", "test"):
        images, labels = read_columns(name, split, ("image", "label"))
        arrays += [np.stack(images).astype(np.uint8), np.asarray(labels, np.int32)]
    return Dataset(*arrays)
