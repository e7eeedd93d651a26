"""Presets as records and reports: lists, every number of one, checks, imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt import __version__, units
from npuwatt.report.document import Report, Table
from npuwatt.report.words import counted

Record = dict[str, Any]
_SAID = {
    "devices": ("class", "evidence"),
    "stacks": ("about",),
    "handsets": ("class", "about"),
    "profiles": ("about",),
    "datacenters": ("about",),
    "grids": ("about",),
}  # beside the name in a list; else the kind


def list_record(index: dict[str, dict[str, Any]]) -> Record:
    """All presets: schema npuwatt.presets-list/1."""
    return {
        "schema": "npuwatt.presets-list/1",
        "npuwatt": __version__,
        "presets": [
            {
                "name": name,
                "folder": folder,
                "kind": entry.get("kind", ""),
                "class": entry.get("class", ""),
                "evidence": entry.get("evidence", ""),
                "title": entry.get("name", ""),
                "about": entry.get("about", ""),
                "aliases": entry.get("aliases", []),
            }
            for folder, entries in index.items()
            for name, entry in entries.items()
        ],
    }


def list_report(record: Record) -> Report:
    """All presets for people, by folder."""
    tables = []
    for folder in dict.fromkeys(preset["folder"] for preset in record["presets"]):
        rows = [preset for preset in record["presets"] if preset["folder"] == folder]
        kinds = _SAID.get(folder, ("kind",))
        tables.append(
            Table(
                title=folder,
                columns=("name", *kinds, "short for"),
                rows=tuple(
                    (row["name"], *(row[kind] for kind in kinds), _short_names(row["aliases"]))
                    for row in rows
                ),
                left=(*kinds, "short for"),
            )
        )
    count = len(record["presets"])
    return Report(
        heading=f"{count} presets; 'npuwatt presets show NAME' traces each number",
        tables=tuple(tables),
        wide=tuple(tables),
    )


def _short_names(aliases: Sequence[str]) -> str:
    """The aliases a list has room for: short ones first."""
    shown = sorted((alias for alias in aliases if "/" not in alias), key=len)[:3]
    return ", ".join(shown)


def show_record(chosen: Any) -> Record:
    """Every number of a preset with its range, quality and source: schema npuwatt.presets-show/1."""
    preset = chosen.preset
    return {
        "schema": "npuwatt.presets-show/1",
        "npuwatt": __version__,
        "name": preset.name,
        "folder": preset.folder,
        "kind": preset.header("kind"),
        "class": preset.header("class"),
        "evidence": preset.header("evidence"),
        "title": preset.header("name"),
        "about": preset.header("about"),
        "origin": preset.origin,
        "sha256": preset.sha256,
        "numbers": [
            {
                "address": address,
                "value": item.value,
                "low": item.low,
                "high": item.high,
                "unit": units.si_unit(item.suffix),
                "quality": item.quality,
                "source": item.source,
                "where": item.where,
                "range_stated": item.stated_range,
                "is_celsius": item.is_celsius,  # how its file writes it; the numbers here are in kelvin all the same
            }
            for address, item in chosen.evidence.items()
        ],
        "sources": [{"key": key, "citation": text} for key, text in chosen.citations.items()],
    }


def _usual(number: Record, value: float) -> str:
    """A number in the unit of the field; floating-point rates are FLOPS, integer ones OPS."""
    shown = units.show_usual(value, number["unit"], is_celsius=number["is_celsius"])
    return shown if "int" in number["address"] else shown.replace("OPS", "FLOPS")


def show_report(record: Record) -> Report:
    """A preset for people: each number, its range, and what it rests on."""
    rows = []
    for number in record["numbers"]:
        value, low, high = (_usual(number, number[key]) for key in ("value", "low", "high"))
        spread = "exact" if low == high else f"{low} .. {high}"
        rows.append((number["address"], value, spread, number["quality"], number["source"]))
    table = Table(
        columns=("address", "value", "range", "quality", "source"),
        rows=tuple(rows),
        left=("range", "quality", "source"),
    )
    reasons = [f"{number['address']}: {number['where']}" for number in record["numbers"] if number["where"]]
    reasons = (
        list(dict.fromkeys(reasons)) if len({n["where"] for n in record["numbers"]}) > 1 else reasons[:1]
    )
    cited = [f"[{source['key']}] {source['citation']}" for source in record["sources"]]
    labels = [record["class"], record["evidence"], record["kind"]]
    return Report(
        heading=f"{record['name']}: {record['title']} ({', '.join(label for label in labels if label)})",
        tables=(table,),
        wide=(table,),
        sentences=(record["about"],) if record["about"] else (),
        notes=(*cited, *reasons),
    )


def check_record(checks: Sequence[Any]) -> Record:
    """What `presets check` found: schema npuwatt.presets-check/1."""
    return {
        "schema": "npuwatt.presets-check/1",
        "npuwatt": __version__,
        "sound": not any(check.faults for check in checks),
        "presets": [
            {
                "name": check.name,
                "folder": check.folder,
                "numbers": check.numbers,
                "qualities": check.qualities,
                "faults": list(check.faults),
            }
            for check in checks
        ],
    }


def check_report(record: Record) -> Report:
    """Checks for people: totals, and each fault."""
    presets = record["presets"]
    totals: dict[str, int] = {}
    for preset in presets:
        for quality, count in preset["qualities"].items():
            totals[quality] = totals.get(quality, 0) + count
    folders = dict.fromkeys(preset["folder"] for preset in presets)
    rows = []
    for folder in folders:
        own = [preset for preset in presets if preset["folder"] == folder]
        counts = [sum(preset["qualities"].get(quality, 0) for preset in own) for quality in totals]
        rows.append((folder, str(len(own)), str(sum(preset["numbers"] for preset in own)), *map(str, counts)))
    table = Table(columns=("folder", "presets", "numbers", *totals), rows=tuple(rows))
    faults = [fault for preset in presets for fault in preset["faults"]]
    verdict = (
        "all sound: each number has a unit, a source and a quality" if not faults else f"{len(faults)} faults"
    )
    return Report(
        heading=f"{counted(len(presets), 'preset')}, {sum(preset['numbers'] for preset in presets)} numbers",
        tables=(table,),
        wide=(table,),
        sentences=(verdict, *faults),
    )


def path_record(paths: Sequence[str]) -> Record:
    """Where presets are looked for, in order: schema npuwatt.presets-path/1."""
    return {
        "schema": "npuwatt.presets-path/1",
        "npuwatt": __version__,
        "paths": [{"path": path} for path in paths],
    }


def path_report(record: Record) -> Report:
    """The folders, one a line."""
    return Report(heading="\n".join(entry["path"] for entry in record["paths"]), tables=(), wide=())
