"""JSON Schemas of what validate, validate --chips, validate --phones and calibrate print."""

from __future__ import annotations

from npuwatt.audit.chip_rows import CLASSES as CHIP_CLASSES
from npuwatt.audit.constants import METRICS as FITTED
from npuwatt.audit.measured import BASELINE, METRICS, SHARES
from npuwatt.device.costs import LIMITS
from npuwatt.preset.library import EVIDENCE_CLASSES
from npuwatt.report.judged_rows import COMPARED
from npuwatt.report.schema_parts import (
    COUNT,
    FLAG,
    MAYBE,
    MAYBE_TEXT,
    NUMBER,
    TEXT,
    TEXTS,
    Schema,
    closed,
    list_of,
    map_of,
    object_of,
)
from npuwatt.study.confidence import CLASSES

_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_FACTOR: Schema = {"type": "number", "minimum": 1}
_ENERGY: Schema = {"type": "number", "exclusiveMinimum": 0, "description": "J for one multiply-accumulate"}
_REFUSED = closed({"line": _POSITIVE, "reason": TEXT})
_PREDICTED = object_of(
    {
        "line": _POSITIVE,
        "model_id": TEXT,
        "weight_precision": TEXT,
        "gpu": TEXT,
        "task": TEXT,
        "num_gpus": _POSITIVE,
        "avg_batch": NUMBER,
        "network": TEXT,
        "device": TEXT,
        "stack": TEXT,
        "kind": {"enum": ["dense", "MoE", "hybrid"]},
        "overhead_bound": FLAG,
        "class": {"enum": list(CLASSES)},
        "bound_by": {"enum": list(LIMITS)},
        **dict.fromkeys(METRICS, closed(dict.fromkeys(COMPARED, MAYBE))),
    }
)
_STATISTICS = closed(
    {
        "rows": _POSITIVE,
        **dict.fromkeys(("mape", "median", "p90", "bias"), MAYBE),
        **{f"within_{share}_percent": _SHARE for share in SHARES},
    }
)


def _by_metric(names: object, values: Schema) -> Schema:
    """Metrics that the file measures, each with its value."""
    return map_of(values) | {"propertyNames": {"enum": list(names)}}  # type: ignore[call-overload]


_SUMMARY = object_of(
    {
        "rows": COUNT,
        "predicted": COUNT,
        "refused": map_of(_POSITIVE),
        "overhead_bound": COUNT,
        "metrics": _by_metric(METRICS, _STATISTICS),
        "inside_interval": _by_metric(METRICS, _SHARE),
        "baseline": _by_metric(BASELINE, _STATISTICS),
        **dict.fromkeys(
            ("by_gpu", "by_kind", "by_bound", "by_gpu_and_kind"), map_of(_by_metric(METRICS, _STATISTICS))
        ),
        "notes": TEXTS,
    }
)
_ANCHOR = object_of(
    {
        "name": TEXT,
        "about": TEXT,
        "device": TEXT,
        "network": TEXT,
        "stack": TEXT,
        "evidence": {"enum": list(EVIDENCE_CLASSES)},
        "source_trust": {"enum": ["audited", "published", "weak"]},
        "boundary": TEXT,
        "comparable": FLAG,
        "published": map_of(NUMBER),
        "bounds": TEXTS,
        "predicted": map_of(NUMBER),
        "ratio": map_of(NUMBER),
        "reason": MAYBE_TEXT,
        "note": TEXT,
        "source": TEXT,
    }
)
_CONSTANT = object_of(
    {
        "address": TEXT,
        **dict.fromkeys(("value", "value_before", "standard_error", "low", "high"), NUMBER),
        "unit": TEXT,
        "remark": MAYBE_TEXT,
    }
)
_ERRORS = object_of(
    {
        "cell": TEXT,
        "runs": _POSITIVE,
        **dict.fromkeys(
            FITTED, closed(dict.fromkeys(("mape", "median", "left_out_mape", "left_out_median"), MAYBE))
        ),
    }
)
_CHIP = closed(
    {
        "line": _POSITIVE,
        "chip_id": TEXT,
        "measured": MAYBE | {"description": "J for one multiply-accumulate at the chip's own bits"},
        "predicted": _ENERGY,
        "low": _ENERGY
        | {"description": "J for one multiply-accumulate; 80 % of chips lie between low and high"},
        "high": _ENERGY,
        "factor": MAYBE | {"description": "predicted over measured or measured over predicted, the larger"},
        "class": {"enum": list(CHIP_CLASSES)},
        "flags": TEXTS,
    }
)
_CHIP_STATISTICS = {
    "chips": _POSITIVE,
    "rows": _POSITIVE,
    "median_factor": _FACTOR,
    "p90_factor": _FACTOR,
    "within_2x": _SHARE,
    "coverage": _SHARE
    | {"description": "share of chips inside their interval, a chip's rows sharing one vote"},
    "interval_score": NUMBER
    | {"description": "of logarithms, at 80 %: width, and ten times what was missed"},
}
_CHIPS = object_of(
    {
        "fitted_on_these": FLAG,
        "total": {"oneOf": [closed(_CHIP_STATISTICS), {"type": "null"}]},
        "by_class": map_of(closed(_CHIP_STATISTICS)) | {"propertyNames": {"enum": list(CHIP_CLASSES)}},
        "left_out": closed(
            {name: kind for name, kind in _CHIP_STATISTICS.items() if name not in ("rows", "within_2x")}
        ),
        "peers": list_of(
            closed({"name": TEXT, "about": TEXT, "points": _POSITIVE, "median_factor": _FACTOR})
        ),
        "flags": map_of(_POSITIVE),
    }
)

_SPAN = closed({"low": NUMBER, "high": NUMBER, "identified": FLAG})
_FIT = closed(
    {
        "start_k": NUMBER,
        "rises_k": list_of(NUMBER),
        "time_constants_s": list_of(NUMBER) | {"description": "one for each rise, the fast one first"},
        "rms_k": NUMBER,
    }
)
_PHONES = object_of(
    {
        "readings": _POSITIVE,
        "resolution_k": NUMBER,
        "one": _FIT,
        "two": _FIT,
        "possible": closed(
            {
                "rms_k": NUMBER | {"description": "up to which a fit is as good as the best"},
                **dict.fromkeys(
                    (
                        "fast_rise_k",
                        "fast_constant_s",
                        "slow_rise_k",
                        "slow_constant_s",
                        "slow_slope_k_per_s",
                    ),
                    _SPAN,
                ),
            }
        ),
        "predicted": closed(
            {
                "handset": TEXT,
                "node": TEXT,
                "power_w": closed({**dict.fromkeys(("value", "low", "high"), NUMBER), "source": TEXT}),
                **dict.fromkeys(("room_k", "rms_k", "least_error_k", "greatest_error_k"), NUMBER),
                "inside": COUNT | {"description": "readings after the first between low_k and high_k"},
                "range_mostly_from": TEXT,
                "later": closed({"from_s": NUMBER, "measured_k": NUMBER, "predicted_k": NUMBER}),
            }
        ),
    }
)

ROOTS: dict[str, tuple[str, Schema, Schema]] = {
    "validate": (
        "Measured runs and predictions, in the units that their names tell; a row without a prediction has the reason.",
        {
            "file": TEXT,
            "stack": MAYBE_TEXT,
            "rows": list_of({"oneOf": [_PREDICTED, _REFUSED]}),
            "summary": _SUMMARY,
            "anchors": list_of(_ANCHOR),
        },
        {},
    ),
    "validate-chips": (
        "Published compute-in-memory chips: J for one multiply-accumulate at a chip's own bits, predicted and measured.",
        {"file": TEXT, "rows": list_of(_CHIP), "summary": _CHIPS},
        {},
    ),
    "validate-phones": (
        "A battery's temperature as it was read, by one and by two exponentials fitted to it, and by a handset that was not.",
        {
            "file": TEXT,
            "rows": list_of(
                closed(
                    dict.fromkeys(
                        (
                            "time_s",
                            "measured_k",
                            "one_k",
                            "two_k",
                            "predicted_k",
                            "low_k",
                            "high_k",
                            "error_k",
                        ),
                        NUMBER,
                    )
                )
            ),
            "summary": _PHONES,
            "presets": list_of(closed({"name": TEXT, "folder": TEXT, "sha256": TEXT})),
            "sources": list_of(closed({"key": TEXT, "citation": TEXT})),
        },
        {},
    ),
    "calibrate": (
        "Constants fitted to measured runs, in SI, and errors of the fit and of fits that had not seen the shape.",
        {
            "file": TEXT,
            "devices": TEXTS,
            "stack": TEXT,
            "runs": COUNT,
            "fitted_runs": COUNT,
            "overhead_bound": COUNT,
            "constants": list_of(_CONSTANT),
            "unseen": TEXTS,
            "errors": list_of(_ERRORS),
            "written": TEXTS,
        },
        {},
    ),
}
