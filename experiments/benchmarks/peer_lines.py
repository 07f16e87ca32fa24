"""The result file of the comparison with other projects, and its tables, which need none of their packages."""

from pathlib import Path
from typing import Any

from experiments.result_files import RESULTS, Result, ResultLines
from experiments.tables import Table

FILE = "benchmark_peers.jsonl"


def lines_of(path: Path) -> ResultLines:
    """A line for each shape, and for each contestant on each instance."""
    return ResultLines(path, "part", "shape", "instance", "solver")


def attention_table() -> Table:
    """Time per attention problem to a mean gap of 0.3 %, ours and that of each peer."""
    rows, lines = [], _of_part("attention")
    for line in lines:
        contestants = line["contestants"]
        ours = contestants[line["ours"]]
        cells = f"{line['ours']}, {in_words(ours['settings'])}: {_microseconds(ours)}"
        for contestant in (row for row in contestants.values() if "ratio" in row):
            bound, ratio = "" if contestant["reached"] else "> ", contestant["ratio"]
            cells += f" | {bound}{_microseconds(contestant)} ({bound}{ratio:,.{0 if ratio >= 10 else 1}f}×)"
        rows.append(f"{tuple(line['shape'])} | {line['problems']} | {cells}")
    peers = " | ".join(f"{name}, µs" for name, row in lines[0]["contestants"].items() if "ratio" in row)
    return Table.of(f"(H, N, D) | problems | ours, µs | {peers}", rows)


def cuts_table() -> Table:
    """Time to 99.8 % of the best known cut, with the best budget of each contestant."""
    rows = []
    for line in _of_part("cuts"):
        best = line["best"]
        spent = sum(trial["runs"] * trial["run_s"] for trial in line["trials"])
        cells = f"all tried | 0% | not in {spent:.0f} s"
        if best is not None:
            share = f"{best['success_share']:.0%} of {best['runs']}"
            cells = f"{in_words(best['settings'])} | {share} | {best['time_to_solution_s']:.2f} s"
        rows.append(f"{line['instance']} | {line['solver']} | {cells}")
    return Table.of("instance | solver | settings | successful runs | time to solution", rows)


def in_words(settings: dict[str, Any]) -> str:
    """As tables and messages have it."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _of_part(part: str) -> list[Result]:
    return [line for line in lines_of(RESULTS / FILE).read() if line["part"] == part]


def _microseconds(contestant: dict[str, Any]) -> str:
    return f"{contestant['seconds_per_problem']['median_s'] * 1e6:,.0f}"


TABLES = {"peers": attention_table, "cuts": cuts_table}
