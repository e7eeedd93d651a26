"""What a chip in a handset comes to, and between which ends: all its numbers as they are, then each alone at both ends."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from npuwatt.arrays import Array, Real, column, total
from npuwatt.handset.charge import charge
from npuwatt.handset.governor import Kind
from npuwatt.handset.network import Handset
from npuwatt.handset.reaching import reaching
from npuwatt.handset.steady import Sustained
from npuwatt.handset.thermal import Course, course, sustainable
from npuwatt.record import Record, replace
from npuwatt.study.confidence import Confidence
from npuwatt.study.ranges import Ranged, difference_ends, ranged_numbers, ratio_ends, varied
from npuwatt.study.scenario import Chosen

SESSIONS_S = (300.0, 1800.0)  # tokens are counted in 5 and in 30 minutes, and in the minutes asked for
BY_RATE = ("tokens_per_s", "steady_tokens_per_s", "tokens_per_charge")  # and tokens within a time
BY_LIMITS = (
    "demand_w",
    "tokens_per_s",
    "reaching_w",
    "steady_w",
    "steady_tokens_per_s",
    "reaching_ratio",
    "steady_ratio",
)
TEMPERATURES = ("peak_skin_k", "peak_die_k")
_UNUSED = (
    "control_period",
    "model_memory",
    "other_day",
)  # one for all points, a limit of its own, and of another question
_LEAST_RISE_K = 0.1  # of a limit over the room, at the low end of its range
_MOST_PERIODS = (
    3600  # of courses that only tell ranges: in longer sessions the governor acts less often there
)

Ends: TypeAlias = tuple[float, float]
"""The lowest and the highest of a figure."""


class Rate(Record):
    """Output tokens per second that a device makes of mean watts, repeating one request; each is (K,), rising from 0."""

    power_w: Array
    tokens_per_s: Array

    def at(self, power_w: Real) -> Array:
        """Rate at a mean power, of its shape; no more than at the most that its work draws."""
        return np.asarray(np.interp(power_w, self.power_w, self.tokens_per_s))


class Session(Record):
    """What is done with a handset, whatever the device."""

    limit_k: float | None  # None: the handset's own
    ambient_k: float
    start_k: float
    session_s: float
    governor: Kind
    in_case: bool
    is_alone: bool = False  # nothing is counted beyond the session, by whose end a chip has not run away yet

    @property
    def lasting_s(self) -> float:
        """How long a course is: half an hour at least."""
        return self.session_s if self.is_alone else max(self.session_s, SESSIONS_S[-1])


class Work(Record):
    """What a device does with watts."""

    rated_w: float
    demand_w: float
    is_given: bool  # that demand, by whoever asks: then it is not off
    rate: Rate


class Case(Record):
    """All that has a range: a handset, and what a device draws over what is predicted."""

    handset: Handset
    power_ratio: Real = 1.0


class Figures(Record):
    """What a case comes to; arrays are (P, 1)."""

    course: Course
    steady: Sustained
    reaching: Sustained
    tokens: dict[float, Array]  # by seconds from the start
    values: dict[str, Array]  # all that may have a range, by name; tokens too, as `tokens_in_300_s`


class Ranges(Record):
    """Between which ends figures lie, and what makes them."""

    ends: dict[str, Ends]  # by name of a value, which tells the unit
    numbers_count: int  # of the handset that were put to the ends of their ranges
    away: tuple[str, ...]  # addresses that alone let the chip run away


def figures(case: Case, session: Session, work: Work) -> Figures:
    """What a case comes to; numbers may be (P, 1) columns, but for the period of control."""
    handset, rate = case.handset, work.rate
    limit_k = handset.skin_limit_k
    if session.limit_k is not None:
        handset, limit_k = _with_trips_at(handset, session.limit_k), session.limit_k
    demand = column([work.demand_w])
    if not work.is_given:
        demand = np.minimum(demand * case.power_ratio, work.rated_w)
    placed: dict[str, Any] = {"ambient_k": session.ambient_k, "limit_k": limit_k, "in_case": session.in_case}
    found = course(
        handset, power_w=demand, rated_w=work.rated_w, start_k=session.start_k, duration_s=session.lasting_s,
        governor=session.governor, **placed,
    )  # fmt: skip
    lasting = sustainable(handset, rated_w=work.rated_w, **placed)
    reached = reaching(
        handset, rated_w=work.rated_w, start_k=session.start_k, time_s=session.session_s, **placed
    )
    rates = rate.at(found.power_w / case.power_ratio)
    spans = np.diff(np.minimum(found.time_s, np.array(moments(session))[:, np.newaxis]))
    tokens = {moment: total(rates * span) for moment, span in zip(moments(session), spans, strict=True)}
    battery = charge(handset.battery, power_w=found.heat_w + handset.other_w, period_s=float(found.time_s[1]))
    values = {
        "demand_w": demand,
        "tokens_per_s": rate.at(demand / case.power_ratio),
        "reaching_w": reached.power_w,
        "steady_w": lasting.power_w,
        "steady_tokens_per_s": rate.at(np.minimum(lasting.power_w, demand) / case.power_ratio),
        "reaching_ratio": reached.power_w / demand,
        "steady_ratio": lasting.power_w / demand,
        "reaches_s": found.reaches_s,
        "peak_skin_k": found.peak_skin_k,
        "peak_die_k": found.peak_die_k,
        "battery_life_s": battery.life_s,
        "tokens_per_charge": battery.amount(rates),
    } | {token_key(moment): amount for moment, amount in tokens.items()}
    return Figures(course=found, steady=lasting, reaching=reached, tokens=tokens, values=values)


def _with_trips_at(handset: Handset, limit_k: float) -> Handset:
    """Trip points moved along with the limit of the skin, as a maker who sets another limit would move them."""
    moved_k = limit_k - handset.skin_limit_k
    steps = tuple(replace(step, temperature_k=step.temperature_k + moved_k) for step in handset.trips.steps)
    return replace(handset, trips=replace(handset.trips, steps=steps))


def unthrottled_s(handset: Handset, session: Session, work: Work) -> float:
    """When the skin reaches its limit with no governor; infinite where it does not within the course."""
    found = course(
        handset, power_w=column([work.demand_w]), rated_w=work.rated_w, start_k=session.start_k, duration_s=session.lasting_s,
        governor="none", ambient_k=session.ambient_k, in_case=session.in_case,
        limit_k=handset.skin_limit_k if session.limit_k is None else session.limit_k,
    )  # fmt: skip
    return float(found.reaches_s[0, 0])


def moments(session: Session) -> tuple[float, ...]:
    """Seconds within which tokens are counted."""
    return tuple(sorted(one for one in {*SESSIONS_S, session.session_s} if one <= session.lasting_s))


def token_key(seconds: float) -> str:
    """What tokens within a time are called among values."""
    return f"tokens_in_{seconds:g}_s"


def with_ranges(
    handset: Chosen[Handset], address: str, sure: Confidence, session: Session, work: Work
) -> tuple[Figures, Ranges]:
    """Figures of a device in a handset (the first of their points is the case as it is), and their ranges."""
    case = Case(handset=handset.record)
    power_low, power_high = sure.ratios["power_w"]
    inputs = _inputs(handset, session)
    off = Ranged(
        address=f"{address}.power", paths=(("power",),), value=1.0, low=power_low, high=power_high, suffix="_ratio", source=""
    )  # fmt: skip
    together, used = varied(case, [*inputs, off])
    least_s = session.lasting_s / _MOST_PERIODS
    if float(np.max(handset.record.control_period_s)) >= least_s:
        own = found = figures(together, session, work)
    else:
        own = figures(case, session, work)
        slower = replace(together.handset, control_period_s=least_s)
        found = figures(replace(together, handset=slower), session, work)
    ends = {name: _ends(name, own.values[name], _told(name, found), sure) for name in own.values}
    away = np.any(found.course.runs_away[1:].reshape(-1, 2), axis=1)
    return own, Ranges(
        ends=ends,
        numbers_count=len(used) - (off in used),
        away=tuple(item.address for item, gone in zip(used, np.ravel(away), strict=True) if gone),
    )


def _inputs(handset: Chosen[Handset], session: Session) -> list[Ranged]:
    """Numbers of the handset that have a range and a say here."""
    unused = [*_UNUSED, *({"trips", "allocator"} - {session.governor})]
    unused += [] if session.in_case else ["case"]
    unused += [] if session.limit_k is None else ["skin_limit"]
    return [
        replace(item, low=max(item.low, session.ambient_k + _LEAST_RISE_K))
        if item.address == "handset.skin_limit"
        else item
        for item in ranged_numbers(handset, "handset", within=("handset",))
        if item.address.split(".")[1] not in unused
    ]


def _told(name: str, found: Figures) -> Array:
    """Points of one figure; where the chip runs away there is no end to its temperatures and no answer else."""
    values = found.values[name]
    if name in BY_LIMITS:
        return values
    away = found.course.runs_away
    return np.where(away, np.inf if name in TEMPERATURES else np.nan, values)


def _ends(name: str, own: Array, values: Array, sure: Confidence) -> Ends:
    """The lowest and the highest of one figure; where there is no ratio to it, those of its points."""
    value, points = float(own[0, 0]), np.ravel(values)
    if np.isnan(points[0]):
        return np.nan, np.nan
    if name in TEMPERATURES:
        low, high = difference_ends(points)
        return low + value - float(points[0]), high + value - float(points[0])
    if not 0 < points[0] < np.inf:
        return float(np.nanmin(points)), float(np.nanmax(points))
    by_rate = name in BY_RATE or name.startswith("tokens_in_")
    low, high = ratio_ends(points, *([sure.ratios["tokens_per_s"]] if by_rate else []))
    return low * value, high * value
