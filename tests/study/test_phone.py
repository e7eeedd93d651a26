"""A chip in a handset: between which ends its answers lie, and what makes them; its battery; the claim about a share of peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import column
from npuwatt.errors import RequestError
from npuwatt.handset.network import Handset
from npuwatt.handset.reaching import reaching
from npuwatt.handset.thermal import course, sustainable
from npuwatt.preset.library import presets_root
from npuwatt.preset.paths import with_value
from npuwatt.record import replace
from npuwatt.study.confidence import Confidence
from npuwatt.study.phone import Phone, PhoneAnswer, phone
from npuwatt.study.phone_claim import peak_claim
from npuwatt.study.phone_figures import Case, Rate, Session, Work, figures, with_ranges
from npuwatt.study.scenario import load_handset

CHIP = "snapdragon-8-elite"
CHOSEN = load_handset("large-phone")
SURE = Confidence(name="known", ratios={"power_w": (1.0, 1.0), "tokens_per_s": (1.0, 1.0)})
SESSION = Session(
    limit_k=315.15, ambient_k=298.15, start_k=298.15, session_s=300.0, governor="allocator", in_case=False
)  # fmt: skip
WORK = Work(
    rated_w=8.0, demand_w=6.0, is_given=False,
    rate=Rate(power_w=np.array([0.5, 8.0]), tokens_per_s=np.array([0.0, 75.0])),
)  # fmt: skip


def value(answer: PhoneAnswer, name: str) -> float:
    return float(answer.figures.values[name][0, 0])


def asked(*changes: str, **more: Any) -> tuple[Phone, PhoneAnswer]:
    found = phone([CHIP], changes=changes, **more)
    return found, found.answers[0]


@pytest.fixture(scope="module")
def usual() -> PhoneAnswer:
    return asked()[1]


def test_every_answer_lies_between_its_ends(usual: PhoneAnswer) -> None:
    for name, values in usual.figures.values.items():
        low, high = usual.ranges.ends[name]
        assert low <= values[0, 0] <= high
        assert low < high


def test_ends_are_those_of_each_number_alone_combined_in_squares() -> None:
    """Every number that has a range is put to both of its ends in a handset of its own, and the changes are added by hand."""
    slow = replace(CHOSEN, record=replace(CHOSEN.record, control_period_s=10.0))  # courses of few periods
    own, ranges = with_ranges(slow, "devices.npu", SURE, SESSION, WORK)
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": 298.15, "limit_k": 315.15}

    def alone(handset: Handset) -> tuple[float, float]:
        """Watts for ever, and the warmest die."""
        ran = course(handset, power_w=6.0, duration_s=1800.0, governor="allocator", series=False, **told)
        return float(sustainable(handset, **told).power_w[0, 0]), float(ran.peak_die_k[0, 0])

    steady_w, peak_k = alone(slow.record)
    unused = ("control_period", "model_memory", "other_day", "case", "trips", "skin_limit")
    logs, differences = [], []
    count = 0
    for address, item in CHOSEN.evidence.items():
        if item.low == item.high or address.split(".")[0] in unused:
            continue
        count += 1
        pair = [alone(with_value(slow.record, address.split("."), end)) for end in (item.low, item.high)]
        logs.append([np.log(watts / steady_w) for watts, _ in pair])
        differences.append([die_k - peak_k for _, die_k in pair])
    assert ranges.numbers_count == count
    fallen = np.sqrt(sum(min(*pair, 0.0) ** 2 for pair in logs))
    risen = np.sqrt(sum(max(*pair, 0.0) ** 2 for pair in logs))
    assert own.values["steady_w"][0, 0] == pytest.approx(steady_w)
    assert ranges.ends["steady_w"] == pytest.approx((steady_w * np.exp(-fallen), steady_w * np.exp(risen)))
    warmer = np.sqrt(sum(max(*pair, 0.0) ** 2 for pair in differences))
    assert ranges.ends["peak_die_k"][1] == pytest.approx(peak_k + warmer)


def test_the_device_widens_what_hangs_on_it_and_nothing_else() -> None:
    unsure = Confidence(name="never", ratios={"power_w": (0.5, 1.2), "tokens_per_s": (0.25, 2.0)})
    _, sure = with_ranges(CHOSEN, "devices.npu", SURE, SESSION, WORK)
    own, wide = with_ranges(CHOSEN, "devices.npu", unsure, SESSION, WORK)
    for name in ("steady_w", "reaching_w"):  # what the handset sheds
        assert wide.ends[name] == pytest.approx(sure.ends[name])
    for name in ("tokens_in_300_s", "tokens_in_1800_s", "tokens_per_charge"):
        assert wide.ends[name][0] < sure.ends[name][0]
        assert wide.ends[name][1] > sure.ends[name][1]
    assert wide.ends["battery_life_s"][0] < sure.ends["battery_life_s"][0]
    # 6 W x 1.2 is below the 8 W of its cap, so nothing but the rate itself makes the rate unsure.
    rate = own.values["tokens_per_s"][0, 0]
    assert wide.ends["tokens_per_s"] == pytest.approx((0.25 * rate, 2.0 * rate))
    assert wide.ends["demand_w"] == pytest.approx((3.0, 7.2))


def test_a_chip_never_draws_more_than_its_power_cap() -> None:
    unsure = Confidence(name="never", ratios={"power_w": (1.0, 3.0), "tokens_per_s": (1.0, 1.0)})
    _, ranges = with_ranges(CHOSEN, "devices.npu", unsure, SESSION, WORK)
    assert ranges.ends["demand_w"] == pytest.approx((6.0, 8.0))
    # By hand: 8 W at three times the watts for the same work are worth 8 / 3 W: 75 / 7.5 x (8 / 3 - 0.5).
    assert ranges.ends["tokens_per_s"][0] == pytest.approx(10 * (8 / 3 - 0.5))


def test_a_session_is_that_of_a_course_and_of_budgets_with_what_was_asked() -> None:
    _, found = asked(
        power="5W", start="30degC", ambient="20degC", limit="41degC", minutes=7.0, in_case=True, governor="trips"
    )  # fmt: skip
    told: dict[str, Any] = {"rated_w": 8.0, "ambient_k": 293.15, "limit_k": 314.15, "in_case": True}
    steps = tuple(
        replace(step, temperature_k=step.temperature_k - 1.0) for step in CHOSEN.record.trips.steps
    )  # the limit is 1 K below the handset's own, and so are its trips
    moved = replace(CHOSEN.record, trips=replace(CHOSEN.record.trips, steps=steps))
    ran = course(moved, power_w=5.0, start_k=303.15, duration_s=1800.0, governor="trips", **told)
    np.testing.assert_allclose(found.figures.course.skin_k[0], ran.skin_k[0], rtol=1e-12)
    most = reaching(CHOSEN.record, start_k=303.15, time_s=420.0, **told)
    assert value(found, "reaching_w") == pytest.approx(float(most.power_w[0, 0]), rel=1e-4)
    lasting = sustainable(CHOSEN.record, **told)
    assert value(found, "steady_w") == pytest.approx(float(lasting.power_w[0, 0]), rel=1e-9)
    free = course(CHOSEN.record, power_w=5.0, start_k=303.15, duration_s=1800.0, governor="none", **told)
    assert found.unthrottled_s == pytest.approx(float(free.reaches_s[0, 0]), rel=1e-12)


@pytest.mark.parametrize(
    ("is_given", "demand_w", "worth_w"), [(False, 6.0, 3.0), (True, 3.0, 1.5)], ids=["own", "given"]
)
def test_a_chip_that_draws_twice_as_much_for_its_work_does_half_of_it_at_the_same_watts(
    is_given: bool, demand_w: float, worth_w: float
) -> None:
    """By hand: 10 tokens a second for each watt over 0.5 W, of watts that are worth half."""
    work = replace(WORK, demand_w=3.0, is_given=is_given)
    twice = Case(handset=CHOSEN.record, power_ratio=2.0)
    told = figures(twice, replace(SESSION, governor="none"), work).values
    lasting_w = float(told["steady_w"][0, 0])
    assert told["demand_w"] == demand_w
    assert told["tokens_per_s"] == pytest.approx(10 * (worth_w - 0.5))
    assert told["tokens_in_300_s"] == pytest.approx(3000 * (worth_w - 0.5))
    assert told["steady_tokens_per_s"] == pytest.approx(10 * (min(lasting_w, demand_w) / 2 - 0.5))


def test_half_the_watts_of_a_chip_at_its_best_are_half_its_tokens_and_more_than_with_such_a_power_cap(
    usual: PhoneAnswer,
) -> None:
    """It works and sleeps by turns; a cap keeps it awake, so that it draws its power at rest all the time."""
    full = usual.work.rate
    half_w = float(full.power_w[-1]) / 2
    capped = asked(f"devices.{CHIP}.power_cap={half_w!r}W")[1].work.rate
    assert capped.power_w[-1] == pytest.approx(half_w, rel=1e-6)
    assert full.at(half_w) == pytest.approx(full.tokens_per_s[-1] / 2)
    assert full.at(half_w) > capped.tokens_per_s[-1]
    assert full.at(0.0) == 0.0


def test_no_work_is_done_beyond_what_is_demanded() -> None:
    """By hand: 1 W, of the 2 W and more that could last, makes 10 x 0.5 tokens a second."""
    told = figures(Case(handset=CHOSEN.record), SESSION, replace(WORK, demand_w=1.0)).values
    assert told["steady_w"] > 2.0
    assert told["steady_tokens_per_s"] == pytest.approx(5.0)


def test_a_number_set_by_hand_has_no_range() -> None:
    _, before = asked()
    _, after = asked("handset.surface.spreading=0.75")
    assert after.ranges.numbers_count == before.ranges.numbers_count - 1
    for name in ("steady_w", "reaching_w"):
        assert value(after, name) == pytest.approx(value(before, name))
        low, high = after.ranges.ends[name]
        assert before.ranges.ends[name][0] < low < high < before.ranges.ends[name][1]


def test_a_number_set_beyond_its_range_is_said() -> None:
    assert asked("handset.surface.spreading=0.75")[0].warnings == ()
    (told,) = asked("handset.surface.spreading=0.1")[0].warnings
    assert told.startswith("handset.surface.spreading: 0.1 is outside 0.5 .. 0.95")


def test_a_limit_that_was_asked_for_has_no_range() -> None:
    _, own = asked()
    _, given = asked(limit="42degC")
    assert given.ranges.numbers_count == own.ranges.numbers_count - 1


def test_the_range_of_a_limit_ends_above_the_room() -> None:
    _, found = asked(handset="glasses", ambient="39degC")  # whose skin may be 38 to 43 degC
    assert found.ranges.ends["steady_w"][0] == 0.0


def test_watts_that_were_asked_for_have_no_range() -> None:
    _, found = asked(power="50%")
    assert found.ranges.ends["demand_w"] == (4.0, 4.0)


def test_long_sessions_have_their_own_course_and_ranges_around_it() -> None:
    _, found = asked(minutes=90.0)
    assert len(found.figures.course.time_s) == 5401
    low, high = found.ranges.ends["battery_life_s"]
    assert low < value(found, "battery_life_s") < high


def test_where_a_chip_runs_away_at_an_end_its_temperature_has_no_upper_end() -> None:
    _, found = asked(handset="glasses")
    assert "handset.leakage.share" in found.ranges.away
    assert np.isinf(found.ranges.ends["peak_die_k"][1])
    assert np.isfinite(value(found, "peak_die_k"))


def test_an_end_at_which_a_chip_runs_away_says_nothing_else() -> None:
    """Less leakage alone: nothing but more of everything, as the high end of it has no answer."""
    glasses = load_handset("glasses")
    leaking = replace(glasses, evidence={"leakage.share": glasses.evidence["leakage.share"]})
    session = replace(SESSION, limit_k=None)
    own, ranges = with_ranges(leaking, "devices.npu", SURE, session, WORK)
    least = with_value(glasses.record, ("leakage", "share"), glasses.evidence["leakage.share"].low)
    low = figures(Case(handset=least), session, WORK)
    assert ranges.away == ("handset.leakage.share",)
    for name in ("battery_life_s", "tokens_in_1800_s"):
        ends = sorted([own.values[name][0, 0], low.values[name][0, 0]])
        assert ranges.ends[name] == pytest.approx(tuple(ends), rel=1e-4)


def test_where_nothing_lasts_the_ends_are_the_least_and_the_most_of_single_numbers() -> None:
    """In a room of 39 degC the rest of a phone alone warms it by 3 K, but not where it draws least."""
    room = replace(SESSION, ambient_k=312.15)
    own, ranges = with_ranges(CHOSEN, "devices.npu", SURE, room, WORK)
    ends = [
        sustainable(
            with_value(CHOSEN.record, address.split("."), end), rated_w=8.0, ambient_k=312.15, limit_k=315.15
        ).power_w[0, 0]
        for address, item in CHOSEN.evidence.items()
        for end in (item.low, item.high)
        if item.low < item.high and address != "skin_limit"
    ]  # fmt: skip
    assert own.values["steady_w"][0, 0] == 0.0
    assert ranges.ends["steady_w"] == pytest.approx((0.0, max(ends)))
    assert max(ends) > 0.1


def test_a_battery_feeds_a_constant_chip_and_the_rest() -> None:
    # By hand: 15.4 Wh x 0.9 over 1.2 W + 0.8 W.
    changes = ("handset.leakage.share=0", "handset.battery.energy=15.4Wh", "handset.battery.efficiency=0.9")
    _, found = asked(*changes, "handset.other=0.8W", power="1.2W", governor="none")
    assert value(found, "battery_life_s") == pytest.approx(15.4 * 0.9 / 2.0 * 3600)
    rate = float(found.work.rate.at(1.2))
    assert value(found, "tokens_per_charge") == pytest.approx(rate * 15.4 * 0.9 / 2.0 * 3600)


def test_a_battery_feeds_what_leaks_too() -> None:
    """All heat that comes into the handset in half an hour comes out of its battery."""
    _, own = asked(ambient="35degC", governor="none")
    heat_j = float(own.figures.course.in_j[0, 0])
    _, found = asked(
        f"handset.battery.energy={heat_j!r}J", "handset.battery.efficiency=1", ambient="35degC", governor="none"
    )  # fmt: skip
    assert value(found, "battery_life_s") == pytest.approx(1800.0, rel=1e-4)


def test_throttling_makes_a_battery_last() -> None:
    _, free = asked(governor="none")
    _, held = asked(governor="allocator")
    assert value(held, "battery_life_s") > 1.5 * value(free, "battery_life_s")


@pytest.mark.parametrize(
    ("network", "given", "told"),
    [
        ("llama-3.2-1b", "handset.model_memory=600MB", "the 600 MB that the handset gives a model; expected"),
        ("llama-3.1-70b", "handset.model_memory=8GB", "the 8 GB that the handset gives a model, nor into the device alone;"),
    ],
)  # fmt: skip
def test_a_network_has_to_fit_into_what_the_handset_gives_a_model(
    network: str, given: str, told: str
) -> None:
    """Weights by hand: 1.24e9 parameters of half a byte are 0.62 GB, which a chip with 16 GiB holds; 70e9 are 35 GB."""
    with pytest.raises(RequestError, match=f"'{network}' with its cache does not fit into {told}"):
        asked(given, network=network)
    asked("handset.model_memory=1GB", network="llama-3.2-1b")


def test_faults_of_all_devices_are_told_at_once() -> None:
    names = (CHIP, "samsung-lpddr5-pim")
    with pytest.raises(RequestError) as error:
        phone(names, changes=("handset.model_memory=1MB",))
    assert [fault.split(": ")[0] for fault in error.value.faults] == [f"device '{name}'" for name in names]


def test_a_handset_of_ones_own_may_be_named_too(tmp_path: Path) -> None:
    text = (Path(presets_root()) / "handsets" / "glasses.yaml").read_text()
    (tmp_path / "handsets").mkdir()
    (tmp_path / "handsets" / "mine.yaml").write_text(text)
    found, _ = asked(handset="mine", presets=[str(tmp_path)])
    assert found.handset.record == load_handset("glasses").record


# The claim about a share of peak


def claimed(**more: Any) -> Any:
    told: dict[str, Any] = {
        "share": 0.5,
        "room_k": 298.15,
        "limit_k": 315.15,
        "session_s": 300.0,
        "in_case": False,
    }
    return peak_claim(CHOSEN.record, **(told | more))


def test_a_peak_that_is_sought_is_just_the_one_that_the_sentence_is_true_for() -> None:
    claim = claimed()
    for row, spreading in enumerate(claim.spreading_fraction):
        place = claim.rooms_k.index(298.15)
        peak_w = float(claim.session_peak_w[row, place])
        for factor, stays in ((0.99, True), (1.01, False)):
            cap, power = f"devices.{CHIP}.power_cap={factor * peak_w!r}W", f"{factor * peak_w / 2!r}W"
            _, found = asked(
                cap, f"handset.surface.spreading={spreading}", power=power, limit="42degC"
            )  # fmt: skip
            assert (value(found, "reaching_ratio") >= 1) == stays


@pytest.mark.parametrize("in_case", [False, True])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_a_steady_peak_is_what_a_chip_of_that_peak_may_draw_for_ever(
    share: float, in_case: bool
) -> None:
    claim = claimed(share=share, in_case=in_case)
    count = len(claim.rooms_k)
    spreading = column(np.repeat(claim.spreading_fraction, count))
    most = sustainable(
        replace(CHOSEN.record, surface=replace(CHOSEN.record.surface, spreading_fraction=spreading)),
        rated_w=column(claim.steady_peak_w.ravel()), ambient_k=column(np.tile(claim.rooms_k, 3)), limit_k=315.15,
        in_case=in_case,
    )  # fmt: skip
    assert np.any(most.power_w > 0)
    assert share * claim.steady_peak_w.ravel() == pytest.approx(most.power_w.ravel(), rel=1e-4, abs=1e-4)


def test_the_claim_is_about_what_was_asked() -> None:
    found, _ = asked(
        power="30%", ambient="10degC", limit="41degC", minutes=7.0, in_case=True, start="20degC", claims=True
    )
    told = claimed(share=0.3, room_k=283.15, limit_k=314.15, session_s=420.0, in_case=True)
    assert found.claim is not None
    assert found.claim.rooms_k == told.rooms_k
    np.testing.assert_array_equal(found.claim.session_peak_w, told.session_peak_w)
    np.testing.assert_array_equal(found.claim.steady_peak_w, told.steady_peak_w)


def test_at_high_peaks_the_die_binds_before_the_skin() -> None:
    assert set(claimed(session_s=20.0).session_bound_by.ravel()) == {"junction"}
    assert set(claimed(session_s=1800.0).session_bound_by.ravel()) == {"skin"}


def test_the_room_asked_about_is_among_those_told() -> None:
    assert claimed(room_k=290.0).rooms_k == (288.15, 290.0, 298.15, 303.15, 308.15)
    assert claimed(room_k=275.0, limit_k=280.0).rooms_k == (275.0,)


def test_a_share_that_leaks_away_is_refused() -> None:
    with pytest.raises(RequestError, match="--claims: 5% of peak asked about; expected 8% or more"):
        asked(power="5%", claims=True)
