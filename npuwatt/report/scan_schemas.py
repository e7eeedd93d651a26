"""JSON Schemas of what model scan prints, and of the density file."""

from __future__ import annotations

from npuwatt.checkpoint.scan import PATTERNS
from npuwatt.report.schema_parts import (
    COUNT,
    MAYBE,
    MAYBE_TEXT,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    map_of,
    object_of,
)

_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_MAYBE_SHARE = _SHARE | {"type": ["number", "null"]}
_MAYBE_COUNT = COUNT | {"type": ["integer", "null"]}
_SHARES = map_of(_SHARE)
_DENSITY: Schema = {
    "name": TEXT,
    "shape": list_of(COUNT),
    "dtype": TEXT,
    "input_axis": {"enum": [0, 1]},
    "op": MAYBE_TEXT,
    "density": _SHARE,
    "conformity": object_of(dict.fromkeys(PATTERNS, _MAYBE_SHARE)),
    "density_by_input": {"type": ["array", "null"], "items": _SHARE},
}
_COUNTED: Schema = {
    "elements": COUNT,
    "density": _SHARE,
    "conformity": _DENSITY["conformity"],
    **dict.fromkeys(
        (
            "zeros", "not_finite", "outputs", "zero_outputs", "inputs", "zero_inputs", "blocks", "zero_blocks",
            "sampled_elements",
        ),
        _MAYBE_COUNT,
    ),
    "largest": MAYBE,
    "sigma": MAYBE,
    "below": _SHARES,
    "below_norm": _SHARES,
    "quantised_zeros": _SHARES,
    "pruned_norm": _SHARES,
}  # fmt: skip

ROOTS: dict[str, tuple[str, Schema, Schema]] = {
    "scan": (
        "Zeros of a checkpoint's matrices of weights, and shares of small ones: of weights, or of their squared norm.",
        {
            "path": TEXT,
            "files": TEXTS,
            "tensors": list_of(object_of(_DENSITY | {"layout": TEXT} | _COUNTED)),
            "ops": list_of(object_of({"op": MAYBE_TEXT, "tensors": COUNT, **_COUNTED})),
            "linear_layers": object_of({"tensors": COUNT, **_COUNTED}),
            "unread": list_of(object_of({"name": TEXT, "reason": TEXT})),
            "other_tensors": COUNT,
            "notes": TEXTS,
        },
        {},
    ),
    "densities": (
        "How full each tensor of a checkpoint is: a part of scan, which other commands read.",
        {"tensors": list_of(object_of(_DENSITY))},
        {},
    ),
}
