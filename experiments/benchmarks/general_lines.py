"""The result file of the benchmark of general problems."""

from collections.abc import Callable
from pathlib import Path

from experiments.result_files import RESULTS, Result, ResultLines
from experiments.tables import Table

FILE = "benchmark_general.jsonl"


def lines_of(path: Path) -> ResultLines:
    """A line for each measurement, with the part that it is of."""
    return ResultLines(path, "part", "name", "limit_s", "seed")


def table_of(part: str, make: Callable[[list[Result]], Table], path: Path = RESULTS / FILE) -> Table:
    """The table of a part, with where the last of its lines was measured; one that has not run yet says so."""
    lines = [line for line in lines_of(path).read() if line["part"] == part]
    if not lines:
        return Table((), [], note="Not measured yet.")
    table, last = make(lines), lines[-1]
    where = f"Commit {last['commit']}, {last['device']['kind']}, {last['cpu_cores']} cores."
    return table._replace(note=f"{table.note}\n\n{where}" if table.note else where)
