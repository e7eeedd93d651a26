"""Heat in a handset: published figures, laws it must obey, an own fine solution, and points that equal a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import Array, column
from npuwatt.handset import thermal
from npuwatt.handset.governor import Kind
from npuwatt.handset.network import Handset, Leakage, Link, Node, Surface, Trip, Trips
from npuwatt.handset.reaching import reaching
from npuwatt.handset.thermal import Course, course, steady, sustainable
from npuwatt.record import replace
from npuwatt.study.scenario import load_handset

PHONE = load_handset("large-phone").record
ROOM_K = 298.15
LIMIT_K = 315.15
NO_LEAKAGE = Leakage(share_fraction=0.0, growth_per_k=0.036, reference_k=318.15)
KINDS: tuple[Kind, ...] = ("none", "trips", "allocator")
SIGMA_W_PER_M2_K4 = 5.670374419e-8  # CODATA 2018


def ran(handset: Handset, power_w: Any, **more: Any) -> Course:
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": ROOM_K, "duration_s": 600.0}
    return course(handset, power_w=power_w, **(told | more))


def linear(handset: Handset, **more: Any) -> Handset:
    """The same without leakage and radiation, with a constant coefficient at the surface."""
    surface = replace(handset.surface, emissivity_fraction=0.0, convection_exponent_ratio=0.0)
    return replace(handset, leakage=NO_LEAKAGE, surface=surface, **more)


def lumped(spreading: float) -> Handset:
    """A phone of one node: 170 J/K, 0.0245 m2 at 10 W/m2/K."""
    surface = Surface(
        area_m2=0.0245, spreading_fraction=spreading, emissivity_fraction=0.0,
        convection_w_per_m2_k=10.0, convection_rise_k=17.0, convection_exponent_ratio=0.0,
    )  # fmt: skip
    return replace(
        PHONE, nodes={"phone": Node(capacity_j_per_k=170.0)}, links=(), heated="phone", warmed="phone",
        skin="phone", other_w=0.0, leakage=NO_LEAKAGE, surface=surface,
    )  # fmt: skip


def leaky() -> Handset:
    """Three nodes by hand, with strong leakage that does not quite run away."""
    capacities = {"die": 2.0, "board": 20.0, "skin": 60.0}
    return replace(
        PHONE,
        nodes={name: Node(capacity_j_per_k=value) for name, value in capacities.items()},
        links=(
            Link(first="die", second="board", resistance_k_per_w=3.0),
            Link(first="board", second="skin", resistance_k_per_w=2.0),
        ),
        leakage=Leakage(share_fraction=0.12, growth_per_k=0.03, reference_k=318.15),
    )


# Published figures


@pytest.mark.parametrize(
    ("spreading", "steady_w", "five_minutes_w"), [(1.0, 4.2, 11.9), (0.75, 3.1, 8.9), (0.5, 2.1, 5.9)]
)
def test_a_lumped_phone_sustains_what_the_published_budget_says(
    spreading: float, steady_w: float, five_minutes_w: float
) -> None:
    """By hand: h A (limit - room) x spreading over 0.0245 m2 at 10 W/m2/K, C = 170 J/K x spreading; the coefficient of
    thermal spreading is that of Electronics Cooling, October 2023."""
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": ROOM_K, "limit_k": LIMIT_K}
    assert sustainable(lumped(spreading), **told).power_w[0, 0] == pytest.approx(steady_w, rel=0.02)
    found = reaching(lumped(spreading), time_s=300.0, **told)
    assert found.power_w[0, 0] == pytest.approx(five_minutes_w, rel=0.02)


def test_a_lumped_phone_warms_as_an_exponential_of_r_c() -> None:
    """Rise = P R (1 - exp(-t / RC)), by hand: R = 1 / (0.0245 x 10)."""
    found = ran(lumped(1.0), 4.0)
    resistance = 1.0 / 0.245
    rise = 4.0 * resistance * (1.0 - np.exp(-found.time_s / (resistance * 170.0)))
    assert found.skin_k[0] == pytest.approx(ROOM_K + rise, rel=1e-12)


def test_the_skin_reaches_its_limit_when_the_exponential_does() -> None:
    found = ran(lumped(1.0), 8.0, limit_k=LIMIT_K, duration_s=900.0)
    by_hand_s = -170.0 / 0.245 * np.log(1.0 - 17.0 * 0.245 / 8.0)
    assert found.reaches_s[0, 0] == pytest.approx(by_hand_s, abs=0.01)


@pytest.mark.parametrize("over_k", [0.0, 2.0])
def test_a_skin_that_starts_at_its_limit_or_above_has_reached_it(over_k: float) -> None:
    found = ran(PHONE, column([0.0, 8.0]), limit_k=LIMIT_K, start_k=LIMIT_K + over_k)
    assert found.reaches_s.ravel().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("governor", KINDS)
def test_peaks_are_the_warmest_moments_of_skin_and_die(governor: Kind) -> None:
    found = ran(PHONE, column([2.0, 8.0]), governor=governor, start_k=310.0, duration_s=1800.0)
    np.testing.assert_array_equal(found.peak_skin_k, found.skin_k.max(axis=1, keepdims=True))
    np.testing.assert_array_equal(found.peak_die_k, found.die_k.max(axis=1, keepdims=True))


def test_a_case_adds_its_resistance_in_the_way_to_the_room() -> None:
    """By hand: P (R case / spreading + 1 / (0.0245 x 10 x spreading)) over the room."""
    found = steady(lumped(0.75), power_w=2.0, rated_w=8.0, ambient_k=ROOM_K, in_case=True)
    outside = 2.0 / (0.245 * 0.75)
    inside = outside + 2.0 * PHONE.case.resistance_k_per_w / 0.75
    assert found.names == ("phone", "case")
    assert found.temperature_k[0] == pytest.approx(np.array([ROOM_K + inside, ROOM_K + outside]), rel=1e-12)


# Laws


@pytest.mark.parametrize("in_case", [False, True])
@pytest.mark.parametrize("handset", [PHONE, leaky()], ids=["large-phone", "leaky"])
def test_a_long_course_ends_in_the_steady_state(handset: Handset, in_case: bool) -> None:
    slow = replace(handset, control_period_s=20.0)
    end = ran(slow, 2.0, duration_s=60_000.0, in_case=in_case, series=False).end_k
    settled = steady(slow, power_w=2.0, rated_w=8.0, ambient_k=ROOM_K, in_case=in_case)
    assert not settled.runs_away.any()
    assert end == pytest.approx(settled.temperature_k, abs=1e-9)


@pytest.mark.parametrize("in_case", [False, True])
@pytest.mark.parametrize("governor", KINDS)
def test_heat_that_comes_in_is_stored_or_goes_out(governor: Kind, in_case: bool) -> None:
    found = ran(
        PHONE, column([0.0, 3.0, 9.0]), governor=governor, in_case=in_case, duration_s=1200.0, series=False
    )
    assert found.stored_j + found.out_j == pytest.approx(found.in_j, rel=1e-9)
    capacities = [node.capacity_j_per_k for node in PHONE.nodes.values()]
    capacities[-1] = capacities[-1] * PHONE.surface.spreading_fraction
    if in_case:
        capacities.append(PHONE.case.capacity_j_per_k * PHONE.surface.spreading_fraction)
    stored = ((found.end_k - ROOM_K) * np.array(capacities)).sum(axis=-1, keepdims=True)
    assert found.stored_j == pytest.approx(stored, rel=1e-9)


def test_without_leakage_what_comes_in_is_what_chip_and_rest_draw() -> None:
    found = ran(replace(PHONE, leakage=NO_LEAKAGE), 9.0, governor="trips")
    drawn = found.power_w.sum() * 1.0 + PHONE.other_w * 600.0
    assert found.in_j[0, 0] == pytest.approx(drawn, rel=1e-9)
    assert found.mean_power_w[0, 0] == pytest.approx(found.power_w.mean(), rel=1e-12)


@pytest.mark.parametrize(("junction_k", "binds"), [(500.0, "skin"), (318.15, "junction")])
def test_twice_the_resistances_halve_the_sustainable_power(junction_k: float, binds: str) -> None:
    once = linear(PHONE, other_w=0.0, junction_limit_k=junction_k)
    links = tuple(replace(link, resistance_k_per_w=2 * link.resistance_k_per_w) for link in once.links)
    surface = replace(once.surface, area_m2=once.surface.area_m2 / 2)
    twice = replace(once, links=links, surface=surface)
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": ROOM_K, "limit_k": LIMIT_K}
    before, after = sustainable(once, **told), sustainable(twice, **told)
    assert before.bound_by == binds
    assert after.power_w == pytest.approx(before.power_w / 2, rel=1e-12)


def test_nothing_warms_or_cools_where_nothing_is_drawn() -> None:
    """A chip at 0 W leaks nothing, so what it leaks less than at its reference may take no heat out of the room."""
    idle = replace(PHONE, other_w=0.0)
    found = ran(idle, 0.0, ambient_k=283.15)
    settled = steady(idle, power_w=0.0, rated_w=8.0, ambient_k=283.15)
    assert found.die_k == pytest.approx(np.full((1, 601), 283.15), abs=1e-9)
    assert settled.temperature_k == pytest.approx(found.end_k, abs=1e-9)
    assert settled.leakage_w[0, 0] == 0.0


def test_rises_of_two_sources_add_up_where_all_laws_are_lines() -> None:
    both = linear(PHONE, other_w=1.5)
    chip_alone = ran(linear(PHONE, other_w=0.0), 4.0)
    rest_alone = ran(both, 0.0)
    together = ran(both, 4.0)
    for name in ("skin_k", "die_k", "end_k"):
        parts = getattr(chip_alone, name) + getattr(rest_alone, name) - ROOM_K
        assert getattr(together, name) == pytest.approx(parts, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    share=st.floats(0.0, 1.0),
    room_k=st.floats(273.15, 308.15),
    start=st.floats(0.0, 1.0),
    handset=st.sampled_from([PHONE, leaky(), lumped(0.75)]),
)
def test_no_overshoot_within_the_sustainable_power(
    share: float, room_k: float, start: float, handset: Handset
) -> None:
    """No node may pass a steady state that all start below, as heat flows from warm to cold only."""
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": room_k, "limit_k": LIMIT_K}
    power_w = share * sustainable(handset, **told).power_w
    start_k = room_k + start * (LIMIT_K - room_k)
    slow = replace(handset, control_period_s=5.0)
    if steady(slow, power_w=0.0, rated_w=8.0, ambient_k=room_k).temperature_k.max() > LIMIT_K:
        return  # the rest alone exceeds the limit
    found = course(slow, power_w=power_w, start_k=start_k, duration_s=3000.0, series=False, **told)
    assert 0.0 <= found.overshoot_k[0, 0] <= 1e-6


@pytest.mark.parametrize("power_w", [4.0, 8.0, 16.0])
def test_overshoot_is_at_most_the_heat_stored_before_the_skin_when_it_trips(power_w: float) -> None:
    """Once the chip is cut off, nothing but what lies upstream, and one period of demand, can warm the skin."""
    cut = Trips(steps=(Trip(temperature_k=LIMIT_K, power_fraction=0.0),), hysteresis_k=30.0)
    handset = replace(PHONE, leakage=NO_LEAKAGE, trips=cut)
    told: dict[str, Any] = {"limit_k": LIMIT_K, "duration_s": 2400.0}
    found = ran(handset, power_w, governor="trips", **told)
    reached_s = float(found.reaches_s[0, 0])
    over = np.maximum(ran(handset, power_w, **told | {"duration_s": reached_s}).end_k[0] - LIMIT_K, 0.0)
    stored_j = sum(
        node.capacity_j_per_k * rise for node, rise in zip(PHONE.nodes.values(), over, strict=True)
    )
    skin_j_per_k = PHONE.nodes["skin"].capacity_j_per_k * PHONE.surface.spreading_fraction
    assert 0.0 < found.overshoot_k[0, 0] <= (stored_j + power_w * PHONE.control_period_s) / skin_j_per_k


def test_a_chip_that_leaks_ever_more_is_told_and_stays_finite() -> None:
    wild = replace(PHONE, leakage=Leakage(share_fraction=0.8, growth_per_k=0.04, reference_k=298.15))
    powers = column([0.0, 8.0])
    with np.errstate(all="raise", under="ignore"):
        found = ran(wild, powers, duration_s=3000.0)
        settled = steady(wild, power_w=powers, rated_w=8.0, ambient_k=ROOM_K)
    assert found.runs_away[1, 0]
    assert settled.runs_away[1, 0]
    assert np.isinf(settled.temperature_k[1]).all()
    for name in ("power_w", "skin_k", "die_k", "end_k", "in_j", "out_j", "stored_j", "overshoot_k"):
        assert np.isfinite(getattr(found, name)).all(), name


def test_a_phone_of_usual_leakage_does_not_run_away() -> None:
    assert not ran(PHONE, 8.0).runs_away.any()


@pytest.mark.parametrize("limit_k", [PHONE.skin_limit_k, 311.15])
def test_an_allocator_that_knows_the_sustainable_power_ends_at_the_limit(limit_k: float) -> None:
    most = sustainable(PHONE, rated_w=8.0, ambient_k=ROOM_K, limit_k=limit_k).power_w
    allocator = replace(PHONE.allocator, sustainable_w=float(most[0, 0]), integral_gain_w_per_k=0.0)
    found = ran(
        replace(PHONE, allocator=allocator), 6.0, governor="allocator", limit_k=limit_k, duration_s=9000.0
    )
    assert found.skin_k[0, -1] == pytest.approx(limit_k, abs=1e-3)
    assert found.power_w[0, -1] == pytest.approx(most[0, 0], abs=1e-3)


def test_an_allocator_that_has_summed_an_overshoot_ends_just_below_the_limit() -> None:
    """Its sum only grows above the limit and is kept below it, so that a little less than the limit remains."""
    found = ran(PHONE, 6.0, governor="allocator", duration_s=5400.0)
    assert PHONE.skin_limit_k - 0.2 <= found.skin_k[0, -1] <= PHONE.skin_limit_k
    settled = steady(PHONE, power_w=found.power_w[:, -1:], rated_w=8.0, ambient_k=ROOM_K)
    assert found.end_k == pytest.approx(settled.temperature_k, abs=0.01)


# An own solution


def fine_course(handset: Handset, power_w: float, room_k: float, duration_s: float) -> tuple[Array, Array]:
    """Skin and die after each second by Runge and Kutta, with the laws written again from their equations."""
    names = list(handset.nodes)
    skin, die = names.index(handset.skin), names.index(handset.heated)
    surface, leakage = handset.surface, handset.leakage
    capacity = np.array([float(node.capacity_j_per_k) for node in handset.nodes.values()])
    capacity[skin] *= surface.spreading_fraction
    area = float(surface.area_m2 * surface.spreading_fraction)
    links = np.zeros((len(names), len(names)))
    for link in handset.links:
        here, there = names.index(link.first), names.index(link.second)
        for near, far in ((here, there), (there, here)):
            links[near, far] += 1.0 / link.resistance_k_per_w
            links[near, near] -= 1.0 / link.resistance_k_per_w

    def slope(now: Array) -> Array:
        flow = links @ now
        rise = float(now[skin]) - room_k
        factor = (abs(rise) / surface.convection_rise_k) ** surface.convection_exponent_ratio
        flow[skin] -= area * surface.convection_w_per_m2_k * factor * rise
        flow[skin] -= (
            area * surface.emissivity_fraction * SIGMA_W_PER_M2_K4 * (float(now[skin]) ** 4 - room_k**4)
        )
        grown = np.exp(leakage.growth_per_k * (float(now[die]) - leakage.reference_k)) - 1.0
        flow[die] += power_w + leakage.share_fraction * 8.0 * grown
        flow[names.index(handset.warmed)] += handset.other_w
        return np.asarray(flow / capacity)

    step_s = 0.05
    now = np.full(len(names), room_k)
    kept = [now]
    for _ in range(round(duration_s)):
        for _ in range(round(1.0 / step_s)):
            one = slope(now)
            two = slope(now + step_s / 2 * one)
            three = slope(now + step_s / 2 * two)
            four = slope(now + step_s * three)
            now = now + step_s / 6 * (one + 2 * two + 2 * three + four)
        kept.append(now)
    table = np.array(kept)
    return table[:, skin], table[:, die]


@pytest.mark.parametrize(
    ("handset", "room_k"), [(PHONE, ROOM_K), (PHONE, 308.15), (leaky(), 278.15)], ids=["25", "35", "leaky-5"]
)
def test_a_course_is_that_of_a_fine_step_solution(handset: Handset, room_k: float) -> None:
    skin_k, die_k = fine_course(handset, 6.0, room_k, duration_s=300.0)
    found = ran(handset, 6.0, ambient_k=room_k, duration_s=300.0)
    assert found.skin_k[0] == pytest.approx(skin_k, abs=1e-3)
    assert found.die_k[0] == pytest.approx(die_k, abs=0.01)


# Points


def varied() -> tuple[Handset, dict[str, Any]]:
    """Seven design points: power, room, start, limit, a resistance and a capacity vary."""
    rng = np.random.default_rng(7)

    def between(low: float, high: float) -> Array:
        return rng.uniform(low, high, (7, 1))

    links = (replace(PHONE.links[0], resistance_k_per_w=between(1.0, 4.0)), *PHONE.links[1:])
    nodes = {**PHONE.nodes, "battery": Node(capacity_j_per_k=between(40.0, 70.0))}
    told = {
        "power_w": between(1.0, 9.0), "ambient_k": between(285.0, 305.0), "start_k": between(290.0, 312.0),
        "limit_k": between(312.0, 318.0), "rated_w": between(5.0, 10.0),
    }  # fmt: skip
    return replace(PHONE, links=links, nodes=nodes), told


@pytest.mark.parametrize("governor", KINDS)
@pytest.mark.parametrize("chunk", [3, 2048])
def test_many_points_equal_a_loop_over_them(
    monkeypatch: pytest.MonkeyPatch, governor: Kind, chunk: int
) -> None:
    monkeypatch.setattr(thermal, "_CHUNK", chunk)
    handset, told = varied()
    together = course(handset, duration_s=400.0, governor=governor, **told)
    for point in range(7):
        resistance = float(np.asarray(handset.links[0].resistance_k_per_w)[point, 0])
        capacity = float(np.asarray(handset.nodes["battery"].capacity_j_per_k)[point, 0])
        own = replace(
            PHONE,
            links=(replace(PHONE.links[0], resistance_k_per_w=resistance), *PHONE.links[1:]),
            nodes={**PHONE.nodes, "battery": Node(capacity_j_per_k=capacity)},
        )
        numbers: dict[str, Any] = {name: float(value[point, 0]) for name, value in told.items()}
        alone = course(own, duration_s=400.0, governor=governor, **numbers)
        for name in ("power_w", "skin_k", "die_k", "end_k", "in_j", "out_j", "peak_die_k", "reaches_s"):
            wanted = getattr(alone, name)[0]
            assert getattr(together, name)[point] == pytest.approx(wanted, rel=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_is_watched_is_kept_from_start_to_end(kind: Kind) -> None:
    told: dict[str, Any] = {"governor": kind, "start_k": column([300.0, 310.0]), "duration_s": 400.0}
    skin = ran(PHONE, column([3.0, 8.0]), watched="skin", **told)
    np.testing.assert_allclose(skin.watched_k, skin.skin_k, rtol=1e-12)
    battery = ran(PHONE, column([3.0, 8.0]), watched="battery", series=False, **told)
    place = tuple(PHONE.nodes).index("battery")
    assert battery.watched_k.shape == (2, len(battery.time_s))
    assert battery.skin_k.shape == (2, 0)
    np.testing.assert_allclose(battery.watched_k[:, -1], battery.end_k[:, place], rtol=1e-12)
    np.testing.assert_allclose(battery.watched_k[:, 0], [300.0, 310.0], rtol=1e-12)
    assert ran(PHONE, 3.0, duration_s=5.0).watched_k.shape == (1, 0)
