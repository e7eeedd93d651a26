"""Rows of a sweep as they come: CSV, JSON lines or one JSON object in bounded memory; tables when they are few."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from npuwatt import __version__
from npuwatt.explore.sweep import Rows, Sweep
from npuwatt.report.data import cell
from npuwatt.report.document import Report, Table
from npuwatt.report.records import request_record, source_records
from npuwatt.report.words import quantity, request_line

_UNITS = {"_s": "s", "_w": "W", "_j": "J", "_m2": "m2"}


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
    """Compute and write all rows in one format."""
    if style == "csv":
        stream.write(",".join(map(_quoted, sweep.columns)) + "\n")
        stream.writelines(_csv(rows) for rows in sweep.chunks(progress))
    elif style == "jsonl":
        stream.writelines("".join(f"{line}\n" for line in _json(rows)) for rows in sweep.chunks(progress))
    elif style == "json":
        head = json.dumps(head_record(sweep), allow_nan=False)
        stream.write(f'{head[:-1]}, "results": [')
        lead = "\n"
        for rows in sweep.chunks(progress):
            stream.write(lead + ",\n".join(_json(rows)))
            lead = ",\n"
        stream.write("\n]}\n")
    else:
        stream.write(_for_people(sweep, style, progress, stream, no_color))


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


def _for_people(
    sweep: Sweep, style: str, progress: Callable[[int], None], stream: TextIO, no_color: bool
) -> str:
    lines: list[tuple[str, ...]] = []
    names = sweep.columns
    for rows in sweep.chunks(progress):
        shown = [[_shown(name, value) for value in values] for name, values in rows.items()]
        lines += list(zip(*shown, strict=True))
    table = Table(columns=names, rows=tuple(lines), left=("device", "bound_by"))
    varied = {axis.path[0]: "varied" for axis in sweep.points.axes if axis.owner == "request"}
    heading = request_line(request_record(sweep.question) | varied)
    report = Report(heading=heading, tables=(table,), wide=(table,))
    if style == "table":
        import shutil

        from npuwatt.report.console import console

        width = shutil.get_terminal_size((80, 24)).columns
        return console(report, width=width, color=False, encoding=stream.encoding or "utf-8")
    from npuwatt.report import text

    return text.markdown(report) if style == "markdown" else text.plain(report)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    unit = next(
        (unit for suffix, unit in _UNITS.items() if name.endswith(suffix) and "s_per_" not in name), ""
    )
    return quantity(float(value), unit) if isinstance(value, float) else str(value)
