"""Warming as exponentials: the published series of a Galaxy S25, planted constants, bounds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import NpuwattError
from npuwatt.handset.exponentials import (
    FAST_S,
    SLOW_S,
    START_K,
    Warming,
    one_exponential,
    possible,
    two_exponentials,
    warming_k,
)
from npuwatt.preset.library import presets_root

SERIES = np.loadtxt(
    Path(presets_root()) / "measured" / "phone-temperature.csv", delimiter=",", comments=("#", "time_s")
)
TIME_S, BATTERY_K = SERIES[:, 0], SERIES[:, 1] + 273.15
LONG_S = np.linspace(0.0, 6000.0, 101)  # every minute: a fast constant of a few seconds would leave no trace
settled = settings(derandomize=True, deadline=None, max_examples=15)


def planted(fast_s: float, slow_s: float) -> Warming:
    return Warming(start_k=298.15, rises_k=(6.0, 9.0), time_constants_s=(fast_s, slow_s), rms_k=0.0)


def test_two_exponentials_follow_the_battery_of_a_galaxy_s25_within_a_quarter_of_a_kelvin() -> None:
    # github.com/hedone21/llm_rs2, profile_cpu_short_len_2048_20260129_090435.json: llama-3.2-1b on the CPU.
    one, two = one_exponential(TIME_S, BATTERY_K), two_exponentials(TIME_S, BATTERY_K)
    assert two.rms_k <= 0.25
    assert two.rms_k <= one.rms_k / 2
    assert one.time_constants_s == pytest.approx((97,), rel=0.01)


def test_the_series_of_the_galaxy_s25_tells_the_slow_slope_but_neither_slow_constant_nor_slow_rise() -> None:
    told = possible(TIME_S, BATTERY_K, resolution_k=0.1)
    assert not told.identified["slow constant"]
    assert not told.identified["slow rise"]
    assert told.identified["slow slope"]
    assert told.slow_constant_s == pytest.approx((547, SLOW_S[1]), rel=0.02)
    # Found apart from this code: the same sum of squares over a grid of 160 x 120 constants, with whole ellipses.
    assert told.fast_constant_s == pytest.approx((31, 40), rel=0.05)
    assert told.slow_rise_k == pytest.approx((13.3, 40.1), rel=0.06)
    assert told.slow_slope_k_per_s == pytest.approx((0.0169, 0.0247), rel=0.03)


@settled
@given(fast_s=st.floats(20, 80), slow_s=st.floats(250, 1500))
def test_planted_constants_are_found_where_readings_span_several_of_the_slow_one(
    fast_s: float, slow_s: float
) -> None:
    truth = planted(fast_s, slow_s)
    readings_k = warming_k(truth, LONG_S)
    found = two_exponentials(LONG_S, readings_k)
    assert found.time_constants_s == pytest.approx(truth.time_constants_s, rel=0.01)
    assert found.rises_k == pytest.approx(truth.rises_k, rel=0.01)
    assert found.start_k == pytest.approx(truth.start_k, abs=0.05)


def test_all_is_identified_where_readings_to_a_tenth_of_a_kelvin_span_several_slow_constants() -> None:
    truth = planted(35.0, 700.0)
    told = possible(LONG_S, np.round(warming_k(truth, LONG_S), 1), resolution_k=0.1)
    assert all(told.identified.values())
    assert told.slow_constant_s[0] <= 700 <= told.slow_constant_s[1]
    assert told.slow_rise_k == pytest.approx((9.0, 9.0), rel=0.05)


def test_no_fit_is_held_better_than_what_a_sensor_leaves_out() -> None:
    """Rounding to a step leaves step / sqrt(12) of error, however well a fit goes through the readings."""
    told = possible(LONG_S, warming_k(planted(35.0, 700.0), LONG_S), resolution_k=0.1)
    assert told.rms_k == pytest.approx(0.1 / 12**0.5)


def test_the_same_body_read_for_five_minutes_tells_no_slow_constant() -> None:
    short_s = np.linspace(0.0, 288.0, 11)
    told = possible(short_s, np.round(warming_k(planted(35.0, 700.0), short_s), 1), resolution_k=0.1)
    assert not told.identified["slow constant"]


def test_one_exponential_finds_the_one_that_was_planted() -> None:
    truth = Warming(start_k=300.0, rises_k=(10.0,), time_constants_s=(90.0,), rms_k=0.0)
    found = one_exponential(TIME_S, warming_k(truth, TIME_S))
    assert found.time_constants_s[0] == pytest.approx(90.0, rel=1e-3)
    assert found.rises_k[0] == pytest.approx(10.0, rel=1e-3)


@settled
@given(readings_k=st.lists(st.floats(280, 330), min_size=11, max_size=11))
def test_whatever_is_read_a_fit_keeps_its_bounds_and_says_its_true_error(readings_k: list[float]) -> None:
    read_k = np.array(readings_k)
    found = two_exponentials(TIME_S, read_k)
    fast_s, slow_s = found.time_constants_s
    assert FAST_S[0] * 0.999 <= fast_s <= FAST_S[1] * 1.001
    assert SLOW_S[0] * 0.999 <= slow_s <= SLOW_S[1] * 1.001
    assert min(found.rises_k) >= 0
    assert abs(found.start_k - read_k[0]) <= START_K + 1e-9
    off_k = np.sqrt(np.mean((warming_k(found, TIME_S) - read_k) ** 2))
    assert off_k == pytest.approx(found.rms_k, rel=1e-6, abs=1e-9)


def test_a_general_least_squares_solver_finds_no_better_fit() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    found = two_exponentials(TIME_S, BATTERY_K)

    def off_k(x: np.ndarray) -> np.ndarray:
        trial = Warming(start_k=x[0], rises_k=(x[1], x[2]), time_constants_s=(x[3], x[4]), rms_k=0.0)
        return warming_k(trial, TIME_S) - BATTERY_K

    first = BATTERY_K[0]
    low = [first - START_K, 0, 0, FAST_S[0], SLOW_S[0]]
    high = [first + START_K, 100, 100, FAST_S[1], SLOW_S[1]]
    ends = [
        optimize.least_squares(
            off_k, [first, 6, 9, fast, slow], bounds=(low, high), x_scale=[1, 5, 5, 30, 500]
        )
        for fast in (5, 30, 90)
        for slow in (300, 1500)
    ]
    assert found.rms_k <= min(np.sqrt(np.mean(end.fun**2)) for end in ends) + 1e-6


@pytest.mark.parametrize(
    ("time_s", "temperature_k", "words"),
    [
        (TIME_S[:5], BATTERY_K[:5], "5 times and 5 temperatures; expected 6 pairs or more"),
        (TIME_S, BATTERY_K[:9], "11 times and 9 temperatures"),
        (TIME_S + 1, BATTERY_K, "the first at 0 s"),
        (TIME_S[::-1], BATTERY_K, "each reading later"),
        (1000 * TIME_S, BATTERY_K, "too few readings in the first 2000 s to tell time constants apart"),
        (TIME_S / 10, BATTERY_K, "28.8 s of readings; expected at least 120 s"),
        (TIME_S, np.where(TIME_S == 60, np.nan, BATTERY_K), "not finite"),
    ],
)
def test_readings_that_tell_nothing_are_refused(
    time_s: np.ndarray, temperature_k: np.ndarray, words: str
) -> None:
    with pytest.raises(NpuwattError, match=words):
        two_exponentials(time_s, temperature_k)


def test_a_sensor_without_rounding_is_refused() -> None:
    with pytest.raises(NpuwattError, match="resolution: 0 given; expected a finite number above 0"):
        possible(TIME_S, BATTERY_K, resolution_k=0.0)


def test_a_body_that_stays_cold_rises_by_nothing_and_tells_no_constant() -> None:
    told = possible(TIME_S, np.full_like(TIME_S, 300.0), resolution_k=0.1)
    assert told.slow_rise_k[0] == pytest.approx(0.0, abs=1e-9)
    assert not any(told.identified.values())


def test_a_rise_whose_time_constant_lies_beyond_the_bounds_is_not_identified() -> None:
    # 60 K with 6000 s, of which 640 s were read: the bound of 2000 s would make it 22 K.
    time_s = np.arange(0.0, 641.0, 20.0)
    read = 25 - 6 * np.expm1(-time_s / 30) - 60 * np.expm1(-time_s / 6000)
    known = possible(time_s, np.round(read, 3), resolution_k=0.001).identified
    assert (known["slow constant"], known["slow rise"]) == (False, False)
    assert known["fast rise"]


def test_where_nothing_fits_nothing_is_identified() -> None:
    time_s = np.arange(0.0, 641.0, 20.0)
    step = np.where(time_s < 300, 25.0, 40.0)
    assert not any(possible(time_s, step, resolution_k=0.1).identified.values())
