"""Design points: what is varied, over which values, as a grid or in step."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt import units
from npuwatt.arrays import Array
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.record import Record

MOST_POINTS = 10**12
MOST_CHECKED = 2**14
_RANGE = re.compile(r"(.+)\.\.(.+):(\d{1,12})(log)?", re.ASCII | re.DOTALL)


class Axis(Record):
    """The values of one address: listed, or N of them between two ends."""

    address: str
    owner: str  # 'devices.' and a device as typed, 'stack' or 'request'
    path: tuple[str, ...]
    count: int
    values: Array | None  # listed values, in SI
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    def at(self, index: npt.NDArray[np.int64]) -> Array:
        """Values at places 0 .. count - 1, both ends exact."""
        if self.values is not None:
            return self.values[index]
        share = index / max(self.count - 1, 1)
        if self.is_log:
            found = np.exp(np.log(self.low) + share * (np.log(self.high) - np.log(self.low)))
        else:
            found = self.low + share * (self.high - self.low)
        found = np.where(index == 0, self.low, np.where(index == self.count - 1, self.high, found))
        return np.rint(found) if self.is_whole else found

    def ends(self) -> tuple[float, float]:
        """Least and greatest value."""
        if self.values is not None:
            return float(self.values.min()), float(self.values.max())
        return min(self.low, self.high), max(self.low, self.high)


class Points(Record):
    """Axes laid out as a grid (the last one varies fastest), or paired in step."""

    axes: tuple[Axis, ...]
    is_zip: bool = False

    def __post_init__(self) -> None:
        lengths = [axis.count for axis in self.axes]
        if self.is_zip and len(set(lengths)) > 1:
            given = ", ".join(f"{axis.address} has {axis.count}" for axis in self.axes)
            raise RequestError(f"--zip: {given}; expected as many values for each")
        if self.count > MOST_POINTS:
            raise RequestError(f"--vary: {self.count:.3g} points; expected at most {MOST_POINTS:.0g}")
        addresses = [axis.address for axis in self.axes]
        for address in addresses:
            if addresses.count(address) > 1:
                raise RequestError(f"--vary: {shown(address)} stands twice; expected each address once")

    @property
    def count(self) -> int:
        """How many design points there are."""
        return self.axes[0].count if self.is_zip else math.prod(axis.count for axis in self.axes)

    def columns(self, index: npt.NDArray[np.int64]) -> list[Array]:
        """Values of each axis at the points of `index`."""
        if self.is_zip:
            return [axis.at(index) for axis in self.axes]
        found, rest = [], index
        for axis in reversed(self.axes):
            rest, place = np.divmod(rest, axis.count)
            found.append(axis.at(place))
        return found[::-1]

    def corners(self) -> list[Array]:
        """Values of each axis at every combination of ends, so that faults show before anything runs.

        Axes taken in step have no other combinations than their own points; of very many, the first and last.
        """
        if self.is_zip:
            few = np.arange(self.count) if self.count <= MOST_CHECKED else np.array([0, self.count - 1])
            return self.columns(few)
        ends = [tuple(dict.fromkeys(axis.ends())) for axis in self.axes]
        if math.prod(map(len, ends)) > MOST_CHECKED:
            raise RequestError(
                f"--vary: {len(ends)} addresses; expected at most {MOST_CHECKED.bit_length() - 1}"
            )
        grid = np.meshgrid(*ends, indexing="ij") if len(ends) <= 32 else [np.array(end) for end in ends]
        return [corner.reshape(-1) for corner in grid]


def axis(address: str, owner: str, path: Sequence[str], text: str, *, suffix: str, is_whole: bool) -> Axis:
    """The axis that `a,b,c`, `lo..hi:N` or `lo..hi:Nlog` means, with units as in a preset."""

    def value(part: str) -> float:
        try:
            found = units.parse(part, suffix) if suffix else units.parse(part, "_ratio")
        except NpuwattError as error:
            raise RequestError(f"--vary {address}: {error}") from error
        if is_whole and (found != round(found) or found < 1):
            raise RequestError(f"--vary {address}: {shown(part)} given; expected a whole number of 1 or more")
        return found

    common: dict[str, Any] = {"address": address, "owner": owner, "path": tuple(path), "is_whole": is_whole}
    spread = _RANGE.fullmatch(text.strip())
    if spread is None:
        if ".." in text:
            raise RequestError(f"--vary {address}: {shown(text)} given; expected lo..hi:N or lo..hi:Nlog")
        listed = [value(part) for part in text.split(",")]
        return Axis(count=len(listed), values=np.asarray(listed), **common)
    low, high, count, is_log = value(spread[1]), value(spread[2]), int(spread[3]), bool(spread[4])
    if count < 2:
        raise RequestError(f"--vary {address}: {count} points given; expected at least 2, ends included")
    if is_log and (low <= 0 or high <= 0):
        raise RequestError(f"--vary {address}: {shown(text)} given; expected ends above 0 for a log range")
    return Axis(count=count, values=None, low=low, high=high, is_log=is_log, **common)
