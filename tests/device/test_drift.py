"""Cells over time, by the laws that were published for them, and what a simulated cell shows of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column, row
from npuwatt.device.drift import (
    Drift,
    Fit,
    Heat,
    LogLaw,
    Noise,
    ReadNoise,
    Refits,
    Relaxation,
    age_s,
    conductance_moments,
    drift_exponents,
    is_beyond_law,
    programmed_siemens,
    read_siemens,
    share_of_scale,
)
from npuwatt.device.drift_trials import cells_for, read_cells_siemens
from npuwatt.errors import NpuwattError
from npuwatt.record import replace

FIXED = settings(derandomize=True, deadline=None, max_examples=50)
DAY_S, YEAR_S = 86400.0, 365.25 * 86400
ELECTRONVOLT_J = 1.602176634e-19
HEAT = Heat(activation_energy_j=0.3 * ELECTRONVOLT_J, reference_temperature_k=300.0)


def log_law(slope: float, intercept: float, low: float, high: float) -> LogLaw:
    return LogLaw(slope_ratio=slope, intercept_ratio=intercept, low_ratio=low, high_ratio=high)


def us(*numbers: float) -> tuple[float, ...]:
    return tuple(number * 1e-6 for number in numbers)


# Nandakumar et al., ICECS 2019, and Joshi et al., Nature Communications 11, 2473 (2020), as in IBM's aihwkit.
PCM = Noise(
    scale_siemens=25e-6,
    programming_siemens=us(0.26348, 1.9650, -1.1731),
    heat=HEAT,
    drift=Drift(
        start_s=20.0,
        mean=log_law(-0.0155, 0.0244, 0.049, 0.1),
        spread=log_law(-0.0125, -0.0059, 0.008, 0.045),
    ),
    read=ReadNoise(read_time_s=250e-9, power_ratio=0.0088, exponent_ratio=0.65, cap_ratio=0.2),
)
# Le Gallo et al., Nature Electronics 6 (2023), two devices a weight, as in aihwkit; the spread of nu is that of PCM.
HERMES = Noise(
    scale_siemens=20.7e-6,
    programming_siemens=us(0.16603, 4.71806, -8.48101, 4.68961),
    drift=Drift(
        start_s=300.0,
        mean=log_law(-0.0387, -0.0182, 0.072, 0.13),
        spread=log_law(-0.0125, -0.0059, 0.008, 0.045),
        above_ratio=(0.0736, -0.0126, -0.0436),
        knee_ratio=0.0945,
    ),
    read=ReadNoise(read_time_s=512e-9, polynomial_ratio=(0.0123, 0.0211, -0.0280, 0.0069)),
)
# Wan et al., Nature 608 (2022), as in aihwkit.
WAN = Noise(
    scale_siemens=40e-6,
    programming_siemens=us(0.348, 16.030, -43.853, 45.393, -16.815),
    refits=Refits(
        start_s=1.0,
        fits=(
            Fit(time_s=DAY_S, spread_siemens=us(0.701, 22.086, -50.773, 47.095, -16.458)),
            Fit(time_s=2 * DAY_S, spread_siemens=us(0.782, 20.274, -43.507, 37.062, -11.934)),
        ),
    ),
    read=ReadNoise(added_siemens=us(0.4)),
)
# Falcone et al., CMO/HfOx, as in aihwkit; laws in G, so that the scale is 1 uS.
CMO = Noise(
    scale_siemens=1e-6,
    programming_siemens=us(0.01122, 0.01129),
    relaxation=Relaxation(
        start_s=1.0, mean_siemens=-0.0890e-6, spread_siemens=0.41183e-6, growth_siemens=0.04201e-6
    ),
    read=ReadNoise(read_time_s=1e-6, added_siemens=(0.0, 0.0277e-6 / math.log(10))),
)
# Milo et al., IRPS 2021, and Joshi et al. 2020, as in Sandia's CrossSim.
MILO = Noise(scale_siemens=1e-6, programming_siemens=us(4.782321, -0.009107))
JOSHI = Noise(scale_siemens=1e-6, programming_siemens=us(0.28638599, 0.07585724, -0.00178767))


def spread_us(noise: Noise, target_us: float, age: float) -> float:
    """Standard deviation of programming and relaxation of cells that are far from zero, in uS."""
    assert noise.drift is None
    _, variances = conductance_moments(noise, row([target_us * 1e-6]), age)
    return float(np.sqrt(variances[0]).item() / 1e-6)


@pytest.mark.parametrize(
    ("noise", "target_us", "age", "expected_us"),
    [
        (replace(PCM, drift=None), 25.0, 0.0, 0.26348 + 1.9650 - 1.1731),
        (replace(HERMES, drift=None), 20.7, 0.0, 0.16603 + 4.71806 - 8.48101 + 4.68961),
        (WAN, 40.0, 0.0, 0.348 + 16.030 - 43.853 + 45.393 - 16.815),
        (WAN, 20.0, 1.0, 0.348 + 8.015 - 10.96325 + 5.674125 - 1.0509375),
        (WAN, 20.0, DAY_S, 0.701 + 11.043 - 12.69325 + 5.886875 - 1.028625),
        (WAN, 20.0, 2 * DAY_S, 0.782 + 10.137 - 10.87675 + 4.63275 - 0.745875),
        (CMO, 60.0, 1.0, math.hypot(0.01122 + 0.01129 * 60, 0.41183)),
        (CMO, 60.0, 1e6, math.hypot(0.01122 + 0.01129 * 60, 0.41183 + 0.04201 * math.log(1e6))),
        (MILO, 225.0, 0.0, 4.782321 - 0.009107 * 225),
        (MILO, 600.0, 0.0, 0.0),  # the line has crossed zero
        (JOSHI, 25.0, 0.0, 0.28638599 + 0.07585724 * 25 - 0.00178767 * 625),
    ],
)
def test_the_spread_of_conductances_is_as_published(
    noise: Noise, target_us: float, age: float, expected_us: float
) -> None:
    assert spread_us(noise, target_us, age) == pytest.approx(expected_us, rel=1e-6, abs=1e-12)


def test_between_fits_the_spread_follows_the_logarithm_of_time_and_goes_on_beyond_the_last() -> None:
    first, day, last = (spread_us(WAN, 20.0, age) for age in (1.0, DAY_S, 2 * DAY_S))
    assert spread_us(WAN, 20.0, math.sqrt(DAY_S)) == pytest.approx((first + day) / 2)
    slope = (last - first) / math.log(2 * DAY_S)
    assert spread_us(WAN, 20.0, 20 * DAY_S) == pytest.approx(last + slope * math.log(10), rel=1e-5)


def test_relaxation_takes_from_the_mean_by_the_logarithm_of_time() -> None:
    mean, _ = conductance_moments(CMO, row([60e-6]), math.e**10)
    assert mean.item() == pytest.approx((60 - 0.890) * 1e-6)


@pytest.mark.parametrize(
    ("noise", "g", "expected"),
    [
        (PCM, 1.0, 0.049),  # 0.0244 is below the least
        (PCM, 0.1, -0.0155 * math.log(0.1) + 0.0244),
        (PCM, 1e-4, 0.1),
        (HERMES, 0.5, 0.0736 - 0.0126 * 0.5 - 0.0436 * 0.25),
        (HERMES, 0.05, -0.0387 * math.log(0.05) - 0.0182),
        (HERMES, 1e-4, 0.13),
    ],
)
def test_the_drift_exponent_is_as_published(noise: Noise, g: float, expected: float) -> None:
    assert noise.drift is not None
    assert drift_exponents(noise.drift, row([g]))[0].item() == pytest.approx(expected)


def test_read_noise_is_as_published() -> None:
    hour = 3600.0
    grown = math.sqrt(math.log((hour + 20 + 250e-9) / 500e-9))
    ratio, added = read_siemens(PCM, row([0.5, 1e-7]), hour)
    np.testing.assert_allclose(ratio, [[0.0088 * 0.5**-0.65 * grown, 0.2 * grown]])
    assert not added.any()
    grown = math.sqrt(math.log((hour + 300 + 512e-9) / 1024e-9))
    ratio, _ = read_siemens(HERMES, row([0.5]), hour)
    assert ratio.item() == pytest.approx((0.0123 + 0.0211 * 0.5 - 0.0280 * 0.25 + 0.0069 * 0.125) * grown)
    _, added = read_siemens(CMO, share_of_scale(CMO, row([60e-6])), hour)
    assert added.item() == pytest.approx(
        0.0277e-6 * math.log10(60) * math.sqrt(math.log((hour + 1e-6) / 2e-6))
    )
    _, added = read_siemens(WAN, row([0.5]), hour)
    assert added.item() == pytest.approx(0.4e-6)  # 1 % of 40 uS, whenever it is read


def test_noise_that_would_take_a_cell_below_zero_leaves_it_there() -> None:
    # A normal value cut at zero, centred on zero: mean sigma / sqrt(2 pi), variance sigma^2 (1/2 - 1 / (2 pi)).
    mean, variances = conductance_moments(replace(PCM, drift=None, read=None), row([0.0]), 0.0)
    assert mean.item() == pytest.approx(0.26348e-6 / math.sqrt(2 * math.pi), rel=1e-6)
    assert variances[0].item() == pytest.approx((0.26348e-6) ** 2 * (0.5 - 0.5 / math.pi), rel=1e-6)


@FIXED
@given(
    target_us=st.floats(0, 25), age=st.sampled_from([0.0, 60.0, DAY_S, YEAR_S]), name=st.sampled_from("phwc")
)
def test_simulated_cells_have_the_moments_of_the_law(target_us: float, age: float, name: str) -> None:
    noise = {"p": PCM, "h": HERMES, "w": WAN, "c": CMO}[name]
    cells = cells_for(np.full((1, 100_000), target_us * 1e-6), np.random.default_rng(1))
    read = read_cells_siemens(noise, cells, age, np.random.default_rng(2))
    mean, variances = conductance_moments(noise, row([target_us * 1e-6]), age)
    variance = sum(part.item() for part in variances)
    assert read.mean() == pytest.approx(mean.item(), abs=5 * math.sqrt(variance / 1e5))
    assert read.var() == pytest.approx(variance, rel=0.05)


@FIXED
@given(exponent=st.floats(0.01, 0.12), target_us=st.floats(1, 25))
def test_a_drift_exponent_put_in_is_found_again_by_regression(exponent: float, target_us: float) -> None:
    drift = Drift(start_s=20.0, mean=log_law(0.0, exponent, 0.0, 1.0), spread=log_law(0.0, 0.005, 0.0, 1.0))
    noise = replace(PCM, drift=drift)
    times = np.array([0.0, 60.0, 3600.0, DAY_S, 30 * DAY_S, YEAR_S])
    cells = cells_for(np.full((1, 20_000), target_us * 1e-6), np.random.default_rng(3))
    rng = np.random.default_rng(4)
    means = [np.median(read_cells_siemens(noise, cells, time, rng)) for time in times]
    slope, _ = np.polyfit(np.log((times + 20) / 20), np.log(means), 1)
    assert -slope == pytest.approx(exponent, abs=0.002)  # of 20,000 noisy cells


def test_heat_speeds_up_time_by_arrhenius_law() -> None:
    # 0.3 eV between 300 and 330 K: exp(0.3 / 8.617333e-5 (1/300 - 1/330)).
    factor = math.exp(0.3 / 8.617333262e-5 * (1 / 300 - 1 / 330))
    assert age_s(PCM, DAY_S, 330.0) == pytest.approx(DAY_S * factor)
    assert age_s(PCM, DAY_S, 300.0) == DAY_S
    np.testing.assert_allclose(age_s(PCM, 1.0, column([300.0, 330.0])), [[1.0], [factor]])
    assert age_s(replace(PCM, heat=None), DAY_S, 330.0) == DAY_S


@pytest.mark.parametrize(
    ("noise", "time_s", "temperature_k", "expected"),
    [
        (PCM, YEAR_S, 300.0, False),
        (PCM, 0.0, 310.0, True),
        (replace(WAN, heat=HEAT), 2 * DAY_S, 300.0, False),
        (replace(WAN, heat=HEAT), 2.01 * DAY_S, 300.0, True),
        (replace(WAN, heat=HEAT), DAY_S, 301.0, True),
        (replace(MILO, heat=HEAT), 0.0, 300.0, False),
        (replace(MILO, heat=HEAT), 1.0, 300.0, True),  # no law over time
        (HERMES, 0.0, 300.0, True),  # nothing is known of its temperature
        (replace(MILO, is_stable=True), YEAR_S, 350.0, False),
    ],
)
def test_what_rests_on_more_than_was_measured_is_marked(
    noise: Noise, time_s: float, temperature_k: float, expected: bool
) -> None:
    assert is_beyond_law(noise, time_s, temperature_k).item() is expected


def test_numbers_of_a_law_may_be_columns_of_design_points() -> None:
    scales, first = (25e-6, 30e-6), (0.2e-6, 0.4e-6)
    together = replace(PCM, scale_siemens=column(scales), programming_siemens=(column(first), 1e-6))
    mean, variances = conductance_moments(together, row([0.0, 5e-6, 20e-6]), DAY_S)
    for place, (scale, constant) in enumerate(zip(scales, first, strict=True)):
        alone = replace(PCM, scale_siemens=scale, programming_siemens=(constant, 1e-6))
        one, parts = conductance_moments(alone, row([0.0, 5e-6, 20e-6]), DAY_S)
        np.testing.assert_allclose(mean[place : place + 1], one)
        for part, whole in zip(parts, variances, strict=True):
            np.testing.assert_allclose(whole[place : place + 1], part)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: log_law(0.0, 0.0, 0.2, 0.1), "low: above 'high'; expected low <= high"),
        (lambda: replace(PCM, scale_siemens=0.0), "scale: 0 given; expected a finite number above 0"),
        (lambda: replace(PCM, programming_siemens=()), "programming: is empty; expected one number or more"),
        (lambda: Refits(start_s=1.0, fits=()), "fits: is empty; expected one or more"),
        (
            lambda: Refits(start_s=1.0, fits=(Fit(time_s=0.5, spread_siemens=(1e-6,)),)),
            "fits: times do not rise from 'start' on; expected the earliest first",
        ),
        (
            lambda: Heat(activation_energy_j=1e-20, reference_temperature_k=25.0),
            "reference_temperature: 25 given; expected a number from 233 to 423",
        ),
        (lambda: ReadNoise(read_time_s=0.0), "read_time: 0 given; expected a finite number above 0"),
    ],
)
def test_a_law_that_cannot_be_is_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(NpuwattError) as raised:
        make()
    assert str(raised.value) == said


def test_after_the_last_measurement_the_spread_rises_as_it_is_assumed_to() -> None:
    refits = Refits(start_s=1.0, fits=(Fit(time_s=100.0, spread_siemens=(3e-6,)),))
    noise = Noise(scale_siemens=40e-6, programming_siemens=(1e-6,), refits=refits)
    target = np.array([[20e-6]])
    for beyond, expected in ((0.0, 3e-6), (1.0, 5e-6), (2.0, 7e-6)):  # 2 uS in the first two decades
        other = replace(noise, refits=replace(refits, beyond_ratio=beyond))
        assert programmed_siemens(other, target, 1e4)[1].item() == pytest.approx(expected)
        assert programmed_siemens(other, target, 100.0)[1].item() == pytest.approx(3e-6)
