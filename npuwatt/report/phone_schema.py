"""JSON Schema of devices in a handset."""

from __future__ import annotations

from npuwatt.handset.governor import KINDS
from npuwatt.report.phone import FIGURES
from npuwatt.report.schema_parts import (
    COUNT,
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

_HANDSET = object_of(
    {
        "handset": TEXT,
        "title": TEXT,
        "in_case": FLAG,
        "is_limit_given": FLAG,
        "governor": {"enum": list(KINDS)},
    }
    | dict.fromkeys(("other_w", "limit_k", "junction_limit_k", "ambient_k", "start_k", "session_s"), NUMBER)
)
_BOUND: Schema = {"enum": ["skin", "junction", "runaway", "rest"]}
_ENDS = {"low": MAYBE, "high": MAYBE}  # none: never, or no end to it
_CONDITION = dict.fromkeys(
    ("spreading_fraction", "ambient_k", "session_peak_w", "steady_peak_w"), NUMBER
) | dict.fromkeys(("session_bound_by", "steady_bound_by"), _BOUND)
_RESULT: Schema = dict.fromkeys(FIGURES, NUMBER) | {
    "rated_w": NUMBER,
    "work_w": NUMBER,
    "overshoot_k": NUMBER,
    "steady_bound_by": _BOUND,
    "reaching_bound_by": _BOUND,
    "reaches_s": MAYBE,
    "unthrottled_s": MAYBE,
    "battery_life_s": MAYBE,
    "tokens": list_of(object_of({"within_s": NUMBER, "tokens": NUMBER} | _ENDS)),
    "ranges": object_of(
        dict.fromkeys(FIGURES, object_of(_ENDS)) | {"numbers_count": COUNT, "runs_away_by": TEXTS}
    ),
    "claim": object_of(
        {
            "share_fraction": NUMBER,
            "holds": FLAG,
            "is_open": FLAG,  # a number of the handset within its range would turn it
            "conditions": list_of(object_of(_CONDITION)),
        }
    )
    | {"type": ["object", "null"]},
    "exactness": EXACTNESS,
    "notes": TEXTS,
    "confidence": RATIOS,
    "course": list_of(
        object_of(dict.fromkeys(("time_s", "skin_k", "die_k", "power_w", "tokens_per_s"), NUMBER))
    ),
}
ABOUT = "Devices in a handset: limits by temperature, and the course of a session (every moment with --course); SI numbers."


def phone_root(request: Schema, device: Schema, used: Schema, sources: Schema) -> tuple[str, Schema, Schema]:
    """What a document holds, with the parts that other documents have too."""
    return (
        ABOUT,
        {
            "request": request,
            "handset": _HANDSET,
            "results": list_of(object_of(device | _RESULT)),
            "is_whole_course": FLAG,
            "notes": TEXTS,
            "presets": used,
            "sources": sources,
        },
        {},
    )
