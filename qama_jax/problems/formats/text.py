"""What the text formats share: lines with their numbers, and numbers with their errors."""

import math
from typing import NamedTuple

Line = tuple[int, list[str]]


class Source(NamedTuple):
    """The bytes of a file, and what errors call it."""

    name: str
    data: bytes

    def text(self) -> str:
        """The file as text, a byte-order mark skipped.

        Raises:
          ValueError: if it is not UTF-8.
        """
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.name} is not a text file; pass one whose first line is `n m`") from error

    def lines(self, comment: str = "#") -> list[Line]:
        """The words of each line that has some, with its number from 1, without comments."""
        lines = ((number, line.split()) for number, line in enumerate(self.text().split("\n"), start=1))
        return [(number, words) for number, words in lines if words and not words[0].startswith(comment)]

    def where(self, number: int) -> str:
        """The name of a line."""
        return f"{self.name}, line {number}"


def parse_number(where: str, word: str) -> int | float:
    """A finite number; an integer where it is written as one, so that it stays exact.

    Raises:
      ValueError: if it is none.
    """
    try:
        return int(word)
    except ValueError:
        pass
    try:
        number = float(word)
    except ValueError as error:
        raise ValueError(f"{where}: expected a number, got {word[:80]!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"{where}: the weight is {number}; it must be finite")
    return number


def format_number(number: float) -> str:
    """The shortest text that is read as the same number."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))
