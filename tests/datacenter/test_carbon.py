"""Carbon: published worked examples, laws, mistakes of peers, bases and bad input."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.datacenter.carbon import (
    Fab,
    Grid,
    device_from_parts_kg,
    die_kg,
    embodied_kg,
    intensity_kg_per_j,
    million_tokens_kg,
    node_embodied_kg,
    node_kg_per_s,
    operational_kg,
)
from npuwatt.datacenter.facility import water_l
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.scenario import load_embodied

FIXED = settings(derandomize=True, deadline=None)
KWH_J = 3.6e6
YEAR_S = 365 * 86400.0
EMBODIED = load_embodied().record
GRID = Grid(name="Here", intensity_kg_per_j=0.4 / KWH_J)


def whole(parts: dict[str, Any]) -> Any:
    return sum(parts.values())


# --- published cases ------------------------------------------------------------------------------------------------


def test_an_hour_of_a_server_is_28_and_a_half_grams_of_its_making() -> None:
    # Green Software Foundation, SCI 1.1: 1000 kg, 4 years, one hour, "around 28 g".
    assert 1e3 * embodied_kg(1000.0, life_s=4 * YEAR_S, used_s=3600.0) == pytest.approx(28.54, abs=0.1)


@pytest.mark.parametrize(
    ("gases_kg_per_m2", "kg", "kg_per_cm2"),
    [(4300.0, 23.57, 2.8951), (3275.0, 22.61, 2.7780), (2250.0, 21.66, 2.6609)],
)
def test_a_die_of_814_mm2_at_5_nm_is_that_of_act(
    gases_kg_per_m2: float, kg: float, kg_per_cm2: float
) -> None:
    # ACT run: EPA 2.75 kWh/cm2, GPA at 95, 97 and 99 % abatement, MPA 500 g/cm2, yield 0.875, 583 g/kWh.
    fab = Fab(energy_j_per_m2=EMBODIED.fabs["5nm"].energy_j_per_m2, gases_kg_per_m2=gases_kg_per_m2)
    embodied = replace(EMBODIED, fabs={"5nm": fab})
    assert die_kg(embodied, technology="5nm", area_m2=814e-6) == pytest.approx(kg, rel=0.001)
    assert die_kg(embodied, technology="5nm", area_m2=814e-6) / 8.14 == pytest.approx(kg_per_cm2, rel=0.0001)


def test_the_built_in_technology_is_acts_default_of_97_percent() -> None:
    assert die_kg(EMBODIED, technology="5nm", area_m2=814e-6) == pytest.approx(22.61, rel=0.001)


def ecologits(active_b: float, tokens: float, pue: float, batch: float = 64.0) -> dict[str, float]:
    """EcoLogits 0.11.3, energy and time of one request by its fits; latency capped at 5 s, 80 GB GPUs."""
    gpus = 2.0 ** math.ceil(math.log2(max(1.2 * active_b * 2 / 80, 1e-9))) if 1.2 * active_b * 2 > 80 else 1.0
    gpu_wh = tokens * (1.1665e-6 * math.exp(-0.011206 * batch) * active_b + 4.0529e-5)
    time_s = min(tokens * (6.785e-4 * active_b + 3.119e-4 * batch + 0.019474), 5.0)
    server_kwh = time_s / 3600 * 1.2 * gpus / 8 / batch
    return {"gpus": gpus, "gpu_kwh": gpu_wh / 1e3 * gpus, "server_kwh": server_kwh, "time_s": time_s}


def test_a_request_of_200_tokens_to_a_7_billion_network_is_that_of_ecologits() -> None:
    # EcoLogits 0.11.3 run: PUE 1.26, 0.590478 kg/kWh, on-site water 0.37 and off-site 5.04 L/kWh.
    found = ecologits(7.3, 200.0, 1.26)
    assert found["gpus"] == 1
    assert found["gpu_kwh"] == pytest.approx(8.937201e-6, rel=2e-5)
    assert found["server_kwh"] == pytest.approx(3.255208e-6, rel=2e-5)
    it_kwh = found["gpu_kwh"] + found["server_kwh"]
    assert it_kwh == pytest.approx(1.219241e-5, rel=2e-5)
    used = operational_kg(it_kwh * KWH_J, pue_ratio=1.26, grid_kg_per_j=0.590478 / KWH_J)
    assert used == pytest.approx(9.071180e-6, rel=2e-5)
    assert used / 0.590478 == pytest.approx(1.536244e-5, rel=2e-5)
    node_kg = node_embodied_kg(EMBODIED, device_kg=EMBODIED.devices_kg["h100-sxm"], devices_count=8.0)
    made = embodied_kg(whole(node_kg), life_s=3 * YEAR_S, used_s=found["time_s"], share_fraction=1 / (8 * 64))
    assert made == pytest.approx(8.138021e-7, rel=2e-5)
    water = water_l(it_kwh * KWH_J, site_l_per_j=0.37 / KWH_J, pue_ratio=1.26, grid_l_per_j=5.04 / KWH_J)
    assert water == pytest.approx(8.193786e-5, rel=2e-5)


def test_an_h100_node_emits_mostly_by_use_on_a_mean_grid_and_by_making_on_a_clean_one() -> None:
    # 7.65 kW at PUE 1.2 and 383.5 g/kWh: 3.52 kg/h. 8 x 273 + 5700 kg over 4 years of 8766 h: 0.225 kg/h.
    node_kg = node_embodied_kg(EMBODIED, device_kg=273.0, devices_count=8.0)
    asked: dict[str, Any] = {"it_w": 7650.0, "pue_ratio": 1.2, "node_kg": node_kg, "life_s": EMBODIED.life_s}
    mean, clean = (node_kg_per_s(grid_kg_per_j=g / 1e3 / KWH_J, **asked) for g in (383.5, 2.0))
    assert 3600 * mean["operational"] == pytest.approx(3.5205, rel=1e-4)
    assert 3600 * (mean["devices"] + mean["server"]) == pytest.approx(7884 / 35_064, rel=1e-9)
    assert clean["operational"] < clean["devices"] + clean["server"]
    per_million = million_tokens_kg(mean, tokens_per_s=16_000.0)
    assert 1e3 * whole(per_million) == pytest.approx((3520.5 + 224.85) / 57.6, rel=1e-4)


def test_a_device_from_its_parts_adds_its_memory_and_its_package() -> None:
    asked: dict[str, Any] = {
        "technology": "5nm",
        "die_area_m2": 814e-6,
        "dies_count": 1.0,
        "dram_bytes": 80e9,
    }
    parts = device_from_parts_kg(EMBODIED, **asked)
    assert parts == pytest.approx({"dies": 22.61, "packages": 0.15, "dram": 5.2}, rel=0.001)
    assert device_from_parts_kg(EMBODIED, **asked | {"dies_count": 2.0})["dies"] == 2 * parts["dies"]


# --- laws -----------------------------------------------------------------------------------------------------------

shares = st.floats(0, 1)


@FIXED
@given(it_j=st.floats(0, 1e15), pue=st.floats(1, 3), g=st.floats(0, 1000), gain=st.floats(1, 10))
def test_use_grows_with_energy_overhead_and_grid_and_a_pue_of_one_adds_nothing(
    it_j: float, pue: float, g: float, gain: float
) -> None:
    kg = operational_kg(it_j, pue_ratio=pue, grid_kg_per_j=g)
    assert operational_kg(it_j, pue_ratio=1.0, grid_kg_per_j=g) == it_j * g <= kg
    assert operational_kg(gain * it_j, pue_ratio=pue, grid_kg_per_j=g) == pytest.approx(gain * kg)


@FIXED
@given(total=st.floats(0, 1e5), life_s=st.floats(1e6, 1e9), parts=st.lists(shares, min_size=1, max_size=6))
def test_shares_of_a_whole_life_come_to_the_whole(total: float, life_s: float, parts: list[float]) -> None:
    cuts = [0.0, *sorted(parts), 1.0]
    spans = [high - low for low, high in pairwise(cuts)]
    by_time = [embodied_kg(total, life_s=life_s, used_s=span * life_s) for span in spans]
    by_share = [embodied_kg(total, life_s=life_s, used_s=life_s, share_fraction=span) for span in spans]
    assert sum(by_time) == pytest.approx(total)
    assert sum(by_share) == pytest.approx(total)


def test_points_equal_a_loop() -> None:
    rng = np.random.default_rng(6)
    watts, pues, grids, lives = (
        rng.uniform(low, high, 15) for low, high in ((1e3, 1e4), (1, 2), (0, 1e-6), (1e7, 1e8))
    )

    def of(watts: Any, pue: Any, grid: Any, life: Any) -> Any:
        made = device_from_parts_kg(
            EMBODIED, technology="7nm", die_area_m2=watts * 5e-8, dies_count=2.0, dram_bytes=watts
        )
        found = node_kg_per_s(it_w=watts, pue_ratio=pue, grid_kg_per_j=grid, node_kg=made, life_s=life)
        return whole(million_tokens_kg(found, tokens_per_s=watts))

    together = of(*map(column, (watts, pues, grids, lives)))
    assert together.shape == (15, 1)
    alone = [of(*one) for one in zip(watts, pues, grids, lives, strict=True)]
    np.testing.assert_allclose(together[:, 0], alone, rtol=1e-12)


# --- mistakes of peers ----------------------------------------------------------------------------------------------


def test_overhead_is_on_power_and_on_energy_alike() -> None:
    # CodeCarbon 1320: PUE on the energy and not on the power of the same row.
    node = {"pue_ratio": 1.5, "grid_kg_per_j": 1e-7}
    rate = node_kg_per_s(it_w=5000.0, node_kg={}, life_s=1.0, **node)["operational"]
    assert rate * 3600.0 == pytest.approx(operational_kg(5000.0 * 3600.0, **node), rel=1e-14)


@pytest.mark.parametrize("area_mm2", [2808.45, 5461.0])
def test_an_area_with_wafer_loss_is_refused_since_the_yield_counts_it(area_mm2: float) -> None:
    # Boavizta's die_surface of the H100 (814 mm2 itself) and of the B200.
    with pytest.raises(NpuwattError) as caught:
        die_kg(EMBODIED, technology="5nm", area_m2=area_mm2 * 1e-6)
    assert caught.value.faults == (
        f"area: {area_mm2:.5g} mm2 given; expected one die without wafer loss, at most 858 mm2",
    )


def test_location_is_the_basis_unless_the_market_is_asked_for() -> None:
    green = replace(GRID, market_kg_per_j=0.0)
    assert intensity_kg_per_j(green) == GRID.intensity_kg_per_j
    assert intensity_kg_per_j(green, "market") == 0.0
    with pytest.raises(NpuwattError, match="grid: Here has no market-based intensity; expected 'market'"):
        intensity_kg_per_j(GRID, "market")


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: operational_kg(1.0, pue_ratio=0.99, grid_kg_per_j=1.0), "pue: 0.99 given; expected a number from 1"),
        (lambda: operational_kg(-1.0, pue_ratio=1.0, grid_kg_per_j=1.0), "it_energy: -1 given; expected"),
        (lambda: embodied_kg(1.0, life_s=0.0, used_s=1.0), "life: 0 given; expected a finite number above 0"),
        (lambda: embodied_kg(1.0, life_s=1.0, used_s=1.0, share_fraction=1.1), "share: 1.1 given; expected a share"),
        (lambda: replace(GRID, intensity_kg_per_j=-1.0), "intensity: -1 given; expected a finite number, 0 or more"),
        (lambda: replace(GRID, tariff_usd_per_j=-1.0), "tariff: -1 given; expected"),
        (lambda: replace(EMBODIED, yield_fraction=0.0), "yield: 0 given; expected a share above 0"),
        (lambda: replace(EMBODIED, devices_kg={"it": -1.0}), "devices.it: -1 given; expected"),
        (lambda: die_kg(EMBODIED, technology="5mn", area_m2=1e-6), "technology: '5mn' given; did you mean '5nm'?"),
        (lambda: million_tokens_kg({}, tokens_per_s=0.0), "tokens: 0 given; expected a finite number above 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(made: Any, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        made()
    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(told)
