"""Groups made of real images: which handwritten digits belong together is seen only by comparing them."""

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.groups import draw_symbols

_SIDE = 6
_CLASSES = 6
_CONTRAST = 40
_TRAIN, _TEST = 5_000, 1_000


def make_digit_groups(digits: Dataset) -> Dataset:
    """5,000 and 1,000 sequences of 36 tokens, as images of 6×6 patches with two channels.

    A token is two images of `digits`, one in each channel: a mark, and a symbol, a digit from 0 to 5. Order is
    random, and every symbol occurs 6 times. The tokens with the symbol of the label all show the same image as their
    mark, drawn anew for each sequence; the others show images of their own. So no token tells whether it is of the
    group, and no count of symbols or marks tells the label. Of every image the mean image is subtracted, and what is
    left is brought to the same contrast.

    Args:
      digits: grey images [n, side, side, 1] and their classes. The splits of the result are made of its splits.
    """
    mean = digits.train_inputs[..., 0].mean(axis=0)
    return Dataset(
        *_split(_TRAIN, 0, digits.train_inputs, digits.train_labels, mean),
        *_split(_TEST, 1, digits.test_inputs, digits.test_labels, mean),
    )


def in_group(image: np.ndarray) -> np.ndarray:
    """Which of the 36 tokens of an image belong together, row by row: those whose mark is the most frequent one."""
    side = image.shape[0] // _SIDE
    marks = image[..., 0].reshape(_SIDE, side, _SIDE, side).swapaxes(1, 2).reshape(_SIDE**2, -1)
    same = (marks[:, None] == marks[None]).all(axis=-1).sum(axis=1)
    return same == same.max()


def _split(
    count: int, seed: int, images: np.ndarray, classes: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels, symbols = draw_symbols(generator, count, _CLASSES, _SIDE**2)
    shown = np.empty_like(symbols)
    for symbol in range(_CLASSES):
        shown[symbols == symbol] = generator.choice(np.flatnonzero(classes == symbol), np.sum(symbols == symbol))
    own = generator.integers(0, len(images), symbols.shape)
    marks = np.where(symbols == labels[:, None], own[:, :1], own)

    centred = images[..., 0] - mean
    contrast = np.sqrt(np.mean(centred**2, axis=(1, 2), keepdims=True))
    pixels = np.clip(np.round(128 + _CONTRAST * centred / contrast), 0, 255).astype(np.uint8)
    tokens = np.stack([pixels[marks], pixels[shown]], axis=-1)
    side = images.shape[1]
    grid = tokens.reshape(count, _SIDE, _SIDE, side, side, 2).swapaxes(2, 3)
    return grid.reshape(count, _SIDE * side, _SIDE * side, 2), labels.astype(np.int32)
