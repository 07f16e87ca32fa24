"""Images as sequences of grey pixels, row by row."""

import math
from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.images import load_images

# Id 0 is padding, which no image has; a grey value v is id v + 1.
VOCABULARY = 257
# Of red, green and blue in the brightness that is seen: ITU-R BT.601.
_BRIGHTNESS = (0.299, 0.587, 0.114)


def load_cifar10_pixels(cache_dir: Path, length: int) -> Dataset:
    """CIFAR-10 in grey, token ids uint16 [n, length], row by row.

    Args:
      cache_dir: folder of the caches.
      length: 1,024 for all pixels, 256, 64 or less for the means of squares of them.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
      ValueError: if squares of so many pixels do not fill the images.
    """
    images = load_images("cifar10", cache_dir)
    train, test = (pixel_tokens(grey(split), length) for split in (images.train_inputs, images.test_inputs))
    return Dataset(train, images.train_labels, test, images.test_labels)


def grey(images: np.ndarray) -> np.ndarray:
    """Brightness, uint8 [n, height, width], of colour images uint8 [n, height, width, 3]."""
    return np.round(images @ np.array(_BRIGHTNESS, np.float32)).astype(np.uint8)


def pixel_tokens(images: np.ndarray, length: int) -> np.ndarray:
    """Token ids uint16 [n, length] of square grey images uint8 [n, side, side].

    Raises:
      ValueError: if `length` is not the square of a side by which that of the images can be divided.
    """
    count, image_side, _ = images.shape
    side = math.isqrt(max(length, 0))
    if side**2 != length or not side or image_side % side:
        allowed = [f"{divisor**2:,}" for divisor in range(image_side, 0, -1) if image_side % divisor == 0]
        raise ValueError(f"length of images must be one of {'; '.join(allowed)} pixels, got {length}")
    block = image_side // side
    means = images.reshape(count, side, block, side, block).mean(axis=(2, 4), dtype=np.float32)
    return np.round(means).astype(np.uint16).reshape(count, length) + np.uint16(1)
