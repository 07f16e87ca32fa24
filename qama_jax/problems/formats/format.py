"""A file format as one object."""

import dataclasses
from collections.abc import Callable

from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


@dataclasses.dataclass(frozen=True)
class Format:
    """How files of a format are told from others, read and written.

    Attributes:
      name: as users pass it.
      read: the problem in a file. Raises `ValueError` with the name of the file if it cannot.
      detect: whether a file may be of this format. Where several formats say so, the file is refused, so that none is
        guessed; where a file is damaged, its format says so, so that its reader can name the line.
      write: the content of a file that `read` reads as the same problem; None where the format is only read.
      read_graph: the largest cut of the graph in a file; None where files of the format hold none.
      first_index: the number of the first variable.
      labels: whether variables have names.
      maximize: whether an objective may be one to maximise.
    """

    name: str
    read: Callable[[Source], Model]
    detect: Callable[[Source], bool]
    write: Callable[[Model], str | bytes] | None = None
    read_graph: Callable[[Source], Model] | None = None
    first_index: int = 0
    labels: bool = False
    maximize: bool = False
