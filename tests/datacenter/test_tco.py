"""Cost of ownership: published worked examples, laws of capital, mistakes of peers, the default node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.datacenter.serving import servers_in_feed
from npuwatt.datacenter.tco import (
    BOUGHT,
    HOUR_S,
    MONTH_S,
    YEAR_S,
    Money,
    Node,
    Price,
    break_even_s,
    buying_break_even_s,
    buying_npv_usd,
    capital_usd,
    colocated_usd_per_s,
    device_hour_usd,
    energy_share,
    interest_usd,
    million_tokens_usd,
    monthly_payment_usd,
    net_present_value_usd,
    node_of,
    owned_usd_per_s,
    present_value_usd,
    rented_usd_per_s,
)
from npuwatt.errors import NpuwattError
from npuwatt.record import names_of, replace
from npuwatt.study.scenario import load_money, load_prices
from npuwatt.units import suffix_of

FIXED = settings(derandomize=True, deadline=None)
KWH_J = 3.6e6
MONEY = load_money().record
PRICES = load_prices().record
H100_NODE = Node(price_usd=300_000.0, devices_count=8.0, provisioned_w=10_200.0)
rates = st.one_of(st.just(0.0), st.floats(1e-12, 0.5))
lives_s = st.integers(1, 480).map(lambda months: months * MONTH_S)
amounts = st.floats(1.0, 1e9)


def hour(node: Node, money: Money, **asked: Any) -> dict[str, Any]:
    owned = owned_usd_per_s(node, money, **({"pue_ratio": 1.2} | asked))
    return device_hour_usd(owned, devices_count=node.devices_count, sold_fraction=1.0)


def whole(parts: dict[str, Any]) -> Any:
    return sum(parts.values())


# --- published cases ------------------------------------------------------------------------------------------------


def test_the_default_h100_node_costs_1_80_an_hour_and_energy_is_5_percent_of_it() -> None:
    # 300 k$, 10 % network, 4 y at 8 %, 11.7 $/W over 15 y, 0.04 $/W/month, 5 % maintenance, 10.2 kW, 75 %, PUE 1.2,
    # 0.0826 $/kWh, months of 730 h: by hand (330,000 x 0.0244129 + 119,340 x 0.0095565 + 408 + 343.75 + 553.5) / 5840.
    parts = hour(H100_NODE, MONEY)
    assert whole(parts) == pytest.approx(1.80, abs=0.005)
    assert parts["servers"] + parts["network"] == pytest.approx(1.38, abs=0.005)
    assert parts["facility"] == pytest.approx(0.20, abs=0.005)
    assert parts["facility_opex"] == pytest.approx(0.07, abs=0.005)
    assert parts["maintenance"] == pytest.approx(0.06, abs=0.005)
    assert parts["it_energy"] + parts["overhead_energy"] == pytest.approx(0.095, abs=0.0005)
    assert energy_share(parts) == pytest.approx(0.053, abs=0.0005)
    assert parts["staff"] == parts["software"] == parts["spares"] == 0


@pytest.mark.parametrize(("years", "usd"), [(3, 2.21), (4, 1.80), (5, 1.55)])
def test_a_shorter_life_of_servers_costs_more(years: float, usd: float) -> None:
    assert whole(hour(H100_NODE, replace(MONEY, server_life_s=years * YEAR_S))) == pytest.approx(
        usd, abs=0.005
    )


def test_the_default_node_is_what_presets_of_price_and_power_make_of_eight_h100() -> None:
    node = node_of(PRICES.devices["h100-sxm"], MONEY, devices_count=8.0, device_w=700.0)
    assert node.price_usd == pytest.approx(300_000)
    assert node.provisioned_w == pytest.approx(10_200, rel=0.001)
    assert whole(hour(node, MONEY)) == pytest.approx(1.80, abs=0.005)


def test_at_20_cents_a_kilowatt_hour_energy_is_12_percent() -> None:
    assert energy_share(hour(H100_NODE, MONEY, tariff_usd_per_j=0.20 / KWH_J)) == pytest.approx(
        0.12, abs=0.005
    )


def test_halving_the_watts_saves_a_tenth_and_more_than_half_of_it_is_not_energy() -> None:
    before, after = hour(H100_NODE, MONEY), hour(replace(H100_NODE, provisioned_w=5_100.0), MONEY)
    saved = {name: before[name] - after[name] for name in before}
    assert whole(saved) / whole(before) == pytest.approx(0.10, abs=0.005)
    assert saved["it_energy"] + saved["overhead_energy"] < 0.5 * whole(saved)


def test_an_hour_of_1_80_at_2000_tokens_a_second_is_25_cents_a_million() -> None:
    per_s = {"all": 1.80 / HOUR_S}
    assert million_tokens_usd(per_s, tokens_per_s=2000.0)["all"] == pytest.approx(0.25, abs=1e-12)


ASIC_CLOUD = {
    "server_life_s": 18 * MONTH_S,
    "facility_life_s": 144 * MONTH_S,
    "cost_of_capital_fraction": 0.08,
    "network_ratio": 0.0,
    "maintenance_fraction": 0.05,
    "facility_usd_per_w": 10.0,
    "facility_opex_usd_per_w_s": 0.04 / MONTH_S,
    "tariff_usd_per_j": 0.067 / KWH_J,
    "average_power_fraction": 1.0,
    "month_s": 720 * HOUR_S,
}


def test_the_cost_of_a_kilowatt_server_over_its_life_is_that_of_asic_clouds() -> None:
    # Magaki et al., ISCA 2016, evalTCO of its code: 1 kW, 5,000 $, 18 months of 30 days.
    money = replace(MONEY, **ASIC_CLOUD)
    node = Node(price_usd=5000.0, devices_count=1.0, provisioned_w=1000.0)
    life_s = 18 * money.month_s
    parts = {name: cost * life_s for name, cost in owned_usd_per_s(node, money, pue_ratio=1.5).items()}
    assert parts["facility"] == pytest.approx(1250.00 + 698.41, abs=0.01)
    assert parts["facility_opex"] == pytest.approx(720.00, abs=0.01)
    assert parts["it_energy"] == pytest.approx(868.32, abs=0.01)
    assert parts["overhead_energy"] == pytest.approx(434.16, abs=0.01)
    assert parts["servers"] == pytest.approx(5000.00 + 322.63, abs=0.01)
    assert parts["maintenance"] == pytest.approx(250.00, abs=0.01)
    assert whole(parts) == pytest.approx(9543.52, rel=0.001)
    asked = {"cost_of_capital_fraction": 0.08, "life_s": 18 * MONTH_S}
    assert interest_usd(5000.0, **asked) == pytest.approx(322.63, abs=0.01)
    per_month = interest_usd(10_000.0, **asked | {"life_s": 144 * MONTH_S}) / 144
    assert 18 * per_month == pytest.approx(698.41, abs=0.01)


def test_the_capital_of_64_nodes_is_that_of_a_published_sheet() -> None:
    # tech-talk-cto, August 2024: 64 nodes of 310,000, 8 switches of 36,000, cables 675,840, facility 50,000 a node.
    nodes, network = 64, 8 * 36_000 + 675_840
    money = replace(MONEY, network_ratio=network / (nodes * 310_000), facility_usd_per_w=50_000 / 10_200)
    node = replace(H100_NODE, price_usd=310_000.0)
    parts = {name: cost * nodes for name, cost in capital_usd(node, money).items()}
    assert whole(parts) == pytest.approx(24_003_840, abs=0.01)
    assert whole(parts) / nodes == pytest.approx(375_060, abs=0.01)
    assert whole(parts) / nodes / 8 == pytest.approx(46_883, abs=1)
    assert parts["network"] / whole(parts) == pytest.approx(0.040, abs=0.0005)


def test_a_cluster_of_50_megawatts_holds_32051_b200_and_pays_for_the_power_of_its_servers_too() -> None:
    # aiinframap.com sizer: 1000 W a device, 1.3 for the server, PUE 1.2, 40,000 $ each. Its own energy bill of five
    # years (94.34 M$) leaves the 1.3 out; with it, at 70 % and 0.08 $/kWh, it is 122.64 M$.
    devices = float(servers_in_feed(50e6, server_w=1300.0, pue_ratio=1.2))
    assert devices == 32_051
    assert devices * 1300 == pytest.approx(41.7e6, rel=0.001)
    assert devices * 1300 / 3517 == pytest.approx(11_847, rel=0.001)
    bare = Price(dated="2026", covers="server", basis="sale", purchase_usd=40_000.0)
    money = replace(MONEY, server_power_ratio=1.3, average_power_fraction=0.7)
    node = node_of(bare, money, devices_count=devices, device_w=1000.0)
    assert node.price_usd == pytest.approx(1.28e9, rel=0.002)
    owned = owned_usd_per_s(node, money, pue_ratio=1.2, tariff_usd_per_j=0.08 / KWH_J)
    energy = (owned["it_energy"] + owned["overhead_energy"]) * 5 * 8760 * HOUR_S
    assert energy == pytest.approx(122.64e6, rel=0.001)
    assert energy / 1.3 == pytest.approx(94.34e6, rel=0.001)


# --- laws -----------------------------------------------------------------------------------------------------------


@FIXED
@given(capex=amounts, rate=rates, life_s=lives_s)
def test_the_present_value_of_an_annuity_is_what_was_spent(capex: float, rate: float, life_s: float) -> None:
    asked = {"cost_of_capital_fraction": rate, "life_s": life_s}
    monthly = monthly_payment_usd(capex, **asked)
    assert present_value_usd(monthly, **asked) == pytest.approx(capex, rel=1e-12)
    flows = np.full((1, round(life_s / MONTH_S) + 1), float(monthly))
    flows[0, 0] = -capex
    assert abs(net_present_value_usd(flows, cost_of_capital_fraction=rate).item()) <= 1e-12 * capex


@FIXED
@given(capex=amounts, rate=rates, life_s=lives_s, left=st.floats(0, 1))
def test_what_is_left_in_the_end_pays_its_part(capex: float, rate: float, life_s: float, left: float) -> None:
    monthly = monthly_payment_usd(
        capex, cost_of_capital_fraction=rate, life_s=life_s, salvage_usd=left * capex
    )
    flows = np.full((1, round(life_s / MONTH_S) + 1), float(monthly))
    flows[0, 0] = -capex
    flows[0, -1] += left * capex
    assert abs(net_present_value_usd(flows, cost_of_capital_fraction=rate).item()) <= 1e-11 * capex


@FIXED
@given(capex=amounts, rate=rates, life_s=lives_s, left=st.floats(0, 1))
def test_straight_line_and_interest_are_what_is_paid(
    capex: float, rate: float, life_s: float, left: float
) -> None:
    # The interest of a plan that pays back month by month, added up the long way.
    months, asked = round(life_s / MONTH_S), {"cost_of_capital_fraction": rate, "life_s": life_s}
    monthly = float(monthly_payment_usd(capex, salvage_usd=left * capex, **asked))
    owed, paid = capex, 0.0
    for _ in range(months):
        paid += owed * rate / 12
        owed += owed * rate / 12 - monthly
    assert owed == pytest.approx(left * capex, abs=1e-7 * capex)
    assert interest_usd(capex, salvage_usd=left * capex, **asked) == pytest.approx(paid, abs=1e-7 * capex)


def test_without_interest_the_annuity_is_a_straight_line() -> None:
    assert monthly_payment_usd(4800.0, cost_of_capital_fraction=0.0, life_s=4 * YEAR_S) == 100.0


def test_a_yearly_rate_is_nominal_and_paid_monthly() -> None:
    # A compound yearly rate of 8 % would be 0.643 % a month, a nominal one is 0.667 %.
    monthly = monthly_payment_usd(1.0, cost_of_capital_fraction=0.08, life_s=YEAR_S)
    assert monthly == pytest.approx((0.08 / 12) / (1 - (1 + 0.08 / 12) ** -12), rel=1e-14)


MONEY_FIELDS = [name for name in names_of(MONEY) if "usd" in suffix_of(name)]


@pytest.mark.parametrize("factor", [0.5, 3.0])
@pytest.mark.parametrize("tenure", [owned_usd_per_s, colocated_usd_per_s])
def test_costs_are_homogeneous_of_degree_one_in_prices(tenure: Any, factor: float) -> None:
    money = replace(
        MONEY, staff_usd_per_s=1e-4, software_usd_per_s=2e-4, spares_ratio=0.02, salvage_fraction=0.2
    )
    scaled = replace(money, **{name: factor * getattr(money, name) for name in MONEY_FIELDS})
    dearer = replace(H100_NODE, price_usd=factor * H100_NODE.price_usd)
    before, after = tenure(H100_NODE, money, pue_ratio=1.3), tenure(dearer, scaled, pue_ratio=1.3)
    assert before.keys() == after.keys()
    for name, cost in before.items():
        assert cost > 0
        assert after[name] == pytest.approx(factor * cost, rel=1e-12)


def test_a_pue_of_one_adds_nothing() -> None:
    assert hour(H100_NODE, MONEY, pue_ratio=1.0)["overhead_energy"] == 0


def test_hours_that_nobody_uses_are_paid_by_those_that_somebody_does() -> None:
    owned = owned_usd_per_s(H100_NODE, MONEY, pue_ratio=1.2)
    full, half = (device_hour_usd(owned, devices_count=8.0, sold_fraction=sold) for sold in (1.0, 0.5))
    assert half == pytest.approx({name: 2 * cost for name, cost in full.items()})


def test_measured_power_replaces_the_usual_share() -> None:
    measured = hour(replace(H100_NODE, average_w=7300.0), MONEY)
    assert measured["it_energy"] == pytest.approx(7.3 * 0.0826 / 8, rel=1e-12)
    assert measured["facility"] == hour(H100_NODE, MONEY)["facility"]


def test_colocation_takes_the_place_of_the_hall_and_of_energy_only_where_the_contract_has_it() -> None:
    owned, colocated = (f(H100_NODE, MONEY, pue_ratio=1.2) for f in (owned_usd_per_s, colocated_usd_per_s))
    assert colocated["colocation"] * 730 * HOUR_S == pytest.approx(190 * 10.2, rel=1e-12)
    shared = owned.keys() - {"facility", "facility_opex"}
    assert colocated.keys() == shared | {"colocation"}
    assert all(colocated[name] == owned[name] for name in shared)
    inclusive = colocated_usd_per_s(H100_NODE, replace(MONEY, colocation_has_energy=True), pue_ratio=1.2)
    assert energy_share(inclusive) == 0


def test_a_commitment_takes_its_discount_off_the_rent() -> None:
    h100 = PRICES.devices["h100-sxm"]
    assert whole(rented_usd_per_s(h100, MONEY, devices_count=8.0)) * HOUR_S == pytest.approx(8 * 2.46)
    year = rented_usd_per_s(h100, MONEY, devices_count=1.0, commitment="one-year")
    assert whole(year) * HOUR_S == pytest.approx(2.46 * 0.63)


def test_at_break_even_buying_and_renting_have_cost_the_same() -> None:
    rented = rented_usd_per_s(PRICES.devices["h100-sxm"], MONEY, devices_count=8.0)
    time_s = float(buying_break_even_s(H100_NODE, MONEY, rented, pue_ratio=1.2))
    running = {k: v for k, v in owned_usd_per_s(H100_NODE, MONEY, pue_ratio=1.2).items() if k not in BOUGHT}
    assert 330_000 + time_s * whole(running) == pytest.approx(time_s * whole(rented), rel=1e-12)
    # By hand: 330,000 / (8 x 2.46 - 8 x (1.798 - 1.380)) = 330,000 / 16.33 = 20,200 h.
    assert time_s / HOUR_S == pytest.approx(20_200, rel=0.001)


def test_the_worth_of_buying_is_that_of_its_flows_and_none_at_the_rent_that_owning_costs() -> None:
    rented = rented_usd_per_s(PRICES.devices["h100-sxm"], MONEY, devices_count=8.0)
    running = {k: v for k, v in owned_usd_per_s(H100_NODE, MONEY, pue_ratio=1.2).items() if k not in BOUGHT}
    monthly = (whole(rented) - whole(running)) * float(MONEY.month_s)
    flows = np.array([-330_000.0, *[monthly] * 48])
    rate = MONEY.cost_of_capital_fraction
    npv = net_present_value_usd(flows, cost_of_capital_fraction=rate).item()
    assert float(buying_npv_usd(H100_NODE, MONEY, rented, pue_ratio=1.2)) == pytest.approx(npv)
    fair = {"rent": whole(owned_usd_per_s(H100_NODE, MONEY, pue_ratio=1.2))}
    assert abs(float(buying_npv_usd(H100_NODE, MONEY, fair, pue_ratio=1.2))) < 1e-6
    resold = replace(MONEY, salvage_fraction=0.25)
    fair = {"rent": whole(owned_usd_per_s(H100_NODE, resold, pue_ratio=1.2))}
    assert abs(float(buying_npv_usd(H100_NODE, resold, fair, pue_ratio=1.2))) < 1e-6


@pytest.mark.parametrize(
    ("extra", "saved", "time_s"),
    [(100.0, 2.0, 50.0), (100.0, 0.0, np.inf), (100.0, -1.0, np.inf), (-5.0, 2.0, 0.0), (0.0, 0.0, 0.0)],
)
def test_one_fleet_pays_off_against_another_when_it_has_saved_what_it_cost_more(
    extra: float, saved: float, time_s: float
) -> None:
    assert break_even_s(extra_capital_usd=extra, saved_usd_per_s=saved) == time_s


def test_points_equal_a_loop() -> None:
    rng = np.random.default_rng(6)
    life, rate, watts, pue = (
        rng.uniform(low, high, 20) for low, high in ((1, 8), (0, 0.2), (2e3, 12e3), (1, 2))
    )
    rate[0] = 0.0

    def costs(life_s: Any, rate: Any, watts: Any, pue: Any) -> list[Any]:
        money = replace(MONEY, server_life_s=life_s, cost_of_capital_fraction=rate, salvage_fraction=0.1)
        node = replace(H100_NODE, provisioned_w=watts)
        rented = rented_usd_per_s(PRICES.devices["h100-sxm"], money, devices_count=8.0)
        tenures = [f(node, money, pue_ratio=pue) for f in (owned_usd_per_s, colocated_usd_per_s)]
        return [*map(whole, tenures), buying_break_even_s(node, money, rented, pue_ratio=pue)]

    together = costs(column(life * YEAR_S), column(rate), column(watts), column(pue))
    alone = [costs(*one) for one in zip(life * YEAR_S, rate, watts, pue, strict=True)]
    for place, found in enumerate(together):
        assert found.shape == (20, 1)
        np.testing.assert_allclose(found[:, 0], [float(one[place]) for one in alone], rtol=1e-12)


# --- mistakes of peers ----------------------------------------------------------------------------------------------


def test_overhead_is_multiplied_by_the_time_once() -> None:
    # A port of Chiplet Cloud multiplies the overhead by watts and months a second time: 18,000 times for 1 kW.
    for months in (1.0, 18.0):
        money = replace(MONEY, server_life_s=months * MONTH_S)
        parts = owned_usd_per_s(replace(H100_NODE, provisioned_w=1000.0), money, pue_ratio=1.5)
        assert parts["overhead_energy"] == pytest.approx(0.5 * parts["it_energy"], rel=1e-12)


def test_upkeep_of_the_hall_is_by_watt_and_not_by_kilowatt() -> None:
    # The comment of ASIC Clouds' code says $/kW/month where its arithmetic has $/W/month.
    monthly = owned_usd_per_s(H100_NODE, MONEY, pue_ratio=1.2)["facility_opex"] * MONEY.month_s
    assert monthly == pytest.approx(0.04 * 10_200, rel=1e-12)


def test_a_year_of_books_is_twelve_months_whatever_their_hours() -> None:
    short = replace(MONEY, month_s=720 * HOUR_S)
    long, short_parts = (owned_usd_per_s(H100_NODE, money, pue_ratio=1.2) for money in (MONEY, short))
    assert short_parts["servers"] / long["servers"] == pytest.approx(730 / 720)
    assert short_parts["it_energy"] == long["it_energy"]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: replace(H100_NODE, price_usd=-5.0), "price: -5 given; expected a finite number, 0 or more"),
        (lambda: replace(MONEY, server_life_s=0.0), "server_life: 0 given; expected a finite number above 0"),
        (lambda: replace(MONEY, facility_usd_per_w=-1.0), "facility: -1 given; expected"),
        (lambda: replace(MONEY, cost_of_capital_fraction=8.0), "cost_of_capital: 8 given; expected a share"),
        (lambda: replace(MONEY, tariff_usd_per_j=np.nan), "tariff: nan given; expected a finite number"),
        (lambda: monthly_payment_usd(1.0, cost_of_capital_fraction=0.0, life_s=0.0), "life: 0 given; expected"),
        (lambda: hour(H100_NODE, MONEY, pue_ratio=0.9), "pue: 0.9 given; expected a number from 1 to 100"),
        (lambda: hour(H100_NODE, MONEY, tariff_usd_per_j=-1.0), "tariff: -1 given; expected"),
        (lambda: device_hour_usd({}, devices_count=8.0, sold_fraction=1.2), "sold: 1.2 given; expected a share"),
        (lambda: million_tokens_usd({}, tokens_per_s=0.0), "tokens: 0 given; expected a finite number above 0"),
        (lambda: replace(H100_NODE, average_w=11e3), "average: 11000 W given; expected at most what is provisioned"),
        (lambda: replace(PRICES.devices["l40s"], rent_usd_per_s=-1.0), "rent: -1 given; expected"),
        (
            lambda: rented_usd_per_s(PRICES.devices["gaudi3"], MONEY, devices_count=1.0),
            "rent: none known; expected a price to rent at, as in 2.5 USD/h",
        ),
        (
            lambda: rented_usd_per_s(PRICES.devices["l40s"], MONEY, devices_count=1.0, commitment="one-yaer"),
            "commitment: 'one-yaer' given; did you mean 'one-year'?",
        ),
        (
            lambda: node_of(
                replace(PRICES.devices["l40s"], purchase_usd=None), MONEY, devices_count=1.0, device_w=1.0
            ),
            "purchase: none known; expected a price to buy at, as in 30000 USD",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(made: Any, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        made()
    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
