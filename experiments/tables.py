"""Tables of text, for the report, the terminal and the READMEs."""

from collections.abc import Iterable
from typing import NamedTuple

_BETWEEN = " | "


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
    def of(cls, header: str, rows: Iterable[str], title: str = "", note: str = "") -> "Table":
        """From lines whose cells stand between ` | `."""
        return cls(tuple(header.split(_BETWEEN)), [tuple(row.split(_BETWEEN)) for row in rows], title, note)

    def markdown(self) -> str:
        """The table without its title, its note below."""
        lines = [self.header, ("---",) * len(self.header), *self.rows] if self.header else []
        table = "\n".join(f"| {_BETWEEN.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (table, self.note) if part)
