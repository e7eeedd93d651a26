"""validate --phones: a battery as it was read, as exponentials follow it and as a handset has it, for people and machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.audit.phones import NODE, POWER, JudgedPhone
from npuwatt.handset.exponentials import FAST_S, MOST_RMS_K, SLOW_S, Possible, Warming, warming_k
from npuwatt.report.document import Report, Table
from npuwatt.report.words import counted

Record = dict[str, Any]
SCHEMA = "npuwatt.validate-phones/1"
MOST_SHOWN = 40
_WIDE = 18  # characters of the chart
_SYMBOLS = {
    "fast_rise_k": "a1",
    "fast_constant_s": "tau1",
    "slow_rise_k": "a2",
    "slow_constant_s": "tau2",
    "slow_slope_k_per_s": "a2/tau2",
}


def phones_record(found: JudgedPhone, path: str | None) -> Record:
    """A validation on a battery's temperatures: schema npuwatt.validate-phones/1."""
    predicted = found.predicted
    cited = predicted.handset.citations | predicted.decoding.citations
    return {
        "schema": SCHEMA,
        "npuwatt": __version__,
        "file": "standard input" if path == "-" else path or "built-in readings of a Galaxy S25, 2026",
        "rows": list(_rows(found)),
        "summary": {
            "readings": len(found.readings.time_s),
            "resolution_k": found.readings.resolution_k,
            "one": _warming(found.one),
            "two": _warming(found.two),
            "possible": _possible(found.possible),
            "predicted": _predicted(found),
        },
        "presets": [
            {"name": one.name, "folder": one.folder, "sha256": one.sha256}
            for one in (predicted.handset.preset, predicted.decoding.preset)
        ],
        "sources": [{"key": key, "citation": text} for key, text in sorted(cited.items())],
    }


def _rows(found: JudgedPhone) -> Iterator[Record]:
    readings, predicted = found.readings, found.predicted
    columns = {
        "time_s": readings.time_s,
        "measured_k": readings.battery_k,
        "one_k": warming_k(found.one, readings.time_s),
        "two_k": warming_k(found.two, readings.time_s),
        "predicted_k": predicted.mid_k,
        "low_k": predicted.low_k,
        "high_k": predicted.high_k,
        "error_k": predicted.mid_k - readings.battery_k,
    }
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield dict(zip(columns, values, strict=True))


def _warming(fit: Warming) -> Record:
    return {
        "start_k": fit.start_k,
        "rises_k": list(fit.rises_k),
        "time_constants_s": list(fit.time_constants_s),
        "rms_k": fit.rms_k,
    }


def _possible(possible: Possible) -> Record:
    known = possible.identified
    spans = {name: getattr(possible, name) for name in _SYMBOLS}
    return {"rms_k": possible.rms_k} | {
        name: {
            "low": low,
            "high": high,
            "identified": known[" ".join(name.split("_")[:2])],
        }
        for name, (low, high) in spans.items()
    }


def _predicted(found: JudgedPhone) -> Record:
    """How far the handset is off after the first reading, which it starts from."""
    readings, predicted = found.readings, found.predicted
    error_k = (predicted.mid_k - readings.battery_k)[1:]
    is_inside = (predicted.low_k <= readings.battery_k) & (readings.battery_k <= predicted.high_k)
    half = int(np.searchsorted(readings.time_s, readings.time_s[-1] / 2))
    watts = predicted.decoding.evidence["power"]
    return {
        "handset": predicted.handset.preset.name,
        "node": NODE,
        "power_w": {"value": watts.value, "low": watts.low, "high": watts.high, "source": watts.source},
        "room_k": predicted.room_k,
        "rms_k": float(np.sqrt(np.mean(np.square(error_k)))),
        "least_error_k": float(error_k.min()),
        "greatest_error_k": float(error_k.max()),
        "inside": int(is_inside[1:].sum()),
        "range_mostly_from": predicted.mostly_from,
        "later": {
            "from_s": float(readings.time_s[half]),
            "measured_k": float(readings.battery_k[-1] - readings.battery_k[half]),
            "predicted_k": float(predicted.mid_k[-1] - predicted.mid_k[half]),
        },
    }


def phones_report(record: Record) -> Report:
    """Readings beside both fits and the prediction, the constants of the fits, and what they are worth."""
    summary, rows = record["summary"], record["rows"]
    tables = (_readings(rows, summary), _constants(summary))
    return Report(
        heading=f"{record['file']}: {counted(len(rows), 'reading')} of a battery over {rows[-1]['time_s']:.6g} s",
        tables=tables,
        wide=tables,
        sentences=tuple(_sentences(summary)),
        notes=tuple(_notes(record)),
    )


def _readings(rows: list[Record], summary: Record) -> Table:
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_SHOWN)).round().astype(int))
    shown = [rows[place] for place in places.tolist()]
    ends = [value for row in shown for value in (row["measured_k"], row["low_k"], row["high_k"])]
    lines = tuple(
        (
            f"{row['time_s']:.6g}", _celsius(row["measured_k"]), _celsius(row["one_k"]), _celsius(row["two_k"]),
            _celsius(row["predicted_k"]), f"{_celsius(row['low_k'])}..{_celsius(row['high_k'])}",
            f"{row['error_k']:+.1f}", _chart(row, min(ends), max(ends)),
        )
        for row in shown
    )  # fmt: skip
    chart = "-o- preset, * read"
    return Table(
        title=f"degC: measured; one and two time constants, fitted; {summary['predicted']['handset']}, not fitted",
        columns=("s", "measured", "one", "two", "predicted", "range", "off", chart),
        rows=lines,
        left=(chart,),
        drawn=(chart,),
    )


def _chart(row: Record, low_k: float, high_k: float) -> str:
    """The range of a prediction, its middle and the reading on one scale."""
    step = (_WIDE - 1) / ((high_k - low_k) or 1.0)
    low, middle, high, read = (
        round((row[name] - low_k) * step) for name in ("low_k", "predicted_k", "high_k", "measured_k")
    )
    line = ["-" if low <= place <= high else "." for place in range(_WIDE)]
    line[middle], line[read] = "o", "*"
    return "".join(line)


def _constants(summary: Record) -> Table:
    one, two, possible = summary["one"], summary["two"], summary["possible"]
    ones = {"fast_rise_k": one["rises_k"][0], "fast_constant_s": one["time_constants_s"][0]}
    (fast_k, slow_k), (fast_s, slow_s) = two["rises_k"], two["time_constants_s"]
    twos = dict(zip(_SYMBOLS, (fast_k, fast_s, slow_k, slow_s, slow_k / slow_s), strict=True))
    rows = [("start, degC", _celsius(one["start_k"]), _celsius(two["start_k"]), "", "")]
    for name, symbol in _SYMBOLS.items():
        span = possible[name]
        rows.append(
            (
                f"{symbol}, {_unit(name)}", _digits(ones[name]) if name in ones else "-", _digits(twos[name]),
                f"{_digits(span['low'])} to {_digits(span['high'])}", "yes" if span["identified"] else "no",
            )
        )  # fmt: skip
    rows.append(
        ("rms, K", f"{one['rms_k']:.3f}", f"{two['rms_k']:.3f}", f"up to {possible['rms_k']:.3f}", "")
    )
    return Table(
        title="fitted: T = start + a1 (1 - exp(-t/tau1)) + a2 (1 - exp(-t/tau2))",
        columns=("constant", "one", "two", "as good", "identified"),
        rows=tuple(rows),
        left=("identified",),
    )


def _sentences(summary: Record) -> Iterator[str]:
    one, two, predicted = summary["one"], summary["two"], summary["predicted"]
    yield (
        f"Fitted to this series: one time constant, {_digits(one['time_constants_s'][0])} s, is {one['rms_k']:.3f} K rms off; "
        f"two, within {_span(FAST_S)} and {_span(SLOW_S)} s, are {two['rms_k']:.3f} K off."
    )
    yield from _told(summary["possible"])
    watts, count = predicted["power_w"], summary["readings"] - 1
    yield (
        f"Predicted, not fitted: {predicted['handset']} with {_span(watts)} W in all is "
        f"{predicted['rms_k']:.2f} K rms off, {_off(predicted)}; {predicted['inside']} of {count} readings lie within its range."
    )
    later = predicted["later"]
    yield (
        f"From {later['from_s']:.6g} s on the battery was read to warm by {later['measured_k']:.1f} K; "
        f"{predicted['handset']} has {later['predicted_k']:.1f} K."
    )


def _told(possible: Record) -> Iterator[str]:
    """Which constants of two the readings identify, and what the others may be."""
    spans = {known: [] for known in (True, False)}  # type: dict[bool, list[str]]
    for name, symbol in _SYMBOLS.items():
        span = possible[name]
        spans[span["identified"]].append(f"{symbol} {_span(span)} {_unit(name)}")
    if possible["rms_k"] > MOST_RMS_K:
        yield f"Two time constants do not fit these readings (up to {possible['rms_k']:.3g} K rms), so nothing is identified."
        return
    if spans[False]:
        yield (
            f"Not identified by these readings, as fits up to {possible['rms_k']:.3f} K rms are as good: "
            f"{', '.join(spans[False])}."
            + (
                ""
                if possible["slow_rise_k"]["identified"]
                else " So no steady temperature follows from them."
            )
        )
    if spans[True]:
        yield f"Identified: {', '.join(spans[True])}."


def _off(predicted: Record) -> str:
    """The errors of a prediction, from the least to the greatest, in words."""
    least, greatest = predicted["least_error_k"], predicted["greatest_error_k"]
    if greatest <= 0:
        return f"too cold by {abs(greatest):.1f} to {-least:.1f} K"
    if least >= 0:
        return f"too warm by {least:.1f} to {greatest:.1f} K"
    return f"from {-least:.1f} K too cold to {greatest:.1f} K too warm"


def _notes(record: Record) -> Iterator[str]:
    summary = record["summary"]
    predicted, possible = summary["predicted"], summary["possible"]
    cited = {one["key"]: one["citation"] for one in record["sources"]}[predicted["power_w"]["source"]]
    mostly = (
        "that power"
        if predicted["range_mostly_from"] == POWER
        else predicted["range_mostly_from"].removeprefix("handset.")
    )
    yield (
        f"predicted: the node {NODE} of {predicted['handset']}, room and all of it at the first reading, heat at its die but "
        f"for what the rest draws; the series tells neither power nor room, so {predicted['power_w']['value']:g} W "
        f"({_span(predicted['power_w'])}) is what phones are said to draw while they decode ({cited})"
    )
    yield (
        f"range: each number of {predicted['handset']} that heat depends on, and the power, at either end of its own, added in "
        f"squares; {mostly} does most to it"
    )
    yield (
        f"as good: each time constant in turn from bound to bound, all else fitted again, up to {possible['rms_k']:.3f} K rms; "
        f"rises and slope may span more; readings are to {summary['resolution_k']:g} K"
    )
    yield "evidence: both fits were made on the readings they stand beside; the prediction is projected from assumed numbers"
    if len(record["rows"]) > MOST_SHOWN:
        yield f"{MOST_SHOWN} readings are shown; --format csv has all"


def _celsius(kelvin: float) -> str:
    return f"{kelvin - 273.15:.1f}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _span(ends: Record | tuple[float, float]) -> str:
    low, high = (ends["low"], ends["high"]) if isinstance(ends, dict) else ends
    return f"{_digits(low)} to {_digits(high)}"


def _unit(name: str) -> str:
    return "K/s" if name.endswith("_k_per_s") else "K" if name.endswith("_k") else "s"
