"""A graph of 20,000 nodes from its file to JSON by the command line: time and memory of the whole process."""

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table

# Of the process's memory, what Python and the imports take is measured by the first.
COMMANDS = {
    "imports": None,
    "100 sweeps of 16 reads": "--solver simulated-annealing --set num_sweeps=100 --reads 16",
    "100 sweeps of 64 reads": "--solver simulated-annealing --set num_sweeps=100 --reads 64",
    "default": "",
    "10 seconds": "--time-limit 10s",
}

# The command, then its seconds of processor time and its peak of memory: what Linux reports to a parent starts at the
# parent's own.
_PROGRAM = """
import sys, time
from qama_jax.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(time.process_time(), peak.split()[1])
"""


def measure(file: Path, lines: ResultLines, seed: int) -> None:
    """Adds the commands that the file of results lacks."""
    for label, options in COMMANDS.items():
        lines.fill({"part": "file", "name": label, "seed": seed}, partial(_run, file, options, seed))


def _run(file: Path, options: str | None, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        arguments = ["--version"]
        if options is not None:
            arguments = ["solve", str(file), *options.split(), "--seed", str(seed), "--output", str(output)]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
        printed, _ = process.communicate()
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"qama-jax {' '.join(arguments)} failed with status {process.returncode}")
        report = json.loads(output.read_text()) if options is not None else {}
    processor_s, peak_kb = map(float, printed.splitlines()[-1].split())
    return {
        "solve": None if options is None else " ".join(["qama-jax solve", file.name, options]).strip(),
        "seconds": seconds,
        "processor_s": processor_s,
        "peak_resident_mb": peak_kb / 1024,
        "cut": report.get("cut"),
        "inner_seconds": report.get("seconds"),
    }


def make_table(lines: list[Result]) -> Table:
    """Time and memory of each command."""
    rows = []
    for line in lines:
        command = f"`{line['solve']}`" if line["solve"] else line["name"]
        cut = "" if line["cut"] is None else f"{line['cut']:,.0f}"
        seconds = f"{line['seconds']:.1f} | {line['processor_s']:.1f}"
        rows.append(f"{command} | {seconds} | {line['peak_resident_mb']:,.0f} | {cut}")
    return Table.of("command | seconds | of the processor | peak memory, MB | cut", rows)


TABLES = {"general_file": partial(table_of, "file", make_table)}
