"""A graph of 20,000 nodes from its file to JSON by the command line: time and memory of the whole process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Of the process's memory, what Python and the imports take is measured by the first.
COMMANDS = {
    "imports": None,
    "100 sweeps of 16 reads": "--solver simulated-annealing --set num_sweeps=100 --reads 16",
    "100 sweeps of 64 reads": "--solver simulated-annealing --set num_sweeps=100 --reads 64",
    "default": "",
    "10 seconds": "--time-limit 10s",
}


def measure(file: Path, rows: dict[str, Any], seed: int, save: Callable) -> None:
    """Adds the commands that `rows` lack."""
    for label, options in COMMANDS.items():
        if label in rows:
            continue
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "result.json"
            arguments = ["--version"]
            if options is not None:
                arguments = ["solve", str(file), *options.split(), "--seed", str(seed), "--output", str(output)]
            start = time.perf_counter()
            program = "import sys; from qama_jax.cli import main; main(sys.argv[1:])"
            process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            if status:
                raise RuntimeError(f"qama-jax {' '.join(arguments)} failed with status {status}")
            report = json.loads(output.read_text()) if options is not None else {}
        rows[label] = {
            "command": None if options is None else " ".join(["qama-jax solve", file.name, options]).strip(),
            "seconds": seconds,
            "processor_s": usage.ru_utime + usage.ru_stime,
            "peak_resident_mb": usage.ru_maxrss / 1024,
            "cut": report.get("cut"),
            "inner_seconds": report.get("seconds"),
            "seed": seed,
        }
        save()
        print(f"{label}: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MB, cut {report.get('cut')}", flush=True)
