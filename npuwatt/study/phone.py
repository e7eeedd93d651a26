"""A chip in a handset: how warm it gets, what it may draw for how long, and how many tokens that makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from npuwatt import units
from npuwatt.arrays import Array, Real, column
from npuwatt.device.evaluate import Device, host_of, rest_power_w
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.handset.body import HOTTEST_K
from npuwatt.handset.governor import KINDS, Kind
from npuwatt.handset.network import Handset
from npuwatt.handset.steady import Sustained
from npuwatt.handset.thermal import Course, course, power_reaching_w, sustainable
from npuwatt.record import Record, replace
from npuwatt.study.confidence import Confidence, confidence
from npuwatt.study.handset import asked_in, held_in
from npuwatt.study.modes import result_of
from npuwatt.study.phone_claim import PeakClaim, peak_claim
from npuwatt.study.question import Options, Question
from npuwatt.study.scenario import Chosen, implausible, load_handset

HANDSET, MINUTES = "large-phone", 5.0
SESSIONS_S = (300.0, 1800.0)  # tokens are counted in 5 and in 30 minutes, and in the minutes asked for
MOST_MINUTES = 24 * 60.0
_AMBIENTS_K = (273.15, 318.15)
_CAPS = 33  # power caps at which the rate of a device is worked out; straight in between


class Rate(Record):
    """Output tokens per second that a device makes of watts, repeating one request; each is (K,), rising."""

    power_w: Array
    tokens_per_s: Array

    def at(self, power_w: Real) -> Array:
        """Rate at a mean power, of its shape. Below the least power at which work is done at all, it works for a part of the time."""
        return np.asarray(np.interp(power_w, self.power_w, self.tokens_per_s))


class PhoneAnswer(Record):
    """One device in the handset."""

    device: Chosen[Device]
    rated_w: float
    demand_w: float  # that it draws unthrottled
    rate: Rate
    course: Course  # of the minutes asked for, or half an hour if that is longer
    tokens: dict[float, float]  # by seconds from the start
    steady: Sustained
    reaching_w: float  # constant power that reaches the limit at exactly the minutes asked for
    claim: PeakClaim | None
    confidence: Confidence


class Phone(Record):
    """Devices in one handset, in the order asked."""

    question: Question
    handset: Chosen[Handset]
    limit_k: float
    ambient_k: float
    start_k: float
    session_s: float
    governor: str
    in_case: bool
    answers: tuple[PhoneAnswer, ...]
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
    if governor not in KINDS:
        near = did_you_mean(governor, KINDS) or f"; expected one of {', '.join(KINDS)}"
        raise RequestError(f"--governor: {shown(governor)} given{near}")
    if not 0 < minutes <= MOST_MINUTES:
        raise RequestError(f"--minutes: {minutes:g} given; expected more than 0 and at most {MOST_MINUTES:g}")
    changes = options.get("changes", ())
    own = [change.removeprefix("handset.") for change in changes if change.startswith("handset.")]
    others = [change for change in changes if not change.startswith("handset.")]
    chosen = load_handset(handset, changes=own, folders=options.get("presets", ()))
    room_k = _temperature("--ambient", ambient)
    if not _AMBIENTS_K[0] <= room_k <= _AMBIENTS_K[1]:
        raise RequestError(f"--ambient: {ambient} given; expected 0 to 45 degC")
    limit_k = float(np.max(chosen.record.skin_limit_k)) if limit is None else _temperature("--limit", limit)
    start_k = room_k if start is None else _temperature("--start", start)
    if limit_k <= room_k:
        raise RequestError(
            f"--limit: {_celsius(limit_k)} given; expected above the {_celsius(room_k)} of the room"
        )
    if not 250 <= start_k < limit_k:
        raise RequestError(
            f"--start: {_celsius(start_k)} given; expected below the limit of {_celsius(limit_k)}"
        )
    asked = asked_in(chosen.record, names, others, options)
    session_s = 60.0 * minutes
    faults: list[str] = []
    found = []
    for device in asked.devices:
        try:
            found.append(
                _answer(
                    asked, device, chosen.record, power=power, claims=claims, limit_k=limit_k, room_k=room_k, start_k=start_k,
                    session_s=session_s, governor=governor, in_case=in_case,
                )
            )  # fmt: skip
        except NpuwattError as error:
            faults += [f"device {shown(device.typed)}: {fault}" for fault in error.faults]
    if faults:
        raise RequestError(*faults)
    return Phone(
        question=asked, handset=chosen, limit_k=limit_k, ambient_k=room_k, start_k=start_k, session_s=session_s,
        governor=governor, in_case=in_case, answers=tuple(found), warnings=tuple(implausible(chosen, own, "handset")),
    )  # fmt: skip


def _temperature(option: str, text: str) -> float:
    try:
        return units.parse(text, "_k")
    except NpuwattError as error:
        raise RequestError(*(f"{option}: {fault}" for fault in error.faults)) from error


def _celsius(kelvin: float) -> str:
    return f"{kelvin - 273.15:.4g} degC"


def rate_of(asked: Question, device: Device) -> Rate:
    """What a device makes of the watts it may draw, from a thousandth of its headroom to its power cap.

    Work slows down as the cap comes down, at the same energy of each operation: voltage is not lowered with the
    clock, so a real chip may do better.
    """
    rest_w, cap_w = float(np.max(rest_power_w(device))), float(np.max(host_of(device).power_cap_w))
    caps = column(rest_w + (cap_w - rest_w) * np.geomspace(1e-3, 1.0, _CAPS))
    metrics = result_of(asked, _capped(device, caps), limits=False).metrics()
    drawn, rate = (np.broadcast_to(metrics[name], caps.shape).ravel() for name in ("power_w", "tokens_per_s"))
    keep = np.concatenate([np.diff(drawn) > 0, [True]])  # caps that no longer bind draw the same
    return Rate(
        power_w=np.concatenate([[rest_w], drawn[keep]]), tokens_per_s=np.concatenate([[0.0], rate[keep]])
    )


def _capped(device: Device, caps: Array) -> Device:
    host = replace(host_of(device), power_cap_w=caps)
    return host if device.kind == "accelerator" else replace(device, host=host)


def _answer(
    asked: Question,
    device: Chosen[Device],
    handset: Handset,
    *,
    power: str | None,
    claims: bool,
    limit_k: float,
    room_k: float,
    start_k: float,
    session_s: float,
    governor: Kind,
    in_case: bool,
) -> PhoneAnswer:
    held = held_in(asked, device, handset)
    rated_w = float(np.max(host_of(device.record).power_cap_w))
    rate = rate_of(asked, held)
    demand_w = float(rate.power_w[-1]) if power is None else _demand_w(power, rated_w)
    setting: dict[str, Any] = {
        "rated_w": rated_w, "ambient_k": room_k, "limit_k": limit_k, "in_case": in_case,
    }  # fmt: skip
    lasting_s = max(session_s, SESSIONS_S[-1])
    with np.errstate(all="ignore"):
        found = course(
            handset, power_w=demand_w, start_k=start_k, duration_s=lasting_s, governor=governor, **setting
        )
    if not float(found.peak_die_k[0, 0]) < HOTTEST_K:
        raise RequestError(
            f"runs away: at {units.show_in(demand_w, 'W')} its die passes {_celsius(HOTTEST_K)} within "
            f"{units.show_time(lasting_s)}; expected a device for a handset, a governor, or less --power"
        )
    return PhoneAnswer(
        device=device,
        rated_w=rated_w,
        demand_w=demand_w,
        rate=rate,
        course=found,
        tokens={seconds: _tokens(rate, found, seconds) for seconds in sorted({*SESSIONS_S, session_s})},
        steady=sustainable(handset, **setting),
        reaching_w=float(power_reaching_w(handset, start_k=start_k, time_s=session_s, **setting)[0, 0]),
        claim=peak_claim(
            handset,
            share=_share(power),
            rated_w=rated_w,
            limit_k=limit_k,
            session_s=session_s,
            in_case=in_case,
        )
        if claims
        else None,
        confidence=confidence(device, asked.network, asked.request, devices=1.0, stack=asked.stack),
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


def _share(power: str | None) -> float:
    """The share of peak power that was asked for; the common claim is of a half."""
    return units.parse(power, "_fraction") if power and power.strip().endswith("%") else 0.5


def _tokens(rate: Rate, found: Course, seconds: float) -> float:
    """Output tokens from the start to a moment: the rate of each period by its length."""
    ends = np.minimum(found.time_s, seconds)
    return float(np.sum(rate.at(found.power_w[0]) * np.diff(ends)))
