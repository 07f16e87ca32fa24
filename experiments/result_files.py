"""Result files: what was measured is written at once, and is not measured again."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.devices import is_writer
from experiments.provenance import provenance

RESULTS = Path(__file__).parent / "results"

Result = dict[str, Any]


def load(name: str) -> Result:
    """The result file of that name."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def write_json(path: Path, content: Result) -> None:
    """Writes a file as a whole, see `write_text`."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes atomically: an interrupted run leaves the previous file. Of several processes, the first one writes."""
    if not is_writer():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
    path.chmod(0o644)


def check_header(header: Mapping[str, Any], found: Mapping[str, Any], where: object) -> None:
    """Makes sure that a result is of what the header describes.

    Raises:
      ValueError: if it has other settings.
    """
    differing = sorted(name for name, value in as_json(header).items() if found.get(name) != value)
    if differing:
        raise ValueError(f"{where} is of other settings ({', '.join(differing)}); remove it, or write elsewhere")


def in_words(content: Any) -> str:
    """What is measured, for the terminal: numbers and short texts by their names."""
    if isinstance(content, Mapping):
        return ", ".join(f"{name} {words}" for name, value in content.items() if (words := in_words(value)))
    if isinstance(content, list | tuple):
        return f"({', '.join(map(in_words, content))})" if len(content) < 10 else f"of {len(content)}"
    return f"{content:.4g}" if isinstance(content, float) else str(content)[:60]


def as_json(content: Any) -> Any:
    """As a file gives it back."""
    return json.loads(json.dumps(content))


class ResultLines:
    """A file with a result a line, each with a header that says what it is, and with its provenance.

    Args:
      path: the file, JSON lines.
      names: the fields of a header that no other line has equal.
      in_order: whether lines are sorted by these fields; else by when they were added.
    """

    def __init__(self, path: Path, *names: str, in_order: bool = False):
        self.path, self._names, self._in_order = path, names, in_order

    def read(self) -> list[Result]:
        """All lines."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def find(self, header: Mapping[str, Any]) -> Result | None:
        """The line of what the header describes, None where there is none.

        Raises:
          ValueError: if the line of that name is of other settings.
        """
        name = self._name(as_json(header))
        line = next((line for line in self.read() if self._name(line) == name), None)
        if line is not None:
            check_header(header, line, f"{', '.join(map(str, name))} in {self.path}")
        return line

    def fill(self, header: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]], *, fresh: bool = False) -> None:
        """Adds the line of what the header describes, unless it is there.

        Args:
          header: of the line.
          measure: what the line says besides.
          fresh: whether it is measured again.
        """
        if fresh or self.find(header) is None:
            measured = measure()
            self.add({**header, **measured})
            print(f"{in_words(header)}: {in_words(measured)}", flush=True)

    def add(self, line: Mapping[str, Any]) -> None:
        """Writes a line, in the place of one of the same name."""
        line = as_json({**provenance(), **line})
        lines = {self._name(other): other for other in self.read()} | {self._name(line): line}
        kept = sorted(lines.items(), key=lambda item: item[0]) if self._in_order else lines.items()
        write_text(self.path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for _, line in kept))

    def _name(self, line: Mapping[str, Any]) -> tuple[Any, ...]:
        values = (line.get(name, "") for name in self._names)
        return tuple(tuple(value) if isinstance(value, list) else value for value in values)
