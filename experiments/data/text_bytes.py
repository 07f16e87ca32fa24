"""Texts as bytes: one stream of all, or a row for each."""

from typing import NamedTuple

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.text import read_texts

# A row holds the bytes themselves, padded with 0, which no text has.
VOCABULARY = 256
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


def load_byte_rows(name: str, length: int) -> Dataset:
    """The bytes of each text, in UTF-8, uint8 [n, length]: longer ones are cut, shorter ones padded with 0.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
      ValueError: if a row would be empty.
    """
    if length < 1:
        raise ValueError(f"length of texts must be at least 1 byte, got {length}")
    texts = read_texts(name)
    train, test = (_rows(split, length) for split in (texts.train_texts, texts.test_texts))
    return Dataset(train, texts.train_labels, test, texts.test_labels)


def _join(texts: list[str]) -> np.ndarray:
    return np.frombuffer("".join(text + _SEPARATOR for text in texts).encode(), np.uint8)


def _rows(texts: list[str], length: int) -> np.ndarray:
    rows = np.zeros((len(texts), length), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        seen = np.frombuffer(text.encode()[:length], np.uint8)
        row[: len(seen)] = seen
    return rows
