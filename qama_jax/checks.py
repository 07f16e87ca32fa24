"""Checks of settings, whose errors name the argument and the remedy."""

import math
import operator

import numpy as np


def check_positive(**settings: float) -> None:
    """Raises `ValueError` for the first setting that is not a positive finite number."""
    for name, value in settings.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_not_negative(**settings: float) -> None:
    """Raises `ValueError` for the first setting that is neither 0 nor a positive finite number."""
    for name, value in settings.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must not be negative, got {value!r}; pass 0 or a finite positive number")


def check_count(minimum: int = 1, **settings: int) -> None:
    """Raises `ValueError` for the first setting that is not an integer, also one of NumPy, of at least `minimum`."""
    for name, value in settings.items():
        try:
            count = None if isinstance(value, bool | np.bool_) else operator.index(value)
        except TypeError:
            count = None
        if count is None or count < minimum:
            raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")


def check_choice(choices: tuple[str, ...], **settings: str) -> None:
    """Raises `ValueError` for the first setting that is not one of `choices`."""
    for name, value in settings.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
