"""The report: one HTML file that needs no other."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from experiments.reproduce.study import Results
from experiments.tables import Table

_PAGE = Path(__file__).with_suffix(".html")


def write_report(
    path: Path,
    *,
    budget: str,
    tables: list[Table],
    figures: Mapping[str, Path],
    results: Results,
    provenance: dict[str, Any],
) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      budget: its name.
      tables: in order.
      figures: PNG files by their captions, which begin with the number and a colon.
      results: of all studies.
      provenance: of this process.
    """
    images = [(caption, base64.b64encode(png.read_bytes()).decode()) for caption, png in figures.items()]
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_PAGE.read_text())
    path.write_text(
        page.render(
            budget=budget,
            tables=tables,
            figures=images,
            results=results,
            versions=provenance["versions"],
            command=provenance["command"],
        ),
        encoding="utf-8",
    )
