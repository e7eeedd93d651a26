"""Where a handset settles, and the power that it lasts at: limits, runaway, and points that equal a loop."""

from __future__ import annotations

import pytest

from npuwatt.arrays import column
from npuwatt.handset.network import Leakage
from npuwatt.handset.thermal import steady, sustainable
from npuwatt.record import replace
from npuwatt.study.scenario import load_handset

PHONE = load_handset("large-phone").record
ROOM_K = 298.15
LIMIT_K = 315.15


@pytest.mark.parametrize(("junction_k", "binds"), [(368.15, "skin"), (318.15, "junction")])
def test_at_the_sustainable_power_one_of_skin_and_die_settles_at_its_limit_and_the_other_below(
    junction_k: float, binds: str
) -> None:
    handset = replace(PHONE, junction_limit_k=junction_k)
    most = sustainable(handset, rated_w=8.0, ambient_k=ROOM_K, limit_k=LIMIT_K)
    settled = steady(handset, power_w=most.power_w, rated_w=8.0, ambient_k=ROOM_K)
    short_k = {
        "skin": LIMIT_K - settled.temperature_k[0, settled.names.index("skin")],
        "junction": junction_k - settled.temperature_k[0, settled.names.index("die")],
    }
    assert most.bound_by == binds
    assert short_k.pop(binds) == pytest.approx(0.0, abs=1e-9)
    assert min(short_k.values()) > 1.0


def test_beyond_the_power_bound_by_runaway_nothing_settles() -> None:
    wild = replace(PHONE, leakage=Leakage(share_fraction=0.35, growth_per_k=0.04, reference_k=308.15))
    most = sustainable(wild, rated_w=8.0, ambient_k=288.15, limit_k=330.0)
    assert most.bound_by == "runaway"
    around = most.power_w * column([0.999, 1.001])
    found = steady(wild, power_w=around, rated_w=8.0, ambient_k=288.15)
    assert found.runs_away.ravel().tolist() == [False, True]


def test_a_chip_that_leaks_more_than_its_handset_sheds_at_the_limit_sustains_nothing() -> None:
    """By hand: a die of 315 K or more leaks 40 W x (exp(0.002 x 115) - 1) = 10 W; a phone sheds 3 W at 17 K."""
    leaky = replace(PHONE, leakage=Leakage(share_fraction=1.0, growth_per_k=0.002, reference_k=200.0))
    found = sustainable(leaky, rated_w=40.0, ambient_k=ROOM_K, limit_k=LIMIT_K)
    assert (found.power_w[0, 0], found.bound_by[0, 0]) == (0.0, "runaway")


def test_where_the_rest_alone_exceeds_the_limit_the_chip_sustains_nothing() -> None:
    found = sustainable(replace(PHONE, other_w=20.0), rated_w=8.0, ambient_k=ROOM_K, limit_k=LIMIT_K)
    assert found.power_w == 0.0
    assert found.bound_by == "rest"


def test_steady_states_and_budgets_of_many_points_equal_a_loop_over_them() -> None:
    rooms, powers = column([285.0, 298.15, 305.0]), column([1.0, 3.0, 6.0])
    states = steady(PHONE, power_w=powers, rated_w=8.0, ambient_k=rooms).temperature_k
    budgets = sustainable(PHONE, rated_w=8.0, ambient_k=rooms, limit_k=LIMIT_K).power_w
    for point in range(3):
        room, power = float(rooms[point, 0]), float(powers[point, 0])
        alone = steady(PHONE, power_w=power, rated_w=8.0, ambient_k=room).temperature_k
        assert states[point] == pytest.approx(alone[0], rel=1e-12)
        budget = sustainable(PHONE, rated_w=8.0, ambient_k=room, limit_k=LIMIT_K).power_w
        assert budgets[point] == pytest.approx(budget[0], rel=1e-9)
