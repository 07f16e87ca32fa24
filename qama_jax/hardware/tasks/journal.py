"""What machines were asked and what they answered, on disk: a finished task is never paid for again."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qama_jax.hardware.backend import MachineProblem


def problem_hash(problem: MachineProblem, num_reads: int, backend: str) -> str:
    """Identifies a question: the problem, its seed, the number of reads, and whom it was put to."""
    digest = hashlib.sha256(f"{backend} {num_reads} {problem.seed} {problem.num_spins} ".encode())
    for array in (problem.couplings, problem.biases):
        digest.update(str(array.dtype).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Journal:
    """A directory that only grows: `journal.jsonl` with a line for each event, and a file of spins for each task.

    Each line has `event`, `time` (UTC seconds since 1970), `backend`, the `hashes` of the problems and their
    `num_spins`; `finished` also the `seconds` that the backend took, the `energies` of all reads of each problem in
    machine units, and the `file` of their spins; `failed` the `error`. Spins are `.npz` files, one int8 array
    [k, m] for each problem's hash, written whole or not at all: they alone decide what is finished, and a line that
    a crash has cut short is skipped.

    Args:
      directory: made where it does not exist.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        for path in sorted(self.directory.glob("*.npz")):
            with np.load(path, allow_pickle=False) as stored:
                self._files |= dict.fromkeys(stored.files, path)
        self._lines = self.directory / "journal.jsonl"
        if self._lines.exists() and not self._lines.read_bytes().endswith(b"\n"):
            self._append("\n")

    def events(self) -> list[dict[str, Any]]:
        """All lines, as they were written."""
        if not self._lines.exists():
            return []
        events = []
        for line in self._lines.read_text(encoding="utf-8").splitlines():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # cut short by a crash
        return events

    def find(self, hash: str) -> np.ndarray | None:
        """Spins [k, m] of a finished problem, or None."""
        with self._lock:
            path = self._files.get(hash)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as stored:
            return stored[hash]

    def record(self, event: str, **details: Any) -> None:
        """Adds a line."""
        self._append(json.dumps({"event": event, "time": time.time()} | details) + "\n")

    def finish(
        self,
        hashes: Sequence[str],
        problems: Sequence[MachineProblem],
        spins: Sequence[np.ndarray],
        **details: Any,
    ) -> None:
        """Keeps the answer of a task, then adds its line."""
        name = hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:32] + ".npz"
        path = self.directory / name
        # Apart from others that write the same answer, a late one or another process.
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        with partial.open("wb") as file:
            # Any name may be an array's, not only that of the option `allow_pickle`.
            np.savez(file, **dict(zip(hashes, spins, strict=True)))  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        with self._lock:
            self._files |= dict.fromkeys(hashes, path)
        energies = [problem.energies(reads).tolist() for problem, reads in zip(problems, spins, strict=True)]
        self.record("finished", hashes=list(hashes), energies=energies, file=name, **details)

    def _append(self, text: str) -> None:
        with self._lock, self._lines.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
