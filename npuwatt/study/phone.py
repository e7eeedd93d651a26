"""A chip in a handset: how warm it gets, what it may draw for how long, and how many tokens that makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from npuwatt import units
from npuwatt.arrays import Array, column
from npuwatt.device.evaluate import Device, host_of, rest_power_w
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.handset.body import HOTTEST_K
from npuwatt.handset.governor import KINDS
from npuwatt.handset.network import Handset
from npuwatt.record import Record, replace
from npuwatt.study.cell_notes import Exactness
from npuwatt.study.compare import Answer, answer_of
from npuwatt.study.confidence import Confidence
from npuwatt.study.handset import asked_in, changes_of, held_in
from npuwatt.study.modes import result_of
from npuwatt.study.phone_claim import PeakClaim, peak_claim
from npuwatt.study.phone_figures import Figures, Ranges, Rate, Session, Work, unthrottled_s, with_ranges
from npuwatt.study.question import Options, Question
from npuwatt.study.scenario import Chosen, implausible, load_handset

HANDSET, MINUTES = "large-phone", 5.0
LEAST_MINUTES, MOST_MINUTES = 0.01, 8 * 60.0  # the most is what a battery lasts under a light load
_HOTTEST_LIMIT_K = 423.15
_COLDEST_START_K = 250.0
_LEAST_SHARE = 0.01  # of peak power that is asked about
_AMBIENTS_K = (273.15, 318.15)
_CAPS = 33  # power caps at which the rate of a device is worked out; straight in between


class PhoneAnswer(Record):
    """One device in the handset."""

    device: Chosen[Device]
    work: Work
    figures: Figures
    ranges: Ranges
    unthrottled_s: float  # when the skin would reach its limit with no governor
    confidence: Confidence
    exactness: Exactness | None  # of products in memory cells; none where a device has none
    notes: tuple[str, ...]


class Phone(Record):
    """Devices in one handset, in the order asked."""

    question: Question
    handset: Chosen[Handset]
    limit_k: float
    session: Session
    answers: tuple[PhoneAnswer, ...]
    claim: PeakClaim | None
    left_out: tuple[str, ...]  # devices that have no answer here, each with why
    warnings: tuple[str, ...]


def phone(
    names: Sequence[str],
    *,
    handset: str = HANDSET,
    minutes: float = MINUTES,
    limit: str | None = None,
    ambient: str = "25degC",
    start: str | None = None,
    governor: str = "allocator",
    in_case: bool = False,
    power: str | None = None,
    claims: bool = False,
    **options: Unpack[Options],
) -> Phone:
    """How warm the skin of a handset gets while each of several devices repeats one request, and what that leaves of
    its rate.

    Parameters
    ----------
    names
        Devices by preset name, alias or path; each is the only one in the handset.
    handset
        Preset name or path.
    minutes
        Length of the session.
    limit, ambient, start
        Temperatures with their unit: of the skin at most (None: the handset's own), of the room from 0 to
        45 degC, and of the whole handset when the session starts (None: the room's).
    governor
        none, trips or allocator.
    power
        Demand of the chip in place of what its work draws: watts, or a share of its power cap, as in 50%.
    claims
        Whether to say for which peak powers, spreading and rooms that share of peak power (half, where `power`
        is no share) holds the limit.
    **options
        As for `npuwatt.study.question.question`; where nothing is said the network is the handset's own,
        weights are int4, activations and cache int8; and `changes` may also be of `handset`.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    changes, others = changes_of(("handset",), options.get("changes", ()), names)
    own = changes["handset"]
    chosen = load_handset(handset, changes=own, folders=options.get("presets", ()))
    limit_k = float(np.max(chosen.record.skin_limit_k)) if limit is None else _temperature("--limit", limit)
    session = _session(
        limit_k, minutes=minutes, ambient=ambient, start=start, governor=governor, in_case=in_case,
        is_limit_given=limit is not None,
    )  # fmt: skip
    asked = asked_in(chosen.record, names, others, options)
    with np.errstate(all="ignore"):  # of absurd numbers, which are refused
        answers, left_out = _answers(asked, chosen, session, power)
        claim = _claim(chosen.record, session, limit_k, power) if claims else None
    return Phone(
        question=asked, handset=chosen, limit_k=limit_k, session=session, answers=answers, claim=claim, left_out=left_out,
        warnings=tuple(implausible(chosen, own, "handset")),
    )  # fmt: skip


def _session(
    limit_k: float,
    *,
    minutes: float,
    ambient: str,
    start: str | None,
    governor: str,
    in_case: bool,
    is_limit_given: bool,
) -> Session:
    """What is done with the handset, checked."""
    if governor not in KINDS:
        near = did_you_mean(governor, KINDS) or f"; expected one of {', '.join(KINDS)}"
        raise RequestError(f"--governor: {shown(governor)} given{near}")
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise RequestError(f"--minutes: {minutes:g} given; expected {LEAST_MINUTES:g} to {MOST_MINUTES:g}")
    room_k = _temperature("--ambient", ambient)
    if not _AMBIENTS_K[0] <= room_k <= _AMBIENTS_K[1]:
        raise RequestError(f"--ambient: {ambient} given; expected 0 to 45 degC")
    start_k = room_k if start is None else _temperature("--start", start)
    if not room_k < limit_k <= _HOTTEST_LIMIT_K:
        raise RequestError(
            f"--limit: {_celsius(limit_k)} given; expected above the {_celsius(room_k)} of the room and at most "
            f"{_celsius(_HOTTEST_LIMIT_K)}"
        )
    if not _COLDEST_START_K <= start_k < limit_k:
        raise RequestError(
            f"--start: {_celsius(start_k)} given; expected {_celsius(_COLDEST_START_K)} or more, below the limit of "
            f"{_celsius(limit_k)}"
        )
    return Session(
        limit_k=limit_k if is_limit_given else None, ambient_k=room_k, start_k=start_k, session_s=60.0 * minutes,
        governor=governor, in_case=in_case,
    )  # fmt: skip


def _answers(
    asked: Question, handset: Chosen[Handset], session: Session, power: str | None
) -> tuple[tuple[PhoneAnswer, ...], tuple[str, ...]]:
    """Each device alone in the handset, and why some run away; the faults of all of them at once."""
    faults: list[str] = []
    left_out: list[str] = []
    found = []
    for device in asked.devices:
        try:
            told = answer_of(asked, device)
        except NpuwattError as error:
            faults += error.faults
            continue
        try:
            found.append(_answer(asked, told, handset, session, power=power))
        except _RunsAway as error:
            left_out += [f"device {shown(device.typed)}: {fault}" for fault in error.faults]
        except NpuwattError as error:
            faults += [f"device {shown(device.typed)}: {fault}" for fault in error.faults]
    if faults or not found:
        raise RequestError(*faults, *left_out)
    return tuple(found), tuple(left_out)


def _claim(handset: Handset, session: Session, limit_k: float, power: str | None) -> PeakClaim:
    """For which peaks the share of peak power that was asked for, else a half, is held: whatever the device."""
    share = units.parse(power, "_fraction") if power and power.strip().endswith("%") else 0.5
    least = max(_LEAST_SHARE, float(np.max(handset.leakage.share_fraction)))
    if share < least:
        raise RequestError(
            f"--claims: {power} of peak asked about; expected {100 * least:.3g}% or more, as much as leaks of it"
        )
    return peak_claim(
        handset, share=share, room_k=session.ambient_k, limit_k=limit_k, session_s=session.session_s, in_case=session.in_case
    )  # fmt: skip


def _temperature(option: str, text: str) -> float:
    try:
        return units.parse(text, "_k")
    except NpuwattError as error:
        raise RequestError(*(f"{option}: {fault}" for fault in error.faults)) from error


def _celsius(kelvin: float) -> str:
    return f"{kelvin - 273.15:.4g} degC"


def rate_of(asked: Question, device: Device) -> Rate:
    """What a device makes of the watts it may draw as a mean, from nothing to its power cap.

    Below the power at which it makes most tokens of a joule it works and sleeps by turns; asleep it draws nothing.
    Above, work slows down as the cap comes down, at the same energy of each operation: voltage is not lowered with
    the clock, so a real chip may do better.
    """
    rest_w, cap_w = float(np.max(rest_power_w(device))), float(np.max(host_of(device).power_cap_w))
    caps = column(rest_w + (cap_w - rest_w) * np.geomspace(1e-3, 1.0, _CAPS))
    metrics = result_of(asked, _capped(device, caps), limits=False).metrics()
    drawn, rate = (np.broadcast_to(metrics[name], caps.shape).ravel() for name in ("power_w", "tokens_per_s"))
    keep = np.concatenate([np.diff(drawn) > 0, [True]])  # caps that no longer bind draw the same
    if not (np.isfinite(drawn).all() and np.isfinite(rate).all() and drawn[-1] > 0):
        raise RequestError(
            "has no finite answer; expected numbers nearer to those of a real device in a real handset"
        )
    drawn, rate = drawn[keep], rate[keep]
    best = int(np.argmax(rate / drawn))
    return Rate(
        power_w=np.concatenate([[0.0], drawn[best:]]), tokens_per_s=np.concatenate([[0.0], rate[best:]])
    )


def _capped(device: Device, caps: Array) -> Device:
    host = replace(host_of(device), power_cap_w=caps)
    return host if device.kind == "accelerator" else replace(device, host=host)


def _answer(
    asked: Question, told: Answer, handset: Chosen[Handset], session: Session, *, power: str | None
) -> PhoneAnswer:
    device = told.device
    held = held_in(asked, device, handset.record)
    rated_w = float(np.max(host_of(device.record).power_cap_w))
    rate = rate_of(asked, held)
    demand_w = float(rate.power_w[-1]) if power is None else _demand_w(power, rated_w)
    work = Work(rated_w=rated_w, demand_w=demand_w, is_given=power is not None, rate=rate)
    address, notes = f"devices.{device.typed}", told.notes
    found, ranges = with_ranges(handset, address, told.confidence, session, work)
    if _is_away(found) and session.session_s < session.lasting_s:
        notes = (
            *notes,
            f"runs away within {units.show_time(session.lasting_s)}, so nothing is counted beyond the session",
        )
        session = replace(session, is_alone=True)
        found, ranges = with_ranges(handset, address, told.confidence, session, work)
    _check_finite(found, session, demand_w)
    return PhoneAnswer(
        device=device,
        work=work,
        figures=found,
        ranges=ranges,
        unthrottled_s=unthrottled_s(handset.record, session, work),
        confidence=told.confidence,
        exactness=told.exactness,
        notes=notes,
    )


class _RunsAway(RequestError):
    """A chip whose heat no handset takes away; others beside it are answered all the same."""


def _is_away(found: Figures) -> bool:
    return float(found.course.peak_die_k[0, 0]) >= HOTTEST_K


def _check_finite(found: Figures, session: Session, demand_w: float) -> None:
    """Refuse a chip that runs away, and numbers of which nothing comes."""
    told = [values for name, values in found.values.items() if name != "reaches_s"]
    if _is_away(found):
        or_governor = ", a governor" if session.governor == "none" else ""
        raise _RunsAway(
            f"runs away: at {units.show_in(demand_w, 'W')} its die passes {_celsius(HOTTEST_K)} within "
            f"{units.show_time(session.lasting_s)}; expected a device for a handset{or_governor}, or less --power"
        )
    if not all(np.isfinite(values[0, 0]) for values in told):
        raise RequestError(
            "has no finite answer; expected numbers nearer to those of a real device in a real handset"
        )


def _demand_w(power: str, rated_w: float) -> float:
    """`50%` of the power cap, or watts."""
    try:
        if power.strip().endswith("%"):
            asked_w = rated_w * units.parse(power, "_fraction")
        else:
            asked_w = units.parse(power, "_w")
    except NpuwattError as error:
        raise RequestError(*(f"--power: {fault}" for fault in error.faults)) from error
    if not 0 < asked_w <= rated_w:
        raise RequestError(
            f"--power: {power} given; expected watts above 0 and at most the power cap of {units.show_in(rated_w, 'W')}, "
            "or a share of it as in 50%"
        )
    return asked_w
