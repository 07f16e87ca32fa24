"""An optimizer that runs in another Python interpreter."""

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qama_jax.checks import check_positive
from qama_jax.hardware.backend import HardwareError

_RUNNER = Path(__file__).with_name("runner.py")
_MOST_OUTPUT = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class InterpreterBridge:
    """An optimizer for `KaiwuBackend` whose SDK lives in another interpreter, such as the Python 3.10 it needs.

    Each `solve` is a process of its own, `python script settings.json matrix.npy spins.npy`, in a fresh directory.
    Arrays are exchanged as `.npy` files, never as pickles. The process inherits the environment, where the licence
    is, and has no standard input.

    Args:
      python: the other interpreter.
      settings: those of `make_kaiwu_optimizer`, and `checkpoint_dir`; only what JSON can hold, and no credentials.
      timeout_s: seconds after which the process is killed.
      script: what it runs; by default one that makes a `kaiwu.cim.CIMOptimizer` and waits for its answer.

    Raises:
      ValueError: if a setting is out of range, or `settings` has credentials.

    Example:
      >>> import qama_jax
      >>> bridge = qama_jax.hardware.InterpreterBridge("python3.10", {"task_name": "qama", "sample_number": 10})
      >>> backend = qama_jax.hardware.KaiwuBackend(bridge)
    """

    python: str
    settings: Mapping[str, Any]
    timeout_s: float = 3600.0
    script: Path = _RUNNER

    def __post_init__(self):
        check_positive(timeout_s=self.timeout_s)
        if {"user_id", "sdk_code"} & set(self.settings):
            raise ValueError(
                "settings must have no credentials, which would be written to a file; "
                "set the environment variables KAIWU_USER_ID and KAIWU_SDK_CODE"
            )

    def solve(self, ising_matrix: np.ndarray) -> np.ndarray:
        """What the script answers for the matrix.

        Raises:
          HardwareError: if the process fails, takes too long or writes no answer; with the end of its standard error.
        """
        with tempfile.TemporaryDirectory(prefix="qama-bridge-") as name:
            directory = Path(name)
            settings, matrix, spins = (directory / name for name in ("settings.json", "matrix.npy", "spins.npy"))
            settings.write_text(json.dumps(dict(self.settings)), encoding="utf-8")
            np.save(matrix, ising_matrix, allow_pickle=False)
            self._run([self.python, str(self.script), str(settings), str(matrix), str(spins)], directory / "stderr")
            if not spins.exists():
                raise self._error("wrote no spins.npy", directory / "stderr")
            try:
                return np.load(spins, allow_pickle=False)
            except ValueError as error:
                raise self._error(f"wrote a spins.npy that is not an array: {error}", directory / "stderr") from error

    def _run(self, command: list[str], stderr: Path) -> None:
        # To a file: a pipe would be waited for as long as any descendant of a killed process holds it.
        with stderr.open("wb") as log:
            try:
                process = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=self.timeout_s, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise self._error(f"was killed after timeout_s={self.timeout_s} seconds", stderr) from error
            except OSError as error:
                raise self._error(f"could not be started: {error}", stderr) from error
        if process.returncode != 0:
            raise self._error(f"failed with status {process.returncode}", stderr)

    def _error(self, what: str, stderr: Path) -> HardwareError:
        output = stderr.read_text(encoding="utf-8", errors="replace")[-_MOST_OUTPUT:].strip()
        return HardwareError(f"{self.python} {self.script.name} {what}; its output ends with: {output or '(nothing)'}")
