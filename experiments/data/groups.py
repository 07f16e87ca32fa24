"""Sequences in which what a token is worth depends on the other tokens: a data set of our own, made on the spot."""

import numpy as np

from experiments.data.dataset import Dataset

_SIDE = 8
_CLASSES = 8
_DIRECTIONS = 16
_SPREAD = 0.2
_TRAIN, _TEST = 10_000, 2_000


def make_groups() -> Dataset:
    """10,000 and 2,000 sequences of 64 tokens as images of 8×8 pixels: patches of 1×1, uint8 [n, 8, 8, 16 + 8].

    A token is a direction in 16 dimensions and a symbol, one of 8 classes; order is random, and every symbol occurs 8
    times. The tokens with the symbol of the label have about the same direction, drawn anew for each sequence; all
    others have directions of their own. No token tells whether it is of the group, nor does any linear function of
    a sum over tokens: the label is known from how alike tokens are.
    """
    return Dataset(*_split(_TRAIN, 0), *_split(_TEST, 1))


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels, symbols = draw_symbols(generator, count, _CLASSES, _SIDE**2)
    own = generator.normal(size=(count, _SIDE**2, _DIRECTIONS))
    shared = generator.normal(size=(count, 1, _DIRECTIONS))
    in_group = (symbols == labels[:, None])[..., None]
    directions = np.where(in_group, shared + _SPREAD * own, own)
    directions *= np.sqrt(_DIRECTIONS) / np.linalg.norm(directions, axis=-1, keepdims=True)
    tokens = np.concatenate([directions, 2 * np.eye(_CLASSES)[symbols]], axis=-1)
    pixels = np.clip(np.round(128 + 32 * tokens), 0, 255).astype(np.uint8)
    return pixels.reshape(count, _SIDE, _SIDE, -1), labels.astype(np.int32)


def draw_symbols(
    generator: np.random.Generator, count: int, classes: int, tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [count], and symbols [count, tokens] in random order, of which every class occurs equally often."""
    labels = generator.integers(0, classes, count)
    symbols = np.repeat(np.arange(classes), tokens // classes)
    return labels, generator.permuted(np.tile(symbols, (count, 1)), axis=1)
