"""calibrate: fitted constants, how well they are known, and what they are worth on shapes that no fit saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.arrays import Array
from npuwatt.audit.calibrate import Calibration
from npuwatt.audit.constants import METRICS, Constant, Flags, Part
from npuwatt.report.document import Report, Table
from npuwatt.report.words import counted
from npuwatt.study.scenario import Chosen
from npuwatt.units import show_usual, si_unit

Record = dict[str, Any]
_TITLES = {
    "step_s": "time",
    "output_tokens_per_s": "tokens/s",
    "avg_power_w": "W",
    "j_per_output_token": "J/token",
    "j_per_output_token_given_tok_s": "given rate",
}
_SHORT = {"at the end of its range": "at its end", "poorly identified": "poorly known"}
_SHOWN = {"mape": "mean absolute error of the fit", "left_out_mape": "of fits that had not seen the shape"}


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
                "value_before": _before(found, one),
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


def _before(found: Calibration, constant: Constant) -> float:
    """What the preset had."""
    owners: list[Chosen[Any]] = [*found.devices, found.stack]
    owner = next(one for one in owners if one.preset.name == constant.owner)
    value: float = owner.evidence[".".join(constant.path)].value
    return value


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
    inside = _ratios(found.inside, metric, flags)
    shapes = {shape for part in found.parts for shape in part.shapes}
    outside = _ratios(found.outside, metric, flags) if len(shapes) > 1 else np.zeros(0)
    return {
        "mape": float(np.mean(inside)) if len(inside) else None,
        "median": float(np.median(inside)) if len(inside) else None,
        "left_out_mape": float(np.mean(outside)) if len(outside) else None,
        "left_out_median": float(np.median(outside)) if len(outside) else None,
    }


def _ratios(logs: Sequence[Mapping[str, Array]], metric: str, flags: Sequence[Flags]) -> Array:
    values = np.concatenate([part[metric][mask] for part, mask in zip(logs, flags, strict=True)])
    found: Array = np.abs(np.expm1(values[np.isfinite(values)]))
    return found


def calibrate_report(record: Record) -> Report:
    """Constants and errors for people."""
    narrow, wide = _constants_tables(record["constants"])
    errors = [
        Table(
            title=title,
            columns=("runs of", "runs", *_TITLES.values()),
            rows=tuple(
                (cell["cell"], str(cell["runs"]), *(_percent(cell[metric][name]) for metric in _TITLES))
                for cell in record["errors"]
            ),
        )
        for name, title in _SHOWN.items()
    ]
    has_left_out = record["errors"][0]["step_s"]["left_out_mape"] is not None
    has_left_out = record["errors"][0]["step_s"]["left_out_mape"] is not None
    errors = errors if has_left_out else errors[:1]
    notes = [f"{address}: no run depends on it; it stays as it was" for address in record["unseen"]]
    notes += [f"wrote {path}" for path in record["written"]]
    if not record["written"]:
        notes.append("nothing was written; --write FOLDER makes presets of this")
    if not has_left_out:
        notes.append("all runs are of one shape: how well others are predicted is not known")
    fitted, bound = record["fitted_runs"], record["overhead_bound"]
    return Report(
        heading=f"{record['file']}: {', '.join(record['devices'])} on {record['stack']}, fitted on {fitted} of {counted(record['runs'], 'run')}",
        tables=(narrow, *errors),
        wide=(wide, *errors),
        sentences=(f"{counted(bound, 'run')} took more than 5 times their roofline (overhead-bound).",)
        if bound
        else (),
        notes=tuple(notes),
    )


def _constants_tables(constants: Sequence[Record]) -> tuple[Table, Table]:
    """Fitted constants, for 80 columns and with everything."""
    names = {"value_before": "was", "value": "is", "standard_error": "+-", "low": "low", "high": "high"}
    narrow, wide = [], []
    for one in constants:
        texts = {name: show_usual(one[name], one["unit"]) for name in names}
        address, remark = one["address"], one["remark"] or ""
        narrow.append((address, texts["value"], texts["standard_error"], _SHORT.get(remark, remark)))
        wide.append((address, *texts.values(), remark))
    return (
        Table(columns=("constant", "is", "+-", "remark"), rows=tuple(narrow), left=("remark",)),
        Table(columns=("constant", *names.values(), "remark"), rows=tuple(wide), left=("remark",)),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
