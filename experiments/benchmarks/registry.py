"""All benchmarks, each with its `TABLES` by their places in the README. To add one, write its file and name it here."""

import importlib
from collections.abc import Callable

from experiments.tables import Table

_NAMES = (
    "family",
    "solver",
    "rounding",
    "token_kinds",
    "constrained",
    "peer_lines",
    "sweep",
    "equal_time",
    "sparse_sweep",
    "small_optima",
    "time_to_solution",
    "command_line",
    "layer",
    "drop_in",
    "readout_cost",
    "training_speed",
    "causal",
    "precision",
    "compiled",
)
_MODULES = [importlib.import_module(f"experiments.benchmarks.{name}") for name in _NAMES]
TABLES: dict[str, Callable[[], Table]] = {name: table for module in _MODULES for name, table in module.TABLES.items()}
