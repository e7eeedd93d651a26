"""Pieces that the JSON Schemas share."""

from __future__ import annotations

from typing import Any

from npuwatt.study.confidence import CLASSES, METRICS
from npuwatt.study.verdicts import BANDS, FAULTLESS, UNKNOWN

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "number"}
MAYBE: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 1}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def object_of(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with these fields; others may stand beside them."""
    return {"type": "object", "properties": required | (optional or {}), "required": list(required)}


def closed(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with these fields and no others."""
    return object_of(required, optional) | {"additionalProperties": False}


def map_of(values: Schema) -> Schema:
    """An object whose fields have names that are not known beforehand."""
    return {"type": "object", "additionalProperties": values}


def list_of(items: Schema) -> Schema:
    """Any number of items of one kind."""
    return {"type": "array", "items": items}


EXACTNESS = object_of(
    {"snr_db": MAYBE, "verdict": {"enum": [*(name for _, name in BANDS), FAULTLESS, UNKNOWN]}}
) | {"type": ["object", "null"]}
"""How exact products of a device's cells are; null where it has none."""
RATIOS = object_of(
    {"class": {"enum": list(CLASSES)}, "level_fraction": NUMBER}
    | dict.fromkeys(METRICS, object_of({"low": NUMBER, "high": NUMBER}))
)
"""How sure a prediction is: the factors of it between which most measurements should lie."""
