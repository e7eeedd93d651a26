"""Numbers as an array holds them: how they are spread, how far a scale reaches, and which digits spell them."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, column, row, total
from npuwatt.device.normal import normal_density, normal_tail
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

MOST_NODES = (
    64  # within 0.1 dB of all numbers of 16 bits; a power of two, so that top digits end where nodes do
)
GOLDEN = (math.sqrt(5) - 1) / 2


class Values(Record):
    """How weights or inputs are spread around zero. They are measured in their own root mean square."""

    shape: Literal["gaussian", "laplace"] = "gaussian"
    histogram_count: tuple[
        Real, ...
    ] = ()  # in place of the shape: magnitudes, in even bins up to the largest

    def __post_init__(self) -> None:
        if self.histogram_count:
            require.not_negative(**{f"histogram.{i}": n for i, n in enumerate(self.histogram_count)})
            if not np.all(np.greater(self.histogram_count[-1], 0)):
                raise NpuwattError(
                    f"histogram.{len(self.histogram_count) - 1}: 0 given; expected the largest there"
                )


GAUSSIAN = Values()


class Spelling(Record):
    """Whole numbers from 0 to `largest` in digits of a base, the lowest first."""

    largest: int
    base: int
    digits: int


class Nodes(Record):
    """Numbers that stand for all of a spelling in a quadrature, M of them, the smallest first."""

    edge_ratio: Array  # where each ends and the next begins, over the largest number: (1, M)
    digit_count: Array  # their digits, the lowest first: (digits, M)
    worth_ratio: Array  # what a one in each digit is worth, over the largest number: (digits, 1)


def spelling(bits: float, digit_bits: float) -> Spelling:
    """Numbers of `bits` in digits of `digit_bits`. A single digit takes its whole range, however wide."""
    largest, digits = math.ceil(2**bits) - 1, math.ceil(bits / digit_bits)
    return Spelling(
        largest=largest, base=math.ceil(2**digit_bits) if digits > 1 else largest + 1, digits=digits
    )


def nodes(number: Spelling) -> Nodes:
    """All numbers of a spelling where they are few, else one of each of as many even ranges.

    Which one of its range differs by the golden ratio from range to range, so that low digits take all values.
    """
    count = min(number.largest + 1, MOST_NODES)
    wide = (number.largest + 1) / count
    place = np.arange(count, dtype=np.float64)
    code = np.floor(wide * (place + (GOLDEN * place % 1.0 if wide > 1 else 0.0)))
    worth = float(number.base) ** column(range(number.digits))
    return Nodes(
        edge_ratio=row((wide * (place + 1) - 0.5) / number.largest),
        digit_count=np.floor(code / worth) % number.base,
        worth_ratio=worth / number.largest,
    )


def largest_ratio(values: Values, count: Real) -> Real:
    """The largest magnitude among `count` values: the one that a single value of them passes in the mean.

    Of 65,536 Gaussian values that is 4.33 times their root mean square.
    """
    count = np.maximum(count, 4)
    if values.histogram_count:
        return 1 / _histogram_rms(values)
    if values.shape == "laplace":
        return np.asarray(np.log(count) / math.sqrt(2))
    reach: Real = np.sqrt(2 * np.log(count))
    for _ in range(3):  # Newton on ln(count x share beyond) = 0, the share by a bound of Mills' ratio
        mills = 4 / (3 * reach + np.sqrt(reach**2 + 8))
        reach = reach + mills * (np.log(count * math.sqrt(2 / math.pi) * mills) - reach**2 / 2)
    return reach


def share_beyond(values: Values, reach: Real) -> Array:
    """Share of values whose magnitude is above `reach`, in their root mean square; any shape."""
    if values.histogram_count:
        edges, shares = _bins(values)
        covered = np.concatenate([[0.0], np.cumsum(shares)])
        return np.asarray(1 - np.interp(reach, np.concatenate([[0.0], edges]), covered))
    if values.shape == "laplace":
        return np.asarray(np.exp(np.multiply(-math.sqrt(2), reach)))
    return 2 * normal_tail(reach)


def beyond(values: Values, reach: Real) -> tuple[Array, Array]:
    """Mean and mean square of how far magnitudes lie beyond `reach`, zero below it; scalars or (P, 1)."""
    if values.histogram_count:
        edges, shares = _bins(values)
        width = edges[0]
        high, low = np.maximum(edges - reach, 0.0), np.maximum(edges - width - reach, 0.0)
        mean, square = shares * (high**2 - low**2) / (2 * width), shares * (high**3 - low**3) / (3 * width)
        return total(mean), total(square)
    if values.shape == "laplace":
        share = share_beyond(values, reach)
        return share / math.sqrt(2), share
    density, share = normal_density(reach), normal_tail(reach)
    mean, square = density - reach * share, (1 + np.square(reach)) * share - reach * density
    return 2 * np.maximum(mean, 0.0), 2 * np.maximum(square, 0.0)


def node_mass(number: Nodes, values: Values, reach: Real, *, is_cut: bool, is_offset: bool) -> Array:
    """Share of values at each node: (P, M).

    Magnitudes up to `reach` (in root mean squares) map onto 0 to the largest number; beyond it there
    is nothing (`is_cut`), or the largest number takes it all. With `is_offset` signed values map
    there instead, zero onto the middle.
    """
    edge = np.minimum(2 * number.edge_ratio - 1 if is_offset else number.edge_ratio, 1.0)
    inner = 1 - share_beyond(values, np.abs(edge) * reach)
    inner = np.where(edge < 1, inner / (1 - share_beyond(values, reach)) if is_cut else inner, 1.0)
    return np.diff((1 + np.sign(edge) * inner) / 2 if is_offset else inner, prepend=0.0)


def _bins(values: Values) -> tuple[Array, Array]:
    """Upper edges of a histogram's bins in root mean squares, and their shares: (1, bins) flat rows."""
    counts = np.asarray(values.histogram_count, dtype=np.float64)
    edges = np.arange(1, len(counts) + 1) / len(counts)
    return edges / _histogram_rms(values), counts / counts.sum()


def _histogram_rms(values: Values) -> float:
    """Root mean square of a histogram's magnitudes, its largest being 1; even within a bin."""
    counts = np.asarray(values.histogram_count, dtype=np.float64)
    edges = np.linspace(0.0, 1.0, len(counts) + 1)
    squares = (edges[1:] ** 3 - edges[:-1] ** 3) / 3 * len(counts)
    return float(np.sqrt((counts * squares).sum() / counts.sum()))
