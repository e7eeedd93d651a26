"""Heat of a chip: published fluxes, rises and leakage; the fixed point against brute force; runaway is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.datacenter.heat import Leakage, coolant_needed_k, heat_flux_w_per_m2, junction, leakage_w
from npuwatt.errors import NpuwattError

FIXED = settings(derandomize=True, deadline=None)
HOTSPOT = Leakage(flux_w_per_m2=1.5e4, growth_per_k=0.036, reference_k=383.15)
H100_M2 = 814e-6


@pytest.mark.parametrize(
    ("power_w", "area_mm2", "w_per_cm2"),
    [
        (700, 814, 86.0),
        (300, 815, 36.8),
        (400, 826, 48.4),
        (750, 1017, 73.7),
        (70, 545, 12.8),
        (140, 325, 43.1),
    ],
)
def test_power_over_die_area_of_published_chips(power_w: float, area_mm2: float, w_per_cm2: float) -> None:
    # H100, V100, A100, MI300X, T4 and TPU v5e: die and power from Epoch AI's chip table.
    assert heat_flux_w_per_m2(power_w, area_mm2 * 1e-6) == pytest.approx(w_per_cm2 * 1e4, rel=0.005)


def test_flux_is_over_the_die_and_not_over_the_wafer_it_costs() -> None:
    # 2,808 mm2 is the wafer that an H100 uses up, losses included; over it the flux would be a third of the true one.
    assert heat_flux_w_per_m2(700, 2808e-6) < heat_flux_w_per_m2(700, H100_M2) / 3


def test_a_cold_plate_of_40_millikelvin_per_watt_rises_96_kelvin_at_2400_watts() -> None:
    # cooling-thermal.com, 2026-05-22.
    assert 400.0 - coolant_needed_k(
        junction_limit_k=400.0, power_w=2400.0, resistance_k_per_w=0.04
    ) == pytest.approx(96.0, abs=1e-9)


@pytest.mark.parametrize(
    ("resistance", "power_w", "celsius"),
    [(0.067, 350, 61), (0.067, 700, 38), (0.067, 1000, 18), (0.036, 700, 60), (0.036, 1000, 49)],
)
def test_coolant_that_holds_a_junction_at_85_degrees(
    resistance: float, power_w: float, celsius: float
) -> None:
    needed = coolant_needed_k(junction_limit_k=358.15, power_w=power_w, resistance_k_per_w=resistance)
    assert needed - 273.15 == pytest.approx(celsius, abs=0.6)


def test_leakage_doubles_each_19_kelvin() -> None:
    # HotSpot, temperature.c: 1.5e4 W/m2 times the area at 383.15 K, growing by 0.036 per kelvin.
    assert leakage_w(HOTSPOT, area_m2=H100_M2, temperature_k=383.15) == pytest.approx(12.21, rel=1e-3)
    cold, warm = (
        leakage_w(HOTSPOT, area_m2=H100_M2, temperature_k=k) for k in (340.0, 340.0 + np.log(2) / 0.036)
    )
    assert warm / cold == pytest.approx(2.0)
    assert np.log(2) / 0.036 == pytest.approx(19.3, abs=0.05)


POINTS = st.fixed_dictionaries(
    {
        "coolant_k": st.floats(280, 330),
        "resistance_k_per_w": st.floats(0.01, 1.0),
        "power_w": st.floats(0, 1500),
        "area_m2": st.floats(1e-5, 2e-3),
    }
)


@FIXED
@given(point=POINTS)
def test_a_chip_settles_where_plain_iteration_ends_or_runs_away_where_it_does(
    point: dict[str, float],
) -> None:
    found = junction(HOTSPOT, **point)
    temperature = point["coolant_k"]
    for _ in range(20_000):
        with np.errstate(over="ignore"):
            leaked = leakage_w(HOTSPOT, area_m2=point["area_m2"], temperature_k=temperature)
        temperature = point["coolant_k"] + point["resistance_k_per_w"] * (point["power_w"] + float(leaked))
        if temperature > 1e5:
            break
    if found.runs_away:
        assert temperature > 1e5
        assert np.isinf(found.temperature_k) and np.isinf(found.leakage_w)
    elif found.gain_ratio < 0.99:  # nearer to runaway plain iteration takes longer than this
        assert float(found.temperature_k) == pytest.approx(temperature, rel=1e-9)


@FIXED
@given(point=POINTS)
def test_the_gain_is_beta_r_leakage_and_below_one_where_a_chip_settles(point: dict[str, float]) -> None:
    found = junction(HOTSPOT, **point)
    if not found.runs_away:
        assert found.gain_ratio == pytest.approx(
            HOTSPOT.growth_per_k * point["resistance_k_per_w"] * float(found.leakage_w), rel=1e-9, abs=1e-300
        )
        assert found.gain_ratio < 1


@FIXED
@given(point=POINTS, cooler=st.floats(1, 50))
def test_at_equal_work_a_cooler_coolant_gives_less_power(point: dict[str, float], cooler: float) -> None:
    warm = junction(HOTSPOT, **point)
    cold = junction(HOTSPOT, **{**point, "coolant_k": point["coolant_k"] - cooler})
    assert cold.leakage_w < warm.leakage_w or (cold.runs_away and warm.runs_away)


def test_runaway_begins_where_each_watt_of_leakage_brings_another() -> None:
    # c = beta R P_leak(T_coolant + R P) = 1/e is the last fixed point.
    resistance, power_w = 0.5, 100.0
    first_w = np.exp(-1.0) / (HOTSPOT.growth_per_k * resistance)
    edge_k = HOTSPOT.reference_k + np.log(first_w / (HOTSPOT.flux_w_per_m2 * H100_M2)) / HOTSPOT.growth_per_k
    for beyond, expected in ((-1e-6, False), (1e-6, True)):
        found = junction(
            HOTSPOT,
            coolant_k=edge_k - resistance * power_w + beyond,
            resistance_k_per_w=resistance,
            power_w=power_w,
            area_m2=H100_M2,
        )
        assert bool(found.runs_away) is expected
    assert found.gain_ratio == np.inf


def test_a_sweep_across_runaway_tells_which_points_run_away_and_equals_a_loop() -> None:
    resistance = np.linspace(0.02, 1.5, 40).reshape(-1, 1)
    found = junction(HOTSPOT, coolant_k=313.15, resistance_k_per_w=resistance, power_w=200.0, area_m2=H100_M2)
    assert found.runs_away.any() and not found.runs_away.all()
    alone = [
        junction(HOTSPOT, coolant_k=313.15, resistance_k_per_w=float(r), power_w=200.0, area_m2=H100_M2)
        for r in resistance[:, 0]
    ]
    np.testing.assert_allclose(
        found.temperature_k[:, 0], [float(one.temperature_k) for one in alone], rtol=1e-12
    )
    assert found.runs_away[:, 0].tolist() == [bool(one.runs_away) for one in alone]


def test_without_leakage_a_junction_is_the_coolant_and_its_rise() -> None:
    none = Leakage(flux_w_per_m2=0.0, growth_per_k=0.036, reference_k=383.15)
    found = junction(none, coolant_k=300.0, resistance_k_per_w=0.05, power_w=700.0, area_m2=H100_M2)
    assert found.temperature_k == pytest.approx(335.0)
    assert found.leakage_w == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"area_m2": 0.0}, "area: 0 given; expected a finite number above 0"),
        ({"power_w": -1.0}, "power: -1 given; expected a finite number, 0 or more"),
        ({"resistance_k_per_w": 0.0}, "resistance: 0 given"),
    ],
)
def test_what_no_chip_can_be_is_refused(changes: dict[str, float], told: str) -> None:
    asked = {"coolant_k": 300.0, "resistance_k_per_w": 0.05, "power_w": 700.0, "area_m2": H100_M2} | changes
    with pytest.raises(NpuwattError) as caught:
        junction(HOTSPOT, **asked)
    assert told in caught.value.faults[0]
    assert len(caught.value.faults) == 1
