"""Residuals of a calibration -> the intervals of later predictions, and whether they hold what they should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.audit.calibrate import REPEATABILITY, Calibration
from npuwatt.audit.constants import Part
from npuwatt.study.confidence import CELLS, LEVEL, METRICS, cells_of, parts_of

# The metrics of a prediction, and what a measurement file calls them.
NAMES = dict(
    zip(
        METRICS,
        (
            "step_s", "output_tokens_per_s", "avg_power_w", "j_per_output_token", "j_per_output_token_given_tok_s",
        ),
        strict=True,
    )
)  # fmt: skip
LEAST_ROWS = 10  # of a cell; below that all rows of the device stand in
MARGINS = np.arange(0.0, 0.31, 0.01)  # log ratios tried on top, since the rows of one shape are off together
AIM = 0.86  # share of rows of left-out shapes that an interval must hold before it is wide enough


def header(found: Calibration, place: int) -> dict[str, Any]:
    """What a device preset keeps of its calibration: the range of the runs, and intervals by class."""
    part = found.parts[place]
    batch = np.asarray(part.work.batch)
    devices = np.broadcast_to(part.work.devices, batch.shape)
    outside, cells = found.outside[place], _cells(part)
    known: dict[str, dict[str, list[float]]] = {cell: {} for cell in CELLS}
    for name, metric in NAMES.items():
        logs = -outside[metric][:, 0]
        margin = _margin(logs, cells, part.shapes)
        for number, cell in enumerate(CELLS):
            known[cell][name] = _ends(_reference(logs, cells, number), margin)
    return {
        "runs": len(part.lines),
        "batch": _range(batch),
        "devices": [int(devices.min()), int(devices.max())],
        "context": _range(part.context_tokens),
        "parameters": _range(part.parameters),
        "types": sorted(set(part.types)),
        "parts": sorted({name for network in part.networks for name in parts_of(network)}),
        "known": known,
        "extrapolated": _all(found.spread[place]),
        "family": _all(found.swapped[place]),
        "hardware": _all(found.hardware[place]),
    }


def _cells(part: Part) -> npt.NDArray[np.int64]:
    devices = np.broadcast_to(part.work.devices, part.context_tokens.shape)
    return cells_of(devices[:, 0], part.context_tokens[:, 0], part.is_fp8[:, 0])


def coverage(
    logs: Array, cells: npt.NDArray[np.int64], shapes: Sequence[str], margin: float
) -> tuple[float, float]:
    """Share of rows inside the interval that the other shapes give them, and the median of high over low."""
    inside, widths = [], []
    names = np.array(shapes)
    for shape in np.unique(names):
        others = names != shape
        for row in np.flatnonzero(~others):
            low, high = _ends(_reference(logs[others], cells[others], cells[row]), margin)
            inside.append(low <= np.exp(logs[row]) <= high)
            widths.append(high / low)
    return float(np.mean(inside)), float(np.median(widths))


def margin_of(logs: Array, cells: npt.NDArray[np.int64], shapes: Sequence[str]) -> float:
    """The least margin with which intervals hold enough of the shapes that were left out."""
    if len(set(shapes)) < 2:
        return float(MARGINS[-1])
    for margin in MARGINS:
        if coverage(logs, cells, shapes, float(margin))[0] >= AIM:
            return float(margin)
    return float(MARGINS[-1])


def _margin(logs: Array, cells: npt.NDArray[np.int64], shapes: Sequence[str]) -> float:
    known = np.isfinite(logs)
    if not known.any():
        return 0.0
    return margin_of(
        logs[known], cells[known], [shape for shape, keep in zip(shapes, known, strict=True) if keep]
    )


def _reference(logs: Array, cells: npt.NDArray[np.int64], cell: int) -> Array:
    own = logs[(cells == cell) & np.isfinite(logs)]
    return own if len(own) >= LEAST_ROWS else logs[np.isfinite(logs)]


def _ends(logs: Array, margin: float = 0.0) -> list[float]:
    """Least and greatest measured over predicted that hold most rows, never nearer than runs repeat."""
    if not len(logs):
        return [1 / 3, 3.0]
    ordered, count = np.sort(logs), len(logs)
    tail = (1 - LEVEL) / 2
    low = ordered[max(int(np.floor((count + 1) * tail)) - 1, 0)]
    high = ordered[min(int(np.ceil((count + 1) * (1 - tail))) - 1, count - 1)]
    return [
        round(float(np.exp(min(low, -REPEATABILITY) - margin)), 4),
        round(float(np.exp(max(high, REPEATABILITY) + margin)), 4),
    ]


def _all(errors: Mapping[str, Array]) -> dict[str, list[float]]:
    found = {}
    for name, metric in NAMES.items():
        logs = -errors[metric][:, 0]
        found[name] = _ends(logs[np.isfinite(logs)])
    return found


def _range(values: Any) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    return [float(f"{array.min():.4g}"), float(f"{array.max():.4g}")]
