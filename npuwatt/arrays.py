"""The two-axis rule: design points lead, a model's own axis is last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Real: TypeAlias = "float | Array"
"""A number, or a (P, 1) column with one value for each design point."""


def column(values: Iterable[float] | Array) -> Array:
    """Design points as a (P, 1) column; the only place where points take their shape."""
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def row(values: Iterable[float]) -> Array:
    """A model's own axis as a (1, L) row."""
    return np.asarray(tuple(values), dtype=np.float64).reshape(1, -1)


def total(values: Any) -> Array:
    """Sum over the last axis, which stays, so that a sum broadcasts like everything else."""
    table = np.atleast_2d(values)
    return table if table.shape[-1] == 1 else np.add.reduce(table, axis=-1, keepdims=True, dtype=np.float64)


def side_by_side(columns: Iterable[Real]) -> Array:
    """Numbers and (P, 1) columns joined along the last axis: (P, L), or (1, L) if none varies."""
    numbers = list(columns)
    if all(getattr(number, "ndim", 0) == 0 for number in numbers):  # np.ndim makes an array of each float
        return np.array([numbers], dtype=np.float64)
    parts = [np.atleast_2d(np.asarray(number, dtype=np.float64)) for number in numbers]
    if len(parts) == 1:
        return parts[0]
    points = max(part.shape[0] for part in parts)
    return np.concatenate([np.broadcast_to(part, (points, 1)) for part in parts], axis=-1)
