"""Prices, money, embodied carbon and grids as presets: names, dates, regions; no number of them is there for show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.datacenter.carbon import device_from_parts_kg, node_embodied_kg, node_kg_per_s
from npuwatt.datacenter.tco import (
    Money,
    Price,
    colocated_usd_per_s,
    device_hour_usd,
    node_of,
    owned_usd_per_s,
    rented_usd_per_s,
)
from npuwatt.errors import NpuwattError, PresetError
from npuwatt.preset import library
from npuwatt.preset.paths import with_value
from npuwatt.preset.regions import regions
from npuwatt.record import replace
from npuwatt.study.presets import check_presets, show_preset
from npuwatt.study.scenario import load_embodied, load_grid, load_grids, load_money, load_prices

MONEY, PRICES, EMBODIED = load_money(), load_prices(), load_embodied()
TABLES = {name: load_grids(name) for name in library.index()["grids"]}
KWH_J = 3.6e6


def costs(money: Money, price: Price) -> np.ndarray[Any, Any]:
    """All that a table of money answers about a device that is sold and rented."""
    found: list[Any] = []
    for covers in ("server", "device"):
        node = node_of(replace(price, covers=covers), money, devices_count=8.0, device_w=700.0)
        for tenure in (owned_usd_per_s, colocated_usd_per_s):
            found += device_hour_usd(
                tenure(node, money, pue_ratio=1.2), devices_count=8.0, sold_fraction=1.0
            ).values()
    for commitment in ("", *money.discount_fraction):
        found += rented_usd_per_s(price, money, devices_count=8.0, commitment=commitment).values()
    return np.array(found, dtype=float)


@pytest.mark.parametrize("address", MONEY.evidence)
def test_each_number_of_money_changes_a_cost(address: str) -> None:
    price, item = PRICES.record.devices["h100-sxm"], MONEY.evidence[address]
    changed = with_value(MONEY.record, address.split("."), item.high if item.high > item.value else item.low)
    assert not np.allclose(costs(changed, price), costs(MONEY.record, price), rtol=1e-9, atol=0)


@pytest.mark.parametrize("address", EMBODIED.evidence)
def test_each_number_of_making_hardware_changes_its_carbon(address: str) -> None:
    def carbon(embodied: Any) -> list[float]:
        found: list[Any] = []
        for technology in embodied.fabs:
            asked = {"technology": technology, "die_area_m2": 8e-4, "dies_count": 2.0, "dram_bytes": 80e9}
            found += device_from_parts_kg(embodied, **asked).values()
        for device_kg in embodied.devices_kg.values():
            made = node_embodied_kg(embodied, device_kg=device_kg, devices_count=8.0)
            found += node_kg_per_s(
                it_w=1e4, pue_ratio=1.2, grid_kg_per_j=1e-7, node_kg=made, life_s=embodied.life_s
            ).values()
        return [float(one) for one in found]

    item = EMBODIED.evidence[address]
    changed = with_value(EMBODIED.record, address.split("."), item.high)
    assert not np.allclose(carbon(changed), carbon(EMBODIED.record), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", PRICES.record.devices)
def test_a_price_is_of_a_device_that_is_built_in_and_has_a_date(name: str) -> None:
    price = PRICES.record.devices[name]
    assert name in library.index()["devices"]
    assert re.fullmatch(r"20\d\d(-\d\d)?( to 20\d\d(-\d\d)?)?", price.dated)
    assert price.purchase_usd is not None
    if price.basis in ("build-cost", "leak"):
        assert PRICES.evidence[f"devices.{name}.purchase"].quality == "assumed"


def test_carbon_is_of_devices_that_are_built_in() -> None:
    assert EMBODIED.record.devices_kg.keys() <= library.index()["devices"].keys()


def test_every_number_of_money_has_a_range_of_its_own() -> None:
    assert [address for address, item in MONEY.evidence.items() if not item.stated_range] == []


def test_regions_are_told_apart_by_key_and_by_code() -> None:
    keys = [key for key, _ in regions()]
    codes = [grid.code for table in TABLES.values() for grid in table.record.regions.values()]
    assert len(keys) == len(set(keys)) == len(codes) == len(set(codes)) == 134
    assert not set(map(str.lower, codes)) & set(keys)


@pytest.mark.parametrize("name", TABLES)
def test_an_intensity_is_dated_where_its_source_tells_a_year(name: str) -> None:
    for key, grid in TABLES[name].record.regions.items():
        if name in ("countries", "us-states"):
            assert grid.dated in ("2023", "2024"), key
        else:
            assert "year not told" in TABLES[name].evidence[f"regions.{key}.intensity"].where


@pytest.mark.parametrize(
    ("region", "g_per_kwh", "low", "high"),
    [
        # Our World in Data by three vintages; eGRID2023; Google Cloud.
        ("france", 44.2, 41.4, 56.0),
        ("FRA", 44.2, 41.4, 56.0),
        ("United States", 383.5, 369.5, 384.4),
        ("us-west-virginia", 893.1, 893.1 / 1.25, 893.1 * 1.25),
        ("US-VT", 23.7, 23.7 / 1.25, 23.7 * 1.25),
        ("northamerica-northeast1", 2.0, 1.6, 2.5),
        ("gcp-europe-west9", 34.0, 27.2, 42.5),
        ("World", 458.3, 458.3 / 1.25, 458.3 * 1.25),
    ],
)
def test_a_region_is_found_by_its_key_its_code_or_its_name(
    region: str, g_per_kwh: float, low: float, high: float
) -> None:
    chosen = load_grid(region)
    item = chosen.evidence["intensity"]
    assert 1e3 * KWH_J * chosen.record.intensity_kg_per_j == pytest.approx(g_per_kwh)
    assert [1e3 * KWH_J * edge for edge in (item.low, item.high)] == pytest.approx([low, high])


def test_a_state_and_a_cloud_region_take_tariff_and_water_of_their_country_and_keep_their_own_intensity() -> (
    None
):
    country = load_grid("united-states").record
    for part in ("us-texas", "us-central1"):
        found = load_grid(part)
        assert found.record.tariff_usd_per_j == country.tariff_usd_per_j == pytest.approx(0.0826 / KWH_J)
        assert found.record.water_l_per_j == country.water_l_per_j
        assert found.record.intensity_kg_per_j != country.intensity_kg_per_j
        assert "epoch-cost-trends" in found.citations
    assert load_grid("gcp-me-central1").record.tariff_usd_per_j is None  # Qatar is in no table


def test_a_number_of_a_region_can_be_changed_and_its_faults_name_the_change() -> None:
    changed = load_grid("france", changes=["intensity=0 gCO2e/kWh", "market=5 gCO2e/kWh"])
    assert changed.is_changed
    assert changed.record.intensity_kg_per_j == 0
    with pytest.raises(PresetError) as caught:
        load_grid("france", changes=["tariff=0.17 EUR/kWh"])
    assert caught.value.faults == (
        "--set grid.tariff: '0.17 EUR/kWh' is not in USD; expected USD/kWh, converted at a rate of your choice",
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("frnce", "unknown region 'frnce'; did you mean 'france'?"),
        ("us-centrl1", "unknown region 'us-centrl1'; did you mean 'us-central1'?"),
        ("xyzzy", "unknown region 'xyzzy'; expected a country, a state of the USA or a cloud region"),
        ("", "unknown region ''; expected a country, a state of the USA or a cloud region"),
    ],
)
def test_an_unknown_region_is_refused_with_the_nearest(name: str, told: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_grid(name)
    assert caught.value.faults == (told,)


def test_a_region_of_ones_own_is_a_file(tmp_path: Path) -> None:
    mine = tmp_path / "grids" / "campus.yaml"
    mine.parent.mkdir()
    text = "kind: grid\nname: Campus\nsource: assumed\nwhere: own turbines\nintensity: 12 gCO2e/kWh\n"
    mine.write_text(text)
    for name, folders in ((str(mine), ()), ("campus", (str(tmp_path),))):
        found = load_grid(name, folders=folders).record
        assert found.name == "Campus"
        assert found.intensity_kg_per_j == pytest.approx(12e-3 / KWH_J)
    mine.write_text(text.replace("kind: grid", "kind: stack"))
    with pytest.raises(PresetError, match="kind: 'stack' given; expected grid"):
        load_grid(str(mine))
    mine.write_text(text.replace("12 gCO2e", "-12 gCO2e"))
    with pytest.raises(NpuwattError, match=r"intensity: -3\.33333e-09 given; expected a finite number"):
        load_grid(str(mine))


def test_a_region_is_shown_like_any_preset() -> None:
    assert show_preset("us-central1").preset.name == "gcp-us-central1"
    assert show_preset("countries").record.kind == "grids"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_regions_is_checked_by_its_path_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "grids").mkdir()
    path = tmp_path / "grids" / f"{name}.yaml"
    text = Path(library.presets_root(), "grids", f"{name}.yaml").read_text()
    path.write_text(text)
    regions_count = len(TABLES[name].record.regions)
    for (check,) in (check_presets([str(path)]), check_presets([name])):
        assert check.faults == () and check.numbers >= regions_count
    assert check_presets(presets=[str(tmp_path)])[-1].numbers == len(TABLES[name].evidence)
    path.write_text(text.replace("gCO2e/kWh", "W", 1))
    with pytest.raises(PresetError, match="is in W; expected a unit like gCO2e/kWh"):
        check_presets([str(path)])
