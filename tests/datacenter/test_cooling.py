"""Cooling: published flows, COPs and rungs; free cooling rises with coolant; cubic fans; servers and their fans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.datacenter.cooling import (
    AIR_J_PER_M3_K,
    Chiller,
    Cooling,
    Mover,
    air_flow_m3_per_s,
    air_mass_flow_kg_per_s,
    allowed_coolant_k,
    captured_at_chip_fraction,
    chiller_cop,
    compact_pue,
    free_cooling_fraction,
    mover_power_w,
    rungs_that_hold,
)
from npuwatt.datacenter.server import Converter, Server, itue, server_input_w, tue
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.scenario import load_cooling

FIXED = settings(derandomize=True, deadline=None)
COOLING: Cooling = load_cooling().record
RUNGS, CLIMATES, WATER = (
    tuple(table) for table in (COOLING.rungs, COOLING.free_cooling_fraction, COOLING.water)
)
FANS = Mover(rise_k=15.0, pressure_pa=500.0, efficiency_fraction=0.75, least_flow_fraction=0.3)
CHILLER = Chiller(condensing_k=308.15, approach_k=15.0, carnot_fraction=0.5, least_lift_k=10.0)


def test_30_kilowatts_at_15_kelvin_need_5970_cubic_metres_of_air_an_hour() -> None:
    # A page of 2026 prints 1,650 m3/h for the same flow: a thousand times its cubic metres a second.
    assert air_mass_flow_kg_per_s(30e3, 15.0) == pytest.approx(1.990, rel=0.005)
    assert air_flow_m3_per_s(30e3, 15.0) == pytest.approx(1.658, rel=0.005)
    assert air_flow_m3_per_s(30e3, 15.0) * 3600 == pytest.approx(5970, rel=0.005)


def test_fan_power_is_flow_times_pressure_over_efficiency_at_design() -> None:
    by_hand_w = 30e3 / (1005 * 1.2 * 15.0) * 500.0 / 0.75
    found_w = mover_power_w(FANS, heat_w=30e3, design_heat_w=30e3, medium_j_per_m3_k=AIR_J_PER_M3_K)
    assert found_w == pytest.approx(by_hand_w, rel=1e-12)


def test_fan_power_follows_the_cube_of_flow_and_not_flow_itself() -> None:
    # Some simulators of halls scale fan power with flow; half the flow is an eighth of the power.
    half, whole = (
        mover_power_w(FANS, heat_w=heat_w, design_heat_w=1e6, medium_j_per_m3_k=AIR_J_PER_M3_K)
        for heat_w in (5e5, 1e6)
    )
    assert half / whole == pytest.approx(1 / 8)


def test_fans_never_go_below_their_least_flow() -> None:
    heats_w = np.array([[1e3], [1e5], [3e5], [4e5]])
    found_w = mover_power_w(FANS, heat_w=heats_w, design_heat_w=1e6, medium_j_per_m3_k=AIR_J_PER_M3_K)
    assert found_w[0] == found_w[1] == pytest.approx(found_w[2]) and found_w[3] > found_w[2]


def test_a_chiller_of_7_degree_water_has_a_cop_between_5_and_7() -> None:
    # Water-cooled centrifugal chillers: 6 to 7 at best, 5.0 in HPE's dc-rl.
    assert 4.9 < chiller_cop(CHILLER, 295.15) < 7
    assert chiller_cop(CHILLER, 295.15) == pytest.approx(0.5 * 280.15 / (308.15 - 280.15))
    assert chiller_cop(replace(CHILLER, cop_ratio=5.0), 295.15) == 5.0


@FIXED
@given(coolant_k=st.floats(283, 340), warmer=st.floats(0, 20))
def test_a_warmer_coolant_never_lowers_a_cop_which_stays_finite(coolant_k: float, warmer: float) -> None:
    assert chiller_cop(CHILLER, coolant_k) <= chiller_cop(CHILLER, coolant_k + warmer) < 40


@pytest.mark.parametrize(
    ("rung", "low", "high"),
    [
        ("contained-air", 1.06, 1.33),
        ("rear-door", 1.09, 1.26),
        ("direct-to-chip", 1.03, 1.15),
        ("immersion", 1.02, 1.10),
    ],
)
def test_the_rungs_span_their_published_pue_over_all_climates(rung: str, low: float, high: float) -> None:
    # cooling-pue-ladder 1.0.0: PUE of each rung over its four climates, with and without water.
    found = [
        compact_pue(
            COOLING.rungs[rung], free_cooling_fraction(COOLING, rung=rung, climate=climate, water=water)
        )
        for climate in CLIMATES
        for water in WATER
    ]
    assert min(found) == pytest.approx(low, abs=0.001)
    assert max(found) == pytest.approx(high, abs=0.005)


def test_legacy_air_has_no_economiser_and_a_pue_of_1_9_anywhere() -> None:
    for climate in CLIMATES:
        free = free_cooling_fraction(COOLING, rung="legacy-air", climate=climate, water="evaporative")
        assert compact_pue(COOLING.rungs["legacy-air"], free) == pytest.approx(1.9)


@pytest.mark.parametrize(("rung", "free"), [("direct-to-chip", 0.867), ("immersion", 0.70)])
def test_a_pue_of_1_05_needs_so_much_free_cooling(rung: str, free: float) -> None:
    assert compact_pue(COOLING.rungs[rung], free) == pytest.approx(1.05, abs=0.0005)


def test_1_05_is_reached_in_cold_and_temperate_sites_and_not_in_hot_humid_ones() -> None:
    def at(climate: str, water: str) -> float:
        free = free_cooling_fraction(COOLING, rung="direct-to-chip", climate=climate, water=water)
        return float(compact_pue(COOLING.rungs["direct-to-chip"], free))

    assert at("cold", "evaporative") < 1.05 and at("temperate", "evaporative") < 1.05
    assert all(1.11 <= at("hot-humid", water) <= 1.15 for water in WATER)


@FIXED
@given(
    rung=st.sampled_from(RUNGS), climate=st.sampled_from(CLIMATES), water=st.sampled_from(WATER),
    coolant_k=st.floats(270, 340), warmer=st.floats(0, 30),
)  # fmt: skip
def test_a_warmer_coolant_never_loses_free_cooling(
    rung: str, climate: str, water: str, coolant_k: float, warmer: float
) -> None:
    cold, warm = (
        free_cooling_fraction(COOLING, rung=rung, climate=climate, water=water, coolant_k=kelvin)
        for kelvin in (coolant_k, coolant_k + warmer)
    )
    assert 0 <= cold <= warm <= 1


@pytest.mark.parametrize("rung", [name for name in RUNGS if name != "legacy-air"])
@pytest.mark.parametrize("climate", CLIMATES)
def test_at_the_usual_coolant_the_share_is_the_published_one(rung: str, climate: str) -> None:
    at_usual = free_cooling_fraction(
        COOLING, rung=rung, climate=climate, water="dry", coolant_k=COOLING.rungs[rung].usual_coolant_k
    )
    assert at_usual == pytest.approx(COOLING.free_cooling_fraction[climate] - 0.12)
    # One scale of the logistic warmer, the odds of an hour without a chiller grow by e.
    warmer_k = COOLING.rungs[rung].usual_coolant_k + COOLING.climate_spread_k
    warm = free_cooling_fraction(COOLING, rung=rung, climate=climate, water="dry", coolant_k=warmer_k)
    assert (warm / (1 - warm)) / (at_usual / (1 - at_usual)) == pytest.approx(np.e)


@pytest.mark.parametrize(
    ("rack_w", "rungs"),
    [(9e3, 5), (15e3, 4), (20e3, 4), (20.1e3, 3), (60e3, 2), (132e3, 2), (150e3, 1), (250e3, 0)],
)
def test_a_rack_fits_the_rungs_whose_ceiling_it_stays_under(rack_w: float, rungs: int) -> None:
    # Ceilings of 10, 20, 50, 132 and 200 kW: cooling-pue-ladder 1.0.0.
    assert sum(bool(fits) for fits in rungs_that_hold(COOLING, rack_w).values()) == rungs


def test_half_the_power_of_a_chip_allows_a_warmer_coolant_up_to_what_the_rung_takes() -> None:
    plate, air = COOLING.rungs["direct-to-chip"], COOLING.rungs["contained-air"]
    # 85 degC less 40 mK/W times 1200 W is 37 degC; half the power allows 61, and the water class 45.
    allowed = [
        float(allowed_coolant_k(plate, junction_limit_k=358.15, power_w=watts)) - 273.15
        for watts in (1200, 600)
    ]
    assert allowed == pytest.approx([37.0, 45.0])
    assert float(allowed_coolant_k(air, junction_limit_k=358.15, power_w=1000.0)) == pytest.approx(
        273.15 + 18.0
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"rung": "imersion"}, "rung: 'imersion' given; did you mean 'immersion'?"),
        ({"climate": "lunar"}, "climate: 'lunar' given; expected one of cold, temperate, hot-dry, hot-humid"),
        ({"water": "dri"}, "water: 'dri' given; did you mean 'dry'?"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(names: dict[str, str], told: str) -> None:
    asked = {"rung": "immersion", "climate": "cold", "water": "dry"} | names
    with pytest.raises(NpuwattError) as caught:
        free_cooling_fraction(COOLING, rung=asked["rung"], climate=asked["climate"], water=asked["water"])
    assert caught.value.faults == (told,)


SERVER = Server(
    fan_fraction=0.1,
    rated_components_w=3000.0,
    converters=(
        Converter(standing_w=13.0, efficiency_fraction=0.98),
        Converter(standing_w=17.0, efficiency_fraction=0.96),
    ),
)


def test_a_chain_of_converters_takes_its_standing_power_and_its_efficiency_at_each_stage() -> None:
    # ExaDigiT, RAPS: 13 W and 0.98, then 17 W and 0.96.
    assert server_input_w(replace(SERVER, fan_fraction=0.0), components_w=1000.0) == pytest.approx(
        ((1000 + 13) / 0.98 + 17) / 0.96
    )


@FIXED
@given(watts=st.floats(50, 20_000), less=st.floats(0.05, 0.99))
def test_the_overhead_of_a_converter_chain_rises_as_it_is_loaded_less(watts: float, less: float) -> None:
    assert itue(SERVER, components_w=less * watts) > itue(SERVER, components_w=watts) > 1


def test_liquid_takes_the_fans_out_of_it_power_and_leaves_pue_as_it_is() -> None:
    air, liquid = (itue(SERVER, components_w=6000.0, liquid_fraction=share) for share in (0.0, 1.0))
    assert (air - liquid) * 0.98 * 0.96 == pytest.approx(0.1)
    assert tue(air, 1.2) / tue(liquid, 1.2) == pytest.approx(air / liquid)


def test_a_rear_door_leaves_the_fans_of_the_server_and_cold_plates_do_not() -> None:
    # Rear door: 85 % of the heat leaves in water, and all of it by air at the chip.
    captured = {name: captured_at_chip_fraction(rung) for name, rung in COOLING.rungs.items()}
    by_hand = {"legacy-air": 0, "contained-air": 0, "rear-door": 0, "direct-to-chip": 0.75, "immersion": 0.95}
    assert captured == pytest.approx(by_hand)


def test_tue_is_itue_times_pue_and_a_ratio_below_one_is_refused() -> None:
    assert tue(1.1, 1.2) == pytest.approx(1.32)
    with pytest.raises(NpuwattError, match=r"pue: 0\.95 given; expected a number from 1"):
        tue(1.1, 0.95)
