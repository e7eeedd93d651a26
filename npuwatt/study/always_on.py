"""A chip that sleeps in a handset until a small detector wakes it: mean power, battery, and when the choice of chip matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from npuwatt import require, units
from npuwatt.arrays import Array, Real
from npuwatt.device.evaluate import Device, host_of
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.handset.duty import Duty, Profile, Response, battery_life_s, duty
from npuwatt.handset.event_rates import EventRates, event_rates
from npuwatt.handset.network import Battery, Handset
from npuwatt.handset.thermal import sustainable
from npuwatt.record import Record, replace
from npuwatt.study.compare import Answer, answer_of, multiplies_inside
from npuwatt.study.confidence import Confidence
from npuwatt.study.handset import asked_in, changes_of, held_in
from npuwatt.study.inference import fitted, weights_in_memory_bytes
from npuwatt.study.modes import result_of
from npuwatt.study.question import Options, Question
from npuwatt.study.ranges import Ranged, ranged_numbers, ratio_ends, together, varied
from npuwatt.study.scenario import Chosen, implausible, load_handset, load_profile
from npuwatt.workload.request import Request

if TYPE_CHECKING:
    from npuwatt.study.cell_notes import Exactness

PROFILE, HANDSET = "voice-assistant", "large-phone"
MILLIWATTS_W = 0.01  # what "milliwatts" is taken to mean: below ten
DAY_S = 86400.0
ROOM_K = 298.15
MOST_C_RATE = 5.0  # of its energy in an hour that a battery gives; cells of handsets give 1 to 3, recalled
RANGED = ("mean_w", "device_w", "energy_per_event_j", "battery_life_s", "battery_life_alone_s")
_MOST_DRIVERS = 5


class Unit(Record):
    """How far off a device's model may be: true over predicted."""

    energy_ratio: Real = 1.0
    time_ratio: Real = 1.0


class Case(Record):
    """Everything that has a range; numbers may be (P, 1) columns."""

    profile: Profile
    battery: Battery
    other_day_w: Real
    units: tuple[Unit, ...]


class Driver(Record):
    """A number that alone moves the mean power, and to where."""

    ranged: Ranged
    mean_low_w: float
    mean_high_w: float


class Against(Record):
    """Mean power over that of the device named first."""

    mean_ratio: float
    ends_ratio: tuple[float, float]
    even_per_s: float | None  # events at which both take the same; none: one takes less at every rate


class AlwaysOnAnswer(Record):
    """One device behind the detectors."""

    device: Chosen[Device]
    response: Response
    is_memory_idle: bool  # a memory that computes, whose units cannot do what is asked
    nonstop_w: float  # answer after answer, without a pause
    duty: Duty
    mean_by_keeping_w: dict[
        str, float
    ]  # with weights retained in memory, and with weights loaded at each wake
    load_s: float  # of weights, where they are
    metrics: dict[str, float]
    ends_ratio: dict[str, tuple[float, float]]
    rates: EventRates
    against: Against
    drivers: tuple[Driver, ...]  # those that move its mean power most
    overworked: tuple[
        str, ...
    ]  # numbers at an end of whose range there is more work than time; no part of ranges
    confidence: Confidence
    exactness: Exactness | None  # of products in memory cells; none where a device has none
    notes: tuple[str, ...]


class AlwaysOn(Record):
    """Devices behind the detectors of one profile, in the order asked."""

    question: Question
    profile: Chosen[Profile]
    handset: Chosen[Handset]
    answers: tuple[AlwaysOnAnswer, ...]
    warnings: tuple[str, ...]


def always_on(
    names: Sequence[str],
    *,
    profile: str = PROFILE,
    handset: str = HANDSET,
    events: str | None = None,
    **options: Unpack[Options],
) -> AlwaysOn:
    """What it takes to notice events all day and to let each of several devices answer them.

    Parameters
    ----------
    names
        Devices by preset name, alias or path; each is the only one in the handset.
    profile, handset
        Preset names or paths.
    events
        Their rate, as in 20/day, in place of the profile's.
    **options
        As for `npuwatt.study.question.question`; where nothing is said the network is the handset's own, the
        tokens are the profile's, weights are int4, activations and cache int8; and `changes` may also be of
        `profile` and of `handset`.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    own, others = changes_of(("profile", "handset"), options.get("changes", ()), names)
    lengths = {"tokens_in": options.get("input_len"), "tokens_out": options.get("output_len")}
    given = [f"{key}={tokens}" for key, tokens in lengths.items() if tokens is not None and tokens > 0]
    if events is not None:
        given.append(f"events={_rate(events)}/s")
    folders = options.get("presets", ())
    listening = load_profile(profile, changes=[*own["profile"], *given], folders=folders)
    body = load_handset(handset, changes=own["handset"], folders=folders)
    asked = asked_in(body.record, names, others, options)
    asked = replace(asked, request=_request(asked, listening.record))
    held, faults = [], []
    for device in asked.devices:
        try:
            held.append(held_in(asked, device, body.record))
        except NpuwattError as error:
            faults += [f"device {shown(device.typed)}: {fault}" for fault in error.faults]
    if faults:
        raise RequestError(*faults)
    return AlwaysOn(
        question=asked,
        profile=listening,
        handset=body,
        answers=_answers(asked, held, listening, body),
        warnings=(
            *implausible(listening, own["profile"], "profile"),
            *implausible(body, own["handset"], "handset"),
        ),
    )


def _request(asked: Question, profile: Profile) -> Request:
    """One answer of the profile, as far as its network can take that."""
    request = replace(asked.request, input_len=profile.tokens_in_count, output_len=profile.tokens_out_count)
    return fitted(asked.network.record, request)


def _rate(events: str) -> float:
    try:
        rate = units.parse(events, "_per_s")
        require.not_negative(events=rate)
    except NpuwattError:
        raise RequestError(
            f"--events: {shown(events)} given; expected a rate of 0 or more, as in 20/day or 3/h"
        ) from None
    return rate


def _answers(
    asked: Question, held: Sequence[Device], profile: Chosen[Profile], handset: Chosen[Handset]
) -> tuple[AlwaysOnAnswer, ...]:
    case = Case(
        profile=profile.record,
        battery=handset.record.battery,
        other_day_w=handset.record.other_day_w,
        units=(Unit(),) * len(held),
    )
    told = [answer_of(asked, device) for device in asked.devices]
    points, used = varied(case, together(_inputs(profile, handset, told)))
    with np.errstate(all="ignore"):
        duties = [_duty(asked, device, case, place) for place, device in enumerate(held)]
        for device, (_, day) in zip(asked.devices, duties, strict=True):
            _check_time(device.typed, day)
        spread = [
            _metrics(points, _duty(asked, device, points, place)[1]) for place, device in enumerate(held)
        ]
        rates = [_rates(case, response) for response, _ in duties]
    found = []
    for place, one in enumerate(told):
        response, day = duties[place]
        metrics = {name: float(np.ravel(values)[0]) for name, values in _metrics(case, day).items()}
        if not np.isfinite([metrics["mean_w"], float(np.max(response.energy_j))]).all():
            raise RequestError(
                f"device {shown(one.device.typed)} has no finite answer; expected numbers nearer to those of a real one"
            )
        found.append(
            AlwaysOnAnswer(
                device=one.device,
                response=response,
                is_memory_idle=one.device.record.kind == "near-bank-pim"
                and not multiplies_inside(asked, one.device.record),
                nonstop_w=float(np.max(response.energy_j / response.time_s + case.profile.awake_w)),
                duty=day,
                mean_by_keeping_w={
                    name: float(np.max(duty(replace(case.profile, is_retained=kept), response).mean_w))
                    for name, kept in (("retained", True), ("loaded", False))
                },
                load_s=float(np.max(response.held_bytes / case.profile.load_rate_bytes_per_s)),
                metrics=metrics,
                ends_ratio=_ends(metrics, spread[place]),
                rates=rates[place],
                against=_against(place, spread, rates),
                drivers=_drivers(used, spread[place]["mean_w"]),
                overworked=_overworked(used, spread[place]["mean_w"]),
                confidence=one.confidence,
                exactness=one.exactness,
                notes=(
                    *one.notes,
                    *_beyond(handset.record, one.device.record, response, day),
                ),
            )
        )
    return tuple(found)


def _beyond(handset: Handset, device: Device, response: Response, day: Duty) -> list[str]:
    """Where heat or the battery end what there would be time for."""
    found = []
    mean_w, answering_w = float(np.max(day.mean_w)), float(np.max(response.energy_j / response.time_s))
    rated_w = float(np.max(host_of(device).power_cap_w * day.busy_fraction["awake"]))  # it leaks while awake
    battery_w = float(np.max(handset.battery.energy_j)) / 3600  # that empties it in an hour
    if answering_w > MOST_C_RATE * battery_w:
        found.append(
            f"while it answers it draws {units.show_in(answering_w, 'W')}, which would empty the battery in "
            f"{units.show_time(3600 * battery_w / answering_w)}: cells of handsets do not give that"
        )
    held = sustainable(
        handset, rated_w=rated_w, ambient_k=ROOM_K, limit_k=handset.skin_limit_k, in_case=False
    )
    if mean_w > (held_w := float(np.max(held.power_w))):
        found.append(
            f"its mean is more than the {units.show_in(held_w, 'W')} that the handset gives off for ever in a room of 25 degC"
        )
    return found


def _inputs(profile: Chosen[Profile], handset: Chosen[Handset], told: Sequence[Answer]) -> list[Ranged]:
    """Every number of the case that has a range."""
    of_handset = [
        replace(item, paths=(tuple(item.address.split(".")[1:]),))
        for item in ranged_numbers(handset, "handset")
        if item.address.startswith(("handset.battery.", "handset.other_day"))
    ]
    off = [item for place, one in enumerate(told) for item in _off(one.device, one.confidence, place)]
    return [*ranged_numbers(profile, "profile", within=("profile",)), *of_handset, *off]


def _off(device: Chosen[Device], sure: Confidence, place: int) -> list[Ranged]:
    """How far off the model of a device may be, as numbers of the case."""
    rate_low, rate_high = sure.ratios["tokens_per_s"]
    ends = {"energy": sure.ratios["energy_per_output_token_j"], "time": (1 / rate_high, 1 / rate_low)}
    return [
        Ranged(
            address=f"devices.{device.typed}.{key}, true over predicted", paths=(("units", str(place), key),), value=1.0,
            low=low, high=high, suffix="_ratio", source="",
        )
        for key, (low, high) in ends.items()
    ]  # fmt: skip


def _duty(asked: Question, device: Device, case: Case, place: int) -> tuple[Response, Duty]:
    """One answer of a device, and the day of the profile with it."""
    profile, unit = case.profile, case.units[place]
    request = _request(asked, profile)
    result = result_of(asked, device, request=request, limits=False)
    response = Response(
        energy_j=result.total_j * unit.energy_ratio,
        time_s=result.request_s * unit.time_ratio,
        held_bytes=weights_in_memory_bytes(asked.network.record, request, device),
    )
    return response, duty(profile, response)


def _metrics(case: Case, day: Duty) -> dict[str, Array]:
    mean_w = np.atleast_2d(day.mean_w)
    return {
        "mean_w": mean_w,
        "device_w": np.atleast_2d(day.device_w),
        "energy_per_event_j": np.atleast_2d(day.energy_per_event_j),
        "battery_life_s": np.atleast_2d(battery_life_s(case.battery, power_w=mean_w + case.other_day_w)),
        "battery_life_alone_s": np.atleast_2d(battery_life_s(case.battery, power_w=mean_w)),
    }


_FEWER = {
    "listening": "fewer or faster looks (profile.listener.looks and .time)",
    "checking": "fewer events or false accepts, or faster checks (profile.checkers.0.time)",
    "awake": "fewer --events or false accepts, shorter answers, or a faster device",
}


def _check_time(typed: str, day: Duty) -> None:
    """Nobody works more than all the time."""
    for name, share in day.busy_fraction.items():
        if not float(np.max(share)) <= 1:
            raise RequestError(
                f"device {shown(typed)}: {name} would take {float(np.max(share)):.6g} times the time there is; expected {_FEWER[name]}"
            )


def _rates(case: Case, response: Response) -> EventRates:
    day_w = float(np.max(case.battery.energy_j * case.battery.efficiency_fraction / DAY_S - case.other_day_w))
    return event_rates(case.profile, response, milliwatts_w=MILLIWATTS_W, day_w=day_w)


def _ends(metrics: dict[str, float], spread: dict[str, Array]) -> dict[str, tuple[float, float]]:
    """Ranges over their values; a part is never above the whole."""
    found = {name: ratio_ends(spread[name]) for name in RANGED}
    if metrics["device_w"] > 0:
        low, high = found["device_w"]
        found["device_w"] = low, min(high, found["mean_w"][1] * metrics["mean_w"] / metrics["device_w"])
    return found


def _against(place: int, spread: Sequence[dict[str, Array]], rates: Sequence[EventRates]) -> Against:
    shape = np.broadcast_shapes(spread[0]["mean_w"].shape, spread[place]["mean_w"].shape)
    ratio = np.broadcast_to(spread[place]["mean_w"] / spread[0]["mean_w"], shape)
    first, own = rates[0], rates[place]
    steeper = first.added_per_event_j - own.added_per_event_j
    even = (own.asleep_w - first.asleep_w) / steeper if steeper else np.nan
    is_met = 0 < even <= min(first.most_per_s, own.most_per_s)
    return Against(
        mean_ratio=float(ratio[0, 0]),
        ends_ratio=ratio_ends(ratio),
        even_per_s=float(even) if is_met else None,
    )


def _drivers(used: Sequence[Ranged], mean_w: Array) -> tuple[Driver, ...]:
    """Numbers by how far they move the mean power alone, the farthest first."""
    found = np.ravel(mean_w)
    ends = found[1:].reshape(-1, 2)
    with np.errstate(all="ignore"):
        reach = np.nan_to_num(np.abs(np.log(ends / found[0])).max(axis=1, initial=0.0), posinf=0.0)
    order = [place for place in np.argsort(-reach, kind="stable")[:_MOST_DRIVERS] if reach[place] > 0.005]
    return tuple(
        Driver(ranged=used[place], mean_low_w=float(ends[place, 0]), mean_high_w=float(ends[place, 1]))
        for place in order
    )


def _overworked(used: Sequence[Ranged], mean_w: Array) -> tuple[str, ...]:
    lost = np.isnan(np.ravel(mean_w)[1:])
    return tuple(item.address for place, item in enumerate(used) if lost[2 * place : 2 * place + 2].any())
