"""How far an answer may lie from its number: each number that has a range is put alone to both ends of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from npuwatt.arrays import Array, Real, column
from npuwatt.errors import NpuwattError
from npuwatt.preset.evidence import Evidence
from npuwatt.preset.paths import with_value, with_values
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen

GIVEN = "set by the user"
T = TypeVar("T", bound=Record)


class Ranged(Record):
    """A number with a range, and where it stands in a record."""

    address: str
    paths: tuple[tuple[str, ...], ...]
    value: float
    low: float
    high: float
    suffix: str
    source: str


def range_of(address: str, paths: tuple[tuple[str, ...], ...], item: Evidence) -> Ranged:
    """A number of a preset with the range that the preset gives it."""
    return Ranged(
        address=address, paths=paths, value=item.value, low=item.low, high=item.high, suffix=item.suffix,
        source=item.source,
    )  # fmt: skip


def ranged_numbers(chosen: Chosen[Any], owner: str, within: Sequence[str] = ()) -> list[Ranged]:
    """Numbers of a preset that have a range and were not set by hand.

    `owner` is what their addresses start with; `within` is where the preset's record stands in the one that is varied.
    """
    return [
        range_of(f"{owner}.{address}", ((*within, *address.split(".")),), item)
        for address, item in chosen.evidence.items()
        if item.low < item.high and item.where != GIVEN
    ]


def varied(record: T, inputs: Sequence[Ranged]) -> tuple[T, list[Ranged]]:
    """A record of 1 + 2 K points: as it is, then with each of K numbers alone at its low and at its high end.

    Returns
    -------
    The record, and the K numbers: those of `inputs` whose ends the record takes.
    """
    usable = [item for item in inputs if _is_taken(record, item)]
    changes: dict[tuple[str, ...], Any] = {}
    for place, item in enumerate(usable):
        values = np.full(1 + 2 * len(usable), item.value)
        values[1 + 2 * place : 3 + 2 * place] = item.low, item.high
        changes |= dict.fromkeys(item.paths, column(values))
    return (with_values(record, changes) if changes else record), usable


def _is_taken(record: Record, item: Ranged) -> bool:
    try:
        for end in (item.low, item.high):
            for path in item.paths:
                with_value(record, path, end)
    except NpuwattError:
        return False
    return True


def ratio_ends(values: Real, *more: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest of a quantity over its value: ratios that inputs make alone, combined in squares of
    logs, as for numbers that know nothing of each other.

    Parameters
    ----------
    values : (1 + 2 K, 1) or (1 + 2 K,)
        The value, then both ends of each input side by side. Where the value is zero or infinite, nothing is said: (1, 1).
    *more
        Further (low, high) ratios of its own, as those of a device that was measured.
    """
    found = np.ravel(values)
    if not 0 < found[0] < np.inf:
        return 1.0, 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(found[1:] / found[0])
    low, high = _squares(np.concatenate([logs, *(np.log(pair) for pair in more)]))
    return float(np.exp(-low)), float(np.exp(high))


def difference_ends(values: Real) -> tuple[float, float]:
    """The lowest and the highest of a quantity, as `ratio_ends` but by differences: for temperatures."""
    found = np.ravel(values)
    low, high = _squares(found[1:] - found[0])
    return float(found[0] - low), float(found[0] + high)


def _squares(changes: Iterable[float] | Array) -> tuple[float, float]:
    """What pairs of changes lose and win together; an end that has no answer says nothing."""
    pairs = np.nan_to_num(np.asarray(changes).reshape(-1, 2), nan=0.0, posinf=np.inf, neginf=-np.inf)
    down, up = (
        np.minimum(pairs.min(axis=1, initial=0.0), 0.0),
        np.maximum(pairs.max(axis=1, initial=0.0), 0.0),
    )
    return float(np.sqrt(np.sum(down**2))), float(np.sqrt(np.sum(up**2)))
