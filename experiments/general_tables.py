"""Tables of the benchmark of general problems, in Markdown; a part that has not run yet says so."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.markdown import markdown_table

_RESULT = Path(__file__).parent / "results" / "benchmark_general.json"

# Abstract of arXiv:2508.17655, by the authors of discrete bifurcation.
_PUBLISHED = (
    "Published, by machines made for it: K2000 in 1.3 s by simulated bifurcation, in 0.01 s by its generalised form "
    "(Goto, Hidaka, Tatsumura, arXiv:2508.17655)."
)

_Rows = dict[str, Any]


def equal_time_table(result: Path = _RESULT) -> str:
    """Cuts of both sides at equal time."""
    return _table(result, "cuts", _equal_time)


def sparse_sweep_table(result: Path = _RESULT) -> str:
    """Processor time of a sweep."""
    return _table(result, "sweeps", _sparse_sweep)


def small_optima_table(result: Path = _RESULT) -> str:
    """Small instances at the defaults."""
    return _table(result, "optima", _small_optima)


def time_to_solution_table(result: Path = _RESULT) -> str:
    """The fastest setting of each graph."""
    return _table(result, "tts", _time_to_solution)


def command_line_table(result: Path = _RESULT) -> str:
    """Time and memory from file to JSON."""
    return _table(result, "file", _command_line)


def _table(result: Path, part: str, make: Callable[[_Rows], str]) -> str:
    parts = json.loads(result.read_text())["parts"] if result.exists() else {}
    if part not in parts or not parts[part]["rows"]:
        return "Not measured yet."
    device, cores = parts[part]["device"], parts[part]["cpu_cores"]
    return f"{make(parts[part]['rows'])}\n\nCommit {parts[part]['commit']}, {device['kind']}, {cores} cores."


def _equal_time(rows: _Rows) -> str:
    cells, ahead = [], 0
    for row in sorted(rows.values(), key=lambda row: row["limit_s"]):
        ours, theirs = ([run[side]["cut"] for run in row["runs"]] for side in ("ours", "theirs"))
        medians = [statistics.median(cuts) for cuts in (ours, theirs)]
        ahead += medians[0] >= medians[1]
        share = f"{medians[0] / row['best']:.2%}"
        best = f"{row['best']:,.0f}"
        limit = f"{row['limit_s']:g} s"
        cells.append((row["graph"], limit, best, _interval(ours), share, _interval(theirs), str(len(ours))))
    header = ("graph", "limit", "best known", "ours", "of the best known", "dwave-samplers", "runs")
    note = f"Median (lowest to highest of the runs). Ours is not behind in {ahead} of {len(cells)} rows."
    return f"{markdown_table(header, cells)}\n\n{note}"


def _interval(cuts: list[float]) -> str:
    median = f"{statistics.median(cuts):,.0f}"
    return median if len(cuts) == 1 else f"{median} ({min(cuts):,.0f} to {max(cuts):,.0f})"


def _sparse_sweep(rows: _Rows) -> str:
    cells = [
        (
            name,
            f"{row['bits']:,}",
            str(row["reads"]),
            f"{row['ours_s'] * 1e3:.2f}",
            f"{row['theirs_s'] * 1e3:.2f}",
            f"{row['ratio']:.1f}",
        )
        for name, row in rows.items()
    ]
    return markdown_table(("graph", "bits", "reads", "ours, ms a sweep", "dwave-samplers, ms", "ratio"), cells)


def _small_optima(rows: _Rows) -> str:
    found = [name for name, row in rows.items() if row["reached"]]
    missed = [f"{name} ({row['energy']:g} of {row['best']:g})" for name, row in rows.items() if not row["reached"]]
    slowest = max(rows, key=lambda name: rows[name]["seconds"])
    seconds = statistics.median(row["seconds"] for row in rows.values())
    cells = [
        ("optima found", f"{len(found)} of {len(rows)}"),
        ("missed", ", ".join(missed) or "none"),
        ("seconds, median", f"{seconds:.2f}"),
        ("slowest", f"{slowest}, {rows[slowest]['seconds']:.2f} s"),
    ]
    return markdown_table(("instances of at most 250 bits", ""), cells)


def _time_to_solution(rows: _Rows) -> str:
    cells = []
    for graph in dict.fromkeys(row["graph"] for row in rows.values()):
        own = [row for row in rows.values() if row["graph"] == graph]
        row = min(own, key=lambda row: float("inf") if row["tts99_s"] is None else row["tts99_s"])
        low, high = (_seconds(seconds) for seconds in row["interval_s"])
        share = f"{row['successes']} of {row['runs']}"
        best = f"{row['best']:,.0f}"
        cells.append((graph, best, f"`{row['solver']}`", share, _seconds(row["tts99_s"]), f"{low} to {high}"))
    header = ("graph", "best known", "fastest of the settings tried", "successes", "TTS99, s", "95 % interval")
    return f"{markdown_table(header, cells)}\n\n{_PUBLISHED}"


def _seconds(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"


def _command_line(rows: _Rows) -> str:
    cells = [
        (
            f"`{row['command']}`" if row["command"] else label,
            f"{row['seconds']:.1f}",
            f"{row['processor_s']:.1f}",
            f"{row['peak_resident_mb']:,.0f}",
            "" if row["cut"] is None else f"{row['cut']:,.0f}",
        )
        for label, row in rows.items()
    ]
    return markdown_table(("command", "seconds", "of the processor", "peak memory, MB", "cut"), cells)
