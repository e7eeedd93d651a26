"""How long a full battery feeds a session: by hand, and against energy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.handset.charge import charge
from npuwatt.handset.duty import battery_life_s
from npuwatt.handset.network import Battery

HOUR_S = 3600.0
PERFECT = Battery(energy_j=15.4 * HOUR_S, efficiency_fraction=1.0)


def test_15_4_wh_feed_4_watts_for_3_85_hours() -> None:
    # llmbook, section 60.3: 4000 mAh x 3.85 V = 15.4 Wh.
    found = charge(PERFECT, power_w=np.full((1, 1800), 4.0), period_s=1.0)
    assert found.life_s[0, 0] == pytest.approx(3.85 * HOUR_S)
    assert found.life_s[0, 0] == pytest.approx(battery_life_s(PERFECT, power_w=4.0))


def test_after_the_course_its_last_third_goes_on() -> None:
    # By hand: 10 W for an hour and 5 W for half an hour are 12.5 Wh; 2.9 Wh are left for the 5 W.
    power = np.array([[10.0, 10.0, 10.0, 10.0, 5.0, 5.0]])
    found = charge(PERFECT, power_w=power, period_s=HOUR_S / 4)
    assert found.life_s[0, 0] == pytest.approx((1.5 + 2.9 / 5.0) * HOUR_S)
    # Of a rate of 8 and then 3 an hour.
    rates = np.array([[8.0, 8.0, 8.0, 8.0, 3.0, 3.0]]) / HOUR_S
    assert found.amount(rates)[0, 0] == pytest.approx(8.0 + 0.5 * 3.0 + 2.9 / 5.0 * 3.0)


def test_a_battery_that_ends_within_the_course_counts_no_more_of_it() -> None:
    # By hand: 15.4 Wh at 20 W are 0.77 hours.
    found = charge(PERFECT, power_w=np.full((1, 4), 20.0), period_s=HOUR_S / 2)
    assert found.life_s[0, 0] == pytest.approx(0.77 * HOUR_S)
    assert found.fed_fraction[0] == pytest.approx([1.0, 0.54, 0.0, 0.0])
    assert found.amount(np.ones((1, 4)))[0, 0] == pytest.approx(0.77 * HOUR_S)


def test_what_draws_nothing_lasts_for_ever() -> None:
    found = charge(PERFECT, power_w=np.zeros((1, 6)), period_s=1.0)
    assert np.isinf(found.life_s[0, 0])


@given(
    watts=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20),
    period=st.floats(1.0, 1e5),
    efficiency=st.floats(0.1, 1.0),
)
@settings(derandomize=True, deadline=None)
def test_what_is_fed_is_what_the_battery_delivers(
    watts: list[float], period: float, efficiency: float
) -> None:
    battery = Battery(energy_j=15.4 * HOUR_S, efficiency_fraction=efficiency)
    power = np.array([watts])
    found = charge(battery, power_w=power, period_s=period)
    assert found.amount(power)[0, 0] == pytest.approx(15.4 * HOUR_S * efficiency)


def test_points_equal_a_loop() -> None:
    power = np.random.default_rng(3).uniform(0.5, 20.0, (5, 12))
    energies = np.linspace(1e3, 6e4, 5)[:, np.newaxis]
    together = charge(Battery(energy_j=energies, efficiency_fraction=0.9), power_w=power, period_s=600.0)
    for place in range(5):
        own = Battery(energy_j=float(energies[place, 0]), efficiency_fraction=0.9)
        alone = charge(own, power_w=power[place : place + 1], period_s=600.0)
        assert together.life_s[place] == pytest.approx(alone.life_s[0])
