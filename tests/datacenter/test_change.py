"""Chips of half the power in a hall: PUE by its causes, more units on the same feed, and a warning without a cause."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.datacenter.change import Change, cause_shares, same_feed, same_work, whole
from npuwatt.datacenter.cooling import Chiller, Cooling, Mover, allowed_coolant_k
from npuwatt.datacenter.facility import Facility, Parts, Ups, pue, sized_for, total_power_w
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.scenario import load_cooling, load_datacenter

FIXED = settings(derandomize=True, deadline=None)
COOLING: Cooling = load_cooling().record
NAMES = ("air-enterprise", "hyperscale", "direct-to-chip", "immersion")
HALLS: dict[str, Facility] = {name: load_datacenter(name).record for name in NAMES}
HALL = HALLS["hyperscale"]
DESIGN_W = 20e6
NO_WORK = Chiller(condensing_k=308.15, approach_k=5.0, carnot_fraction=0.5, least_lift_k=10.0, cop_ratio=1e15)


def plain(ups: Ups, fans: Mover, *, proportional: float = 0.0, fixed: float = 0.0) -> Facility:
    parts = Parts(
        design_it_w=DESIGN_W, ups=ups, distribution_fraction=proportional, lighting_fraction=0.0,
        miscellaneous_fraction=fixed, tower_fraction=0.0, fans=fans, chiller=NO_WORK,
    )  # fmt: skip
    return replace(HALL, parts=parts)


STILL = Mover(rise_k=10.0, pressure_pa=1e-9, efficiency_fraction=1.0, least_flow_fraction=0.0)
BLOWING = replace(STILL, pressure_pa=600.0)
NO_LOSS = Ups(standing_ratio=0.0, linear_ratio=0.0, square_ratio=0.0)


def test_half_the_power_with_proportional_and_fixed_overheads_raises_pue_and_lowers_the_total() -> None:
    found = same_work(
        plain(NO_LOSS, STILL, proportional=0.15, fixed=0.1),
        COOLING,
        it_before_w=DESIGN_W,
        it_after_w=DESIGN_W / 2,
    )
    assert (found.pue_before, found.pue_after) == pytest.approx((1.25, 1.35))
    assert found.facility_after_w / found.facility_before_w == pytest.approx(0.675 / 1.25)
    assert found.causes_ratio["fixed overhead"] == pytest.approx(0.1)
    assert cause_shares(found)["fixed overhead"] == pytest.approx(1.0)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("hall", "cause"),
    [
        (plain(NO_LOSS, BLOWING), "cubic fans"),
        (plain(Ups(standing_ratio=0.0, linear_ratio=0.0, square_ratio=0.03), STILL), "square-law losses"),
    ],
)
def test_a_pue_that_falls_at_part_load_names_cubic_fans_or_square_law_losses(
    hall: Facility, cause: str
) -> None:
    found = same_work(hall, COOLING, it_before_w=DESIGN_W, it_after_w=DESIGN_W / 2)
    assert found.pue_after < found.pue_before
    assert cause_shares(found)[cause] == pytest.approx(-1.0, abs=1e-6)
    assert found.warnings == ()


def test_square_law_losses_and_cubic_fans_fall_by_their_laws() -> None:
    losses = Ups(standing_ratio=0.01, linear_ratio=0.0, square_ratio=0.03)
    found = same_work(plain(losses, STILL), COOLING, it_before_w=DESIGN_W, it_after_w=DESIGN_W / 2)
    assert found.causes_ratio["square-law losses"] == pytest.approx(0.03 * (0.5 - 1.0))
    assert found.causes_ratio["standing losses"] == pytest.approx(0.01 * (2.0 - 1.0))
    blown = same_work(plain(NO_LOSS, BLOWING), COOLING, it_before_w=DESIGN_W, it_after_w=DESIGN_W / 2)
    at_design = 600.0 / (1005 * 1.2 * 10.0)
    assert blown.causes_ratio["cubic fans"] == pytest.approx(at_design * (0.5**2 - 1.0))


def test_a_warmer_coolant_that_half_the_power_allows_is_the_cause_and_has_its_share() -> None:
    hall = replace(HALLS["direct-to-chip"], climate="hot-humid", water="dry")
    plate = COOLING.rungs["direct-to-chip"]
    cool, warm = (
        replace(hall, coolant_k=allowed_coolant_k(plate, junction_limit_k=358.15, power_w=watts))
        for watts in (1400.0, 700.0)
    )
    found = same_work(cool, COOLING, it_before_w=DESIGN_W, it_after_w=DESIGN_W / 2, after=warm)
    alone = pue(warm, COOLING, DESIGN_W / 2) - pue(cool, COOLING, DESIGN_W / 2)
    assert found.causes_ratio["warmer coolant"] == pytest.approx(float(alone), rel=1e-9)
    assert found.causes_ratio["warmer coolant"] < 0
    assert -1 <= cause_shares(found)["warmer coolant"] < -0.3


def test_another_rung_is_the_cause_where_a_rack_comes_under_its_ceiling() -> None:
    after = replace(HALL, rung="rear-door")
    found = same_work(HALL, COOLING, it_before_w=10e6, it_after_w=10e6, after=after)
    assert found.causes_ratio["another rung"] == pytest.approx(
        float(pue(after, COOLING, 10e6) - pue(HALL, COOLING, 10e6))
    )
    assert all(cause == 0 for name, cause in found.causes_ratio.items() if name != "another rung")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"climate": "cold"}, "another climate or use of water"),
        ({"water": "evaporative"}, "another climate or use of water"),
        ({"parts": replace(HALLS["immersion"], rung="contained-air").parts}, "other parts"),
        ({"parts": sized_for(HALL, COOLING, 35e6).parts}, "size of the hall"),
        ({"pue_ratio": 1.05}, "PUE as given"),
    ],
)
def test_what_else_changes_in_a_hall_has_a_name(changes: dict[str, object], cause: str) -> None:
    found = same_work(HALL, COOLING, it_before_w=15e6, it_after_w=15e6, after=replace(HALL, **changes))
    (moved,) = [name for name, ratio in found.causes_ratio.items() if abs(float(ratio)) > 1e-12]
    assert moved == cause


@FIXED
@given(
    first=st.sampled_from(NAMES), second=st.sampled_from(NAMES), before=st.floats(0.02, 1), after=st.floats(0.02, 1),
    climate=st.sampled_from(tuple(COOLING.free_cooling_fraction)), coolant_k=st.one_of(st.none(), st.floats(285, 325)),
    stated=st.one_of(st.none(), st.floats(1, 2)),
)  # fmt: skip
def test_the_causes_sum_to_the_change_of_pue(
    first: str,
    second: str,
    before: float,
    after: float,
    climate: str,
    coolant_k: float | None,
    stated: float | None,
) -> None:
    hall, other = sized_for(HALLS[first], COOLING, 1e7), sized_for(HALLS[second], COOLING, 1e7)
    other = replace(other, climate=climate, coolant_k=coolant_k, pue_ratio=stated)
    assert hall.parts is not None and other.parts is not None
    found = same_work(
        hall, COOLING,
        it_before_w=before * hall.parts.design_it_w, it_after_w=after * other.parts.design_it_w, after=other,
    )  # fmt: skip
    assert sum(found.causes_ratio.values()) == pytest.approx(found.pue_after - found.pue_before, abs=1e-9)
    shares = [float(share) for share in cause_shares(found).values()]
    for side in (sum(share for share in shares if share > 0), sum(share for share in shares if share < 0)):
        assert side == pytest.approx(0.0, abs=1e-9) or abs(side) == pytest.approx(1.0)


def test_a_pue_that_falls_because_it_is_given_so_is_warned_of() -> None:
    # "PUE 1.05 because the chips take half": a number, and no part of the hall behind it.
    found = same_work(
        replace(HALL, pue_ratio=1.2),
        COOLING,
        it_before_w=10e6,
        it_after_w=5e6,
        after=replace(HALL, pue_ratio=1.05),
    )
    assert found.warnings == (
        "PUE falls from 1.2 to 1.05 because it is given so: no part of the hall is the cause",
    )
    raised = same_work(
        replace(HALL, pue_ratio=1.05),
        COOLING,
        it_before_w=10e6,
        it_after_w=5e6,
        after=replace(HALL, pue_ratio=1.2),
    )
    same = same_work(replace(HALL, pue_ratio=1.2), COOLING, it_before_w=10e6, it_after_w=5e6)
    assert raised.warnings == same.warnings == ()


def test_a_lower_pue_frees_1_923_megawatts_of_a_10_megawatt_feed_for_1504_accelerators() -> None:
    # cooling-pue-ladder 1.0.0: PUE 1.56 to 1.2, nodes of eight at 10.2 kW, whole ones.
    found = same_feed(
        replace(HALL, pue_ratio=1.56), COOLING,
        feed_w=10e6, unit_before_w=10.2e3, unit_after_w=10.2e3, after=replace(HALL, pue_ratio=1.2),
    )  # fmt: skip
    freed_w = found.change.it_after_w - found.change.it_before_w
    assert freed_w == pytest.approx(1.923e6, abs=500)
    assert 8 * whole(freed_w / 10.2e3) == 1504
    assert 8 * (found.units_after_count - found.units_before_count) == 1504


@pytest.mark.parametrize("name", NAMES)
def test_units_of_half_the_power_on_the_same_feed_double_the_work_and_leave_pue_as_it_is(name: str) -> None:
    hall = HALLS[name]
    assert hall.parts is not None
    feed_w = total_power_w(hall, COOLING, 0.8 * hall.parts.design_it_w)
    found = same_feed(hall, COOLING, feed_w=feed_w, unit_before_w=1000.0, unit_after_w=500.0)
    assert found.work_ratio == pytest.approx(2.0, rel=1e-9)
    assert found.change.pue_after == pytest.approx(found.change.pue_before, rel=1e-12)
    assert found.units_after_count in (2 * found.units_before_count, 2 * found.units_before_count + 1)
    assert found.change.facility_after_w == pytest.approx(feed_w, rel=1e-9)


def test_a_unit_that_does_half_the_work_on_half_the_power_gains_nothing() -> None:
    found = same_feed(HALL, COOLING, feed_w=2e7, unit_before_w=1e3, unit_after_w=500.0, unit_work_ratio=0.5)
    assert found.work_ratio == pytest.approx(1.0, rel=1e-9)


def test_a_better_hall_built_for_the_same_feed_carries_more_units() -> None:
    feed_w = total_power_w(HALL, COOLING, DESIGN_W)
    better = sized_for(replace(HALLS["immersion"], climate="cold"), COOLING, float(feed_w))
    found = same_feed(HALL, COOLING, feed_w=feed_w, unit_before_w=1e3, unit_after_w=1e3, after=better)
    assert found.work_ratio == pytest.approx(
        float(found.change.pue_before / found.change.pue_after), rel=1e-9
    )
    assert found.work_ratio > 1.03


def test_columns_of_loads_equal_a_loop_over_them() -> None:
    before_w, after_w = (np.linspace(low, high, 7).reshape(-1, 1) for low, high in ((1e7, 2e7), (2e6, 9e6)))
    warm = replace(HALL, coolant_k=np.linspace(295, 305, 7).reshape(-1, 1))
    together = same_work(HALL, COOLING, it_before_w=before_w, it_after_w=after_w, after=warm)
    for i in range(7):
        alone: Change = same_work(
            HALL, COOLING, it_before_w=float(before_w[i, 0]), it_after_w=float(after_w[i, 0]),
            after=replace(HALL, coolant_k=float(np.asarray(warm.coolant_k)[i, 0])),
        )  # fmt: skip
        assert list(alone.causes_ratio) == list(together.causes_ratio)
        for name, cause in alone.causes_ratio.items():
            assert np.broadcast_to(together.causes_ratio[name], (7, 1))[i, 0] == pytest.approx(
                float(cause), rel=1e-9, abs=1e-12
            ), name


def test_a_load_beyond_the_hall_is_refused_before_and_after() -> None:
    for before_w, after_w in ((21e6, 1e6), (1e6, 21e6)):
        with pytest.raises(
            NpuwattError, match=r"it_load: 2\.1e\+07 W given; expected at most the design load"
        ):
            same_work(HALL, COOLING, it_before_w=before_w, it_after_w=after_w)
    with pytest.raises(NpuwattError, match="unit_after: 0 given; expected a finite number above 0"):
        same_feed(HALL, COOLING, feed_w=2e7, unit_before_w=1e3, unit_after_w=0.0)
