"""Rows of a validation as records and, column by column and so many times faster, as lines of JSON or CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from npuwatt.audit.measured import METRICS, Judged
from npuwatt.study.confidence import CLASSES

Record = dict[str, Any]
Column = list[str] | npt.NDArray[Any]
COMPARED = ("measured", "predicted", "ratio", "low", "high")
PLAIN = (
    "line", "model_id", "weight_precision", "gpu", "task", "num_gpus", "avg_batch", "network", "device", "stack", "kind",
    "overhead_bound", "class", "bound_by",
)  # fmt: skip
SLICE_ROWS = 4096  # whose texts are in memory together
NUMBER = "%.12g"  # of a model that is never nearer than a percent; all digits would take twice the time


def row_records(part: Judged, places: Iterable[int] | None = None) -> Iterator[Record]:
    """One record for each row of a chunk, or for those at some places, in the order of the file."""
    columns = _columns(part, slice(None))
    for place in range(part.count) if places is None else places:
        if place in part.reasons:
            yield {"line": int(columns["line"][place]), "reason": part.reasons[place]}
            continue
        yield {name: _value(columns[name][place]) for name in PLAIN} | {
            name: {what: _value(columns[f"{name}.{what}"][place]) for what in COMPARED} for name in METRICS
        }


def row_lines(part: Judged, style: str) -> Iterator[str]:
    """The same as lines without their ends: JSON objects, or CSV under `csv_header`."""
    is_csv = style == "csv"
    quoted, nothing = (_csv_text, "") if is_csv else (json.dumps, "null")
    for start in range(0, part.count, SLICE_ROWS):
        columns = _columns(part, slice(start, start + SLICE_ROWS))
        forms, cells = zip(*(_cells(column, quoted, nothing) for column in columns.values()), strict=True)
        form = (_CSV_ROW if is_csv else _JSON_ROW) % forms
        for place, row in enumerate(zip(*cells, strict=True), start):
            if place not in part.reasons:
                yield form % row
            elif is_csv:
                yield f"{row[0]},{_csv_text(part.reasons[place])}{_CSV_NOTHING}"
            else:
                yield f'{{"line": {row[0]}, "reason": {json.dumps(part.reasons[place])}}}'


def write_rows(
    parts: Iterable[Judged],
    stream: TextIO,
    style: str,
    head: Record,
    rest: Callable[[], Record],
) -> None:
    """Write rows as they are judged, as JSON (between `head` and what `rest` then knows), JSON lines or CSV."""
    if style == "json":
        stream.write(json.dumps(head, allow_nan=False)[:-1] + ', "rows": [')
        lead = "\n"
        for part in parts:
            for line in row_lines(part, style):
                stream.write(lead + line)
                lead = ",\n"
        stream.write("\n], " + json.dumps(rest(), allow_nan=False)[1:] + "\n")
        return
    if style == "csv":
        stream.write(",".join(csv_header()) + "\n")
    for part in parts:
        stream.writelines(f"{line}\n" for line in row_lines(part, style))


def csv_header() -> list[str]:
    """The names of CSV columns."""
    return ["line", "reason", *PLAIN[1:], *(f"{name}.{what}" for name in METRICS for what in COMPARED)]


def _columns(part: Judged, own: slice) -> dict[str, Column]:
    """Every value of some rows, column by column; NaN where there is none."""
    texts, numbers = part.rows.texts, part.rows.numbers
    found: dict[str, Column] = {
        "line": part.rows.lines[own],
        **{name: texts[name][own] for name in ("model_id", "weight_precision", "gpu", "task")},
        "num_gpus": numbers["num_gpus"][own].astype(np.int64),
        "avg_batch": numbers["avg_batch"][own],
        "network": part.networks[own],
        "device": part.devices[own],
        "stack": part.stacks[own],
        "kind": part.families[own],
        "overhead_bound": part.overhead_bound[own],
        "class": [CLASSES[place] for place in part.classes[own].tolist()],
        "bound_by": part.bound_by[own],
    }
    with np.errstate(all="ignore"):
        for name in METRICS:
            measured, predicted = part.measured[name][own], part.predicted[name][own]
            values = (measured, predicted, predicted / measured, part.low[name][own], part.high[name][own])
            found |= {f"{name}.{what}": value for what, value in zip(COMPARED, values, strict=True)}
    return found


def _value(cell: Any) -> Any:
    """One value of a column as JSON has it."""
    plain = cell.item() if isinstance(cell, np.generic) else cell
    if not isinstance(plain, float):
        return plain
    return float(NUMBER % plain) if np.isfinite(plain) else None


def _cells(column: Column, quoted: Callable[[str], str], nothing: str) -> tuple[str, list[Any]]:
    """How the values of a column are written, and what to write so."""
    if isinstance(column, list):
        known = {text: quoted(text) for text in set(column)}
        return "%s", [known[text] for text in column]
    if column.dtype == np.bool_:
        return "%s", ["true" if flag else "false" for flag in column.tolist()]
    values = column.tolist()
    if column.dtype.kind == "i":
        return "%d", values
    if np.isfinite(column).all():
        return NUMBER, values
    return "%s", [NUMBER % value if math.isfinite(value) else nothing for value in values]


def _csv_text(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


_COMPARED_FORM = ", ".join(f'"{what}": %s' for what in COMPARED)
_JSON_ROW = (
    "{" + ", ".join([f'"{name}": %s' for name in PLAIN] + [f'"{name}": {{{_COMPARED_FORM}}}' for name in METRICS]) + "}"
)  # fmt: skip
_CSV_ROW = "%s,," + ",".join(["%s"] * (len(csv_header()) - 2))
_CSV_NOTHING = "," * (len(csv_header()) - 2)
