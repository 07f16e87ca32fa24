"""Tables of text, for the report, the terminal and the READMEs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of text.

    Attributes:
      header: names of the columns.
      rows: their cells.
      title: one line; may be empty.
      note: what is to be known besides; may be empty.
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    title: str = ""
    note: str = ""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]], title: str = "", note: str = "") -> "Table":
        """From cells by the names of their columns."""
        return cls(tuple(rows[0]), [tuple(row.values()) for row in rows], title, note)

    def markdown(self) -> str:
        """The table without its title, its note below."""
        lines = [self.header, ("---",) * len(self.header), *self.rows] if self.header else []
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join(part for part in (table, self.note) if part)
