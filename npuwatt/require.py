"""Checks that records make of their own numbers, once, when they are made."""

from __future__ import annotations

import math
from typing import Any

from npuwatt.errors import NpuwattError


def _extremes(value: Any) -> tuple[float, float]:
    """Least and greatest of a number or a column, without importing numpy for a plain number."""
    if isinstance(value, (int, float)):
        return float(value), float(value)
    return float(value.min()), float(value.max())


def _fail(name: str, value: object, wanted: str) -> None:
    raise NpuwattError(f"{name}: {value:.6g} given; expected {wanted}")


def positive(**values: Any) -> None:
    """Each is above zero and finite."""
    for name, value in values.items():
        low, high = _extremes(value)
        if not (low > 0 and high < math.inf):
            _fail(name, low if not low > 0 else high, "a finite number above 0")


def not_negative(**values: Any) -> None:
    """Each is zero or more and finite."""
    for name, value in values.items():
        low, high = _extremes(value)
        if not (low >= 0 and high < math.inf):
            _fail(name, low if not low >= 0 else high, "a finite number, 0 or more")


def fraction(**values: Any) -> None:
    """Each is above 0 and at most 1."""
    for name, value in values.items():
        low, high = _extremes(value)
        if not (low > 0 and high <= 1):
            _fail(name, low if not low > 0 else high, "a share above 0 and at most 1")


def share(**values: Any) -> None:
    """Each is from 0 to 1."""
    for name, value in values.items():
        low, high = _extremes(value)
        if not (low >= 0 and high <= 1):
            _fail(name, low if not low >= 0 else high, "a share from 0 to 1")


def counts(least: int, most: int = 10**9, **values: int) -> None:
    """Each is a whole number between `least` and `most`."""
    for name, value in values.items():
        if not least <= value <= most:
            _fail(name, value, f"a whole number from {least} to {most}")


def whole(least: int, **values: Any) -> None:
    """Each is a whole number of `least` or more, to rounding: numbers of parts, or columns of them."""
    for name, value in values.items():
        low, high = _extremes(value)
        off = (
            value - round(value)
            if isinstance(value, (int, float)) and low > -math.inf and high < math.inf
            else 0.0
        )
        if not isinstance(value, (int, float)):
            off = float(abs(value - value.round()).max())
        if not (low >= least and high < math.inf and abs(off) < 1e-6):
            _fail(name, high if low >= least else low, f"a whole number, {least} or more")


def within(least: float, most: float, **values: Any) -> None:
    """Each is from `least` to `most`."""
    for name, value in values.items():
        low, high = _extremes(value)
        if not (low >= least and high <= most):
            _fail(name, low if not low >= least else high, f"a number from {least:g} to {most:g}")
