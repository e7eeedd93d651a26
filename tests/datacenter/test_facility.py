"""A hall at its load: each part by hand, published PUEs, the U of the part-load curve, water, and the feed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.datacenter.cooling import Chiller, Cooling, Mover
from npuwatt.datacenter.facility import (
    Facility,
    Parts,
    Ups,
    facility_power,
    it_load_w,
    pue,
    site_water_of,
    sized_for,
    total_power_w,
    water_l,
)
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.scenario import load_cooling, load_datacenter

FIXED = settings(derandomize=True, deadline=None)
COOLING: Cooling = load_cooling().record
HALLS = {
    name: load_datacenter(name).record
    for name in ("air-enterprise", "hyperscale", "direct-to-chip", "immersion")
}
NO_UPS = Ups(standing_ratio=0.0, linear_ratio=0.0, square_ratio=0.0)
STILL = Mover(rise_k=10.0, pressure_pa=1e-9, efficiency_fraction=1.0, least_flow_fraction=0.0)
NO_WORK = Chiller(condensing_k=308.15, approach_k=5.0, carnot_fraction=0.5, least_lift_k=10.0, cop_ratio=1e15)


def overheads(*, proportional: float, fixed: float, design_w: float = 1e6) -> Facility:
    """A hall with nothing but an overhead that follows its load, and one that does not."""
    parts = Parts(
        design_it_w=design_w, ups=NO_UPS, distribution_fraction=proportional, lighting_fraction=0.0,
        miscellaneous_fraction=fixed, tower_fraction=0.0, fans=STILL, chiller=NO_WORK,
    )  # fmt: skip
    return Facility(rung="contained-air", climate="cold", water="dry", parts=parts)


def parts_of(hall: Facility) -> Parts:
    assert hall.parts is not None
    return hall.parts


def at(hall: Facility, load: float) -> float:
    """PUE at a share of the design load."""
    return float(pue(hall, COOLING, load * parts_of(hall).design_it_w))


def test_a_fixed_overhead_of_a_tenth_and_a_proportional_one_of_0_15() -> None:
    # PUE 1 + k + F / u: 1.25 at full load, 1.35 at half, while the total falls from 1.25 to 0.675.
    hall = overheads(proportional=0.15, fixed=0.1)
    assert at(hall, 1.0) == pytest.approx(1.25, abs=1e-9)
    assert at(hall, 0.5) == pytest.approx(1.35, abs=1e-9)
    assert total_power_w(hall, COOLING, 1e6) == pytest.approx(1.25e6)
    assert total_power_w(hall, COOLING, 0.5e6) == pytest.approx(0.675e6)


@FIXED
@given(
    proportional=st.floats(0, 0.5), fixed=st.floats(0, 0.5), load=st.floats(0.01, 1), less=st.floats(0.01, 1)
)
def test_with_proportional_and_fixed_overheads_alone_less_load_never_lowers_pue(
    proportional: float, fixed: float, load: float, less: float
) -> None:
    hall = overheads(proportional=proportional, fixed=fixed)
    assert at(hall, load * less) >= at(hall, load) * (1 - 1e-12)
    share = fixed / load / (proportional + fixed / load) if proportional + fixed else 0.0
    half = 1 + (at(hall, load) - 1) * (
        1 + share
    )  # f the fixed part of the overhead: PUE' = 1 + (PUE - 1)(1 + f)
    assert at(hall, load / 2) == pytest.approx(half, rel=1e-9)


def test_the_published_example_of_an_airside_economiser() -> None:
    # Code of Lei and Masanet, Energy, 2020: PUE 1.07469 at 20 degrees outdoors, no chiller.
    loss = 1 / 0.9803 - 1
    fans = Mover(rise_k=14.784, pressure_pa=685.06, efficiency_fraction=0.82993, least_flow_fraction=0.0)
    parts = Parts(
        design_it_w=1e6, ups=Ups(standing_ratio=loss, linear_ratio=0.0, square_ratio=0.0),
        distribution_fraction=0.00561, lighting_fraction=0.00181, miscellaneous_fraction=0.0, tower_fraction=0.0,
        fans=fans, chiller=NO_WORK,
    )  # fmt: skip
    hall = Facility(rung="contained-air", climate="cold", water="evaporative", parts=parts)
    assert at(hall, 1.0) == pytest.approx(1.07469, abs=0.001)


@pytest.mark.parametrize(("load", "efficiency"), [(1.0, 0.96), (0.5, 0.96), (0.25, 0.94)])
def test_the_ups_of_the_default_hall_has_its_published_efficiency(load: float, efficiency: float) -> None:
    design_w = parts_of(HALLS["hyperscale"]).design_it_w
    lost_w = facility_power(HALLS["hyperscale"], COOLING, load * design_w)["ups"]
    assert load * design_w / (load * design_w + lost_w) == pytest.approx(efficiency, abs=0.001)


def test_each_part_of_the_default_hall_by_hand() -> None:
    # The default hall at 60 % of 20 MW, written out with the numbers of its preset.
    it = 12e6
    ups = 20e6 * (0.0148 - 0.0027 * 0.6 + 0.0296 * 0.6**2)
    distribution, lighting, miscellaneous = 0.01 * it, 0.001 * 20e6, 0.01 * 20e6
    heat = it + ups + distribution + lighting
    design_heat = 20e6 * (1 + 0.0148 - 0.0027 + 0.0296 + 0.01 + 0.001)
    fans = design_heat / (1005 * 1.2 * 14.8) * 400 / 0.80 * (heat / design_heat) ** 3
    chiller = (heat + fans) * (1 - 0.88) / (0.5 * (298.15 - 12) / (308.15 - (298.15 - 12)))
    tower = 0.01 * (heat + fans + chiller)
    by_hand = {
        "it": it, "ups": ups, "distribution": distribution, "lighting": lighting, "fans": fans, "pumps": 0.0,
        "chiller": chiller, "tower": tower, "miscellaneous": miscellaneous,
    }  # fmt: skip
    found = facility_power(HALLS["hyperscale"], COOLING, it)
    assert list(found) == list(by_hand)
    for name, power_w in by_hand.items():
        assert found[name] == pytest.approx(power_w, rel=1e-9), name


def test_pumps_and_the_heat_that_liquid_takes_by_hand() -> None:
    hall, it = HALLS["direct-to-chip"], 20e6
    found = facility_power(hall, COOLING, it)
    heat = it + found["ups"] + found["distribution"] + found["lighting"]
    assert found["pumps"] == pytest.approx(heat / (4186 * 997 * 10) * 250e3 / 0.65, rel=1e-9)
    assert found["fans"] == pytest.approx((heat - 0.75 * it) / (1005 * 1.2 * 14.8) * 400 / 0.8, rel=1e-9)


@pytest.mark.parametrize("name", HALLS)
def test_the_part_load_curve_is_a_u_and_lowest_between_40_and_90_percent(name: str) -> None:
    loads = np.linspace(0.05, 1.0, 96)
    curve = np.array([at(HALLS[name], load) for load in loads])
    lowest = int(curve.argmin())
    assert 0.4 <= loads[lowest] <= 0.9
    assert np.all(np.diff(curve[: lowest + 1]) < 0)
    assert np.all(np.diff(curve[lowest:]) > 0)


def test_the_default_hall_is_above_1_25_at_a_tenth_of_its_load() -> None:
    # A hall of 1 MW with cubic fans and square-law losses: 1.133, 1.122, 1.124, 1.169, 1.338. The shape, not the digits.
    assert load_datacenter("default").record == HALLS["hyperscale"]
    found = [at(HALLS["hyperscale"], load) for load in (1.0, 0.75, 0.5, 0.25, 0.1)]
    assert found == pytest.approx([1.133, 1.122, 1.124, 1.169, 1.338], abs=0.03)
    assert found[4] > 1.25


CLIMATES, WATER = tuple(COOLING.free_cooling_fraction), tuple(COOLING.water)


@pytest.mark.parametrize("water", WATER)
@pytest.mark.parametrize("load", [0.5, 0.75, 1.0])
def test_a_hyperscale_hall_in_the_cold_is_between_the_best_and_the_mean_of_published_fleets(
    water: str, load: float
) -> None:
    # AWS, best site 1.04; Google 1.09; Meta 1.08; AWS 1.15; Microsoft 1.18, 2023.
    assert 1.04 < at(replace(HALLS["hyperscale"], climate="cold", water=water), load) < 1.2


@pytest.mark.parametrize("climate", CLIMATES)
@pytest.mark.parametrize("load", [0.4, 0.6, 0.8, 1.0])
def test_an_enterprise_hall_is_around_the_published_mean_of_surveys(climate: str, load: float) -> None:
    # Uptime Institute: mean 1.54 to 1.65 from 2014 to 2025, 2.5 in 2007.
    assert 1.4 < at(replace(HALLS["air-enterprise"], climate=climate), load) < 2.0


@pytest.mark.parametrize(("name", "low", "high"), [("direct-to-chip", 1.03, 1.15), ("immersion", 1.02, 1.10)])
@pytest.mark.parametrize("climate", CLIMATES)
@pytest.mark.parametrize("water", WATER)
def test_halls_with_liquid_stay_in_the_published_span_of_their_rung(
    name: str, low: float, high: float, climate: str, water: str
) -> None:
    # cooling-pue-ladder 1.0.0; NREL's warm-water hall 1.036, a vendor's immersion 1.04.
    assert low < at(replace(HALLS[name], climate=climate, water=water), 0.75) < high


@pytest.mark.parametrize("name", HALLS)
def test_warmer_climates_never_have_a_lower_pue(name: str) -> None:
    found = [at(replace(HALLS[name], climate=climate), 0.7) for climate in CLIMATES]
    assert found == sorted(found)


@FIXED
@given(
    name=st.sampled_from(sorted(HALLS)), climate=st.sampled_from(CLIMATES), water=st.sampled_from(WATER),
    load=st.floats(0.001, 1), coolant_k=st.floats(280, 330),
)  # fmt: skip
def test_pue_is_one_or_more_and_the_sum_of_parts_that_are_none_below_zero(
    name: str, climate: str, water: str, load: float, coolant_k: float
) -> None:
    hall = replace(HALLS[name], climate=climate, water=water, coolant_k=coolant_k)
    it_w = load * parts_of(hall).design_it_w
    found = facility_power(hall, COOLING, it_w)
    assert all(float(power_w) >= 0 for power_w in found.values())
    assert sum(found.values()) == pytest.approx(float(pue(hall, COOLING, it_w)) * it_w, rel=1e-12)
    assert pue(hall, COOLING, it_w) >= 1


def test_a_given_pue_of_one_adds_nothing_and_wins_over_parts() -> None:
    hall = replace(HALLS["hyperscale"], pue_ratio=1.0)
    assert facility_power(hall, COOLING, 5e6) == {"it": 5e6, "overhead": 0.0}
    assert pue(replace(hall, pue_ratio=1.3), COOLING, 5e6) == pytest.approx(1.3)


def test_a_pue_stands_on_power_and_on_energy_alike() -> None:
    # CodeCarbon issue 1320: energy with PUE beside power without it, in one row.
    hall, hours = replace(HALLS["hyperscale"], pue_ratio=1.4), 24.0
    power_w = total_power_w(hall, COOLING, 1e6)
    assert power_w == pytest.approx(1.4e6)
    assert power_w * hours == pytest.approx(1.4 * 1e6 * hours)


def test_a_hall_without_parts_has_the_pue_of_its_rung_at_any_load() -> None:
    hall = replace(HALLS["direct-to-chip"], parts=None, climate="hot-dry", water="hybrid")
    for it_w in (1e3, 1e9):
        assert pue(hall, COOLING, it_w) == pytest.approx(1.03 + (1 - 0.58) * 0.15)


def columns(points: int) -> tuple[Facility, np.ndarray]:
    """The default hall with several numbers as design points, and a load for each."""
    rng = np.random.default_rng(6)

    def some(low: float, high: float) -> np.ndarray:
        found = rng.uniform(low, high, (points, 1))
        found.flags.writeable = False
        return found

    parts = parts_of(HALLS["hyperscale"])
    parts = replace(
        parts,
        design_it_w=some(1e7, 3e7),
        ups=replace(parts.ups, standing_ratio=some(0.01, 0.02), square_ratio=some(0.02, 0.04)),
        fans=replace(parts.fans, pressure_pa=some(300, 1000)),
        chiller=replace(parts.chiller, carnot_fraction=some(0.4, 0.65)),
    )
    return replace(HALLS["hyperscale"], parts=parts, coolant_k=some(290, 310)), some(1e6, 1e7)


def point(hall: Facility, i: int) -> Facility:
    parts = parts_of(hall)
    one = replace(
        parts,
        design_it_w=float(np.asarray(parts.design_it_w)[i, 0]),
        ups=replace(
            parts.ups,
            standing_ratio=float(np.asarray(parts.ups.standing_ratio)[i, 0]),
            square_ratio=float(np.asarray(parts.ups.square_ratio)[i, 0]),
        ),
        fans=replace(parts.fans, pressure_pa=float(np.asarray(parts.fans.pressure_pa)[i, 0])),
        chiller=replace(
            parts.chiller, carnot_fraction=float(np.asarray(parts.chiller.carnot_fraction)[i, 0])
        ),
    )
    return replace(hall, parts=one, coolant_k=float(np.asarray(hall.coolant_k)[i, 0]))


def test_a_column_of_halls_equals_a_loop_over_them() -> None:
    hall, it_w = columns(20)
    together = facility_power(hall, COOLING, it_w)
    feed_w = total_power_w(hall, COOLING, it_w)
    loads_w = it_load_w(hall, COOLING, feed_w)
    for i in range(20):
        alone = facility_power(point(hall, i), COOLING, float(it_w[i, 0]))
        for name, power_w in alone.items():
            assert np.broadcast_to(together[name], (20, 1))[i, 0] == pytest.approx(
                float(power_w), rel=1e-12
            ), name
        assert np.asarray(loads_w)[i, 0] == pytest.approx(
            float(it_load_w(point(hall, i), COOLING, float(np.asarray(feed_w)[i, 0]))), rel=1e-12
        )


@FIXED
@given(name=st.sampled_from(sorted(HALLS)), load=st.floats(0.01, 0.99))
def test_the_load_of_a_feed_draws_that_feed(name: str, load: float) -> None:
    hall = HALLS[name]
    it_w = load * parts_of(hall).design_it_w
    feed_w = total_power_w(hall, COOLING, it_w)
    assert it_load_w(hall, COOLING, feed_w) == pytest.approx(it_w, rel=1e-9)


@pytest.mark.parametrize("load", [0.02, 0.3, 0.9])
def test_the_load_of_a_feed_is_found_where_fans_take_more_than_it(load: float) -> None:
    parts = parts_of(HALLS["hyperscale"])
    storm = replace(parts, fans=replace(parts.fans, pressure_pa=1e6, least_flow_fraction=0.0))
    hall = replace(HALLS["hyperscale"], parts=storm)
    feed_w = total_power_w(hall, COOLING, load * 20e6)
    assert it_load_w(hall, COOLING, feed_w) == pytest.approx(load * 20e6, rel=1e-9)


def test_a_feed_beyond_the_design_load_fills_the_hall_and_one_built_for_it_takes_all() -> None:
    hall = HALLS["hyperscale"]
    assert it_load_w(hall, COOLING, 100e6) == parts_of(hall).design_it_w
    larger = sized_for(hall, COOLING, 100e6)
    assert total_power_w(larger, COOLING, parts_of(larger).design_it_w) == pytest.approx(100e6)
    assert at(larger, 1.0) == pytest.approx(at(hall, 1.0), rel=1e-12)


def test_50_megawatts_at_a_given_pue_hold_32051_accelerators() -> None:
    # A published sizing: 50 MW, PUE 1.2, B200 of 1000 W and 30 % for the rest of the server; 3.517 kW to a ton.
    it_w = it_load_w(replace(HALLS["direct-to-chip"], pue_ratio=1.2), COOLING, 50e6)
    assert it_w == pytest.approx(41.7e6, rel=0.001)
    assert np.floor(it_w / 1300.0) == 32_051
    assert it_w / 3517.0 == pytest.approx(11_847, rel=0.001)


def test_water_sits_on_the_energy_of_it_with_pue_once_before_the_grids_share() -> None:
    # EcoLogits 0.11.3, 7.3 B parameters, 200 tokens: 1.219241e-5 kWh of IT, PUE 1.26, 0.37 and 5.04 L/kWh. Its 0.9.1
    # had PUE before both.
    kwh = 3.6e6
    found = water_l(1.219241e-5 * kwh, site_l_per_j=0.37 / kwh, pue_ratio=1.26, grid_l_per_j=5.04 / kwh)
    assert found == pytest.approx(8.193786e-5, rel=1e-6)
    twice = 1.26 * 1.219241e-5 * (0.37 + 1.26 * 5.04)
    assert np.abs(found / twice - 1) > 0.2


def test_water_that_cooling_drinks_is_that_of_its_mode() -> None:
    found = {mode: site_water_of(replace(HALLS["hyperscale"], water=mode), COOLING) * 3.6e6 for mode in WATER}
    assert found == pytest.approx({"evaporative": 1.2, "hybrid": 0.4, "dry": 0.05})


@pytest.mark.parametrize(
    ("it_w", "told"),
    [
        (0.0, "it_load: 0 given; expected a finite number above 0"),
        (-1.0, "it_load: -1 given"),
        (21e6, "it_load: 2.1e+07 W given; expected at most the design load of the hall, 2e+07 W"),
    ],
)
def test_a_load_outside_the_hall_is_refused_in_one_line(it_w: float, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        facility_power(HALLS["hyperscale"], COOLING, it_w)
    (fault,) = caught.value.faults
    assert told in fault


def test_a_pue_below_one_is_refused_in_a_record_and_in_a_column() -> None:
    for wrong in (0.95, np.array([[1.1], [0.95]])):
        with pytest.raises(NpuwattError, match=r"pue: 0\.95 given; expected a number from 1"):
            replace(HALLS["hyperscale"], pue_ratio=wrong)
    with pytest.raises(NpuwattError, match=r"--set datacenter\.pue: 0\.95 given; expected a number from 1"):
        load_datacenter("hyperscale", changes=["pue=0.95"])


def test_a_feed_that_the_empty_hall_already_draws_is_refused() -> None:
    with pytest.raises(NpuwattError) as caught:
        it_load_w(HALLS["hyperscale"], COOLING, 1e5)
    assert "feed: 100000 W given; expected more than the hall draws without IT, " in caught.value.faults[0]


def test_a_ups_that_would_give_power_away_is_refused() -> None:
    with pytest.raises(NpuwattError, match="linear: the loss falls below 0 at some load"):
        Ups(standing_ratio=0.001, linear_ratio=-0.1, square_ratio=0.01)
