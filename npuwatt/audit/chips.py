"""Model against published compute-in-memory chips: predicted and measured energies, by class and in total."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.audit.chip_rows import CLASSES, Chips, read_chips
from npuwatt.device.macro import MacroConstants, interval_ratio, mac_energy_j
from npuwatt.errors import RequestError, shown
from npuwatt.preset import library
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen, load_constants

CONSTANTS = "cim-chips"
LEVEL = 0.8  # of chips that an interval should hold
Groups = npt.NDArray[np.int64]


class JudgedChips(Record):
    """Operating points beside their predictions; arrays are (R,), joules for one multiply-accumulate."""

    chips: Chips
    constants: Chosen[MacroConstants]
    predicted_j: Array
    low_j: Array
    high_j: Array

    @property
    def factor_ratio(self) -> Array:
        """Predicted over measured or measured over predicted, whichever is larger: (R,), NaN where nothing is measured."""
        return np.exp(np.abs(np.log(self.predicted_j / self.chips.measured_j)))


class Statistics(Record):
    """How far predictions of some chips are off. Each chip counts once, by the median of its rows' factors."""

    chips: int
    rows: int
    median_ratio: float
    p90_ratio: float
    within_2x_fraction: float
    coverage_fraction: float  # of measurements by the intervals, a chip's rows sharing one vote
    score_ratio: float  # interval score in natural logarithms, the same way


def built_in() -> str:
    """The chips that come with npuwatt."""
    return os.path.join(library.presets_root(), "measured", "cim-chips.csv")


def judged_chips(path: str | None = None) -> JudgedChips:
    """Predict each operating point of a file, of the built-in one without a path.

    Raises
    ------
    NpuwattError
        A faulty file, with a line for each fault.
    """
    return judge(read_chips(path or built_in()))


def judge(chips: Chips) -> JudgedChips:
    """Predictions and their intervals, by the built-in constants.

    An interval is that of the class, and wider where a row does not tell a field: by what the field does between
    the ends where it usually lies, in squares.
    """
    constants = load_constants(CONSTANTS, MacroConstants)
    record = constants.record
    predicted_j = mac_energy_j(chips.macros, record)
    names, own = np.unique(chips.classes, return_inverse=True)
    low, high = np.log([interval_ratio(record, name) for name in names.tolist()]).T[:, own]
    below, above = -low, high
    for pair in chips.ends:
        ratios = [np.log(mac_energy_j(macros, record) / predicted_j) for macros in pair]
        below = np.hypot(below, -np.minimum(*ratios).clip(max=0))
        above = np.hypot(above, np.maximum(*ratios).clip(min=0))
    return JudgedChips(
        chips=chips, constants=constants, predicted_j=predicted_j,
        low_j=predicted_j * np.exp(-below), high_j=predicted_j * np.exp(above),
    )  # fmt: skip


def by_class(found: JudgedChips) -> dict[str, Statistics]:
    """Statistics of each class that has a measured chip."""
    groups = {name: statistics(found, found.chips.classes == name) for name in CLASSES}
    return {name: one for name, one in groups.items() if one is not None}


def statistics(found: JudgedChips, wanted: npt.NDArray[np.bool_] | bool = True) -> Statistics | None:
    """Statistics of the wanted rows; None if none of them is measured."""
    chips = found.chips
    rows = np.flatnonzero(np.isfinite(chips.measured_j) & wanted)
    if not len(rows):
        return None
    names, groups = np.unique(np.array(chips.silicon)[rows], return_inverse=True)
    low, high, measured = (np.log(values[rows]) for values in (found.low_j, found.high_j, chips.measured_j))
    factors = group_medians(found.factor_ratio[rows], groups)
    inside = group_means(((low <= measured) & (measured <= high)).astype(float), groups)
    return Statistics(
        chips=len(names),
        rows=len(rows),
        median_ratio=float(np.median(factors)),
        p90_ratio=float(np.quantile(factors, 0.9)),
        within_2x_fraction=float(np.mean(factors <= 2)),
        coverage_fraction=float(np.mean(inside)),
        score_ratio=float(np.mean(group_means(interval_score(low, high, measured), groups))),
    )


def factor_limit(text: str | None) -> float | None:
    """The greatest median factor that a user allows."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = 0.0
    if not (text.isascii() and "_" not in text and 1 <= value < np.inf):
        raise RequestError(f"--max-factor: {shown(text)} given; expected a number from 1, as in 2.5")
    return value


def exceeded(found: JudgedChips, limit: float | None, *, is_fitted_on: bool) -> str:
    """A line if the median factor is above the limit, or nothing tells that it is not.

    Of the chips that the constants were fitted on, the factor is that of each chip left out of the fit.
    """
    if limit is None:
        return ""
    total, left_out = statistics(found), found.constants.record.left_out
    if total is None:
        return f"no chip has a measured energy; expected a median factor of {limit:g} or less"
    what, median = f"{total.chips} chips", total.median_ratio
    if is_fitted_on:
        what, median = f"{left_out.chips_count} chips, each left out of the fit,", left_out.median_ratio
    return "" if median <= limit else f"median factor of {what} {median:.3g}; expected {limit:g} or less"


def interval_score(low: Array, high: Array, measured: Array) -> Array:
    """Width of an interval, and what it missed by as many times as misses should be rare: (R,). Less is better.

    Source
    ------
    Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", J. American Statistical
    Association 102, 2007, eq. 43.
    """
    missed = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
    return high - low + 2 / (1 - LEVEL) * missed


def group_medians(values: Array, groups: Groups) -> Array:
    """The median of each group, numbered from 0: (G,)."""
    ordered = values[np.lexsort((values, groups))]
    counts = np.bincount(groups)
    first = np.cumsum(counts) - counts
    found: Array = (ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) / 2
    return found


def group_means(values: Array, groups: Groups) -> Array:
    """The mean of each group, numbered from 0: (G,)."""
    return np.bincount(groups, weights=values) / np.bincount(groups)
