"""Which assumption decides between fleets, and when two common claims would hold: planted, by hand, and run again."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.preset import library
from npuwatt.preset.paths import with_values
from npuwatt.study.fleet import Fleets, case_of, fleet
from npuwatt.study.fleet_figures import Figures, figures
from npuwatt.study.fleet_ranking import rank
from npuwatt.study.ranges import Ranged

METRIC = "usd_per_million_tokens"
TWINS = ("gpu", "h100-sxm")  # one device by two names


@cache
def four() -> Fleets:
    return fleet(["gpu", "b200", "npu", "pim"], claims=True)


@cache
def twins(first_usd: float = 40000, second_usd: float = 50000) -> Fleets:
    return fleet(TWINS, prices=(f"gpu={first_usd}USD", f"h100-sxm={second_usd}USD"))


def value(found: Figures, name: str) -> float:
    return float(np.ravel(found.metrics[name])[0])


def planted(low: float, high: float, value: float = 50000, place: int = 1) -> Ranged:
    return Ranged(
        address="planted", paths=(("units", str(place), "price", "purchase"),), value=value, low=low, high=high,
        suffix="_usd", source="assumed",
    )  # fmt: skip


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
        assert ranking.ends_ratio[1][end] * base == pytest.approx(combined)
        assert ranking.ends_ratio[0][end] * cost(0) == pytest.approx(
            cost(0, hall=per_w)
        )  # the price is not its own


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


@pytest.mark.parametrize(
    ("before", "after", "left_out"),
    [
        # At 298.15 K of approach the evaporator of air at 25 degC is at absolute zero: a COP of 0.
        ("approach: {value: 12 K, low: 6 K, high: 18 K", "approach: {value: 12 K, low: 6 K, high: 298.15 K",
            "datacenter.parts.chiller.approach"),
        ("rung: contained-air", "rung: contained-air\ncoolant: {value: 20 degC, high: 28 degC, source: assumed, where: a test}",
            "datacenter.coolant"),
        ("rung: contained-air", "rung: contained-air\npue: {value: 1.2, low: 1, high: 101, source: assumed, where: a test}",
            "datacenter.pue"),
    ],
)  # fmt: skip
def test_a_range_at_whose_end_a_hall_has_no_figures_is_not_varied_and_the_rest_is(
    before: str, after: str, left_out: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    text = Path(library.presets_root(), "datacenters", "hyperscale.yaml").read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))
    found = fleet(["gpu", "npu"], site=str(path))
    assert found.left_out == (left_out,)
    assert found.rankings["cost"].turns
