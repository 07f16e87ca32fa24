"""All studies, in the order of the report. To add one, write its file in `studies` and name it here."""

import importlib

from experiments.reproduce.study import Study

_NAMES = (
    "settings",
    "accuracy",
    "roc",
    "selection",
    "heads",
    "lengths",
    "mechanisms",
    "mechanism_cost",
    "claims",
    "readouts",
    "choice",
    "depth",
    "steps",
    "factors",
    "speed",
    "long_sequences",
)
STUDIES: tuple[Study, ...] = tuple(
    importlib.import_module(f"experiments.reproduce.studies.{name}").STUDY for name in _NAMES
)
