"""Fleets: laws, figures by hand, and the same found by other ways."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from npuwatt import compare
from npuwatt.errors import NpuwattError
from npuwatt.preset.paths import with_values
from npuwatt.study.fleet import Fleets, case_of, fleet
from npuwatt.study.fleet_figures import Figures, figures

METRIC = "usd_per_million_tokens"
TWINS = ("gpu", "h100-sxm")  # one device by two names
YEAR_S = 365.25 * 86400
MONEY = (
    "staff", "software", "facility", "facility_opex", "tariff",
)  # fmt: skip
PRICES: tuple[tuple[str, ...], ...] = tuple(("site", "money", name) for name in MONEY)


@cache
def four() -> Fleets:
    return fleet(["gpu", "b200", "npu", "pim"], claims=True)


@cache
def twins(first_usd: float = 40000, second_usd: float = 50000, **options: Any) -> Fleets:
    return fleet(TWINS, prices=(f"gpu={first_usd}USD", f"h100-sxm={second_usd}USD"), **options)


def value(found: Figures, name: str) -> float:
    return float(np.ravel(found.metrics[name])[0])


def all_of(amounts: dict[str, Any]) -> float:
    return float(np.ravel(sum(amounts.values()))[0])


@pytest.mark.parametrize("place", range(4))
def test_parts_sum_to_what_they_are_parts_of(place: int) -> None:
    found = four().answers[place].figures
    assert all_of(found.cost_usd) == pytest.approx(value(found, METRIC))
    assert all_of(found.emitted_kg) == pytest.approx(value(found, "kg_per_million_tokens"))
    assert all_of(found.facility_w) == pytest.approx(value(found, "facility_mean_w"))
    assert all_of(found.facility_w) / float(np.ravel(found.facility_w["it"])[0]) == pytest.approx(
        value(found, "pue")
    )


@pytest.mark.parametrize("place", range(4))
def test_requests_in_flight_are_their_rate_times_their_time(place: int) -> None:
    # Little's law, at the peak, whose TTFT and TPOT are told.
    found, terms = four().answers[place].figures, four().terms
    rate = terms.mean_requests_per_s * 1.5
    time_s = value(found, "ttft_s") + terms.output_len * value(found, "tpot_s")
    assert value(found, "peak_in_flight_count") == pytest.approx(rate * time_s)
    assert (
        value(found, "peak_in_flight_count") <= value(found, "batch") * value(found, "replicas_count") * 1.2
    )


@pytest.mark.parametrize("device", ["gpu", "npu", "pim"])
def test_the_batch_is_the_largest_that_meets_the_limit(device: str) -> None:
    answer = fleet([device], devices=1, tpot="30ms").answers[0]
    batch = round(value(answer.figures, "batch"))
    tpots = []
    for asked in (batch, batch + 1):
        one = compare([device], batch=asked, devices=1, mode="serving").answers[0].result
        tpots.append(one.tpot_s.item())
    assert tpots[0] <= 30e-3 < tpots[1]


def test_a_replica_takes_as_many_sequences_as_its_limits_allow_however_many() -> None:
    answer = fleet(["b200-sxm"], devices=1).answers[0]  # TPOT within 50 ms, TTFT within 2 s
    batch = round(value(answer.figures, "batch"))
    assert batch > 512
    one, more = (
        compare(["b200-sxm"], batch=asked, devices=1, mode="serving").answers[0].result
        for asked in (batch, batch + 1)
    )
    assert one.fits.all()
    assert one.tpot_s.item() <= 50e-3
    assert one.ttft_s.item() <= 2
    assert not more.fits.all() or more.tpot_s.item() > 50e-3 or more.ttft_s.item() > 2
    assert not any("sequences" in note for note in answer.notes)


def test_a_batch_that_nothing_holds_back_is_told_as_such() -> None:
    answer = fleet(
        ["gpu"],
        network="smollm2-135m",
        input_len=1,
        output_len=1,
        tpot="1000s",
        ttft="1000s",
        demand="1e9req/s",
    ).answers[0]
    assert value(answer.figures, "batch") == 1_000_000
    assert any("more than 1,000,000 sequences" in note for note in answer.notes)


def test_replicas_carry_the_peak_with_headroom_and_one_fewer_would_not() -> None:
    for answer in four().answers:
        found = answer.figures
        peak, replicas = value(found, "peak_utilization_ratio"), value(found, "replicas_count")
        assert peak <= 0.8 + 1e-9
        assert peak * replicas / (replicas - 1) > 0.8
        assert value(found, "spares_count") == np.ceil(0.05 * replicas)


def test_more_devices_are_taken_only_where_they_serve_more_each_or_the_limit_needs_them() -> None:
    relaxed = fleet(["gpu"], network="llama-3.3-70b", tpot="1s").answers[0]
    tight = fleet(["gpu"], network="llama-3.3-70b", tpot="20ms").answers[0]
    assert relaxed.unit.devices_count < tight.unit.devices_count
    assert value(tight.figures, "tpot_s") <= 20e-3


def test_a_pue_of_1_adds_nothing() -> None:
    found = fleet(["gpu", "pim"], changes=["datacenter.pue=1"]).answers[0].figures
    assert all_of({"overhead": found.cost_usd["overhead_energy"]}) == 0
    assert value(found, "facility_mean_w") == value(found, "mean_it_w")
    grid = 383.5e-3 / 3.6e6  # United States, 2024
    it_j = 1e6 * value(found, "mean_it_w") / value(found, "tokens_per_s")
    assert all_of({"use": found.emitted_kg["operational"]}) == pytest.approx(grid * it_j)


def test_costs_are_homogeneous_in_prices() -> None:
    case, terms = case_of(twins()), twins().terms
    tariff = ("site", "grid", "tariff")
    usual = {path: getattr(case.site.money, _field(path[-1])) for path in PRICES}
    usual |= {tariff: case.site.grid.tariff_usd_per_j, ("units", "0", "price", "purchase"): 40000.0}
    doubled = figures(with_values(case, {path: 2 * one for path, one in usual.items()}), terms)[0]
    assert value(doubled, METRIC) == pytest.approx(2 * value(figures(case, terms)[0], METRIC))
    assert value(doubled, "kg_per_million_tokens") == value(figures(case, terms)[0], "kg_per_million_tokens")


def _field(key: str) -> str:
    units = {"facility": "usd_per_w", "facility_opex": "usd_per_w_s", "tariff": "usd_per_j"}
    return f"{key}_{units.get(key, 'usd_per_s')}"


@pytest.mark.parametrize("same", ["work", "power"])
def test_points_equal_a_loop_over_them(same: str) -> None:
    found = fleet(["gpu", "pim"], same=same)
    case, terms = case_of(found), found.terms
    points = {
        ("site", "money", "facility"): np.array([[8.0], [11.0], [19.0]]),
        ("site", "planning", "headroom"): np.array([[0.1], [0.2], [0.35]]),
        ("units", "1", "speed"): np.array([[0.7], [1.0], [1.6]]),
        ("site", "hall", "parts", "fans", "pressure"): np.array([[300.0], [500.0], [900.0]]),
    }
    together = figures(with_values(case, points), terms)
    for i in range(3):
        alone = figures(with_values(case, {path: float(one[i, 0]) for path, one in points.items()}), terms)
        for many, one in zip(together, alone, strict=True):
            for name in one.metrics:
                if one.metrics[name] is not None:
                    column = np.broadcast_to(many.metrics[name], (3, 1))
                    np.testing.assert_allclose(
                        column[i], np.ravel(one.metrics[name]), rtol=1e-12, err_msg=name
                    )


def test_points_that_meet_no_limit_cost_infinitely_much() -> None:
    found = fleet(["gpu", "npu"], tpot="20ms")
    slow = with_values(case_of(found), {("units", "0", "speed"): np.array([[1.0], [0.05]])})
    costs = np.broadcast_to(figures(slow, found.terms)[0].metrics[METRIC], (2, 1))
    assert np.isfinite(costs[0])
    assert np.isinf(costs[1])


def test_water_is_it_energy_times_that_of_the_site_and_pue_times_that_of_the_grid() -> None:
    # hyperscale: hybrid, 0.4 L/kWh; United States: 3.1321 L/kWh.
    found = four().answers[0].figures
    kwh = 1e6 * value(found, "mean_it_w") / value(found, "tokens_per_s") / 3.6e6
    on_site, of_grid = kwh * 0.4, kwh * value(found, "pue") * 3.1321
    assert value(found, "water_l_per_million_tokens") == pytest.approx(on_site + of_grid)
    assert value(found, "site_water_l_per_million_tokens") == pytest.approx(on_site)
    assert value(found, "grid_water_l_per_million_tokens") == pytest.approx(of_grid)


def test_carbon_by_contracts_is_that_of_the_contracts_and_refused_where_there_are_none() -> None:
    by_place, by_contract = (
        fleet(["gpu"], basis=basis, changes=["grid.market=38.35gCO2e/kWh"]).answers[0].figures
        for basis in ("location", "market")
    )
    use = [all_of({"use": one.emitted_kg["operational"]}) for one in (by_place, by_contract)]
    assert use[0] == pytest.approx(10 * use[1])
    assert by_place.emitted_kg["devices"] == by_contract.emitted_kg["devices"]


def test_buying_against_renting_is_told_where_both_prices_are_known_and_the_hall_is_ones_own() -> None:
    gpu, npu = fleet(["gpu", "npu"]).answers
    after_s = value(gpu.figures, "buying_break_even_s")
    owned = value(gpu.figures, "usd_per_device_hour")
    bought = sum(all_of({name: gpu.figures.cost_usd[name]}) for name in ("servers", "network", "spares"))
    running = owned * (1 - bought / value(gpu.figures, METRIC))
    assert after_s / 3600 == pytest.approx(37500 * 1.1 / (2.46 - running))
    assert value(gpu.figures, "buying_npv_usd_per_device") > 0
    assert npu.figures.metrics["buying_break_even_s"] is None
    given = fleet(["gpu"], prices=("gpu=1e6",)).answers[0].figures
    assert value(given, "buying_npv_usd_per_device") < 0
    assert fleet(["gpu"], ownership="colocation").answers[0].figures.metrics["buying_break_even_s"] is None


def test_many_groups_take_as_many_sequences_each_as_one_alone() -> None:
    alone = value(fleet(["gpu"], devices=1).answers[0].figures, "batch")
    found = fleet(["gpu"], devices=600, data_parallel=600, demand="1e12token/day").answers[0]
    assert 600 * alone <= value(found.figures, "batch") < 600 * (alone + 1)


def test_hours_of_a_default_h100_cost_what_the_books_say_without_energy() -> None:
    # 300 k$ of 8, 10 % network, 4 years at 8 %, 11.7 $/W over 15 years, 0.04 $/W/month, 10.2 kW: 1.80 $ less 0.095 $ of energy.
    found = fleet(["gpu"], prices=("gpu=300000USD/server",)).answers[0].figures
    hour = value(found, "usd_per_device_hour")
    assert hour * (1 - value(found, "energy_cost_fraction")) == pytest.approx(1.705, abs=0.01)


def test_a_given_price_is_of_the_device_alone_and_a_known_one_may_hold_its_share_of_a_server() -> None:
    # money.server_price: 1.64 times the bare devices.
    alone, whole = twins(10000, 10001).answers[0], fleet(["gpu"], prices=("gpu=131200USD/server",)).answers[0]
    assert alone.priced.price.covers == "device"
    assert value(alone.figures, METRIC) == pytest.approx(value(whole.figures, METRIC))
    known = fleet(["gpu"]).answers[0]
    assert known.priced.price.covers == "server"
    share = fleet(["gpu"], prices=(f"gpu={37500 / 1.64}",)).answers[0]
    assert value(share.figures, METRIC) == pytest.approx(value(known.figures, METRIC))


def test_rented_hours_cost_their_rent_and_nothing_else() -> None:
    found = fleet(["gpu", "pim"], ownership="rented", prices=("pim=1.5USD/h",)).answers
    assert [value(one.figures, "usd_per_device_hour") for one in found] == pytest.approx([2.46, 1.5])
    assert found[0].figures.cost_usd.keys() == {"rent"}
    assert found[0].priced.basis == "sale"
    assert found[1].priced.basis == "given"


def test_power_at_the_peak_is_not_below_that_at_the_mean_where_it_grows_with_batch() -> None:
    for answer in four().answers:
        curve, found = answer.unit.curve, answer.figures
        batch = round(value(found, "batch"))
        grows = np.all(np.diff(curve.power_w[0, :batch]) >= 0)
        assert not grows or value(found, "peak_it_w") >= value(found, "mean_it_w")
    falls = four().answers[2]  # all traffic of weights is there at a batch of 1: more requests take it slower
    assert np.all(np.diff(falls.unit.curve.power_w[0]) < 0)
    assert value(falls.figures, "peak_it_w") < value(falls.figures, "mean_it_w")


def test_causes_of_a_changed_pue_in_the_first_hall_sum_to_its_change() -> None:
    first, *others = fleet(["pim", "gpu", "b200", "npu"]).answers
    for answer in others:
        change = answer.change
        assert change is not None
        assert (change.it_before_w, change.it_after_w) == tuple(
            value(one.figures, "mean_it_w") for one in (first, answer)
        )
        moved = float(np.ravel(change.pue_after - change.pue_before)[0])
        assert all_of(dict(change.causes_ratio)) == pytest.approx(moved, abs=1e-12)
        assert "other parts" not in change.causes_ratio
        assert change.facility_after_w < change.facility_before_w
    assert four().answers[3].change is None  # the hall of the GPUs does not carry it


def test_for_the_same_work_no_result_depends_on_the_order_of_devices() -> None:
    names = ["gpu", "b200", "npu", "pim"]
    turned = {one.device.typed: one.figures for one in fleet(names[::-1]).answers}
    for answer in four().answers:
        other = turned[answer.device.typed]
        assert other.hall == answer.figures.hall
        assert {name: str(one) for name, one in other.metrics.items()} == {
            name: str(one) for name, one in answer.figures.metrics.items()
        }
        assert value(other, "hall_it_w") == value(other, "provisioned_it_w")


def test_the_same_power_carries_whole_replicas_until_the_hall_is_full() -> None:
    answers = fleet(["gpu", "b200", "npu", "pim"], same="power").answers
    assert [value(one.figures, "peak_utilization_ratio") for one in answers] == pytest.approx([0.8] * 4)
    first, *others = answers
    room_w = value(first.figures, "provisioned_it_w")
    for answer in others:
        found = answer.figures
        one_w = value(found, "provisioned_it_w") / value(found, "devices_count") * answer.unit.devices_count
        assert room_w - 2 * one_w < value(found, "provisioned_it_w") <= room_w * (1 + 1e-9)
        assert found.hall == first.figures.hall


def test_work_per_megawatt_is_that_of_the_feed() -> None:
    found = four().answers[0].figures
    assert value(found, "tokens_per_s_per_feed_w") == pytest.approx(
        value(found, "tokens_per_s") / value(found, "feed_w")
    )
    assert value(found, "feed_w") > value(found, "facility_peak_w")


def test_hot_places_need_more_power_than_cold_ones() -> None:
    pues = [
        value(fleet(["gpu"], climate=climate).answers[0].figures, "pue") for climate in ("cold", "hot-humid")
    ]
    assert pues[0] < pues[1]


def test_servers_that_live_longer_cost_less_and_are_made_less_often() -> None:
    short, long = (fleet(["gpu"], years=years).answers[0].figures for years in (3, 6))
    assert value(short, METRIC) > value(long, METRIC)
    made = [all_of({"made": one.emitted_kg["devices"]}) for one in (short, long)]
    assert made[0] == pytest.approx(2 * made[1])


def test_energy_of_a_year_is_mean_power_times_a_year() -> None:
    found = four().answers[3].figures
    assert value(found, "facility_j_per_year") == pytest.approx(value(found, "facility_mean_w") * YEAR_S)


def test_die_flux_is_the_published_one() -> None:
    # Epoch AI: 700 W on 814 mm2 are 86.0 W/cm2.
    assert value(four().answers[0].figures, "die_flux_w_per_m2") == pytest.approx(86.0e4, rel=1e-3)


def test_tokens_and_requests_ask_for_the_same() -> None:
    tokens, requests = fleet(["gpu"], demand="2.2118400e9token/day"), fleet(["gpu"], demand="100req/s")
    assert tokens.terms == requests.terms


def test_a_hall_of_given_size_that_does_not_carry_the_fleet_is_refused() -> None:
    with pytest.raises(NpuwattError, match="expected at most the design load of the hall"):
        fleet(["gpu"], changes=["datacenter.parts.design_it=1 kW"])


def test_what_a_rack_gives_is_components_times_itue_by_one_model_of_a_server() -> None:
    # By hand: 3 kW of components with a tenth of fans behind converters of 13 W, 0.98 and 17 W, 0.96.
    # Cold plates take 75 % of the heat from the fans. In air a server takes 1.82 times its devices.
    air, liquid = ((((3000 * (1 + fans) + 13) / 0.98) + 17) / 0.96 / 3000 for fans in (0.1, 0.025))
    for site, itue in (("hyperscale", air), ("direct-to-chip", liquid)):
        for answer in fleet(["gpu", "mythic-m1076"], site=site).answers:  # of 700 W and of a few
            found, unit = answer.figures, answer.unit
            assert value(found, "itue") == pytest.approx(itue)
            assert value(found, "tue") == pytest.approx(itue * value(found, "pue"))
            most_w = max(unit.rated_w, float(np.max(unit.curve.power_w)) / unit.devices_count)
            assert value(found, "provisioned_it_w") / value(found, "devices_count") == pytest.approx(
                most_w * 1.82 * itue / air
            )


def test_a_server_that_is_nothing_but_its_devices_has_no_fans_either() -> None:
    answer = fleet(["gpu"], changes=["money.server_power=1"]).answers[0]
    assert value(answer.figures, "itue") == 1.0
