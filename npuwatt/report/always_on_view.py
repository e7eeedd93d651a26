"""Devices behind always-on detectors for people: milliwatts by part, days of battery, and when the device matters."""

from __future__ import annotations

from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.words import label, labelled, mark_notes, percent, quantity, ratio, request_line
from npuwatt.units import show_time, show_usual

Record = dict[str, Any]
_DAY_S = 86400.0
_COLUMNS = {
    "sensor": ("sensor",),
    "detectors": ("listening", "checking"),
    "asleep": ("sleeping",),
    "waking": ("waking",),
    "awake": ("awake",),
    "weights": ("retention", "loading"),
    "answers": ("answering",),
}
_MOST_DRIVERS = 3


def always_on_report(record: Record) -> Report:
    """Mean power and battery side by side, then by part, then what rates of events change."""
    results = labelled(record["results"])
    record = record | {"results": results}
    parts, answers, rates = _parts(results), _answers(results), _rates(results, record["milliwatts_w"])
    return Report(
        heading=_heading(record),
        tables=(_summary(results), parts, answers, rates),
        wide=(_wide_summary(results), parts, answers, rates),
        sentences=tuple(_sentences(record)),
        notes=tuple(_notes(record)),
    )


def _heading(record: Record) -> str:
    profile, handset = record["profile"], record["handset"]
    return (
        f"{profile['profile']} in {handset['handset']}, {_daily(profile['events_per_s'])} events a day: "
        f"{request_line(record['request'])}"
    )


def _summary(results: list[Record]) -> Table:
    rows = tuple(
        (
            label(result), quantity(result["mean_w"], "W"), _ends(result["ranges"]["mean_w"]),
            quantity(result["energy_per_event_j"], "J"), _time(result["battery_life_s"]),
            _time(result["battery_life_alone_s"]),
        )
        for result in results
    )  # fmt: skip
    return Table(columns=("device", "mean", "low to high", "an event", "battery", "this alone"), rows=rows)


def _wide_summary(results: list[Record]) -> Table:
    """All that has a range, with it."""
    rows = []
    for result in results:
        ranges = result["ranges"]
        row = [label(result)]
        for name, unit in (("mean_w", "W"), ("device_w", "W"), ("energy_per_event_j", "J")):
            row += [quantity(result[name], unit), _ends(ranges[name], unit)]
        low, high = (_time(ranges["battery_life_s"][side]) for side in ("low", "high"))
        row += [_time(result["battery_life_s"]), f"{low} to {high}", _time(result["battery_life_alone_s"])]
        rows.append(tuple(row))
    names = [
        name for first in ("mean", "by device", "an event", "battery") for name in (first, "low to high")
    ]
    return Table(columns=("device", *names, "this alone"), rows=tuple(rows))


def _parts(results: list[Record]) -> Table:
    rows = tuple(
        (
            label(result),
            *(_milli(sum(result["power_by_part_w"][part] for part in parts)) for parts in _COLUMNS.values()),
        )
        for result in results
    )
    return Table(title="mean power by part, in mW", columns=("device", *_COLUMNS), rows=rows)


def _answers(results: list[Record]) -> Table:
    rows = tuple(
        (
            label(result), quantity(result["answer_energy_j"], "J"), show_time(result["answer_time_s"]),
            quantity(result["nonstop_w"], "W"), _share(result["awake_fraction"]),
        )
        for result in results
    )  # fmt: skip
    return Table(
        title="one answer", columns=("device", "energy", "time", "without pause", "awake"), rows=rows
    )


def _rates(results: list[Record], milliwatts_w: float) -> Table:
    rows = tuple(
        (
            label(result), _up_to(result["milliwatts_up_to_per_s"], result["asleep_w"] <= milliwatts_w),
            _up_to(result["day_of_battery_up_to_per_s"], False), _from(result["half_from_per_s"]),
            _daily(result["most_per_s"]),
        )
        for result in results
    )  # fmt: skip
    names = (f"{quantity(milliwatts_w, 'W')} to", "battery day to", "half from", "time for")
    return Table(title="events a day", columns=("device", *names), rows=rows)


def _ends(ends: Record, unit: str = "W") -> str:
    low, high = quantity(ends["low"], unit), quantity(ends["high"], unit)
    number, _, of = low.partition(" ")
    return f"{number if high.endswith(f' {of}') else low} to {high}"


def _milli(watts: float) -> str:
    return "<0.001" if 0 < watts < 1e-6 else f"{1e3 * watts:.3g}"


def _time(time_s: float | None) -> str:
    return "for ever" if time_s is None else show_time(time_s)


def _daily(rate_per_s: float | None) -> str:
    """A rate as a count in a day."""
    if rate_per_s is None:
        return "any"
    count = float(f"{_DAY_S * rate_per_s:.3g}")
    return f"{count:,.0f}" if count >= 1000 else f"{count:.3g}"


def _up_to(rate_per_s: float | None, is_any: bool) -> str:
    return _daily(rate_per_s) if rate_per_s is not None else "any" if is_any else "never"


def _from(rate_per_s: float | None) -> str:
    return "never" if rate_per_s is None else "always" if rate_per_s == 0 else _daily(rate_per_s)


def _sentences(record: Record) -> list[str]:
    results, profile = record["results"], record["profile"]
    said = [_day(profile)]
    said += [
        (
            f"{label(result)}: {quantity(result['mean_w'], 'W')}, {_verdict(result, record['milliwatts_w'])}; a device that costs "
            f"nothing would leave {quantity(result['mean_w'] - result['device_w'], 'W')}, so it decides "
            f"{percent(result['device_w'] / result['mean_w'] if result['mean_w'] else 0.0)}."
        )
        for result in results
    ]
    said += [_against(result, results[0]) for result in results[1:]]
    said += [line for result in results[:1] for line in _keeping(result, profile)]
    watts = ", ".join(f"{quantity(result['nonstop_w'], 'W')} ({label(result)})" for result in results)
    said.append(
        f"Answering without a pause takes {watts}; a mean is that times the share of time awake, and all the rest."
    )
    first = results[0]
    moved = "; ".join(_driver(driver) for driver in first["drivers"][:_MOST_DRIVERS])
    if moved:
        said.append(f"What moves the mean of {label(first)} most: {moved}.")
    return said


def _share(value: float) -> str:
    return percent(value) if value == 0 or value >= 0.005 else f"{100 * value:.2g} %"


def _day(profile: Record) -> str:
    if not profile["has_listener"]:
        return f"A day: {_daily(profile['events_per_s'])} events, each wakes the device."
    return (
        f"A day: {_daily(profile['events_per_s'])} events, {_daily(profile['answered_per_s'])} answered and "
        f"{_daily(profile['missed_per_s'])} missed; {_daily(profile['false_wakes_per_s'])} false wakes."
    )


def _against(result: Record, first: Record) -> str:
    against, name, other = result["against_first"], label(result), label(first)
    is_alike = abs(against["mean_ratio"] - 1) < 0.005
    said = f"{name} takes {'as much as' if is_alike else ratio(against['mean_ratio']) + ' of'} {other}"
    if against["low"] is not None:
        said += f" ({ratio(against['low'])} to {ratio(against['high'])})"
    idle = ", its units in memory idle" if result["is_memory_idle"] else ""
    is_less = result["asleep_w"] < first["asleep_w"]
    if against["even_per_s"] is not None:
        beyond = f"{_daily(against['even_per_s'])} events a day, more beyond"
        return f"{said}; less {'below' if is_less else 'above'} {beyond}{idle}."
    if is_alike:
        return f"{said}{idle}."
    is_less = is_less or result["added_per_event_j"] < first["added_per_event_j"]
    return f"{said}; {'less' if is_less else 'more'} at every rate of events{idle}."


def _keeping(result: Record, profile: Record) -> list[str]:
    """What it would be with weights kept in the other way."""
    if not result["weights_bytes"]:
        return [f"{label(result)} holds nothing that forgets without power."]
    is_retained = profile["is_retained"]
    other = result["mean_by_keeping_w"]["loaded" if is_retained else "retained"]
    wait, name = show_time(result["load_s"]), label(result)
    if is_retained:
        kept = f"{name} keeps {quantity(result['weights_bytes'], 'B')} of weights in memory for {quantity(result['power_by_part_w']['retention'], 'W')}"
        if other is None:
            return [f"{kept}; there is no time to load them at each wake."]
        return [f"{kept}; loaded at each wake, after {wait}, all in all is {quantity(other, 'W')}."]
    return [
        f"{name} loads its weights at each wake, which takes {wait}; kept in memory, all in all is {quantity(other, 'W')}."
    ]


def _driver(driver: Record) -> str:
    low, high = (_value(driver[side], driver["unit"]) for side in ("low", "high"))
    return (
        f"{driver['assumption'].replace(', true over predicted', ' (true over predicted)')} of {low} to {high} makes it {quantity(driver['mean_low_w'], 'W')} to "
        f"{quantity(driver['mean_high_w'], 'W')}"
    )


def _value(value: float, unit: str) -> str:
    """A number of a profile; what happens some times a day as such."""
    return f"{_daily(value)}/day" if unit == "1/s" and value < 0.1 else show_usual(value, unit)


def _verdict(result: Record, milliwatts_w: float) -> str:
    """Whether the mean counts as milliwatts, and whether its range leaves that open."""
    ends = result["ranges"]["mean_w"]
    if result["mean_w"] < milliwatts_w:
        is_open = ends["high"] is None or ends["high"] >= milliwatts_w
        return f"below {quantity(milliwatts_w, 'W')}{', though not for sure' if is_open else ''}"
    return (
        f"not below {quantity(milliwatts_w, 'W')}{', though it may be' if ends['low'] < milliwatts_w else ''}"
    )


def _notes(record: Record) -> list[str]:
    handset = record["handset"]
    milliwatts = quantity(record["milliwatts_w"], "W")
    told = "; ".join(
        f"{label(result)} {result['evidence']}, {result['confidence']['class']}"
        for result in record["results"]
    )
    notes = [
        (
            "what a device decides is its weights, its answers, and the handset awake for them; between wakes it draws nothing "
            "but what its memory keeps. An event: all that is spent, over the events answered; battery: with "
            f"{quantity(handset['other_day_w'], 'W')} for the rest of the handset; this alone: without"
        ),
        (
            f"events a day: {milliwatts} to, up to which the mean is below that, which is what milliwatts is taken to mean; battery day "
            "to, up to which a battery lasts a day; half from, where the device decides half of the mean; time for, whatever "
            "heat and battery say"
        ),
        (
            "low to high: each number of profile and battery, and how far off the device's model may be, alone at both ends of "
            "its range; what they change adds up in squares, as for numbers that know nothing of each other"
        ),
        f"a prediction, nothing here was measured as a whole: {told}",
    ]
    notes += [f"{label(result)}: {note}" for result in record["results"] for note in result["notes"]]
    return [*notes, *mark_notes(record["results"]), *record["notes"]]
