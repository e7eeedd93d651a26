"""JSON Schemas (2020-12) of everything npuwatt prints as JSON."""

from __future__ import annotations

from typing import Any, get_args

from npuwatt.device.costs import LIMITS
from npuwatt.device.evaluate import KINDS
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.preset.evidence import QUALITIES
from npuwatt.preset.library import EVIDENCE_CLASSES
from npuwatt.study.confidence import CLASSES
from npuwatt.study.inference import METRICS
from npuwatt.study.question import CONSTANTS, MODES
from npuwatt.workload.ops import Kind
from npuwatt.workload.request import WIDTHS

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_MAYBE: Schema = {"type": ["number", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 1}
_FLAG: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_WIDTH: Schema = {"enum": list(WIDTHS)}
_BOUND: Schema = {"enum": [*LIMITS, None]}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {"type": "object", "properties": required | (optional or {}), "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _of_numbers(nullable: bool = False) -> Schema:
    return {
        "type": ["object", "null"] if nullable else "object",
        "additionalProperties": {"type": "number", "minimum": 0},
    }


_REQUEST = _object(
    {
        "network": _TEXT,
        "batch": _COUNT,
        "input_len": _COUNT,
        "output_len": _COUNT,
        "weights": _WIDTH,
        "activations": _WIDTH,
        "kv_cache": _WIDTH,
        "devices": _MAYBE_COUNT,
        "constants": {"enum": list(CONSTANTS)},
        "mode": {"enum": list(MODES)},
        "stack": {"type": ["string", "null"]},
        "prefill": {"type": ["boolean", "null"]},
        "expert_parallel": _FLAG,
        "data_parallel": _COUNT,
    }
)
_DEVICE = {
    "device": _TEXT,
    "preset": _TEXT,
    "kind": {"enum": list(KINDS)},
    "evidence": {"enum": list(EVIDENCE_CLASSES)},
}
_SERVING = ("median_itl_s", "software_time_fraction", "software_energy_fraction")
_ENDS = _object({"low": _MAYBE, "high": _MAYBE})
_CONFIDENCE = {
    "type": ["object", "null"],
    "properties": {
        "class": {"enum": list(CLASSES)},
        "level_fraction": _NUMBER,
        **dict.fromkeys(("tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j"), _ENDS),
    },
}
_ANSWER = (
    dict.fromkeys((*METRICS, *_SERVING), _MAYBE)
    | {"energy_by_component_j": _of_numbers(nullable=True), "bound_by": _BOUND}
    | {"fits": _FLAG, "devices": _MAYBE_COUNT, "devices_needed": _MAYBE_COUNT, "confidence": _CONFIDENCE}
)
_ROW = {
    name: schema
    for name, schema in _ANSWER.items()
    if name not in (*_SERVING, "energy_by_component_j", "confidence")
}
_SOURCES = _list(_object({"key": _TEXT, "citation": _TEXT}))
_USED = _list(
    _object({"name": _TEXT, "folder": _TEXT, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}})
)
_OP = _object(
    {
        "name": _TEXT,
        "kind": {"enum": [*get_args(Kind), "software"]},
        "count": _COUNT,
        "macs": _NUMBER,
        "weight_bytes": _NUMBER,
        "activation_bytes": _NUMBER,
        "kv_bytes": _NUMBER,
        "link_bytes": _NUMBER,
        "intensity_macs_per_byte": _MAYBE,
        "time_s": _MAYBE,
        "energy_j": _MAYBE,
        "bound_by": _BOUND,
    }
)
_PHASE = _object(
    {
        "phase": {"enum": ["prefill", "decode", "mixed"]},
        "steps_fraction": _MAYBE,
        "context_tokens": _COUNT,
        "time_s": _MAYBE,
        "energy_j": _MAYBE,
        "energy_by_component_j": _of_numbers(nullable=True),
        "power_stretch_ratio": _MAYBE,
        "intensity_macs_per_byte": _MAYBE,
        "ridge_macs_per_byte": _NUMBER,
        "levels": _list(_object({"name": _TEXT, "bytes": _NUMBER, "energy_j": _MAYBE})),
        "ops": _list(_OP),
    }
)
_ARTICLE = _object(
    {
        "mac_energy_j": _NUMBER,
        "dram_energy_j_per_byte": _NUMBER,
        "dram_byte_to_mac_ratio": _NUMBER,
        "movement_share": _list(
            _object(
                {"device": _TEXT, "phase": _TEXT, "article_fraction": _NUMBER, "sourced_fraction": _NUMBER}
            )
        ),
        "above_90_percent_up_to_batch": _COUNT,
    }
)
_RANGE = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
_QUALITY: Schema = {"enum": list(QUALITIES)}
_LABELS = {
    "name": _TEXT,
    "folder": _TEXT,
    "kind": _TEXT,
    "class": _TEXT,
    "evidence": _TEXT,
    "title": _TEXT,
    "about": _TEXT,
}
_NUMBERS = _list(
    _object(
        {"address": _TEXT, **_RANGE, "unit": _TEXT, "quality": _QUALITY, "source": _TEXT, "where": _TEXT,
         "range_stated": _FLAG}
    )
)  # fmt: skip

_ROOTS: dict[str, tuple[str, Schema, Schema]] = {
    "compare": (
        "The same request on several devices; SI numbers, energies per output token unless their name says otherwise.",
        {
            "request": _REQUEST,
            "results": _list(_object(_DEVICE | _ANSWER | {"energy_ratio_to_first": _MAYBE, "notes": _TEXTS})),
            "notes": _TEXTS,
            "presets": _USED,
            "sources": _SOURCES,
        },
        {"article": _ARTICLE},
    ),
    "estimate": (
        "One device op by op; each value for the whole network, all sequences and all devices.",
        {"request": _REQUEST, **_DEVICE, **_ANSWER, "phases": _list(_PHASE), "notes": _TEXTS, "presets": _USED,
         "sources": _SOURCES},
        {},
    ),
    "sweep": (
        "One request at many design points; each row carries the varied addresses and the names of compare.",
        {
            "request": _REQUEST,
            "addresses": _TEXTS,
            "points": _COUNT,
            "best": {"enum": [*METRICS, None]},
            "sources": _SOURCES,
            "results": _list(_object({"device": _TEXT} | _ROW, {"median_itl_s": _MAYBE})),
        },
        {},
    ),
    "sweep-count": ("How many points and rows a sweep would give.", {"points": _COUNT, "rows": _COUNT}, {}),
    "presets-list": ("The built-in presets.", {"presets": _list(_object({**_LABELS, "aliases": _TEXTS}))}, {}),
    "presets-show": (
        "Every number of one preset, in SI, with its range and source.",
        {**_LABELS, "origin": _TEXT, "sha256": _TEXT, "numbers": _NUMBERS, "sources": _SOURCES},
        {},
    ),
    "presets-check": (
        "Whether presets keep the rules.",
        {
            "sound": _FLAG,
            "presets": _list(
                _object({"name": _TEXT, "folder": _TEXT, "numbers": _COUNT, "qualities": _of_numbers(), "faults": _TEXTS})
            ),
        },
        {},
    ),
    "presets-path": ("Where presets are looked for, in order.", {"paths": _list(_object({"path": _TEXT}))}, {}),
    "model-import": (
        "A network read from a config.json.",
        {
            "networks": _list(
                _object(
                    {
                        "name": _TEXT,
                        "about": _TEXT,
                        "kind": _TEXT,
                        "parameters_count": _NUMBER,
                        "active_parameters_count": _NUMBER,
                        "kv_cache_bytes_per_token": _NUMBER,
                        "summary": _TEXT,
                        "preset": _TEXT,
                    }
                )
            )
        },
        {},
    ),
}  # fmt: skip
NAMES = tuple(_ROOTS)


def schema_of(name: str) -> Schema:
    """The JSON Schema of what a command prints with --format json."""
    if name not in _ROOTS:
        near = did_you_mean(name, NAMES) or f"; expected one of {', '.join(NAMES)}"
        raise NpuwattError(f"unknown schema {shown(name)}{near}")
    about, required, optional = _ROOTS[name]
    head: Schema = {"schema": {"const": f"npuwatt.{name}/1"}, "npuwatt": _TEXT}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"npuwatt.{name}/1",
        "description": about,
        **_object(head | required, optional),
    }
