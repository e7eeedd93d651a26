"""Powers that bring skin or die to a limit at just a moment: held against courses of their own, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import column
from npuwatt.handset.network import Leakage, Node, Surface
from npuwatt.handset.reaching import reaching
from npuwatt.handset.thermal import course, steady, sustainable
from npuwatt.record import replace
from npuwatt.study.scenario import load_handset

PHONE = load_handset("large-phone").record
ROOM_K, LIMIT_K = 298.15, 315.15
SETTING: dict[str, Any] = {"ambient_k": ROOM_K, "limit_k": LIMIT_K}
NO_LEAKAGE = Leakage(share_fraction=0.0, growth_per_k=0.036, reference_k=318.15)


@pytest.mark.parametrize(
    ("seconds", "rated_w", "in_case", "bound"),
    [(5, 8, False, "junction"), (60, 30, False, "junction"), (600, 8, False, "skin"), (600, 8, True, "skin")],
)
def test_the_power_found_brings_one_of_both_to_its_limit_then(
    seconds: float, rated_w: float, in_case: bool, bound: str
) -> None:
    found = reaching(PHONE, rated_w=rated_w, time_s=seconds, in_case=in_case, **SETTING)
    assert found.bound_by[0, 0] == bound
    fine = replace(
        PHONE, control_period_s=seconds / 1000
    )  # pieces of its own, shorter than those of the search
    ran = course(
        fine, power_w=found.power_w, rated_w=rated_w, ambient_k=ROOM_K, duration_s=seconds, in_case=in_case
    )
    shares = {
        "skin": (ran.skin_k[0, -1] - ROOM_K) / (LIMIT_K - ROOM_K),
        "junction": (ran.die_k[0, -1] - ROOM_K) / (PHONE.junction_limit_k - ROOM_K),
    }
    assert shares.pop(bound) == pytest.approx(1.0, rel=0.005)
    assert max(shares.values()) < 1.0


def test_a_die_of_its_own_reaches_its_limit_by_its_time_constant() -> None:
    # By hand: without leakage a node of capacity C behind R to a skin too heavy to warm rises by P R (1 - exp(-t / R C)).
    heavy = {name: Node(capacity_j_per_k=1e9 if name == "skin" else 2.0) for name in ("die", "skin")}
    link = replace(PHONE.links[0], first="die", second="skin", resistance_k_per_w=3.0)
    two = replace(PHONE, nodes=heavy, links=(link,), warmed="skin", other_w=0.0, leakage=NO_LEAKAGE)
    found = reaching(two, rated_w=8.0, time_s=10.0, **SETTING)
    assert found.bound_by[0, 0] == "junction"
    rise_k = PHONE.junction_limit_k - ROOM_K
    assert found.power_w[0, 0] == pytest.approx(rise_k / 3.0 / (1 - math.exp(-10.0 / 6.0)), rel=1e-4)


def test_after_long_it_is_the_power_that_lasts() -> None:
    found = reaching(PHONE, rated_w=8.0, time_s=86400.0, **SETTING)
    assert found.power_w == pytest.approx(sustainable(PHONE, rated_w=8.0, **SETTING).power_w, rel=1e-4)


def test_a_longer_session_a_warmer_room_or_a_lower_limit_allows_less() -> None:
    def most_w(time_s: float = 300.0, **more: Any) -> float:
        return float(reaching(PHONE, rated_w=8.0, time_s=time_s, **(SETTING | more)).power_w[0, 0])

    assert most_w() > most_w(time_s=400.0) > most_w(time_s=1800.0)
    assert most_w() > most_w(ambient_k=303.15)
    assert most_w() > most_w(limit_k=313.15)
    assert most_w() > most_w(start_k=305.0)


def test_of_a_peak_that_is_sought_leakage_is_a_share_too() -> None:
    peak = reaching(PHONE, share_fraction=0.5, time_s=300.0, **SETTING).power_w
    again = reaching(PHONE, rated_w=peak, time_s=300.0, **SETTING).power_w
    assert again == pytest.approx(0.5 * peak, rel=1e-4)


def test_where_the_rest_alone_reaches_a_limit_nothing_is_left() -> None:
    found = reaching(replace(PHONE, other_w=30.0), rated_w=8.0, time_s=3000.0, **SETTING)
    assert (found.power_w[0, 0], found.bound_by[0, 0]) == (0.0, "rest")


@pytest.mark.parametrize("seconds", [0.6, 30.0, 14400.0])
@pytest.mark.parametrize("name", ["glasses", "fanless-laptop"])
def test_chips_that_run_away_still_have_an_answer(name: str, seconds: float) -> None:
    # A search that meets courses far beyond any limit must not end in no number.
    handset = load_handset(name).record
    found = reaching(
        handset, rated_w=column([1.0, 8.0, 30.0]), time_s=seconds, ambient_k=ROOM_K, limit_k=handset.skin_limit_k
    )  # fmt: skip
    assert np.all(np.isfinite(found.power_w))
    assert np.all(found.power_w > 0)


def test_points_equal_a_loop() -> None:
    rated, limit = column([2.0, 8.0, 20.0]), column([313.15, 315.15, 318.15])
    areas = column([0.02, 0.0245, 0.03])
    together = reaching(
        replace(PHONE, surface=replace(PHONE.surface, area_m2=areas)), rated_w=rated, ambient_k=ROOM_K, limit_k=limit,
        time_s=300.0,
    )  # fmt: skip
    for place in range(3):
        own = replace(PHONE, surface=replace(PHONE.surface, area_m2=float(areas[place, 0])))
        alone = reaching(
            own, rated_w=float(rated[place, 0]), ambient_k=ROOM_K, limit_k=float(limit[place, 0]), time_s=300.0
        )  # fmt: skip
        assert together.power_w[place, 0] == pytest.approx(alone.power_w[0, 0], rel=1e-4)


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_leakage_that_outgrows_what_the_surface_sheds_is_what_binds(share: float) -> None:
    leaky = replace(PHONE, leakage=replace(PHONE.leakage, share_fraction=share))
    found = sustainable(leaky, rated_w=8.0, **SETTING)
    assert found.bound_by[0, 0] == "runaway"
    for factor, away in ((0.999, False), (1.01, True)):
        settled = steady(leaky, power_w=factor * found.power_w, rated_w=8.0, ambient_k=ROOM_K)
        assert bool(settled.runs_away[0, 0]) == away


def test_a_surface_of_plain_numbers_is_taken_too() -> None:
    """Convection alone, without exponent: the conductance does not depend on the rise."""
    surface = Surface(
        area_m2=0.0245, spreading_fraction=1.0, emissivity_fraction=0.0, convection_w_per_m2_k=10.0,
        convection_rise_k=17.0, convection_exponent_ratio=0.0,
    )  # fmt: skip
    plain = replace(PHONE, surface=surface, leakage=NO_LEAKAGE, other_w=0.0)
    long = reaching(plain, rated_w=8.0, time_s=1e6, **SETTING)
    assert long.power_w[0, 0] == pytest.approx(0.245 * 17.0, rel=1e-3)  # h A (limit - room)
