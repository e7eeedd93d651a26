"""Always on: a small part listens, wakes a larger one, and the rest sleeps. Mean power by where it goes, and battery."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.errors import NpuwattError
from npuwatt.handset.network import Battery
from npuwatt.record import Record

PARTS = (
    "sensor", "listening", "checking", "waking", "loading", "answering", "awake", "sleeping", "retention",
)  # fmt: skip
"""Where mean power can go."""
DEVICE_PARTS = ("loading", "answering", "awake", "retention")
"""Those that the device which answers decides; waking the handset costs the same whatever it is woken for."""
_FULL = 1 + 1e-9  # a part may be busy all the time, to rounding


class Listener(Record):
    """The first detector, which looks all the time, and the sensor it looks through.

    Of events it notices the share `recall`; besides, `false_accepts` of its alarms come in each second (as data
    sheets tell them, per hour), however often it looks.
    """

    looks_per_s: Real
    energy_j: Real  # of one look
    time_s: Real  # of one look
    idle_w: Real  # between looks
    sensor_w: Real  # all the time: microphone or camera, and what makes features of its signal
    recall_fraction: Real
    false_accepts_per_s: Real

    def __post_init__(self) -> None:
        require.not_negative(
            looks=self.looks_per_s, energy=self.energy_j, time=self.time_s, idle=self.idle_w,
            sensor=self.sensor_w, false_accepts=self.false_accepts_per_s,
        )  # fmt: skip
        require.share(recall=self.recall_fraction)
        if np.any(np.greater(self.false_accepts_per_s, self.looks_per_s)):
            raise NpuwattError("false_accepts: more of them than looks; expected at most one a look")


class Checker(Record):
    """A later detector: it looks once at what the one before let through.

    Of events it lets the share `recall` through, of false alarms the share `false_accept`.
    """

    energy_j: Real  # of one check
    time_s: Real
    recall_fraction: Real
    false_accept_fraction: Real

    def __post_init__(self) -> None:
        require.not_negative(energy=self.energy_j, time=self.time_s)
        require.share(recall=self.recall_fraction, false_accept=self.false_accept_fraction)


class Profile(Record):
    """What an always-on assistant notices, how often, and what it costs to be ready and to wake.

    Without a listener every event wakes what answers: a timer, or a message.
    """

    events_per_s: Real  # that deserve an answer
    listener: Listener | None = None
    checkers: tuple[Checker, ...] = ()
    tokens_in_count: Real  # that one answer reads
    tokens_out_count: Real  # and writes
    wake_energy_j: Real  # from sleep until it can answer, and back
    wake_time_s: Real
    awake_w: Real  # beside the device that answers, while it is awake: processor, fabric
    sleep_w: Real  # what is kept powered to be woken, while it is not
    is_retained: bool  # weights stay in memory; else each wake loads them
    retention_w_per_byte: Real  # memory in self-refresh
    load_energy_j_per_byte: Real  # from flash
    load_rate_bytes_per_s: Real

    kind: ClassVar[Literal["profile"]] = "profile"

    def __post_init__(self) -> None:
        require.not_negative(
            events=self.events_per_s, wake_energy=self.wake_energy_j, wake_time=self.wake_time_s, awake=self.awake_w,
            sleep=self.sleep_w, retention=self.retention_w_per_byte, load_energy=self.load_energy_j_per_byte,
        )  # fmt: skip
        require.whole(1, tokens_in=self.tokens_in_count, tokens_out=self.tokens_out_count)
        require.positive(load_rate=self.load_rate_bytes_per_s)


class Response(Record):
    """One answer of the device that is woken, and what it holds in memory that forgets without power."""

    energy_j: Real
    time_s: Real
    held_bytes: Real

    def __post_init__(self) -> None:
        require.not_negative(energy=self.energy_j, time=self.time_s, held=self.held_bytes)


class Duty(Record):
    """A day of a profile; scalars or (P, 1). Powers are NaN where there is more work than time."""

    power_w: dict[str, Real]  # mean, by PARTS
    busy_fraction: dict[str, Real]  # of time: listening, checking, awake
    true_wakes_per_s: Real
    false_wakes_per_s: Real
    missed_per_s: Real

    @property
    def mean_w(self) -> Real:
        """All parts together."""
        return sum(self.power_w.values(), start=0.0)

    @property
    def device_w(self) -> Real:
        """What of it the device that answers decides."""
        return sum((self.power_w[name] for name in DEVICE_PARTS), start=0.0)

    @property
    def energy_per_event_j(self) -> Real:
        """All that is spent, over the events that are answered; infinite where none is."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found: Real = np.divide(self.mean_w, self.true_wakes_per_s)
        return found


def duty(profile: Profile, response: Response) -> Duty:
    """Mean power and wakes of a cascade: each detector sees what the one before it let through.

    What answers is asleep, waking or answering: P = (1 - a) (sleep + retention) + a awake + f (E_wake + E_load +
    E_answer) + detectors + sensor, with f wakes a second and a = f (t_wake + t_load + t_answer), the share of time
    awake. It is linear in the rate of events.

    Parameters
    ----------
    profile, response
        Numbers may be (P, 1) columns.
    """
    power_w: dict[str, Real] = dict.fromkeys(PARTS, 0.0)
    busy: dict[str, Real] = {"listening": 0.0, "checking": 0.0}
    true: Real = profile.events_per_s
    false: Real = 0.0
    if (listener := profile.listener) is not None:
        busy["listening"] = listener.looks_per_s * listener.time_s
        power_w["sensor"] = listener.sensor_w
        idle = np.maximum(1 - busy["listening"], 0.0)
        power_w["listening"] = listener.looks_per_s * listener.energy_j + idle * listener.idle_w
        true, false = true * listener.recall_fraction, listener.false_accepts_per_s
    for checker in profile.checkers:
        checks = true + false
        busy["checking"] = busy["checking"] + checks * checker.time_s
        power_w["checking"] = power_w["checking"] + checks * checker.energy_j
        true, false = true * checker.recall_fraction, false * checker.false_accept_fraction
    wakes = true + false
    load_bytes = 0.0 if profile.is_retained else response.held_bytes
    load_s = load_bytes / profile.load_rate_bytes_per_s
    busy["awake"] = wakes * (profile.wake_time_s + load_s + response.time_s)
    asleep = np.maximum(1 - busy["awake"], 0.0)
    power_w["waking"] = wakes * profile.wake_energy_j
    power_w["loading"] = wakes * load_bytes * profile.load_energy_j_per_byte
    power_w["answering"] = wakes * response.energy_j
    power_w["awake"] = busy["awake"] * profile.awake_w
    power_w["sleeping"] = asleep * profile.sleep_w
    kept_bytes = response.held_bytes if profile.is_retained else 0.0
    power_w["retention"] = asleep * kept_bytes * profile.retention_w_per_byte
    possible = np.where(_is_possible(busy), 1.0, np.nan)
    return Duty(
        power_w={name: watts * possible for name, watts in power_w.items()},
        busy_fraction=busy,
        true_wakes_per_s=true,
        false_wakes_per_s=false,
        missed_per_s=profile.events_per_s - true,
    )


def _is_possible(busy: dict[str, Real]) -> Real:
    """Whether every part has time for its work."""
    found: Real = np.logical_and.reduce(np.broadcast_arrays(*(share <= _FULL for share in busy.values())))
    return found


def battery_life_s(battery: Battery, *, power_w: Real) -> Real:
    """How long a full battery feeds a mean power; infinite where nothing is drawn.

    Parameters
    ----------
    power_w : scalar or (P, 1)
        What arrives at the parts.
    """
    with np.errstate(divide="ignore"):
        found: Real = np.divide(battery.energy_j * battery.efficiency_fraction, power_w)
    return found
