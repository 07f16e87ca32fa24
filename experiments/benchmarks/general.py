"""What is claimed of general problems, in parts, on public instances.

    make benchmark-general        (about 35 minutes on 2 cores)

- cuts: `search` with `auto_solver` against dwave-samplers at equal wall time, `equal_time.py`
- sweeps: time of a sparse sweep, `sparse_sweep.py`
- optima: instances of at most 250 bits at the command line's defaults, `small_optima.py`
- tts: time to solution, `time_to_solution.py`
- file: 20,000 nodes from file to JSON, `command_line.py`

The result file grows after each run, and an interrupted benchmark goes on where it stopped. The limits, and the runs of
each, stand in the result; more of either are added by calling it again.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import command_line, equal_time, instances, small_optima, sparse_sweep, time_to_solution
from experiments.provenance import provenance, write_json

PARTS = ("file", "sweeps", "optima", "tts", "cuts")
_SWEPT, _SOLVED, _LARGEST = ("G22", "G60", "G81"), ("G4", "G7", "G44", "K2000"), "G81"


def main() -> None:
    """Runs what the result file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folders = [os.environ[name] for name in ("QAMA_INSTANCES", "QAMA_INSTANCES_GENERAL") if name in os.environ]
    parser.add_argument("--instances", nargs="+", type=Path, default=list(map(Path, folders)), help="folders")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--graphs", nargs="+", help="of the cuts (default: every MAX-CUT instance of over 250 bits)")
    parser.add_argument("--limits", nargs="+", type=float, default=(1.0, 10.0), help="seconds (default: %(default)s)")
    parser.add_argument("--runs", nargs="+", type=int, default=(3, 1), help="of each limit (default: %(default)s)")
    parser.add_argument("--tts-runs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5, help="of the time of a sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=Path("experiments/results/benchmark_general.json"))
    options = parser.parse_args()
    if not options.instances:
        parser.error("name the folders of the instances by --instances, QAMA_INSTANCES or QAMA_INSTANCES_GENERAL")
    if len(options.limits) != len(options.runs):
        parser.error("--runs must have a number for each of --limits")
    result: dict[str, Any] = {"experiment": "benchmark_general", "parts": {}}
    if options.result.exists():
        result = json.loads(options.result.read_text())
    everything = {name: folder for folder in options.instances for name in instances.names(folder)}

    def load(*names: str) -> instances.Found:
        return {name: instances.load(everything[name], name) for name in names}

    def sized(names: list[str], small: bool) -> instances.Found:
        return {k: v for k, v in load(*names).items() if (v[0].shape[0] <= small_optima.MOST_BITS) == small}

    def start(part: str) -> tuple[dict[str, Any], Callable[[], None]]:
        """The rows of a part, and how they are saved."""
        kept = result["parts"].setdefault(part, {"rows": {}})
        kept |= provenance()
        return kept["rows"], lambda: write_json(options.result, result)

    for part in options.parts:
        rows, save = start(part)
        if part == "file":
            command_line.measure(instances.path(everything[_LARGEST], _LARGEST), rows, options.seed, save)
        elif part == "sweeps":
            sparse_sweep.measure(load(*_SWEPT), rows, options.repeats, save)
        elif part == "optima":
            small_optima.measure(sized(list(everything), True), rows, options.seed, save)
        elif part == "tts":
            time_to_solution.measure(load(*_SOLVED), rows, options.tts_runs, options.seed, save)
        else:
            cuts = [name for folder in options.instances for name in instances.cuts(folder)]
            found = load(*options.graphs) if options.graphs else sized(cuts, False)
            equal_time.measure(found, rows, list(zip(options.limits, options.runs, strict=True)), save)


if __name__ == "__main__":
    main()
