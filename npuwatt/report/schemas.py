"""JSON Schemas (2020-12) of everything npuwatt prints as JSON."""

from __future__ import annotations

from typing import get_args

from npuwatt.device.accuracy import PARTS
from npuwatt.device.costs import COMPONENTS, LIMITS
from npuwatt.device.evaluate import KINDS
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.explore.sweep import MACRO
from npuwatt.preset.evidence import QUALITIES
from npuwatt.preset.library import EVIDENCE_CLASSES
from npuwatt.report import audit_schemas, scan_schemas, sparsity_schemas
from npuwatt.report.always_on_schema import always_on_root
from npuwatt.report.fleet_schema import fleet_root
from npuwatt.report.phone_schema import phone_root
from npuwatt.report.schema_parts import (
    COUNT,
    EXACTNESS,
    FLAG,
    MAYBE,
    MAYBE_COUNT,
    MAYBE_TEXT,
    NUMBER,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    object_of,
)
from npuwatt.study.confidence import CLASSES
from npuwatt.study.inference import METRICS
from npuwatt.study.phases import PLACES
from npuwatt.study.question import CONSTANTS, MODES
from npuwatt.study.verdicts import BANDS
from npuwatt.workload.ops import PATTERNS, Kind
from npuwatt.workload.request import WIDTHS

_WIDTH: Schema = {"enum": list(WIDTHS)}
_BOUND: Schema = {"enum": [*LIMITS, None]}


def _of_numbers(nullable: bool = False) -> Schema:
    return {
        "type": ["object", "null"] if nullable else "object",
        "additionalProperties": {"type": "number", "minimum": 0},
    }


def _nullable(schema: Schema) -> Schema:
    return schema | {"type": ["object", "null"]}


_REQUEST = object_of(
    {
        "network": TEXT,
        "batch": COUNT,
        "input_len": COUNT,
        "output_len": COUNT,
        "weights": _WIDTH,
        "activations": _WIDTH,
        "kv_cache": _WIDTH,
        "pattern": {"enum": list(PATTERNS)},
        "density": NUMBER,
        "activation_density": NUMBER,
        "densities": MAYBE_TEXT,
        "ideal": FLAG,
        "devices": MAYBE_COUNT,
        "constants": {"enum": list(CONSTANTS)},
        "mode": {"enum": list(MODES)},
        "stack": {"type": ["string", "null"]},
        "prefill": {"type": ["boolean", "null"]},
        "expert_parallel": FLAG,
        "data_parallel": COUNT,
    }
)
_DEVICE = {
    "device": TEXT,
    "preset": TEXT,
    "kind": {"enum": list(KINDS)},
    "evidence": {"enum": list(EVIDENCE_CLASSES)},
}
_SERVING = ("median_itl_s", "software_time_fraction", "software_energy_fraction")
_PHASE_ENERGIES = ("prefill_energy_j", "decode_step_energy_j")
_ENDS = object_of({"low": MAYBE, "high": MAYBE})
_CONFIDENCE = {
    "type": ["object", "null"],
    "properties": {
        "class": {"enum": list(CLASSES)},
        "level_fraction": NUMBER,
        **dict.fromkeys(("tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j"), _ENDS),
    },
}
_ANSWER = (
    dict.fromkeys((*METRICS, *_PHASE_ENERGIES, *_SERVING), MAYBE)
    | {"energy_by_component_j": _of_numbers(nullable=True), "bound_by": _BOUND}
    | {"fits": FLAG, "devices": MAYBE_COUNT, "devices_needed": MAYBE_COUNT, "confidence": _CONFIDENCE}
    | {"exactness": EXACTNESS}
)
_ROW = {
    name: schema
    for name, schema in _ANSWER.items()
    if name not in (*_PHASE_ENERGIES, *_SERVING, "energy_by_component_j", "confidence", "exactness")
}
_PER_MACRO = object_of(
    {
        "part": TEXT,
        "ops_per_j": MAYBE,
        **dict.fromkeys(
            (
                "one_bit_ops_per_j",
                "ops_per_s_m2",
                "one_bit_ops_per_s_m2",
                "chip_area_m2",
                "board_ops_per_j",
                "macs_inside_fraction",
                "gap_ratio",
            ),
            MAYBE,
        ),
        "chips_like_it": _nullable(
            object_of(dict.fromkeys(("ops_per_j", "low_ops_per_j", "high_ops_per_j"), NUMBER))
        ),
    }
)
_SOURCES = list_of(object_of({"key": TEXT, "citation": TEXT}))
_USED = list_of(
    object_of({"name": TEXT, "folder": TEXT, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}})
)
_KIND: Schema = {"enum": [*get_args(Kind), "software"]}
_PHASE_NAME: Schema = {"enum": ["prefill", "decode", "mixed"]}
_OP = object_of(
    {
        "name": TEXT,
        "kind": _KIND,
        "where": {"enum": [*PLACES, None]},
        "count": COUNT,
        "macs": NUMBER,
        "weight_bytes": NUMBER,
        "activation_bytes": NUMBER,
        "kv_bytes": NUMBER,
        "link_bytes": NUMBER,
        "moved_bytes": NUMBER,
        "intensity_macs_per_byte": MAYBE,
        "time_s": MAYBE,
        "energy_j": MAYBE,
        "bound_by": _BOUND,
    }
)
_PHASE = object_of(
    {
        "phase": _PHASE_NAME,
        "steps_fraction": MAYBE,
        "context_tokens": COUNT,
        "time_s": MAYBE,
        "energy_j": MAYBE,
        "energy_by_component_j": _of_numbers(nullable=True),
        "power_stretch_ratio": MAYBE,
        "intensity_macs_per_byte": MAYBE,
        "ridge_macs_per_byte": NUMBER,
        "levels": list_of(object_of({"name": TEXT, "bytes": NUMBER, "energy_j": MAYBE})),
        "ops": list_of(_OP),
    }
)
_COST = {
    "time_s": MAYBE,
    "energy_j": MAYBE,
    "energy_by_component_j": _of_numbers(nullable=True),
    "bound_by": _BOUND,
    "where": {"type": ["array", "null"], "items": {"enum": list(PLACES)}},
}
_PHASE_BY_KIND = object_of(
    {
        "phase": _PHASE_NAME,
        "steps_fraction": MAYBE,
        "context_tokens": COUNT,
        **_COST,
        "kinds": list_of(object_of({"kind": _KIND, **_COST})),
    }
)
_LEAD: Schema = {"device": TEXT, "close": TEXTS, "next": MAYBE_TEXT}
_WINNER = object_of(
    {
        "phase": _PHASE_NAME,
        "kind": {"enum": [*_KIND["enum"], None]},
        "devices": TEXTS,
        "fastest": object_of(
            {**_LEAD, "time_ratio": MAYBE, "bound_by": _BOUND, "where": _COST["where"],
             "next_bound_by": _BOUND, "next_where": _COST["where"]}
        ),
        "least_energy": object_of(
            {**_LEAD, "energy_ratio": MAYBE, "saved_j": MAYBE,
             "saved_on": {"type": ["array", "null"], "items": {"enum": list(COMPONENTS)}}}
        ),
        "why": TEXT,
    }
)  # fmt: skip
_ARTICLE = object_of(
    {
        "mac_energy_j": NUMBER,
        "dram_energy_j_per_byte": NUMBER,
        "dram_byte_to_mac_ratio": NUMBER,
        "movement_share": list_of(
            object_of({"device": TEXT, "phase": TEXT, "article_fraction": NUMBER, "sourced_fraction": NUMBER})
        ),
        "above_90_percent_up_to_batch": COUNT,
    }
)
_RANGE = {"value": NUMBER, "low": NUMBER, "high": NUMBER}
_QUALITY: Schema = {"enum": list(QUALITIES)}
_LABELS = {
    "name": TEXT,
    "folder": TEXT,
    "kind": TEXT,
    "class": TEXT,
    "evidence": TEXT,
    "title": TEXT,
    "about": TEXT,
}
_NUMBERS = list_of(
    object_of(
        {"address": TEXT, **_RANGE, "unit": TEXT, "quality": _QUALITY, "source": TEXT, "where": TEXT,
         "range_stated": FLAG, "is_celsius": FLAG}
    )
)  # fmt: skip

_ROOTS: dict[str, tuple[str, Schema, Schema]] = {
    "compare": (
        "The same request on several devices; SI numbers, energies per output token unless their name says otherwise.",
        {
            "request": _REQUEST,
            "results": list_of(
                object_of(
                    _DEVICE
                    | _ANSWER
                    | {"energy_ratio_to_first": MAYBE, "phases": list_of(_PHASE_BY_KIND), "notes": TEXTS},
                    {"per_macro": _PER_MACRO},
                )
            ),
            "winners": list_of(_WINNER),
            "notes": TEXTS,
            "presets": _USED,
            "sources": _SOURCES,
        },
        {"article": _ARTICLE},
    ),
    "estimate": (
        "One device op by op; each value for the whole network, all sequences and all devices.",
        {"request": _REQUEST, **_DEVICE, **_ANSWER, "phases": list_of(_PHASE), "notes": TEXTS, "presets": _USED,
         "sources": _SOURCES},
        {"per_macro": _PER_MACRO},
    ),
    "sweep": (
        "One request at many design points; each row has the varied addresses; a device with a changed number is projected.",
        {
            "request": _REQUEST,
            "addresses": TEXTS,
            "points": COUNT,
            "best": {"enum": [*METRICS, *MACRO, None]},
            "sources": _SOURCES,
            "results": list_of(object_of({"device": TEXT} | _ROW | {"evidence": _DEVICE["evidence"]}, dict.fromkeys(("median_itl_s", *MACRO), MAYBE))),
        },
        {},
    ),
    "sweep-count": ("How many points and rows a sweep would give.", {"points": COUNT, "rows": COUNT}, {}),
    "accuracy": (
        "Signal over noise of products in cells, at moments since these were programmed; low and high if each number of the cells lies anywhere in its range.",
        {
            **_DEVICE,
            "network": TEXT,
            "temperature_k": NUMBER,
            "weights": object_of(
                {"distribution": TEXT, "scale_ratio": NUMBER, "bits": NUMBER, "cell_bits": NUMBER, "is_pair": FLAG}
            ),
            "array": object_of({"rows": NUMBER, "active_rows": NUMBER, "columns": NUMBER}),
            "converter": object_of(
                {"bits": MAYBE, "lossless_bits": NUMBER, "clip_ratio": NUMBER, "loss_db": MAYBE}
            ),
            "moments": list_of(
                object_of(
                    {
                        "time_s": NUMBER,
                        **dict.fromkeys(
                            ("snr_db", "snr_low_db", "snr_high_db", "snr_uncompensated_db", "snr_simulated_db", "enob_bits"),
                            MAYBE,
                        ),
                        "noise_ratio": object_of(dict.fromkeys(PARTS, NUMBER)),
                        "is_extrapolated": FLAG,
                        "verdict": {"enum": [name for _, name in BANDS]},
                    }
                )
            ),
            "loading": _nullable(
                object_of(dict.fromkeys(("boards", "cells", "energy_j", "time_s"), NUMBER) | {"held_back_by": TEXT})
            ),
            "schedule": _nullable(
                object_of(
                    dict.fromkeys(("interval_s", "energy_j", "power_w", "downtime_fraction"), NUMBER)
                    | dict.fromkeys(("snr_db", "lifetime_s", "lifetime_low_s", "lifetime_high_s"), MAYBE)
                )
            ),
            "range_mostly_from": TEXT,
            "trials": COUNT,
            "notes": TEXTS,
            "presets": _USED,
            "sources": _SOURCES,
        },
        {},
    ),
    "presets-list": ("The built-in presets.", {"presets": list_of(object_of({**_LABELS, "aliases": TEXTS}))}, {}),
    "presets-show": (
        "Every number of one preset, in SI, with its range and source.",
        {**_LABELS, "origin": TEXT, "sha256": TEXT, "numbers": _NUMBERS, "sources": _SOURCES},
        {},
    ),
    "presets-check": (
        "Whether presets keep the rules.",
        {
            "sound": FLAG,
            "presets": list_of(
                object_of({"name": TEXT, "folder": TEXT, "numbers": COUNT, "qualities": _of_numbers(), "faults": TEXTS})
            ),
        },
        {},
    ),
    "presets-path": ("Where presets are looked for, in order.", {"paths": list_of(object_of({"path": TEXT}))}, {}),
    "model-import": (
        "A network read from a config.json.",
        {
            "networks": list_of(
                object_of(
                    {
                        "name": TEXT,
                        "about": TEXT,
                        "kind": TEXT,
                        "parameters_count": NUMBER,
                        "active_parameters_count": NUMBER,
                        "kv_cache_bytes_per_token": NUMBER,
                        "summary": TEXT,
                        "preset": TEXT,
                    }
                )
            )
        },
        {},
    ),
}  # fmt: skip
_ROOTS |= {
    "phone": phone_root(_REQUEST, _DEVICE, _USED, _SOURCES),
    "always-on": always_on_root(_REQUEST, _DEVICE, _USED, _SOURCES),
}
_ROOTS |= audit_schemas.ROOTS | scan_schemas.ROOTS | {"fleet": fleet_root(_REQUEST, _DEVICE, _USED, _SOURCES)}
_ROOTS |= sparsity_schemas.roots(_REQUEST, _DEVICE, _USED, _SOURCES)
NAMES = tuple(_ROOTS)


def schema_of(name: str) -> Schema:
    """The JSON Schema of what a command prints with --format json."""
    if name not in _ROOTS:
        near = did_you_mean(name, NAMES) or f"; expected one of {', '.join(NAMES)}"
        raise NpuwattError(f"unknown schema {shown(name)}{near}")
    about, required, optional = _ROOTS[name]
    head: Schema = {"schema": {"const": f"npuwatt.{name}/1"}, "npuwatt": TEXT}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"npuwatt.{name}/1",
        "description": about,
        **object_of(head | required, optional),
    }
