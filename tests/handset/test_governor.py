"""Governors: when trips are passed and left, and what the allocator lets through."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.arrays import Array, column
from npuwatt.errors import NpuwattError
from npuwatt.handset.governor import ByAllocator, ByTrips, Free
from npuwatt.handset.network import Allocator, Trip, Trips
from npuwatt.record import replace

TRIPS = Trips(
    steps=(Trip(temperature_k=312.0, power_fraction=0.8), Trip(temperature_k=316.0, power_fraction=0.5)),
    hysteresis_k=1.9,
)
ALLOCATOR = Allocator(
    sustainable_w=2.5, switch_on_rise_k=5.0, overshoot_gain_w_per_k=0.5, undershoot_gain_w_per_k=1.0,
    integral_gain_w_per_k=0.1, derivative_gain_w_per_k=0.0, integral_cutoff_k=0.0,
)  # fmt: skip
LIMIT_K = 315.0


def one(value: float) -> Array:
    return np.array([[value]])


def test_without_a_governor_the_chip_draws_what_it_demands() -> None:
    assert Free().allowed_w(one(400.0), one(6.0)) == 6.0


def test_a_trip_is_passed_at_its_temperature_and_left_a_hysteresis_below_it() -> None:
    law = ByTrips(TRIPS)
    skins = (311.9, 312.0, 310.2, 310.0, 311.9, 316.0, 314.2, 314.0)
    allowed = [float(law.allowed_w(one(skin), one(10.0))[0, 0]) for skin in skins]
    assert allowed == [10.0, 8.0, 8.0, 10.0, 10.0, 5.0, 5.0, 8.0]


def test_trips_remember_each_design_point_by_itself() -> None:
    law = ByTrips(TRIPS)
    law.allowed_w(column([312.0, 311.0]), one(10.0))
    assert law.allowed_w(one(311.0), one(10.0)).ravel().tolist() == [8.0, 10.0]


@pytest.mark.parametrize(
    ("skin_k", "allowed_w"),
    [(309.0, 9.0), (313.0, 4.5), (315.0, 2.5), (316.0, 1.9), (330.0, 0.0)],
)
def test_the_allocator_follows_its_documented_sum_between_zero_and_the_demand(
    skin_k: float, allowed_w: float
) -> None:
    """By hand: sustainable + k_p e + k_i e; at e = -1: 2.5 - 0.5 - 0.1."""
    found = ByAllocator(ALLOCATOR, LIMIT_K).allowed_w(one(skin_k), one(9.0))
    assert found[0, 0] == pytest.approx(allowed_w, rel=1e-12)


def test_the_allocator_forgets_its_sum_below_its_switch_on_temperature() -> None:
    law = ByAllocator(ALLOCATOR, LIMIT_K)
    for _ in range(3):
        law.allowed_w(one(316.0), one(9.0))
    assert law.allowed_w(one(315.0), one(9.0))[0, 0] == pytest.approx(2.2)
    law.allowed_w(one(309.0), one(9.0))
    assert law.allowed_w(one(315.0), one(9.0))[0, 0] == pytest.approx(2.5)


def test_a_skin_that_warms_takes_power_away_and_one_that_cools_gives_it_back() -> None:
    """Linux, power_allocator.rst: k_d times the error less the one before. By hand, at 2 K and 3 K below the limit."""
    law = ByAllocator(replace(ALLOCATOR, derivative_gain_w_per_k=0.3), LIMIT_K)
    allowed = [float(law.allowed_w(one(skin), one(9.0))[0, 0]) for skin in (312.0, 313.0, 313.0, 312.0)]
    assert allowed == pytest.approx([2.5 + 3.0, 2.5 + 2.0 - 0.3, 2.5 + 2.0, 2.5 + 3.0 + 0.3])


def test_only_errors_below_the_cutoff_are_summed() -> None:
    """By hand: of 4, 2 and 1 K below the limit, with a cutoff of 3 K, the last two."""
    law = ByAllocator(replace(ALLOCATOR, integral_cutoff_k=3.0), LIMIT_K)
    allowed = [float(law.allowed_w(one(skin), one(9.0))[0, 0]) for skin in (311.0, 313.0, 314.0)]
    assert allowed == pytest.approx([2.5 + 4.0, 2.5 + 2.0 + 0.2, 2.5 + 1.0 + 0.3])


def test_the_sum_of_the_allocator_does_not_wind_up() -> None:
    law = ByAllocator(ALLOCATOR, LIMIT_K)
    for _ in range(10_000):
        law.allowed_w(one(316.0), one(9.0))
    assert 0.1 * abs(law.summed_k[0, 0]) <= 9.0


def test_trips_may_vary_by_design_point_and_are_out_of_order_if_one_point_is() -> None:
    warmer = Trip(temperature_k=316.0, power_fraction=0.5)
    found = Trips(
        steps=(Trip(temperature_k=column([310.0, 312.0]), power_fraction=0.8), warmer), hysteresis_k=1.0
    )
    assert ByTrips(found).allowed_w(one(311.0), one(10.0)).ravel().tolist() == [8.0, 10.0]
    with pytest.raises(
        NpuwattError, match=r"^steps: out of order; expected warmer ones later, each with no more power$"
    ):
        Trips(
            steps=(Trip(temperature_k=column([310.0, 317.0]), power_fraction=0.8), warmer), hysteresis_k=1.0
        )
