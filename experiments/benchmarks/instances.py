"""Public instances with their best known energies, as a folder with a `manifest.json` lists them."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from qama_jax import Ising, Qubo
from qama_jax.problems.files import read_problem

# Instances by their names, each with its best known energy.
Found = dict[str, tuple[Qubo | Ising, float]]


def names(folder: Path) -> list[str]:
    """The names of the instances, in the order of the manifest.

    Raises:
      ValueError: if `folder` has no manifest.
    """
    return [entry["name"] for entry in _manifest(folder)]


def cuts(folder: Path) -> list[str]:
    """The names of the MAX-CUT instances."""
    return [entry["name"] for entry in _manifest(folder) if entry["objective"] == "max_cut"]


def load(folder: Path, name: str) -> tuple[Qubo | Ising, float]:
    """An instance and its best known energy, which for MAX-CUT is the negative of the best known cut.

    Raises:
      ValueError: if the manifest has no such instance, or one of an unknown format.
    """
    entry = _entry(folder, name)
    if entry["format"] not in _READERS:
        raise ValueError(
            f"{folder / 'manifest.json'}: the format of {name} must be one of {', '.join(_READERS)}, "
            f"got {entry['format']!r}"
        )
    best = float(entry["best"])
    problem = _READERS[entry["format"]](folder / entry["file"])
    return problem, -best if entry["objective"] == "max_cut" else best


def path(folder: Path, name: str) -> Path:
    """The file of an instance.

    Raises:
      ValueError: if the manifest has no such instance.
    """
    return folder / _entry(folder, name)["file"]


def _entry(folder: Path, name: str) -> dict[str, Any]:
    entries = {entry["name"]: entry for entry in _manifest(folder)}
    if name not in entries:
        raise ValueError(f"name must be one of {', '.join(entries)}, got {name!r}")
    return entries[name]


def _manifest(folder: Path) -> list[dict[str, Any]]:
    path = folder / "manifest.json"
    if not path.exists():
        raise ValueError(f"{folder} has no manifest.json; pass the folder of the instances")
    return json.loads(path.read_text())


def _read_packed_signs(path: Path) -> Ising:
    """MAX-CUT on a complete graph with weights ±1, one bit each: the upper triangle row by row, 1 = +1, 0 = -1."""
    with np.load(path) as arrays:
        size, packed = int(arrays["n"]), arrays["bits"]
    pairs = np.triu_indices(size, 1)
    weights = np.zeros((size, size))
    weights[pairs] = 2.0 * np.unpackbits(packed, count=len(pairs[0])) - 1
    return Ising(-(weights + weights.T) / 2, offset=-weights.sum() / 2)


def _read_matrix(path: Path) -> Ising:
    """The Ising problem of energy `Σ_{i<j} J_ij σ_i σ_j`; one plain array, whatever the file's ending."""
    upper = np.triu(np.load(path), 1)
    return Ising(-(upper + upper.T))


def _read(form: str, path: Path) -> Qubo | Ising:
    return read_problem(path, form).problem


_READERS = {
    "packed_signs": _read_packed_signs,
    "npy_matrix": _read_matrix,
    **{form: functools.partial(_read, form) for form in ("rudy", "biqmac", "qbsolv", "qs")},
}
