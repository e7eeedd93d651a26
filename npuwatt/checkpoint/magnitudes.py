"""Small weights: how many there are, what they carry, and what quantising or pruning makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from npuwatt.checkpoint.number_formats import FORMATS, Words, magnitude_words, magnitudes_of
from npuwatt.record import Record

FEW = 2**13  # magnitudes that are sorted; more are read twice and counted
GROUP = 128  # weights along the input dimension that a sample takes together: the widest quantisation group
LEAST_SAMPLED, SAMPLED_SHARE, MOST_SAMPLED = 2**16, 1 / 256, 2**20
ABSOLUTE = {"1e-3": 1e-3, "1e-2": 1e-2}
IN_SIGMAS = {"0.1 sigma": 0.1, "0.5 sigma": 0.5, "0.6745 sigma": 0.6745, "1 sigma": 1.0}
OF_LARGEST = {"1 % of largest": 0.01, "5 % of largest": 0.05, "10 % of largest": 0.1}
QUANTISED = {"int8 g128": (127, 128), "int4 g32": (7, 32), "int4 g128": (7, 128)}  # largest code, group
PRUNED = ("2:4", "4:8", "50 %")

Part: TypeAlias = tuple[npt.NDArray[np.float32], int]
"""Magnitudes (G, width), one row a group along the input dimension, and how many of them are finite weights.

The others, of short groups and of infinite weights, are 0. A row is 128 wide, or as wide as the whole input dimension
where that is less, by eights to 32 and by 32 to 96.
"""
Parts: TypeAlias = Callable[[], Iterable[Part]]


class Magnitudes(Record):
    """Magnitudes of the finite weights of a tensor, or of several; shares are 0 where there are none.

    Keys are those of ABSOLUTE, IN_SIGMAS, OF_LARGEST, QUANTISED and PRUNED.
    """

    elements: int  # finite weights that the shares speak for
    sampled_elements: int  # finite weights they were taken from
    largest: float
    mean_square: float
    below_fraction: dict[str, float]  # of elements, strictly below a threshold
    below_norm_fraction: dict[str, float]  # of the squared norm, carried by those
    quantised_zero_fraction: dict[str, float]  # of elements: zero after symmetric absmax quantisation
    pruned_norm_fraction: dict[str, float]  # of the squared norm, removed with the smallest half

    @property
    def sigma(self) -> float:
        """Root mean square, which is the standard deviation of weights that spread about zero."""
        return math.sqrt(self.mean_square)


def magnitudes(parts: Parts, *, elements: int, largest: float) -> Magnitudes:
    """Statistics of parts that together are a tensor or a fair sample of it; each part is asked for four times.

    elements, largest: finite weights of the whole tensor, and the largest magnitude among them.
    """
    sampled, invented, norm, zeros, removed = _by_group(parts)
    mean_square = norm / sampled if sampled else 0.0
    limits = {
        **ABSOLUTE,
        **{name: factor * math.sqrt(mean_square) for name, factor in IN_SIGMAS.items()},
        **{name: factor * largest for name, factor in OF_LARGEST.items()},
    }
    if invented + sampled <= FEW:
        ordered = np.sort(np.concatenate([x.ravel() for x, _ in parts()] or [np.empty(0, np.float32)]))
        limits["50 %"] = float(ordered[invented + sampled // 2]) if sampled else 0.0
        counts, norms = _below_in_order(ordered, limits)
    else:
        limits["50 %"] = _ranked(parts, invented + sampled // 2, of=invented + sampled)
        counts, norms = _below(parts, limits)
    median, half = limits.pop("50 %"), invented + sampled // 2
    removed["50 %"] = (
        norms["50 %"] + (half - counts["50 %"]) * median**2
    )  # as many equal to it as are missing
    return Magnitudes(
        elements=elements,
        sampled_elements=sampled,
        largest=largest,
        mean_square=mean_square,
        below_fraction={
            name: _share(counts[name] - (invented if limit else 0), sampled) for name, limit in limits.items()
        },
        below_norm_fraction={name: _share(norms[name], norm) for name in limits},
        quantised_zero_fraction={name: _share(zeros[name] - invented, sampled) for name in QUANTISED},
        pruned_norm_fraction={name: _share(removed[name], norm) for name in PRUNED},
    )


def merged_magnitudes(several: Sequence[Magnitudes]) -> Magnitudes:
    """Of several tensors together, each against its own sigma and largest: shares weighted by what they are of."""
    elements = [one.elements for one in several]
    norms = [one.mean_square * one.elements for one in several]

    def weighted(name: str, weights: Sequence[float]) -> dict[str, float]:
        shares: list[dict[str, float]] = [getattr(one, name) for one in several]
        each = np.array([[*share.values(), 1.0] for share in shares]) * np.array(weights)[:, np.newaxis]
        *sums, whole = np.add.reduce(each).tolist()  # added up in one order, so that shares of 1 stay 1
        return {key: _share(part, whole) for key, part in zip(shares[0], sums, strict=True)}

    return Magnitudes(
        elements=sum(elements),
        sampled_elements=sum(one.sampled_elements for one in several),
        largest=max(one.largest for one in several),
        mean_square=_share(sum(norms), sum(elements)),
        below_fraction=weighted("below_fraction", elements),
        below_norm_fraction=weighted("below_norm_fraction", norms),
        quantised_zero_fraction=weighted("quantised_zero_fraction", elements),
        pruned_norm_fraction=weighted("pruned_norm_fraction", norms),
    )


def sampling_stride(elements: int) -> int:
    """Every how manyth group of 128 a sample takes of a tensor: one in 256, but 65,536 to 1,048,576 weights."""
    wanted = min(max(elements * SAMPLED_SHARE, LEAST_SAMPLED), MOST_SAMPLED)
    return max(1, math.ceil(elements / wanted))


def sampled_part(words: Words, dtype: str, *, input_axis: int, stride: int) -> Part:
    """Evenly spaced groups of 128 weights along the input dimension of a tile of words (rows, columns)."""
    lines = words if input_axis == 1 else words.T
    per_line = -(-lines.shape[1] // GROUP)
    while math.gcd(stride, per_line) > 1:  # or the same inputs would be taken of every output
        stride += 1
    line, group = np.divmod(np.arange(0, lines.shape[0] * per_line, stride), per_line)
    inputs = group[:, np.newaxis] * GROUP + np.arange(_row_width(lines.shape[1]))
    outside = inputs >= lines.shape[1]
    taken = lines[line[:, np.newaxis], np.minimum(inputs, lines.shape[1] - 1)]
    taken[outside] = 0
    return _part(taken, dtype, taken.size - int(np.count_nonzero(outside)))


def whole_part(words: Words, dtype: str, *, input_axis: int) -> Part:
    """All groups of 128 weights along the input dimension of a tile of words (rows, columns)."""
    lines = words if input_axis == 1 else words.T
    width = _row_width(lines.shape[1])
    padded = np.zeros((lines.shape[0], -(-lines.shape[1] // width) * width), lines.dtype)
    padded[:, : lines.shape[1]] = lines
    return _part(padded.reshape(-1, width), dtype, words.size)


def _row_width(inputs: int) -> int:
    """How wide a row of a part is: whole groups to prune and to quantise, and few zeros beside narrow matrices."""
    step = 8 if inputs <= 32 else 32
    return min(GROUP, -(-inputs // step) * step)


def _part(words: Words, dtype: str, weights: int) -> Part:
    words = magnitude_words(words, dtype, out=words)
    not_finite = words >= FORMATS[dtype].first_not_finite
    words[not_finite] = 0
    return magnitudes_of(words, dtype), weights - int(np.count_nonzero(not_finite))


def _by_group(parts: Parts) -> tuple[int, int, float, dict[str, int], dict[str, float]]:
    """Finite weights, invented zeros, squared norm, zeros after quantisation, squared norm that N:M removes."""
    sampled, invented, norm = 0, 0, 0.0
    zeros, removed = dict.fromkeys(QUANTISED, 0), {"2:4": 0.0, "4:8": 0.0}
    for x, finite in parts():
        sampled += finite
        invented += x.size - finite
        norm += _squared_norm(x)
        by_32 = x.reshape(len(x), -1, min(32, x.shape[1]))
        peaks = by_32.max(axis=2, keepdims=True)
        for name, (largest_code, size) in QUANTISED.items():
            peak = peaks if size == 32 else peaks.max(axis=1, keepdims=True)
            limit = peak / np.float32(2 * largest_code)  # half a step, which rounds to the even code 0
            zeros[name] += int(np.count_nonzero(by_32 <= limit))
        a, b, c, d = _sorted_fours(x)
        removed["2:4"] += _squared_norm(a) + _squared_norm(b)
        for low, high in ((a, d), (b, c), (c, b), (d, a)):  # the four smallest of two sorted fours
            removed["4:8"] += _squared_norm(np.minimum(low[0::2], high[1::2]))
    return sampled, invented, norm, zeros, removed


def _sorted_fours(x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], ...]:
    """Each four neighbours in ascending order, by a sorting network: smallest of all fours, then second, ..."""
    a, b, c, d = np.ascontiguousarray(x.reshape(-1, 4).T)
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    a, c = np.minimum(a, c), np.maximum(a, c)
    b, d = np.minimum(b, d), np.maximum(b, d)
    return a, np.minimum(b, c), np.maximum(b, c), d


def _ranked(parts: Parts, rank: int, *, of: int) -> float:
    """The magnitude that `rank` others lie below or beside: bits of positive floats order as the floats do."""
    if rank >= of:
        return 0.0
    upper, lower = np.zeros(2**16, np.int64), np.zeros(2**16, np.int64)
    for x, _ in parts():
        upper += np.bincount(x.view(np.uint32).ravel() >> 16, minlength=2**16)
    up_to = np.cumsum(upper)
    top = int(np.searchsorted(up_to, rank, side="right"))
    for x, _ in parts():
        bits = x.view(np.uint32).ravel()
        lower += np.bincount(bits[bits >> 16 == top] & 0xFFFF, minlength=2**16)
    rank -= int(up_to[top] - upper[top])
    bottom = int(np.searchsorted(np.cumsum(lower), rank, side="right"))
    return float(np.uint32(top << 16 | bottom).view(np.float32))


def _below(parts: Parts, limits: dict[str, float]) -> tuple[dict[str, int], dict[str, float]]:
    """How many magnitudes lie below each limit, and the sum of their squares."""
    names = sorted(limits, key=lambda name: limits[name])
    counts, norms = np.zeros(len(names) + 1, np.int64), np.zeros(len(names) + 1)  # between limits
    for x, _ in parts():
        between = np.zeros(x.shape, np.uint8)
        for name in names:
            between += x >= np.float32(limits[name])
        counts += np.bincount(between.ravel(), minlength=counts.size)
        norms += np.bincount(between.ravel(), np.square(x, dtype=np.float64).ravel(), minlength=counts.size)
    return (
        dict(zip(names, np.cumsum(counts).tolist(), strict=False)),
        dict(zip(names, np.cumsum(norms).tolist(), strict=False)),
    )


def _below_in_order(
    ordered: npt.NDArray[np.float32], limits: dict[str, float]
) -> tuple[dict[str, int], dict[str, float]]:
    """The same of few magnitudes in ascending order."""
    places = np.searchsorted(ordered, np.array(list(limits.values()), np.float32))
    norms = np.concatenate([[0.0], np.cumsum(np.square(ordered, dtype=np.float64))])[places]
    return (
        dict(zip(limits, places.tolist(), strict=True)),
        dict(zip(limits, norms.tolist(), strict=True)),
    )


def _squared_norm(x: npt.NDArray[np.float32]) -> float:
    return float(np.add.reduce(np.square(x, dtype=np.float64), axis=None))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def tiles(shape: tuple[int, int], most: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of at most about `most` words in row order; their edges are multiples of 128 or those of the tensor."""
    rows, columns = shape
    width = min(columns, max(GROUP, most // min(rows, GROUP) // GROUP * GROUP)) if rows else 0
    height = max(GROUP, most // max(width, 1) // GROUP * GROUP)
    for row in range(0, rows, height):
        for left in range(0, columns, max(width, 1)):
            yield slice(row, min(row + height, rows)), slice(left, min(left + width, columns))
