"""What the text formats share: lines with their numbers, and numbers with their errors."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Line = tuple[int, list[str]]
_Parsed = TypeVar("_Parsed")


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The bytes of a file, and what errors call it."""

    name: str
    data: bytes
    _parsed: dict[Callable[["Source"], Any], Any] = dataclasses.field(default_factory=dict, init=False)

    @functools.cached_property
    def text(self) -> str:
        """The file as text, a byte-order mark skipped.

        Raises:
          ValueError: if it is not UTF-8.
        """
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.name} is not a text file; pass one whose first line is `n m`") from error

    @functools.cached_property
    def is_text(self) -> bool:
        """Whether the file is UTF-8."""
        try:
            self.text  # noqa: B018  # which decodes it
        except ValueError:
            return False
        return True

    @property
    def suffix(self) -> str:
        """The last suffix of the name, that of compressed files left out."""
        return Path(self.name.removesuffix(".gz")).suffix.lower()

    def lines(self, comment: str = "#") -> Iterator[Line]:
        """The words of each line that has some, with its number from 1, without comments."""
        for number, line in enumerate(self._lines(), start=1):
            words = line.split()
            if words and not words[0].startswith(comment):
                yield number, words

    def _lines(self) -> Iterator[str]:
        """One after another, as a list of all would take several times the memory of the text."""
        text, start = self.text, 0
        while start <= len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            yield text[start:end]
            start = end + 1

    def first_words(self, comment: str = "#") -> list[str]:
        """The words of the first line that has some; none where the file is no text."""
        return next((words for _, words in self.lines(comment)), []) if self.is_text else []

    def comments(self, comment: str = "#") -> Iterator[Line]:
        """The words of the comments, with the numbers of their lines."""
        if comment not in self.text:
            return
        for number, line in enumerate(self._lines(), start=1):
            if line.lstrip().startswith(comment):
                yield number, line.lstrip().removeprefix(comment).split()

    def where(self, number: int) -> str:
        """The name of a line."""
        return f"{self.name}, line {number}"

    def once(self, parse: Callable[["Source"], _Parsed]) -> _Parsed:
        """`parse(self)`, computed once: what tells a format and what reads it want the same."""
        if parse not in self._parsed:
            self._parsed[parse] = parse(self)
        return self._parsed[parse]


def parse_number(where: str, word: str) -> int | float:
    """A finite number; an integer where it is written as one, so that it stays exact.

    Raises:
      ValueError: if it is not a finite number.
    """
    try:
        return int(word.replace("_", "?"))  # which Python takes within numbers
    except ValueError:
        pass
    try:
        number = float(word.replace("_", "?"))
    except ValueError as error:
        raise ValueError(f"{where}: expected a number, got {word[:80]!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"{where}: the weight is {number}; it must be finite")
    return number


def is_number(word: str) -> bool:
    """Whether a word is a number, finite or not."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def format_number(number: float) -> str:
    """The shortest text that is read as the same number."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))
