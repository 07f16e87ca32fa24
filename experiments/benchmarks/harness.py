"""What all benchmarks share: their command line, and a result file that is written after each part."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.provenance import provenance
from experiments.result_files import RESULTS, Result, in_words, write_json


def make_parser(doc: str, file: str, **numbers: int) -> argparse.ArgumentParser:
    """The command line of a benchmark.

    Args:
      doc: of its module; the first line is the description.
      file: its result file, in the folder of results.
      **numbers: options and their defaults.
    """
    form = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=doc.splitlines()[0], formatter_class=form)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help="number")
    parser.add_argument("--result", type=Path, default=RESULTS / file, help="result file")
    return parser


def write_parts(path: Path, about: Mapping[str, Any], parts: Mapping[str, Callable[[], Any]]) -> Result:
    """Measures the parts, one after the other; what the file says by then."""
    result = {"experiment": path.stem, **provenance(), **about}
    for name, measure in parts.items():
        result[name] = measure()
        write_json(path, result)
        print(f"{name}: {in_words(result[name])}", flush=True)
    return result


def write_rows(path: Path, about: Mapping[str, Any], rows: Iterable[Result]) -> None:
    """The same of parts that are the rows of a table, each measured when it is asked for."""
    result = {"experiment": path.stem, **provenance(), **about, "rows": []}
    for row in rows:
        result["rows"].append(row)
        write_json(path, result)
        print(in_words(row), flush=True)
