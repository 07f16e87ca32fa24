"""Pathfinder: are two dots the ends of one dashed path? Made on the spot."""

from typing import NamedTuple

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.pixels import pixel_tokens

_SIDE = 32
_STEPS = 24  # of a path, a pixel each
_BEND = 0.25  # standard deviation of a step's turn, radians
_MARGIN = 2.0
# Dashes end two steps before the next; all pixels of other paths, dots included, are farther away than that.
_DASH, _PERIOD = 2, 3
_CLEARANCE = 6.5
_PATH, _DOT = 128, 255
_CANDIDATES = 50_000
_TRAIN, _TEST = 20_000, 2_000


def make_pathfinder(length: int, *, train_examples: int = _TRAIN, test_examples: int = _TEST) -> Dataset:
    """Images of 32×32 grey pixels as token ids uint16 [n, length], see `pixel_tokens`; label 1 where dots are joined.

    Every image has two dashed paths of the same length and two dots at ends of paths: those of one path, or one of
    each. Neither the number of dots or dashes nor, to a pixel, the distance of the dots tells the label: of each
    distance as many images are kept of either kind.

    Args:
      length: 1,024 for all pixels, or less, see `pixel_tokens`.
      train_examples: of the training split.
      test_examples: of the test split.

    Raises:
      ValueError: if there are no images of that length.

    References:
      Linsley et al., "Learning long-range spatial dependencies with horizontal gated recurrent units",
      arXiv:1805.08315; as sequences Tay et al., "Long Range Arena", arXiv:2011.04006.
    """
    arrays = []
    for seed, count in enumerate((train_examples, test_examples)):
        images = draw_images(np.random.default_rng(seed), count)
        arrays += [pixel_tokens(images.pixels, length), images.labels]
    return Dataset(*arrays)


class Images(NamedTuple):
    """Grey images uint8 [n, 32, 32], labels int32 [n], and the places of the dots [n, 2, 2], row and column."""

    pixels: np.ndarray
    labels: np.ndarray
    dots: np.ndarray


def draw_images(generator: np.random.Generator, count: int) -> Images:
    """So many images with their labels, half of them joined."""
    kept: list[np.ndarray] = []
    while 2 * sum(map(len, kept)) < count:
        paths = _draw_paths(generator)
        kept.append(_matched(paths, generator.integers(0, 2, len(paths))))
    # Pairs of one image whose dots are joined and one whose dots are not.
    paths = np.concatenate(kept).reshape(-1, *kept[0].shape[2:])[:count]
    labels = np.arange(count) % 2
    order = generator.permutation(count)
    paths, labels = paths[order], labels[order]
    dots = _dots(paths, labels)
    pixels = np.zeros((count, _SIDE, _SIDE), np.uint8)
    drawn = paths[:, :, np.arange(_STEPS + 1) % _PERIOD < _DASH].reshape(count, -1, 2)
    _paint(pixels, drawn, _PATH)
    for shift in np.mgrid[-1:2, -1:2].reshape(2, -1).T:
        _paint(pixels, dots + shift, _DOT)
    return Images(pixels, labels.astype(np.int32), dots)


def _draw_paths(generator: np.random.Generator) -> np.ndarray:
    """Pairs of smooth random walks within the image, [n, 2, steps + 1, 2], that do not come near each other."""
    angles = generator.uniform(0, 2 * np.pi, (_CANDIDATES, 1))
    angles = angles + np.cumsum(generator.normal(0, _BEND, (_CANDIDATES, _STEPS)), axis=-1)
    steps = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    start = generator.uniform(_MARGIN, _SIDE - 1 - _MARGIN, (_CANDIDATES, 1, 2))
    walks = np.concatenate([start, start + np.cumsum(steps, axis=1)], axis=1)
    walks = walks[(np.abs(walks - (_SIDE - 1) / 2) <= (_SIDE - 1) / 2 - _MARGIN).all(axis=(1, 2))]
    along = np.arange(_STEPS + 1)
    walks = walks[~_come_near(walks, walks, np.abs(along[:, None] - along) > 1.5 * _CLEARANCE)]
    first, second = walks[: len(walks) // 2], walks[len(walks) // 2 :][: len(walks) // 2]
    return np.stack([first, second], axis=1)[~_come_near(first, second, np.bool_(True))]


def _come_near(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Which of the walks [n, points, 2] come nearer to those of the same row than the clearance, where that counts."""
    squares = sum((first[:, :, None, axis] - second[:, None, :, axis]) ** 2 for axis in range(2))
    return ((squares < _CLEARANCE**2) & counts).any(axis=(1, 2))


def _dots(paths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[n, 2, 2]: one at the start of the first path, the other at the end of it or of the second one."""
    return np.stack([paths[:, 0, 0], paths[np.arange(len(paths)), 1 - labels, -1]], axis=1)


def _matched(paths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[pairs, 2, ...]: of paths with label 0 and with label 1, whose dots are equally far apart to a pixel."""
    dots = _dots(paths, labels)
    distances = np.linalg.norm(dots[:, 0] - dots[:, 1], axis=-1).astype(int)
    pairs = []
    for distance in np.unique(distances):
        apart, joined = (paths[(distances == distance) & (labels == label)] for label in (0, 1))
        pairs += list(zip(apart, joined, strict=False))
    return np.array(pairs).reshape(-1, 2, *paths.shape[1:])


def _paint(pixels: np.ndarray, places: np.ndarray, value: int) -> None:
    """Sets the pixels nearest to the places [n, points, 2] of each image."""
    rows, columns = np.moveaxis(np.round(places).astype(int), -1, 0)
    pixels[np.arange(len(pixels))[:, None], rows, columns] = value
