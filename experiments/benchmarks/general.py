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

import os
from pathlib import Path

from experiments.benchmarks import command_line, equal_time, instances, small_optima, sparse_sweep, time_to_solution
from experiments.benchmarks.general_lines import FILE, lines_of
from experiments.benchmarks.harness import make_parser

PARTS = ("file", "sweeps", "optima", "tts", "cuts")
_SWEPT, _SOLVED, _LARGEST = ("G22", "G60", "G81"), ("G4", "G7", "G44", "K2000"), "G81"


def main() -> None:
    """Runs what the result file lacks."""
    parser = make_parser(__doc__, FILE, tts_runs=100, repeats=5, seed=0)
    folders = [os.environ[name] for name in ("QAMA_INSTANCES", "QAMA_INSTANCES_GENERAL") if name in os.environ]
    parser.add_argument("--instances", nargs="+", type=Path, default=list(map(Path, folders)), help="folders")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--graphs", nargs="+", help="of the cuts; all MAX-CUT instances of over 250 bits if not given")
    parser.add_argument("--limits", nargs="+", type=float, default=(1.0, 10.0), help="seconds")
    parser.add_argument("--runs", nargs="+", type=int, default=(3, 1), help="of each limit")
    options = parser.parse_args()
    if not options.instances:
        parser.error("name the folders of the instances by --instances, QAMA_INSTANCES or QAMA_INSTANCES_GENERAL")
    if len(options.limits) != len(options.runs):
        parser.error("--runs must have a number for each of --limits")
    everything = {name: folder for folder in options.instances for name in instances.names(folder)}

    def load(*names: str) -> instances.Found:
        return {name: instances.load(everything[name], name) for name in names}

    def sized(names: list[str], small: bool) -> instances.Found:
        return {k: v for k, v in load(*names).items() if (v[0].shape[0] <= small_optima.MOST_BITS) == small}

    lines = lines_of(options.result)
    for part in options.parts:
        if part == "file":
            command_line.measure(instances.path(everything[_LARGEST], _LARGEST), lines, options.seed)
        elif part == "sweeps":
            sparse_sweep.measure(load(*_SWEPT), lines, options.repeats)
        elif part == "optima":
            small_optima.measure(sized(list(everything), True), lines, options.seed)
        elif part == "tts":
            time_to_solution.measure(load(*_SOLVED), lines, options.tts_runs, options.seed)
        else:
            cuts = [name for folder in options.instances for name in instances.cuts(folder)]
            found = load(*options.graphs) if options.graphs else sized(cuts, False)
            equal_time.measure(found, lines, list(zip(options.limits, options.runs, strict=True)))


if __name__ == "__main__":
    main()
