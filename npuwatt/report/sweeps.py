"""Rows of a sweep as they come: CSV, JSON lines or one JSON object in bounded memory; tables when they are few."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TextIO

from npuwatt import __version__
from npuwatt.explore.sweep import Rows, Sweep
from npuwatt.report.data import cell
from npuwatt.report.document import Report, Table
from npuwatt.report.records import request_record, source_records
from npuwatt.report.words import bound, quantity, request_line

# What people read: the words of compare in place of a column's name, the unit, and what a number is multiplied by.
_SAID = {
    "ttft_s": ("TTFT", "s", 1.0),
    "tpot_s": ("TPOT", "s", 1.0),
    "tokens_per_s": ("tokens/s", "", 1.0),
    "power_w": ("power", "W", 1.0),
    "energy_per_output_token_j": ("J/token", "J", 1.0),
    "energy_per_total_token_j": ("J/any token", "J", 1.0),
    "energy_per_request_j": ("J/request", "J", 1.0),
    "tokens_per_j": ("tokens/J", "", 1.0),
    "bound_by": ("bound by", "", 1.0),
    "median_itl_s": ("ITL", "s", 1.0),
    "devices_needed": ("needed", "", 1.0),
    "array_ops_per_j": ("array TOPS/W", "", 1e-12),
    "array_ops_per_s_m2": ("array TOPS/mm2", "", 1e-18),
    "array_area_m2": ("array area", "m2", 1.0),
    "array_snr_db": ("array SNR dB", "", 1.0),
    "array_snr_after_1_day_db": ("after 1 day", "", 1.0),
    "array_snr_after_1_year_db": ("after 1 year", "", 1.0),
}


def head_record(sweep: Sweep) -> dict[str, Any]:
    """Everything of a sweep but its rows: schema npuwatt.sweep/1."""
    return {
        "schema": "npuwatt.sweep/1",
        "npuwatt": __version__,
        "request": request_record(sweep.question),
        "addresses": [axis.address for axis in sweep.points.axes],
        "points": sweep.points.count,
        "best": sweep.best,
        "sources": source_records(sweep.question),
    }


def write_rows(
    sweep: Sweep, stream: TextIO, style: str, *, progress: Callable[[int], None], no_color: bool = False
) -> None:
    """Compute and write all rows in one format; a fault in the first ones is told before anything is written."""
    chunks = sweep.chunks(progress)
    chunks = chain((next(chunks),), chunks)
    if style == "csv":
        stream.write(",".join(map(_quoted, sweep.columns)) + "\n")
        stream.writelines(map(_csv, chunks))
    elif style == "jsonl":
        stream.writelines("".join(f"{line}\n" for line in _json(rows)) for rows in chunks)
    elif style == "json":
        head = json.dumps(head_record(sweep), allow_nan=False)
        stream.write(f'{head[:-1]}, "results": [')
        lead = "\n"
        for rows in chunks:
            stream.write(lead + ",\n".join(_json(rows)))
            lead = ",\n"
        stream.write("\n]}\n")
    else:
        stream.write(_for_people(sweep, style, chunks, stream, no_color))


def write_count(sweep: Sweep, rows: int, stream: TextIO, style: str) -> None:
    """How many points and rows a run would give."""
    record = {
        "schema": "npuwatt.sweep-count/1",
        "npuwatt": __version__,
        "points": sweep.points.count,
        "rows": rows,
    }
    if style in ("json", "jsonl"):
        stream.write(json.dumps(record) + "\n")
    elif style == "csv":
        stream.write(f"points,rows\n{sweep.points.count},{rows}\n")
    else:
        stream.write(f"{sweep.points.count} points, {rows} rows\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _csv(rows: Rows) -> str:
    columns = [
        [cell(value) if name != "device" else _quoted(value) for value in values]
        for name, values in rows.items()
    ]
    return "".join(",".join(line) + "\n" for line in zip(*columns, strict=True))


def _json(rows: Rows) -> list[str]:
    names = list(rows)
    return [
        json.dumps(dict(zip(names, line, strict=True)), allow_nan=False)
        for line in zip(*rows.values(), strict=True)
    ]


def _for_people(sweep: Sweep, style: str, chunks: Iterable[Rows], stream: TextIO, no_color: bool) -> str:
    lines: list[tuple[str, ...]] = []
    names = sweep.columns
    for rows in chunks:
        shown = [[_shown(name, value) for value in values] for name, values in rows.items()]
        lines += list(zip(*shown, strict=True))
    short = _short([axis.address for axis in sweep.points.axes])
    words = tuple(_SAID[name][0] if name in _SAID else short.get(name, name) for name in names)
    table = Table(
        columns=words, rows=tuple(lines), left=("device", "bound by", "evidence"), keys=len(short) + 1
    )
    varied = {axis.path[0]: "varied" for axis in sweep.points.axes if axis.owner == "request"}
    heading = request_line(request_record(sweep.question) | varied)
    notes = tuple(f"{name} is {address}" for address, name in short.items() if name != address)
    report = Report(heading=heading, tables=(table,), wide=(table,), notes=notes)
    if style == "table":
        import shutil

        from npuwatt.report.console import console

        width = shutil.get_terminal_size((80, 24)).columns
        return console(report, width=width, color=False, encoding=stream.encoding or "utf-8")
    from npuwatt.report import text

    return text.markdown(report) if style == "markdown" else text.plain(report)


def _short(addresses: Sequence[str]) -> dict[str, str]:
    """Each address by as few of its last parts as tell it from the others."""
    parts = {address: address.split(".") for address in addresses}
    found = {}
    for address, own in parts.items():
        others = [other for name, other in parts.items() if name != address]
        count = next(
            (n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own)
        )
        found[address] = ".".join(own[-count:])
    return found


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return bound(value) if name == "bound_by" else value
    _, unit, scale = _SAID.get(name, ("", "", 1.0))
    return quantity(value * scale, unit) if isinstance(value, float) else str(value)
