"""Devices in a handset for people: what it stands, what is left of the rate, and how both go over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.words import label, mark_notes, percent, quantity, ratio, request_line
from npuwatt.units import show_time

Record = dict[str, Any]
_MOMENTS = 12
_WIDE = 18  # characters of a bar
_NAMED = 3  # numbers that are named where there may be many
_BOUND = {"skin": "skin", "junction": "die", "runaway": "leakage", "rest": "other draw"}


def phone_report(record: Record) -> Report:
    """Limits and rates, then one chart for each device; a pipe gets the numbers without the bars.

    A terminal gets the devices side by side, a pipe and Markdown one a line.
    """
    handset, results, session = (
        record["handset"],
        record["results"],
        show_time(record["handset"]["session_s"]),
    )
    charts = [_chart(result, handset) for result in results]
    claims = [_claim_table(results[0]["claim"], handset)] if results[0]["claim"] else []  # the same for all
    told = [_figures(result, handset) for result in results]
    names = max(
        (list(own) for own in told), key=len
    )  # one that runs away later has no figures of what follows the session
    lines = Table(
        columns=("device", *names),
        rows=tuple(
            (label(result), *(own.get(name, "-") for name in names))
            for result, own in zip(results, told, strict=True)
        ),
    )
    beside = Table(
        columns=("", *(label(result) for result in results)),
        rows=tuple((name, *(own.get(name, "-") for own in told)) for name in names),
        left=tuple(label(result) for result in results),
    )
    return Report(
        heading=_heading(record),
        tables=(beside, *charts, *claims),
        wide=(lines, *charts, *claims),
        sentences=(
            *(told for result in results for told in _sentences(result, handset)),
            *_across(results),
            *_peaks(results[0]["claim"], session),
        ),
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


def _figures(result: Record, handset: Record) -> dict[str, str]:
    """What is told of a device, each with the ends it may lie between, by what it is called."""
    session = show_time(handset["session_s"])

    def told(name: str, show: Callable[[float, int], str], none: str = "-") -> str:
        return _ranged(result[name], result["ranges"][name], show, none)

    return {
        "draws": told("demand_w", _watts),
        "tokens/s": told("tokens_per_s", _rate),
        f"at most for {session}": told("reaching_w", _watts),
        "for ever": told("steady_w", _watts),
        "tokens/s then": told("steady_tokens_per_s", _rate),
        "limit after": told("reaches_s", _time, "never"),
        "unthrottled": _time(result["unthrottled_s"], 3)
        if result["unthrottled_s"] is not None
        else "never"
        if result["steady_ratio"] >= 1
        else f"not in {show_time(result['tokens'][-1]['within_s'])}",
        "skin at most": told("peak_skin_k", _degrees),
        "die at most": told("peak_die_k", _degrees),
        **{
            f"tokens in {show_time(one['within_s'])}": _ranged(one["tokens"], one, _count)
            for one in result["tokens"]
        },
        "battery lasts": told("battery_life_s", _time, "for ever"),
        "tokens per charge": told("tokens_per_charge", _count),
    }


def _ranged(value: float | None, ends: Record, show: Callable[[float, int], str], none: str = "-") -> str:
    """A figure and its ends: '2.32 W (1.3 to 3.4 W)', '12.3 min (8 min up)'; what has no end or no value is so told."""
    found = none if value is None else show(value, 3)
    if ends["low"] is None:
        return found
    low = show(ends["low"], 2) if ends["low"] else "0"
    if ends["high"] is None:
        return f"{found} ({low} up)"
    high = show(ends["high"], 2)
    unit = high.partition(" ")[2]
    low = low.removesuffix(f" {unit}") if unit else low
    return f"{found} ({low} to {high})"


def _watts(value: float, digits: int) -> str:
    return quantity(value, "W", digits)


def _rate(value: float, digits: int) -> str:
    return quantity(value, digits=digits)


def _count(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):.0f}"


def _time(value: float, digits: int) -> str:
    return show_time(value, digits)


def _degrees(value: float, digits: int) -> str:
    return _celsius(value)


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
                f"{one['power_w']:.2f}", _per_s(one["tokens_per_s"]),
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


def _claim_table(claim: Record, handset: Record) -> Table:
    """Peak powers up to which the sentence is true, for the session and for ever."""
    session = show_time(handset["session_s"])
    rows = tuple(
        (
            f"{one['spreading_fraction']:.2f}", _celsius(one["ambient_k"]),
            quantity(one["session_peak_w"], "W"), _BOUND[one["session_bound_by"]],
            quantity(one["steady_peak_w"], "W"), _BOUND[one["steady_bound_by"]],
        )
        for one in claim["conditions"]
    )  # fmt: skip
    return Table(
        title=f"{percent(claim['share_fraction'])} of peak keeps skin and die within their limits up to a peak of",
        columns=("spreading", "room", f"for {session}", "set by", "for ever", "by"),
        rows=rows,
        left=("set by", "by"),
        keys=2,
    )


def _scale(share: float) -> str:
    """A mark on the way to the limit."""
    line = [*("." * _WIDE), "|"]
    line[min(max(round(share * _WIDE), 0), _WIDE)] = "*"
    return "".join(line)


def _sentences(result: Record, handset: Record) -> list[str]:
    name, session = label(result), show_time(handset["session_s"])
    holds = "holds" if result["reaching_ratio"] >= 1 else "does not hold"
    keeps = "also for ever" if result["steady_ratio"] >= 1 else "not for ever"
    said = [
        (
            f"{name}: {quantity(result['demand_w'], 'W')} without throttling {holds} the limits for {session}, where its "
            f"{_BOUND[result['reaching_bound_by']]} sets {quantity(result['reaching_w'], 'W')}, and {keeps}, where its "
            f"{_BOUND[result['steady_bound_by']]} sets {quantity(result['steady_w'], 'W')}; {_open(result['ranges'])}."
        )
    ]
    if result["claim"]:
        said.append(_claimed(result, handset, session))
    last = result["tokens"][-1]
    kept = last["tokens"] / (result["tokens_per_s"] * last["within_s"]) if result["tokens_per_s"] else 1.0
    if kept < 0.995:
        said.append(
            f"Over {show_time(last['within_s'])} the governor leaves it {percent(kept)} of its tokens."
        )
    if result["overshoot_k"]:
        said.append(
            f"Within {show_time(last['within_s'])} its skin goes {result['overshoot_k']:.2g} K beyond its limit."
        )
    if result["course"][-1]["power_w"] < 0.01 * result["steady_w"]:
        said.append(
            f"In the end the governor leaves it nothing, though it would hold {quantity(result['steady_w'], 'W')} for ever: the sum "
            "of errors that it takes off is let go only below the temperature at which it starts."
        )
    if result["peak_die_k"] > handset["junction_limit_k"]:
        said.append(
            f"Its die passes its own limit of {_celsius(handset['junction_limit_k'])}, where a chip throttles itself; the "
            "governors here look at the skin alone."
        )
    if result["demand_w"] > 1.005 * result["work_w"]:
        said.append(
            f"Its work draws {quantity(result['work_w'], 'W')} at most; what it draws beyond is heat without tokens."
        )
    if away := result["ranges"]["runs_away_by"]:
        more = f" and {len(away) - _NAMED} others" if len(away) > _NAMED else ""
        said.append(
            f"It runs away at an end of the range of one number alone: {', '.join(away[:_NAMED])}{more}."
        )
    return said


def _across(results: list[Record]) -> list[str]:
    """Who makes most tokens, and whether the ranges leave that open."""
    if len(results) < 2:
        return []
    first, other, *_ = sorted(results, key=lambda result: -result["tokens"][-1]["tokens"])
    own, theirs = first["tokens"][-1], other["tokens"][-1]
    if not theirs["tokens"] or own["tokens"] < 1.005 * theirs["tokens"]:
        return []
    is_open = own["low"] < theirs["high"]
    return [
        (
            f"{label(first)} makes most tokens in {show_time(own['within_s'])}, {ratio(own['tokens'] / theirs['tokens'])} of "
            f"{label(other)}'s{', though their ranges overlap' if is_open else ''}."
        )
    ]


def _per_s(tokens_per_s: float) -> str:
    return f"{tokens_per_s:.0f}" if tokens_per_s >= 1000 else f"{tokens_per_s:.3g}"


def _open(ranges: Record) -> str:
    """Which of both answers another number within its range would turn."""
    turned = [
        which
        for which, name in (("the first", "reaching_ratio"), ("the second", "steady_ratio"))
        if ranges[name]["low"] < 1 <= ranges[name]["high"]
    ]
    if len(turned) == 1:
        return f"within the ranges {turned[0]} may turn"
    return "within the ranges both may turn" if turned else "no range turns that"


def _claimed(result: Record, handset: Record, session: str) -> str:
    """The sentence about a share of peak power, for this chip."""
    claim, most = result["claim"], _ranged(result["reaching_w"], result["ranges"]["reaching_w"], _watts)
    turned = "a number of the handset within its range would turn that" if claim["is_open"] else (
        "no number of the handset within its range turns that"
    )  # fmt: skip
    return (
        f"{label(result)}: {percent(claim['share_fraction'])} of its {quantity(result['rated_w'], 'W')} for {session} at "
        f"{_celsius(handset['limit_k'])} is {'true' if claim['holds'] else 'false'} here, where it may draw {most}; {turned}."
    )


def _peaks(claim: Record | None, session: str) -> list[str]:
    """For which peaks the share of peak power is held, over all that its table tells."""
    if claim is None:
        return []
    ends = [
        f"{quantity(min(peaks), 'W')} to {quantity(max(peaks), 'W')}"
        for peaks in (
            [one[f"{what}_peak_w"] for one in claim["conditions"]] for what in ("session", "steady")
        )
    ]
    return [
        (
            f"By spreading and room {percent(claim['share_fraction'])} of peak is true of any chip with a peak up to {ends[0]} for "
            f"{session}, and for ever only up to {ends[1]}."
        )
    ]


def _notes(record: Record) -> list[str]:
    handset = record["handset"]
    told = "; ".join(
        f"{label(result)} {result['evidence']}, {result['confidence']['class']}"
        for result in record["results"]
    )
    limit = "the limit, " if handset["is_limit_given"] else ""
    count = record["results"][0]["ranges"]["numbers_count"]
    told_of = (f"{label(result)}: {note}" for result in record["results"] for note in result["notes"])
    return [
        (
            "skin, the hottest spot of the outside, of the case where there is one; draws, power of the chip and its memory at work; "
            "at most, constant power that brings skin or die to its limit just then; for ever, steady power at a limit; limit after, "
            f"skin and die at most: as governed, over {_lasting(record)}; unthrottled, when the skin would reach its limit without "
            "a governor; battery lasts, a full one that feeds chip and all else, after that as in the last third of it"
        ),
        (
            f"in brackets, {count} numbers of the handset put alone to both ends of their ranges, and how far off power and "
            f"tokens/s of such devices were, combined in squares; {limit}the room, the request and the period of the governor "
            "stay as they are"
        ),
        (
            f"the rest of the handset draws {quantity(handset['other_w'], 'W')} all the while; a chip under a power limit "
            "works and sleeps by turns, or slows down at the same energy of each operation, so one that lowers its voltage does better"
        ),
        f"a prediction, nothing here was measured: {told}",
        *dict.fromkeys(told_of),
        *mark_notes(record["results"]),
        *record["notes"],
    ]


def _lasting(record: Record) -> str:
    return show_time(record["results"][0]["tokens"][-1]["within_s"])


def _celsius(kelvin: float) -> str:
    return f"{kelvin - 273.15:.1f} degC"
