"""Fleets: laws, figures by hand, brute force, and assumptions planted to turn a ranking."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt import compare
from npuwatt.errors import NpuwattError
from npuwatt.preset.paths import with_values
from npuwatt.study.fleet import Fleets, case_of, fleet
from npuwatt.study.fleet_figures import Figures, figures
from npuwatt.study.fleet_inputs import Ranged
from npuwatt.study.fleet_ranking import rank

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


def planted(low: float, high: float, value: float = 50000, place: int = 1) -> Ranged:
    return Ranged(
        address="planted", paths=(("units", str(place), "price", "purchase"),), value=value, low=low, high=high,
        suffix="_usd", source="assumed",
    )  # fmt: skip


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


def test_as_many_groups_as_a_batch_may_hold_and_more_are_served() -> None:
    found = fleet(["gpu"], devices=600, data_parallel=600, demand="1e12token/day").answers[0]
    assert value(found.figures, "batch") == 600


def test_hours_of_a_default_h100_cost_what_the_books_say_without_energy() -> None:
    # 300 k$ of 8, 10 % network, 4 years at 8 %, 11.7 $/W over 15 years, 0.04 $/W/month, 10.2 kW: 1.80 $ less 0.095 $ of energy.
    found = fleet(["gpu"], prices=("gpu=300000USD/server",)).answers[0].figures
    hour = value(found, "usd_per_device_hour")
    assert hour * (1 - value(found, "energy_cost_fraction")) == pytest.approx(1.705, abs=0.01)


def test_a_given_price_is_of_the_device_alone_and_a_known_one_may_hold_its_share_of_a_server() -> None:
    # money.server_price: 1.64 times the bare devices.
    alone, whole = twins(10000, 10000).answers[0], fleet(["gpu"], prices=("gpu=131200USD/server",)).answers[0]
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


@settings(derandomize=True, deadline=None, max_examples=8)
@given(cheap=st.floats(20000, 39000), dear=st.floats(41000, 90000))
def test_a_planted_assumption_that_turns_the_ranking_is_found_where_it_does(
    cheap: float, dear: float
) -> None:
    # Two of the same device: the second is first from the price of the first on, and exactly there.
    found = twins()
    decoy = Ranged(
        address="decoy",
        paths=(("site", "money", "tariff"),),
        value=2e-8,
        low=0.0,
        high=1e-6,
        suffix="_usd_per_j",
        source="",
    )
    ranking, left_out = rank(case_of(found), found.terms, [decoy, planted(cheap, dear)], METRIC)
    assert left_out == ()
    assert ranking.order == (0, 1)
    assert [turn.ranged.address for turn in ranking.turns] == ["planted"]
    assert ranking.turns[0].value == pytest.approx(40000, rel=1e-5)
    assert ranking.turns[0].first == 1


def test_where_no_assumption_turns_it_the_one_that_narrows_the_gap_most_is_named() -> None:
    found = twins()
    near, far = planted(41000, 60000), planted(45000, 50000)
    ranking, _ = rank(case_of(found), found.terms, [far, near], METRIC)
    assert ranking.turns == ()
    assert ranking.narrows is not None
    assert ranking.narrows.ranged is near
    assert ranking.narrows.value == 41000
    at_41 = twins(40000, 41000).answers
    assert ranking.narrows.gap_ratio == pytest.approx(
        value(at_41[1].figures, METRIC) / value(at_41[0].figures, METRIC)
    )


def test_ends_of_a_cost_combine_what_each_input_does_alone_in_squares_of_logs() -> None:
    found = twins()
    case = case_of(found)
    hall = Ranged(
        address="hall", paths=(("site", "money", "facility"),), value=11.7, low=7.7, high=20.0, suffix="_usd_per_w", source="",
    )  # fmt: skip
    ranking, _ = rank(case, found.terms, [planted(30000, 90000), hall], METRIC)

    def cost(place: int, **options: float) -> float:
        paths = {"usd": ("units", "1", "price", "purchase"), "hall": ("site", "money", "facility")}
        varied = with_values(case, {paths[name]: one for name, one in options.items()})
        return value(figures(varied, found.terms)[place], METRIC)

    base = cost(1)
    for end, usd, per_w in ((0, 30000, 7.7), (1, 90000, 20.0)):
        steps = np.log([cost(1, usd=usd) / base, cost(1, hall=per_w) / base])
        combined = base * np.exp((-1, 1)[end] * np.hypot(*steps))
        assert ranking.ends[1][end] == pytest.approx(combined)
        assert ranking.ends[0][end] == pytest.approx(cost(0, hall=per_w))  # the price is not its own


def test_power_at_the_peak_is_not_below_that_at_the_mean_where_it_grows_with_batch() -> None:
    for answer in four().answers:
        curve, found = answer.unit.curve, answer.figures
        batch = round(value(found, "batch"))
        grows = np.all(np.diff(curve.power_w[0, :batch]) >= 0)
        assert not grows or value(found, "peak_it_w") >= value(found, "mean_it_w")
    falls = four().answers[2]  # all traffic of weights is there at a batch of 1: more requests take it slower
    assert np.all(np.diff(falls.unit.curve.power_w[0]) < 0)
    assert value(falls.figures, "peak_it_w") < value(falls.figures, "mean_it_w")


def test_an_assumption_that_two_devices_share_moves_both() -> None:
    found = fleet(["pim", "gddr6-aim"])
    shared = [one.priced.ranged for one in found.answers]
    assert shared[0] is not None
    assert shared[1] is not None
    assert shared[0].address == shared[1].address == "planning.purchase.DRAM-PIM"
    case = case_of(found)
    both: dict[tuple[str, ...], float] = {
        ("units", str(place), "price", "purchase"): shared[0].low for place in range(2)
    }
    cheap = figures(with_values(case, both), found.terms)
    order = np.argsort([value(one, METRIC) for one in cheap])
    turned = [turn for turn in found.rankings["cost"].turns if turn.ranged.address == shared[0].address]
    assert bool(turned) == (order[0] != found.rankings["cost"].order[0])


def test_what_the_user_sets_is_varied_no_more() -> None:
    free = fleet(["gpu", "npu"])
    fixed = fleet(["gpu", "npu"], prices=("npu=10000",))
    address = "planning.purchase.data-centre-NPU"
    assert address in [turn.ranged.address for turn in free.rankings["cost"].turns]
    assert address not in [turn.ranged.address for turn in fixed.rankings["cost"].turns]


@pytest.mark.parametrize("site", ["air-enterprise", "hyperscale", "direct-to-chip", "immersion"])
def test_every_number_of_every_hall_can_be_varied_to_both_ends(site: str) -> None:
    assert fleet(["gpu", "npu"], site=site).left_out == ()


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


def test_a_cost_is_so_many_times_lower_at_the_price_that_is_told() -> None:
    claims = four().claims
    assert claims is not None
    by_device = {(claim.place, claim.target_ratio): claim for claim in claims.costs}
    price = by_device[1, 3.0].at_price_usd
    assert price is not None
    again = fleet(["gpu", "b200"], prices=(f"b200={price}USD",)).answers
    assert value(again[0].figures, METRIC) / value(again[1].figures, METRIC) == pytest.approx(3)
    never = by_device[3, 5.0]
    assert never.at_price_usd is None
    free = fleet(["gpu", "pim"], prices=("pim=0",)).answers
    assert value(free[0].figures, METRIC) / value(free[1].figures, METRIC) < 5


def test_a_cost_is_so_many_times_lower_at_the_speed_that_is_told_and_not_below() -> None:
    claims, found = four().claims, four()
    assert claims is not None
    for claim in claims.costs:
        speed = claim.at_speed_ratio
        assert speed is not None
        for times, holds in ((1.0, True), (0.95, False)):
            case = with_values(case_of(found), {("units", str(claim.place), "speed"): speed * times})
            results = figures(case, found.terms)
            ratio = value(results[0], METRIC) / value(results[claim.place], METRIC)
            assert (ratio >= claim.target_ratio) == holds


def test_half_the_chip_power_does_not_bring_a_pue_of_1_05() -> None:
    claims = four().claims
    assert claims is not None
    assert not claims.pue.holds_before
    assert not claims.pue.holds
    assert float(np.ravel(claims.pue.change.pue_after)[0]) > float(np.ravel(claims.pue.change.pue_before)[0])


def test_halls_that_are_said_to_have_a_pue_of_1_05_have_it_and_no_others() -> None:
    claims = fleet(["gpu"], claims=True).claims
    assert claims is not None
    assert {hall.site for hall in claims.pue.halls} == {
        "air-enterprise", "hyperscale", "direct-to-chip", "immersion",
    }  # fmt: skip
    assert any(hall.reached_in for hall in claims.pue.halls)
    for hall in claims.pue.halls:
        for climate in ("cold", "temperate", "hot-dry", "hot-humid"):
            for water in ("evaporative", "hybrid", "dry"):
                found = fleet(["gpu"], site=hall.site, climate=climate, water=water).answers[0].figures
                assert (value(found, "pue") <= 1.05) == ((climate, water) in hall.reached_in)


def test_claims_of_the_hall_asked_for_are_its_own() -> None:
    found = fleet(["gpu"], site="immersion", climate="cold", water="evaporative", claims=True)
    assert found.claims is not None
    assert found.claims.pue.holds_before
    (own,) = [hall for hall in found.claims.pue.halls if hall.site == "immersion"]
    assert own.pue_ratio == value(found.answers[0].figures, "pue")
    assert own.half_ratio == pytest.approx(float(np.ravel(found.claims.pue.change.pue_after)[0]))
    assert own.warm_ratio <= own.half_ratio


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
