"""Long sequences of tokens: four of the tasks of Long Range Arena, Tay et al., arXiv:2011.04006."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.data import listops, pixels, text_bytes
from experiments.data.dataset import Dataset, cached
from experiments.data.pathfinder import make_pathfinder


class _Task(NamedTuple):
    """A data set.

    Attributes:
      vocabulary: number of token ids, of which 0 is padding.
      length: of its sequences, where none is asked for.
      make: the data from a folder of caches and a length.
    """

    vocabulary: int
    length: int
    make: Callable[[Path, int], Dataset]


_TASKS = {
    "listops": _Task(listops.VOCABULARY, 2_048, lambda _, length: listops.make_listops(length)),
    "imdb_bytes": _Task(text_bytes.VOCABULARY, 4_096, lambda _, length: text_bytes.load_byte_rows("imdb", length)),
    "cifar10_pixels": _Task(pixels.VOCABULARY, 1_024, pixels.load_cifar10_pixels),
    "pathfinder": _Task(pixels.VOCABULARY, 1_024, lambda _, length: make_pathfinder(length)),
}
NAMES = tuple(_TASKS)


def load_sequences(name: str, cache_dir: Path, length: int) -> Dataset:
    """Loads a data set of token ids [n, length], 0 for padding; it is cached in `cache_dir`.

    Args:
      name: one of `NAMES`.
      cache_dir: folder of the caches.
      length: ids of a sequence. Texts are cut, of lists shorter ones are drawn, images become smaller.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
      ValueError: if there is no data set of that name, or none of that length.
    """
    if name not in _TASKS:
        raise ValueError(f"dataset must be one of {', '.join(NAMES)}, got {name!r}")
    return cached(cache_dir / f"sequences-{name}-{length}.npz", lambda: _TASKS[name].make(cache_dir, length))


def vocabulary_of(name: str) -> int:
    """Number of token ids of one of `NAMES`."""
    return _TASKS[name].vocabulary


def default_length(name: str) -> int:
    """Ids of a sequence of one of `NAMES`."""
    return _TASKS[name].length
