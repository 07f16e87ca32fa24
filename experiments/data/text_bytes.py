"""Texts as one stream of bytes."""

from typing import NamedTuple

import numpy as np

from experiments.data.text import read_texts

_SEPARATOR = "\n"


class ByteStreams(NamedTuple):
    """uint8 [n], the texts of both splits one after another, each with a line break at its end."""

    train: np.ndarray
    test: np.ndarray


def load_bytes(name: str) -> ByteStreams:
    """The bytes of a text data set, in UTF-8; see `read_texts`.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
    """
    texts = read_texts(name)
    return ByteStreams(*(_join(split) for split in (texts.train_texts, texts.test_texts)))


def _join(texts: list[str]) -> np.ndarray:
    return np.frombuffer("".join(text + _SEPARATOR for text in texts).encode(), np.uint8)
