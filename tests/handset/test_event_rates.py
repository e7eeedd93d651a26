"""Mean power over the rate of events: where its line crosses what is of interest, by hand and against single days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from npuwatt.handset.duty import Checker, Listener, Profile, Response, duty
from npuwatt.handset.event_rates import EventRates, event_rates
from npuwatt.record import replace

TIMER = Profile(
    events_per_s=1e-4, tokens_in_count=256.0, tokens_out_count=128.0, wake_energy_j=0.1, wake_time_s=0.2, awake_w=0.5,
    sleep_w=1e-3, is_retained=True, retention_w_per_byte=5e-12, load_energy_j_per_byte=5e-10, load_rate_bytes_per_s=2e9,
)  # fmt: skip
RESPONSE = Response(energy_j=8.0, time_s=2.0, held_bytes=6e8)
LISTENER = Listener(
    looks_per_s=1.0,
    energy_j=0.0,
    time_s=0.0,
    idle_w=0.0,
    sensor_w=0.0,
    recall_fraction=0.8,
    false_accepts_per_s=0.01,
)
SLOW = Checker(energy_j=0.01, time_s=10.0, recall_fraction=1.0, false_accept_fraction=0.0)
ASLEEP_W, EVENT_J = 1e-3 + 6e8 * 5e-12, 0.1 + 8.0 + 0.5 * 2.0 - 2.2 * (1e-3 + 6e8 * 5e-12)  # by hand


def rates(profile: Profile = TIMER, response: Response = RESPONSE, **more: Any) -> EventRates:
    return event_rates(profile, response, **({"milliwatts_w": 0.05, "day_w": 0.5} | more))


def mean_w(rate: float, profile: Profile = TIMER, response: Response = RESPONSE) -> float:
    return float(np.max(duty(replace(profile, events_per_s=rate), response).mean_w))


def test_the_line_is_what_is_drawn_asleep_and_what_an_event_adds() -> None:
    found = rates()
    assert found.asleep_w == pytest.approx(ASLEEP_W, rel=1e-9)
    assert found.added_per_event_j == pytest.approx(EVENT_J, rel=1e-9)


def test_up_to_a_rate_is_where_that_power_is_drawn() -> None:
    found = rates()
    assert mean_w(found.milliwatts_up_to_per_s) == pytest.approx(0.05, rel=1e-9)
    assert mean_w(found.day_up_to_per_s) == pytest.approx(0.5, rel=1e-9)


def test_less_than_what_is_drawn_asleep_is_held_at_no_rate() -> None:
    assert np.isnan(rates(milliwatts_w=0.99 * ASLEEP_W).milliwatts_up_to_per_s)
    assert rates(milliwatts_w=1.01 * ASLEEP_W).milliwatts_up_to_per_s > 0


def test_no_rate_is_beyond_what_there_is_time_for() -> None:
    found = rates(day_w=100.0)
    assert found.most_per_s == pytest.approx(1 / 2.2, rel=1e-9)  # an answer and its wake
    assert found.day_up_to_per_s == found.most_per_s


def test_a_detector_that_is_slower_than_what_answers_leaves_time_for_less() -> None:
    """By hand: ten seconds a check leave nine of ten, as alarms that are none take one, for the 0.8 that is noticed."""
    found = rates(replace(TIMER, listener=LISTENER, checkers=(SLOW,)))
    assert found.most_per_s == pytest.approx(0.9 / (0.8 * 10.0), rel=1e-9)


def test_from_a_rate_on_the_device_decides_half() -> None:
    awake = replace(TIMER, sleep_w=0.1)
    rate = rates(awake).half_from_per_s
    told = duty(replace(awake, events_per_s=rate), RESPONSE)
    assert float(np.max(told.device_w)) == pytest.approx(float(np.max(told.mean_w)) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "rate"),
    [
        ({"retention_w_per_byte": 1e-9}, 0.0),
        ({"sleep_w": 0.1, "wake_energy_j": 50.0}, np.inf),
        ({"wake_energy_j": 50.0}, np.inf),
        ({"listener": replace(LISTENER, sensor_w=100.0)}, np.inf),
    ],
    ids=["always", "never", "only without events", "only beyond what there is time for"],
)  # fmt: skip
def test_the_device_may_decide_half_always_or_never(change: dict[str, Any], rate: float) -> None:
    assert rates(replace(TIMER, **change)).half_from_per_s == rate
