"""calibrate: fitted constants, how well they are known, and what they are worth on shapes that no fit saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.arrays import Array
from npuwatt.audit.calibrate import Calibration
from npuwatt.audit.constants import METRICS, Flags, Part
from npuwatt.report.document import Report, Table
from npuwatt.units import show_usual, si_unit

Record = dict[str, Any]
_TITLES = {
    "step_s": "time of a token",
    "output_tokens_per_s": "tokens/s",
    "avg_power_w": "power",
    "j_per_output_token": "J/token",
    "j_per_output_token_given_tok_s": "J/token given tokens/s",
}


def calibrate_record(found: Calibration, path: str, written: Sequence[str]) -> Record:
    """A calibration: schema npuwatt.calibrate/1."""
    return {
        "schema": "npuwatt.calibrate/1",
        "npuwatt": __version__,
        "file": path,
        "devices": [device.preset.name for device in found.devices],
        "stack": found.stack.preset.name,
        "runs": sum(len(part.lines) for part in found.parts),
        "fitted_runs": sum(int(flags.sum()) for flags in found.used),
        "overhead_bound": sum(int(part.overhead_bound.sum()) for part in found.parts),
        "constants": [
            {
                "address": one.address,
                "value": found.value(one, float(place)),
                "standard_error": float(error) * (one.high - one.low),
                "low": one.low,
                "high": one.high,
                "unit": si_unit(one.suffix),
                "remark": remark or None,
            }
            for one, place, error, remark in zip(
                found.constants, found.places, found.errors, found.remarks(), strict=True
            )
        ],
        "unseen": [one.address for one in found.unseen],
        "errors": _errors(found),
        "written": list(written),
    }


def _errors(found: Calibration) -> list[Record]:
    """Mean and median absolute errors by cell: of the fit itself, and of fits that left the shape out."""
    cells: list[tuple[str, list[Flags]]] = [("all runs", [np.ones_like(flags) for flags in found.used])]
    cells.append(("runs fitted on", list(found.used)))
    for place, part in enumerate(found.parts):
        for name, own in _kinds(part):
            flags = [np.zeros_like(used) for used in found.used]
            flags[place] = own & found.used[place]
            cells.append((f"{part.device.preset.name}, {name}", flags))
    return [
        {
            "cell": name,
            "runs": sum(int(mask.sum()) for mask in flags),
            **{metric: _error(found, metric, flags) for metric in METRICS},
        }
        for name, flags in cells
        if any(mask.any() for mask in flags)
    ]


def _kinds(part: Part) -> list[tuple[str, Flags]]:
    return [
        ("dense", ~part.is_mixture & ~part.is_hybrid),
        ("MoE", part.is_mixture & ~part.is_hybrid),
        ("hybrid", part.is_hybrid),
    ]


def _error(found: Calibration, metric: str, flags: Sequence[Flags]) -> Record:
    inside, outside = (_ratios(logs, metric, flags) for logs in (found.inside, found.outside))
    if not len(inside):
        return {"mape": None, "median": None, "left_out_mape": None, "left_out_median": None}
    return {
        "mape": float(np.mean(inside)),
        "median": float(np.median(inside)),
        "left_out_mape": float(np.mean(outside)),
        "left_out_median": float(np.median(outside)),
    }


def _ratios(logs: Sequence[Mapping[str, Array]], metric: str, flags: Sequence[Flags]) -> Array:
    values = np.concatenate([part[metric][mask] for part, mask in zip(logs, flags, strict=True)])
    found: Array = np.abs(np.expm1(values[np.isfinite(values)]))
    return found


def calibrate_report(record: Record) -> Report:
    """Constants and errors for people."""
    constants = Table(
        columns=("constant", "value", "+-", "low", "high", "remark"),
        rows=tuple(
            (
                one["address"],
                *(show_usual(one[name], one["unit"]) for name in ("value", "standard_error", "low", "high")),
                one["remark"] or "",
            )
            for one in record["constants"]
        ),
        left=("remark",),
    )
    errors = Table(
        title="mean absolute error: of the fit, then of fits that left the shape out",
        columns=(
            "runs of",
            "runs",
            *(f"{_TITLES[metric]} {what}" for metric in METRICS for what in ("fit", "left out")),
        ),
        rows=tuple(
            (
                cell["cell"],
                str(cell["runs"]),
                *(_percent(cell[metric][name]) for metric in METRICS for name in ("mape", "left_out_mape")),
            )
            for cell in record["errors"]
        ),
    )
    notes = [f"{address}: no run depends on it; it stays as it was" for address in record["unseen"]]
    notes += [f"wrote {path}" for path in record["written"]]
    if not record["written"]:
        notes.append("nothing was written; --write FOLDER makes presets of this")
    fitted, bound = record["fitted_runs"], record["overhead_bound"]
    return Report(
        heading=f"{record['file']}: {', '.join(record['devices'])} on {record['stack']}, fitted on {fitted} of {record['runs']} runs",
        tables=(constants, errors),
        wide=(constants, errors),
        sentences=(f"{bound} runs are overhead-bound: they took more than 5 times their roofline.",),
        notes=tuple(notes),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
