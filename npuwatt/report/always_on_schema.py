"""JSON Schema of devices behind always-on detectors."""

from __future__ import annotations

from npuwatt.handset.duty import PARTS
from npuwatt.report.schema_parts import (
    EXACTNESS,
    FLAG,
    MAYBE,
    NUMBER,
    RATIOS,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    object_of,
)
from npuwatt.study.always_on import RANGED

_PROFILE = object_of(
    {"profile": TEXT, "title": TEXT, "has_listener": FLAG, "is_retained": FLAG}
    | dict.fromkeys(
        (
            "events_per_s", "answered_per_s", "missed_per_s", "false_wakes_per_s", "listening_fraction",
            "checking_fraction",
        ),
        NUMBER,
    )
)  # fmt: skip
_HANDSET = object_of(
    {"handset": TEXT, "title": TEXT}
    | dict.fromkeys(("other_day_w", "battery_j", "battery_efficiency_fraction"), NUMBER)
)
_MAYBE_ENDS = object_of({"low": MAYBE, "high": MAYBE})
_AGAINST = object_of({"mean_ratio": NUMBER, "low": MAYBE, "high": MAYBE, "even_per_s": MAYBE})
_DRIVER = object_of(
    dict.fromkeys(("assumption", "unit", "source"), TEXT)
    | dict.fromkeys(("value", "low", "high"), NUMBER)
    | dict.fromkeys(("mean_low_w", "mean_high_w"), MAYBE)
)
_RESULT: Schema = (
    dict.fromkeys(RANGED, MAYBE)
    | {"ranges": object_of(dict.fromkeys(RANGED, _MAYBE_ENDS))}
    | dict.fromkeys(
        (
            "awake_fraction", "answer_energy_j", "answer_time_s", "nonstop_w", "weights_bytes", "load_s", "mean_at_no_event_w",
            "added_per_event_j",
        ),
        NUMBER,
    )
    | dict.fromkeys(("milliwatts_up_to_per_s", "day_of_battery_up_to_per_s", "half_from_per_s", "most_per_s"), MAYBE)
    | {
        "power_by_part_w": object_of(dict.fromkeys(PARTS, NUMBER)),
        "mean_by_keeping_w": object_of(dict.fromkeys(("retained", "loaded"), MAYBE)),
        "against_first": _AGAINST,
        "overworked": TEXTS,
        "drivers": list_of(_DRIVER),
        "confidence": RATIOS,
        "is_memory_idle": FLAG,
        "exactness": EXACTNESS,
        "notes": TEXTS,
    }
)  # fmt: skip
ABOUT = "Devices behind always-on detectors: mean power by part, battery, and rates of events that matter; SI numbers."


def always_on_root(
    request: Schema, device: Schema, used: Schema, sources: Schema
) -> tuple[str, Schema, Schema]:
    """What a document holds, with the parts that other documents have too."""
    return (
        ABOUT,
        {
            "request": request,
            "profile": _PROFILE,
            "handset": _HANDSET,
            "milliwatts_w": NUMBER,
            "results": list_of(object_of(device | _RESULT)),
            "notes": TEXTS,
            "presets": used,
            "sources": sources,
        },
        {},
    )
