"""Checks of settings, whose errors name the argument and the remedy."""

import math
from typing import Any

import numpy as np


def check_positive(**settings: float) -> None:
    """Raises `ValueError` for the first setting that is not a positive finite Python number."""
    for name, value in settings.items():
        check_number(name, value)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_not_negative(**settings: float) -> None:
    """Raises `ValueError` for the first setting that is neither 0 nor a positive finite Python number."""
    for name, value in settings.items():
        check_number(name, value)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must not be negative, got {value!r}; pass 0 or a finite positive number")


def check_number(name: str, value: Any) -> None:
    """Raises `ValueError` unless `value` is an int or a float: settings are compared and hashed, as arrays are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        remedy = f"; pass float({name})" if getattr(value, "shape", None) == () else ""
        raise ValueError(f"{name} must be a Python number, got {value!r}{remedy}")


def check_count(minimum: int = 1, **settings: int) -> None:
    """Raises `ValueError` for the first setting that is not an integer, also one of NumPy, of at least `minimum`."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
            remedy = f"; pass int({name})" if getattr(value, "shape", None) == () else ""
            raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}{remedy}")


def check_flag(**settings: bool) -> None:
    """Raises `ValueError` for the first setting that is neither True nor False."""
    for name, value in settings.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} must be True or False, got {value!r}")


def check_choice(choices: tuple[str, ...], **settings: str) -> None:
    """Raises `ValueError` for the first setting that is not one of `choices`."""
    for name, value in settings.items():
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
