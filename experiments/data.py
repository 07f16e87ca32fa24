"""Image data sets as arrays: tensorflow-datasets without TensorFlow, and scikit-learn's bundled digits."""

import dataclasses
import os
import socket
import tempfile
from pathlib import Path

import numpy as np

TFDS_NAMES = ("cifar10", "mnist", "fashion_mnist")
NAMES = (*TFDS_NAMES, "digits")
_NETWORK_TIMEOUT_S = 3.0
_DECODE_CHUNK = 1000


class DataNotFoundError(RuntimeError):
    """The data set is neither prepared on this machine nor can it be downloaded."""


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set in memory: images uint8 [n, height, width, channels], labels int32 [n]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1

    def take(self, train_examples: int | None, test_examples: int | None = None) -> "ImageData":
        """The first examples of each split; all of them for None."""
        return ImageData(
            self.train_images[:train_examples],
            self.train_labels[:train_examples],
            self.test_images[:test_examples],
            self.test_labels[:test_examples],
        )


def load_images(name: str, cache_dir: Path) -> ImageData:
    """Loads a data set; decoded arrays are cached in `cache_dir`.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
    """
    if name == "digits":
        return _digits()
    if name not in TFDS_NAMES:
        raise ValueError(f"dataset must be one of {', '.join(NAMES)}, got {name!r}")
    cache = cache_dir / f"{name}.npz"
    if cache.exists():
        with np.load(cache) as arrays:
            return ImageData(**arrays)
    data = _decode(name)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache_dir, suffix=".npz", delete=False) as file:
        np.savez(file, **dataclasses.asdict(data))
    os.replace(file.name, cache)
    return data


def _digits() -> ImageData:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return ImageData(train_images, train_labels, test_images, test_labels)


def _decode(name: str) -> ImageData:
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)
    import tensorflow_datasets as tfds

    data_dir = Path(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets"))
    if not any(data_dir.glob(f"{name}/*/dataset_info.json")):
        _prepare(name, data_dir)
    arrays = []
    for split in ("train", "test"):
        source = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
        images, labels = [], []
        for start in range(0, len(source), _DECODE_CHUNK):
            for example in source.__getitems__(range(start, min(start + _DECODE_CHUNK, len(source)))):
                images.append(example["image"])
                labels.append(example["label"])
        arrays += [np.stack(images).astype(np.uint8), np.asarray(labels, np.int32)]
    return ImageData(*arrays)


def _prepare(name: str, data_dir: Path) -> None:
    """Downloads and prepares a data set, after making sure, within seconds, that this can work."""
    remedy = (
        f"Set TFDS_DATA_DIR to a folder that holds {name} prepared by tensorflow-datasets, "
        "or train on the bundled data with --dataset digits."
    )
    try:
        socket.create_connection(("storage.googleapis.com", 443), timeout=_NETWORK_TIMEOUT_S).close()
    except OSError as error:
        raise DataNotFoundError(f"{name} is not prepared in {data_dir}, and there is no network. {remedy}") from error
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise DataNotFoundError(
            f"{name} is not prepared in {data_dir}, and preparing it needs TensorFlow once: "
            f"pip install 'qama-jax[prepare]'. {remedy}"
        ) from error
    import tensorflow_datasets as tfds

    tfds.builder(name, data_dir=data_dir, file_format="array_record").download_and_prepare()
