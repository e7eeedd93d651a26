"""Always on: published figures, laws of a cascade, columns of points, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.errors import NpuwattError
from npuwatt.handset.duty import PARTS, Checker, Listener, Profile, Response, battery_life_s, duty
from npuwatt.handset.network import Battery
from npuwatt.record import replace

DAY_S = 86400.0
LISTENER = Listener(
    looks_per_s=10.0, energy_j=31.54e-6, time_s=1 / 227.2, idle_w=1e-4, sensor_w=6e-4, recall_fraction=0.9,
    false_accepts_per_s=1 / 3600,
)  # fmt: skip
CHECKER = Checker(energy_j=0.01, time_s=0.2, recall_fraction=0.95, false_accept_fraction=0.1)
PROFILE = Profile(
    events_per_s=20 / DAY_S, listener=LISTENER, checkers=(CHECKER,), tokens_in_count=256.0, tokens_out_count=128.0,
    wake_energy_j=0.1, wake_time_s=0.2, awake_w=0.5, sleep_w=1e-3, is_retained=True, retention_w_per_byte=5e-12,
    load_energy_j_per_byte=5e-10, load_rate_bytes_per_s=2e9,
)  # fmt: skip
TIMER = replace(PROFILE, listener=None, checkers=())
RESPONSE = Response(energy_j=8.0, time_s=2.0, held_bytes=6e8)
rates = st.floats(0, 1e-2)
settled = settings(derandomize=True, deadline=None)


def test_keyword_spotting_ten_times_a_second_takes_what_was_published() -> None:
    # MLCommons, MLPerf Tiny v1.2, April 2024, Syntiant NDP9120 at 0.9 V: 31.54 uJ an inference, 227.2 a second.
    bare = replace(LISTENER, idle_w=0.0, sensor_w=0.0, false_accepts_per_s=0.0)
    alone = replace(PROFILE, events_per_s=0.0, listener=bare, checkers=(), sleep_w=0.0)
    nothing = replace(RESPONSE, held_bytes=0.0)
    assert float(duty(alone, nothing).mean_w) == pytest.approx(0.315e-3, rel=0.02)
    flat_out = duty(replace(alone, listener=replace(bare, looks_per_s=227.2)), nothing)
    assert float(flat_out.mean_w) == pytest.approx(7.18e-3, rel=0.02)  # as published beside it


def test_a_battery_of_15_4_wh_feeds_4_w_for_3_85_hours() -> None:
    battery = Battery(energy_j=15.4 * 3600, efficiency_fraction=1.0)
    assert float(battery_life_s(battery, power_w=4.0)) / 3600 == pytest.approx(3.85)
    assert battery_life_s(battery, power_w=0.0) == np.inf


def test_nothing_to_do_leaves_the_power_of_sleep() -> None:
    idle = duty(replace(TIMER, events_per_s=0.0), RESPONSE)
    assert float(idle.mean_w) == pytest.approx(1e-3 + 6e8 * 5e-12, rel=1e-12)


def test_always_busy_draws_the_power_of_its_work() -> None:
    busy = replace(TIMER, events_per_s=1 / 2.0, wake_time_s=0.0, wake_energy_j=0.0)
    found = duty(busy, RESPONSE)
    assert float(found.busy_fraction["awake"]) == pytest.approx(1.0)
    assert float(found.mean_w) == pytest.approx(8.0 / 2.0 + 0.5, rel=1e-12)


@given(events=rates, false_accepts=rates)
@settled
def test_mean_power_is_the_energy_of_a_day_told_event_by_event(events: float, false_accepts: float) -> None:
    listener = replace(LISTENER, false_accepts_per_s=false_accepts)
    found = duty(replace(PROFILE, events_per_s=events, listener=listener), RESPONSE)
    checks = DAY_S * (0.9 * events + false_accepts)
    wakes = DAY_S * (0.9 * 0.95 * events + 0.1 * false_accepts)
    awake_s = wakes * (0.2 + 2.0)
    day_j = (
        864000 * 31.54e-6
        + (DAY_S - 864000 / 227.2) * 1e-4
        + DAY_S * 6e-4
        + checks * 0.01
        + wakes * (0.1 + 8.0)
        + wakes * 2.0 * 0.5
        + (DAY_S - awake_s) * (1e-3 + 6e8 * 5e-12)
    )
    assert float(found.mean_w) * DAY_S == pytest.approx(day_j, rel=1e-12)
    assert float(found.missed_per_s) == pytest.approx((1 - 0.9 * 0.95) * events, abs=1e-15)
    assert set(found.power_w) == set(PARTS)


@given(events=rates, more=rates, name=st.sampled_from(["events", "false_accepts", "looks"]))
@settled
def test_more_of_anything_never_draws_less(events: float, more: float, name: str) -> None:
    few = replace(PROFILE, events_per_s=events)
    if name == "events":
        many = replace(few, events_per_s=events + more)
    else:
        field = f"{name}_per_s"
        many = replace(few, listener=replace(LISTENER, **{field: getattr(LISTENER, field) + more}))
    assert float(duty(many, RESPONSE).mean_w) >= float(duty(few, RESPONSE).mean_w) * (1 - 1e-12)


@given(events=rates)
@settled
def test_perfect_detectors_let_exactly_the_events_through(events: float) -> None:
    listener = replace(LISTENER, recall_fraction=1.0, false_accepts_per_s=0.0)
    checker = replace(CHECKER, recall_fraction=1.0, false_accept_fraction=0.0)
    found = duty(
        replace(PROFILE, events_per_s=events, listener=listener, checkers=(checker, checker)), RESPONSE
    )
    assert (float(found.true_wakes_per_s), float(found.false_wakes_per_s)) == (events, 0.0)
    assert float(found.missed_per_s) == 0.0


def test_weights_that_are_not_kept_are_loaded_at_each_wake() -> None:
    found = duty(replace(TIMER, is_retained=False), RESPONSE)
    wakes = 20 / DAY_S
    assert float(found.power_w["retention"]) == 0.0
    assert float(found.power_w["loading"]) == pytest.approx(wakes * 6e8 * 5e-10)
    assert float(found.busy_fraction["awake"]) == pytest.approx(wakes * (0.2 + 0.3 + 2.0))
    others_w = wakes * 0.1 + (1 - wakes * 2.5) * 1e-3  # waking and sleep: all else is the device's
    assert float(found.mean_w) == pytest.approx(float(found.device_w) + others_w, rel=1e-12)


def test_more_work_than_time_has_no_mean_power() -> None:
    assert np.isnan(duty(replace(TIMER, events_per_s=1.0), RESPONSE).mean_w)
    fast = replace(PROFILE, listener=replace(LISTENER, looks_per_s=300.0))
    assert np.isnan(duty(fast, RESPONSE).mean_w)


def test_energy_of_an_answered_event_shares_out_the_whole_day() -> None:
    found = duty(PROFILE, RESPONSE)
    answered = 20 * 0.9 * 0.95
    assert float(found.energy_per_event_j) == pytest.approx(float(found.mean_w) * DAY_S / answered)
    assert duty(replace(PROFILE, events_per_s=0.0), RESPONSE).energy_per_event_j == np.inf


def test_columns_of_points_equal_a_loop_over_them() -> None:
    rng = np.random.default_rng(7)
    events, energies = column(rng.uniform(0, 1e-3, 20)), column(rng.uniform(1, 20, 20))
    for values in (events, energies):
        values.flags.writeable = False
    together = duty(replace(PROFILE, events_per_s=events), replace(RESPONSE, energy_j=energies))
    alone = [
        duty(replace(PROFILE, events_per_s=float(one)), replace(RESPONSE, energy_j=float(other)))
        for one, other in zip(events[:, 0], energies[:, 0], strict=True)
    ]
    assert np.shape(together.mean_w) == (20, 1)
    np.testing.assert_allclose(np.ravel(together.mean_w), [float(one.mean_w) for one in alone], rtol=1e-13)
    np.testing.assert_allclose(
        np.ravel(together.device_w), [float(one.device_w) for one in alone], rtol=1e-13
    )


@pytest.mark.parametrize(
    ("record", "wrong", "said"),
    [
        (PROFILE, {"events_per_s": -1.0}, "events: -1 given; expected a finite number, 0 or more"),
        (PROFILE, {"tokens_out_count": 0.0}, "tokens_out: 0 given; expected a whole number, 1 or more"),
        (LISTENER, {"recall_fraction": 1.1}, "recall: 1.1 given; expected a share from 0 to 1"),
        (LISTENER, {"false_accepts_per_s": 11.0}, "false_accepts: more of them than looks"),
        (CHECKER, {"false_accept_fraction": 2.0}, "false_accept: 2 given; expected a share from 0 to 1"),
        (RESPONSE, {"energy_j": -1.0}, "energy: -1 given; expected a finite number, 0 or more"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(record: Any, wrong: dict[str, float], said: str) -> None:
    with pytest.raises(NpuwattError, match=said) as error:
        replace(record, **wrong)
    assert len(error.value.faults) == 1
