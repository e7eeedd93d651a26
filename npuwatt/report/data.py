"""Records for machines: JSON, JSON lines and CSV, in SI with unit-bearing names."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

Record = dict[str, Any]

MOST_INDENTED = 10_000  # rows; to indent more takes ten times as long as to write them

# Where a record keeps the list that becomes lines, and which of its own keys each line repeats.
_LISTS = {
    "npuwatt.compare/1": "results",
    "npuwatt.always-on/1": "results",
    "npuwatt.accuracy/1": "moments",
    "npuwatt.fleet/1": "results",
    "npuwatt.phone/1": "results",
    "npuwatt.presets-list/1": "presets",
    "npuwatt.presets-show/1": "numbers",
    "npuwatt.presets-check/1": "presets",
    "npuwatt.presets-path/1": "paths",
    "npuwatt.model-import/1": "networks",
    "npuwatt.calibrate/1": "constants",
    "npuwatt.validate-chips/1": "rows",
    "npuwatt.validate-phones/1": "rows",
    "npuwatt.scan/1": "tensors",
}


def to_json(record: Record) -> str:
    """One object, keys in a fixed order, every digit, no NaN."""
    indent = 2 if len(record.get("rows", ())) <= MOST_INDENTED else None
    return json.dumps(record, indent=indent, allow_nan=False, ensure_ascii=True) + "\n"


def lines_of(record: Record) -> list[Record]:
    """The rows of a record: a device, an op, a preset."""
    if record["schema"] == "npuwatt.estimate/1":
        return [{"phase": phase["phase"], **op} for phase in record["phases"] for op in phase["ops"]]
    if record["schema"] == "npuwatt.sparsity/1":
        return [
            {name: result[name] for name in ("device", "preset", "saved_fraction", "speedup_ratio")} | phase
            for result in record["results"]
            for phase in result["phases"]
        ]
    if record["schema"] == "npuwatt.phone/1" and record["is_whole_course"]:
        return [
            {name: result[name] for name in ("device", "preset")} | moment
            for result in record["results"]
            for moment in result["course"]
        ]
    found: list[Record] = record[_LISTS[record["schema"]]]
    if record["schema"] == "npuwatt.phone/1":
        about = {"handset": {name: value for name, value in record["handset"].items() if name != "title"}}
        return [about | _summed_up(line) for line in found]
    if record["schema"] == "npuwatt.always-on/1":
        about = {name: {name: record[name][name]} for name in ("profile", "handset")}
        return [about | {name: value for name, value in line.items() if name != "drivers"} for line in found]
    if record["schema"] == "npuwatt.compare/1":  # phases have lines of their own in an estimate
        return [{name: value for name, value in line.items() if name != "phases"} for line in found]
    return found


def _summed_up(result: Record) -> Record:
    """A chip in a handset without its course and its table of peaks, which have lines of their own."""
    kept = {name: value for name, value in result.items() if name not in ("course", "claim", "tokens")}
    return kept | {
        f"tokens_in_{one['within_s']:g}_s": {name: one[name] for name in ("tokens", "low", "high")}
        for one in result["tokens"]
    }


def to_jsonl(record: Record) -> str:
    """One object a line."""
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines_of(record))


def to_csv(record: Record) -> str:
    """One line a row; nested names joined by dots, lists by '; ', nothing where there is no value."""
    rows = [_flat(line) for line in lines_of(record)]
    if record["schema"] in (
        "npuwatt.compare/1",
        "npuwatt.always-on/1",
        "npuwatt.phone/1",
    ):  # so that rows of several runs can be told apart
        rows = [row | {f"request.{name}": value for name, value in record["request"].items()} for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return stream.getvalue()


def cell(value: Any) -> str:
    """A value in CSV: full precision, true and false, nothing for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _flat(record: Record, prefix: str = "") -> Record:
    found: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            found[prefix + name] = "; ".join(map(str, value))
        else:
            found[prefix + name] = value
    return found
