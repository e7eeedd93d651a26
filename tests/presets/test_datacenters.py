"""Halls as presets: names, faults of a file, changes by address; no number of one, or of their cooling, is there for show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.datacenter.cooling import Cooling, allowed_coolant_k, compact_pue, rungs_that_hold
from npuwatt.datacenter.facility import Facility, free_fraction_of, site_water_of, total_power_w
from npuwatt.datacenter.heat import junction
from npuwatt.datacenter.server import rated_itue
from npuwatt.errors import NpuwattError, PresetError
from npuwatt.preset.paths import with_value
from npuwatt.record import replace
from npuwatt.study.presets import check_presets, show_preset
from npuwatt.study.scenario import load_cooling, load_datacenter

NAMES = ("air-enterprise", "direct-to-chip", "hyperscale", "immersion")
CHOSEN = {name: load_datacenter(name) for name in NAMES}
COOLING = load_cooling()
LOADS_W = np.geomspace(2e3, 8e5, 12).reshape(-1, 1)
COOLANTS_K = (None, 285.0, 312.0, 320.0)


def powers(hall: Facility, cooling: Cooling) -> np.ndarray[Any, Any]:
    """Power of a hall from almost no load to 800 kW, less than any of them is built for, with coolants cold and warm."""
    found = []
    for coolant_k in COOLANTS_K:
        asked = replace(hall, coolant_k=coolant_k)
        found.append(total_power_w(asked, cooling, LOADS_W))
    return np.concatenate(found)


def answers(cooling: Cooling) -> np.ndarray[Any, Any]:
    """All that a table of cooling answers, with and without the parts of a hall."""
    found: list[Any] = []
    for chosen in CHOSEN.values():
        found.append(powers(chosen.record, cooling))
        found.append(powers(replace(chosen.record, rung="rear-door"), cooling))
        for rung, step in cooling.rungs.items():
            for climate in cooling.free_cooling_fraction:
                for water in cooling.water:
                    hall = replace(chosen.record, rung=rung, climate=climate, water=water, parts=None)
                    warmer = replace(hall, coolant_k=300.0)
                    for one in (hall, warmer):
                        found.append(compact_pue(step, free_fraction_of(one, cooling)))
                    found.append(site_water_of(hall, cooling) * 1e6)
            for power_w in (100.0, 1500.0):
                found.append(allowed_coolant_k(step, junction_limit_k=358.15, power_w=power_w))
        found.append(rated_itue(cooling.server))
    racks_w = np.geomspace(1e3, 3e5, 2000).reshape(-1, 1)
    found += list(rungs_that_hold(cooling, racks_w).values())
    hot = junction(cooling.leakage, coolant_k=310.0, resistance_k_per_w=0.06, power_w=700.0, area_m2=8e-4)
    found.append(hot.temperature_k)
    return np.concatenate([np.ravel(np.asarray(one, dtype=float)) for one in found])


@pytest.mark.parametrize(
    ("name", "address"), [(name, address) for name in NAMES for address in CHOSEN[name].evidence]
)
def test_each_number_of_a_hall_changes_its_power(name: str, address: str) -> None:
    hall, item = CHOSEN[name].record, CHOSEN[name].evidence[address]
    changed = with_value(hall, address.split("."), item.high if item.high > item.value else item.low)
    assert not np.allclose(powers(changed, COOLING.record), powers(hall, COOLING.record), rtol=1e-9, atol=0)


@pytest.mark.parametrize("address", COOLING.evidence)
def test_each_number_of_the_table_of_cooling_changes_an_answer(address: str) -> None:
    item, before = COOLING.evidence[address], answers(COOLING.record)
    values = [value for value in (item.high, item.low, item.value * 1.05 + 1e-3) if value != item.value]
    assert any(
        not np.allclose(
            answers(with_value(COOLING.record, address.split("."), value)), before, rtol=1e-9, atol=0
        )
        for value in values
    )


@pytest.mark.parametrize(
    ("typed", "name"),
    [("default", "hyperscale"), ("warm-water", "direct-to-chip"), ("tanks", "immersion"), ("Enterprise", "air-enterprise")],
)  # fmt: skip
def test_a_hall_is_found_by_its_aliases(typed: str, name: str) -> None:
    chosen = load_datacenter(typed)
    assert (chosen.preset.name, chosen.preset.folder) == (name, "datacenters")
    assert show_preset(name).record == chosen.record


def test_an_unknown_hall_names_the_nearest() -> None:
    with pytest.raises(PresetError, match="unknown datacenter 'hyperscal'; did you mean 'hyperscale'"):
        load_datacenter("hyperscal")


def test_each_preset_stands_on_a_rung_a_climate_and_a_use_of_water_that_there_are() -> None:
    for chosen in CHOSEN.values():
        assert chosen.record.rung in COOLING.record.rungs
        assert chosen.record.climate in COOLING.record.free_cooling_fraction
        assert chosen.record.water in COOLING.record.water


def test_numbers_change_by_their_addresses_and_names_too() -> None:
    changes = ["climate=hot-dry", "parts.ups.standing=1 %", "parts.fans.pressure=0.5 kPa", "coolant=30degC"]
    chosen = load_datacenter("hyperscale", changes=changes)
    assert chosen.is_changed
    parts = chosen.record.parts
    assert parts is not None
    assert (chosen.record.climate, parts.ups.standing_ratio, parts.fans.pressure_pa) == (
        "hot-dry",
        0.01,
        500.0,
    )
    assert chosen.record.coolant_k == pytest.approx(303.15)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("pue=0.9", "--set datacenter.pue: 0.9 given; expected a number from 1 to 100"),
        ("pue=1.1 W", "--set datacenter.pue: '1.1 W' is in W; expected a unit like 1.5"),
        (
            "parts.fans.efficiency=0",
            "--set datacenter.parts.fans.efficiency: 0 given; expected a share above 0",
        ),
        ("parts.fan.efficiency=0.5", "--set datacenter.parts.fan"),
        ("parts.ups.linear=-0.5", "--set datacenter.parts.ups.linear: the loss falls below 0 at some load"),
    ],
)
def test_a_fault_of_a_hall_is_told_where_it_is(change: str, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        load_datacenter("hyperscale", changes=[change])
    assert any(told in fault for fault in caught.value.faults), caught.value.faults


def test_a_hall_of_the_users_own_needs_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "kind: datacenter\nname: mine\nabout: a hall of a test\nrung: immersion\nclimate: cold\nwater: dry\n"
        "pue: {value: 1.07, source: assumed, where: as a landlord says}\n"
    )
    assert load_datacenter(str(path)).record.pue_ratio == 1.07
    path.write_text(path.read_text().replace("kind: datacenter", "kind: stack"))
    with pytest.raises(PresetError, match="kind: 'stack' given; expected datacenter"):
        load_datacenter(str(path))


def test_a_check_names_what_a_hall_asks_for_and_no_table_of_cooling_has(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "kind: datacenter\nname: mine\nabout: a hall of a test\nrung: rear-dor\nclimate: moon\nwater: drie\n"
        "pue: {value: 1.07, source: assumed, where: as a landlord says}\n"
    )
    (check,) = check_presets([str(path)])
    assert check.faults == (
        f"{path}:4: rung: 'rear-dor' given; did you mean 'rear-door'?",
        f"{path}:5: climate: 'moon' given; expected one of cold, temperate, hot-dry, hot-humid",
        f"{path}:6: water: 'drie' given; expected one of evaporative, hybrid, dry",
    )
    path.write_text(
        path.read_text().replace("rear-dor", "rear-door").replace("moon", "cold").replace("drie", "dry")
        + "coolant: {value: 40 degC, source: assumed, where: a test}\n"
    )
    (check,) = check_presets([str(path)])
    assert check.faults == (
        f"{path}:8: coolant: 40 degC given; expected at most 27 degC, the warmest of rear-door",
    )
