"""Devices in a handset for people: what it stands, what is left of the rate, and how both go over time."""

from __future__ import annotations

from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.words import label, percent, quantity, request_line
from npuwatt.units import show_time

Record = dict[str, Any]
_MOMENTS = 12
_WIDE = 18  # characters of a bar


def phone_report(record: Record) -> Report:
    """Limits and rates side by side, then one chart for each device; a pipe gets the numbers without the bars."""
    handset, results = record["handset"], record["results"]
    summary = _summary(results, handset)
    charts = [_chart(result, handset) for result in results]
    claims = [_claim_table(result, handset) for result in results if result["claim"]]
    return Report(
        heading=_heading(record),
        tables=(summary, *charts, *claims),
        wide=(summary, *charts, *claims),
        sentences=tuple(sentence for result in results for sentence in _sentences(result, handset)),
        notes=tuple(_notes(record)),
    )


def _heading(record: Record) -> str:
    handset = record["handset"]
    case = " in a case" if handset["in_case"] else ""
    return (
        f"{handset['handset']}{case}, skin at most {_celsius(handset['limit_k'])}, room {_celsius(handset['ambient_k'])}, "
        f"start at {_celsius(handset['start_k'])}, {show_time(handset['session_s'])}, governor {handset['governor']}: "
        f"{request_line(record['request'])}, again and again"
    )


def _summary(results: list[Record], handset: Record) -> Table:
    session = show_time(handset["session_s"])
    rows = tuple(
        (
            label(result), quantity(result["demand_w"], "W"), quantity(result["tokens_per_s"]),
            quantity(result["reaching_w"], "W"), quantity(result["steady_w"], "W"), quantity(result["steady_tokens_per_s"]),
            "never" if result["reaches_s"] is None else show_time(result["reaches_s"]),
            _celsius(result["peak_skin_k"]), _celsius(result["peak_die_k"]),
            *(quantity(one["tokens"]) for one in result["tokens"]),
        )
        for result in results
    )  # fmt: skip
    spans = [f"tokens in {show_time(one['within_s'])}" for one in results[0]["tokens"]]
    return Table(
        columns=(
            "device", "draws", "tokens/s", f"{session} at most", "for ever", "tokens/s then", "limit after",
            "skin at most", "die at most", *spans,
        ),
        rows=rows,
    )  # fmt: skip


def _chart(result: Record, handset: Record) -> Table:
    course, low = result["course"], min(handset["ambient_k"], handset["start_k"])
    last = next(place for place, one in enumerate(course) if one["time_s"] >= handset["session_s"] - 1e-6)
    places = sorted({round(last * part / _MOMENTS) for part in range(_MOMENTS + 1)})
    fastest = max(one["tokens_per_s"] for one in course) or 1.0
    rows = []
    for place in places:
        one = course[place]
        rows.append(
            (
                show_time(one["time_s"]), f"{one['skin_k'] - 273.15:.1f}", f"{one['die_k'] - 273.15:.1f}",
                f"{one['power_w']:.2f}", f"{one['tokens_per_s']:.3g}",
                _scale((one["skin_k"] - low) / (handset["limit_k"] - low)),
                "=" * round(_WIDE // 2 * one["tokens_per_s"] / fastest),
            )
        )  # fmt: skip
    return Table(
        title=f"{label(result)}: degC from {low - 273.15:.1f} to the limit of the skin at |, and rate",
        columns=("time", "skin", "die", "W", "tokens/s", "to the limit", "rate"),
        rows=tuple(rows),
        left=("to the limit", "rate"),
        drawn=("to the limit", "rate"),
    )


def _claim_table(result: Record, handset: Record) -> Table:
    """Peak powers up to which the sentence is true, for the session and for ever."""
    claim, session = result["claim"], show_time(handset["session_s"])
    rows = tuple(
        (
            f"{one['spreading_fraction']:.2f}", _celsius(one["ambient_k"]), quantity(one["session_peak_w"], "W"),
            quantity(one["steady_peak_w"], "W"),
        )
        for one in claim["conditions"]
    )  # fmt: skip
    return Table(
        title=f"{label(result)}: {percent(claim['share_fraction'])} of peak keeps the skin at its limit up to a peak of",
        columns=("spreading", "room", f"for {session}", "for ever"),
        rows=rows,
        keys=2,
    )


def _scale(share: float) -> str:
    """A mark on the way to the limit."""
    line = [*("." * _WIDE), "|"]
    line[min(max(round(share * _WIDE), 0), _WIDE)] = "*"
    return "".join(line)


def _sentences(result: Record, handset: Record) -> list[str]:
    name, session = label(result), show_time(handset["session_s"])
    holds = "holds" if result["demand_w"] <= result["reaching_w"] else "does not hold"
    keeps = "also for ever" if result["demand_w"] <= result["steady_w"] else "not for ever"
    bound = {
        "skin": "its skin",
        "junction": "its die",
        "runaway": "leakage",
        "rest": "the rest of the handset",
    }
    said = [
        (
            f"{name}: {quantity(result['demand_w'], 'W')} without throttling {holds} the limit for {session} and does {keeps}; "
            f"{bound[result['steady_bound_by']]} sets the steady {quantity(result['steady_w'], 'W')}."
        )
    ]
    if result["claim"]:
        said.append(_claimed(result, handset, session))
    last = result["tokens"][-1]
    kept = last["tokens"] / (result["tokens_per_s"] * last["within_s"]) if result["tokens_per_s"] else 1.0
    if kept < 0.995:
        said.append(f"Over {show_time(last['within_s'])} the governor leaves {percent(kept)} of the tokens.")
    if result["overshoot_k"]:
        said.append(
            f"Within {show_time(last['within_s'])} the skin goes {result['overshoot_k']:.2g} K beyond its limit."
        )
    return said


def _claimed(result: Record, handset: Record, session: str) -> str:
    """The sentence about a share of peak power, for this chip and for others."""
    claim = result["claim"]
    peaks = [one["session_peak_w"] for one in claim["conditions"]]
    steady = [one["steady_peak_w"] for one in claim["conditions"]]
    return (
        f"{percent(claim['share_fraction'])} of its {quantity(result['rated_w'], 'W')} for {session} at "
        f"{_celsius(handset['limit_k'])} is {'true' if claim['holds'] else 'false'} here; by spreading and room it is true "
        f"for peaks up to {quantity(min(peaks), 'W')} to {quantity(max(peaks), 'W')}, and for ever only up to "
        f"{quantity(min(steady), 'W')} to {quantity(max(steady), 'W')}."
    )


def _notes(record: Record) -> list[str]:
    handset = record["handset"]
    told = "; ".join(
        f"{label(result)} {result['evidence']}, {result['confidence']['class']}"
        for result in record["results"]
    )
    return [
        (
            "columns: draws, power of the chip and its memory at work; at most, constant power that reaches the limit just "
            "then; for ever, steady power at the limit; limit after, skin and die at most: over "
            f"{show_time(record['results'][0]['tokens'][-1]['within_s'])}"
        ),
        (
            f"the rest of the handset draws {quantity(handset['other_w'], 'W')} all the while; a chip under a power limit "
            "slows down at the same energy of each operation, so one that lowers its voltage does better"
        ),
        (
            f"a prediction, nothing here was measured: {told}; numbers of the handset have ranges, see npuwatt presets show "
            f"{handset['handset']}"
        ),
        *record["notes"],
    ]


def _celsius(kelvin: float) -> str:
    return f"{kelvin - 273.15:.1f} degC"
