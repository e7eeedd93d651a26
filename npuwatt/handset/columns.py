"""Design points of a whole record: how many there are, and some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, names_of, replace

T = TypeVar("T")


def point_count(values: Iterable[Any]) -> int:
    """Length of the (P, ...) columns in records, mappings, tuples and numbers; 1 if nothing varies.

    Raises
    ------
    NpuwattError
        Columns of different lengths.
    """
    lengths = {length for value in values for length in _lengths(value)} - {1}
    if len(lengths) > 1:
        given = ", ".join(map(str, sorted(lengths)))
        raise NpuwattError(f"columns of {given} design points given; expected one length")
    return lengths.pop() if lengths else 1


def picked(value: T, part: slice) -> T:
    """The same record or number for some of its design points."""
    found: Any = value
    if isinstance(value, np.ndarray):
        found = value[part] if len(value) > 1 else value
    elif isinstance(value, Record):
        found = replace(value, **{name: picked(getattr(value, name), part) for name in names_of(value)})
    elif isinstance(value, Mapping):
        found = {name: picked(inner, part) for name, inner in value.items()}
    elif isinstance(value, tuple):
        found = tuple(picked(inner, part) for inner in value)
    return found  # type: ignore[no-any-return]  # what it is made of decides, not its type


def spread(value: Real, points: int) -> Array:
    """A number or column as one column of (P, 1)."""
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (points, 1))


def _lengths(value: Any) -> Iterator[int]:
    if isinstance(value, np.ndarray):
        yield len(value) if value.ndim else 1
    elif isinstance(value, Record):
        yield from (length for name in names_of(value) for length in _lengths(getattr(value, name)))
    elif isinstance(value, Mapping):
        yield from (length for inner in value.values() for length in _lengths(inner))
    elif isinstance(value, tuple):
        yield from (length for inner in value for length in _lengths(inner))
