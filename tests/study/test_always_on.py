"""Always on as a whole: by hand, as laws, and at the rates it tells."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from npuwatt.errors import RequestError
from npuwatt.handset.duty import PARTS
from npuwatt.study.always_on import AlwaysOn, always_on
from npuwatt.study.inference import inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.request import Request

CHIP, CELLS = "snapdragon-8-elite", "hfox-rram"
SMALL = "llama-3.2-1b"
DAY_S = 86400.0
# Cells that hold weights without power, and a host so wasteful that each answer costs more than the chip's.
WASTEFUL = (f"devices.{CELLS}.host.static_power=5kW", f"devices.{CELLS}.host.power_cap=9kW")


@cache
def asked(*names: str, events: str | None = None, changes: tuple[str, ...] = ()) -> AlwaysOn:
    return always_on(names, network=SMALL, events=events, changes=changes)


def mean_w(found: AlwaysOn, place: int = 0) -> float:
    return found.answers[place].metrics["mean_w"]


def test_a_day_told_by_hand() -> None:
    # voice-assistant: 20 questions and 24 false accepts a day, recall 0.95 x 0.98, a tenth of false ones let through.
    request = Request(input_len=256, output_len=128, weights="int4", activations="int8", kv_cache="int8")
    answer = inference(load_network(SMALL).record, request, load_device(CHIP).record)
    answer_j, answer_s = float(answer.total_j[0, 0]), float(answer.request_s[0, 0])
    weights_bytes = (1_235_814_400) * 4.125 / 8
    wakes = 20 * 0.95 * 0.98 + 24 * 0.1
    awake_s = wakes * (0.2 + answer_s)
    day_j = (
        864_000 * 31.54e-6
        + (DAY_S - 864_000 * 4.401e-3) * 0.1e-3
        + DAY_S * 0.6e-3
        + (20 * 0.95 + 24) * 0.01
        + wakes * (0.1 + answer_j)
        + wakes * answer_s * 0.5
        + (DAY_S - awake_s) * (1e-3 + weights_bytes * 5e-3 / 2**30)
    )
    found = asked(CHIP).answers[0]
    assert found.metrics["mean_w"] * DAY_S == pytest.approx(day_j, rel=1e-9)
    assert found.metrics["battery_life_alone_s"] == pytest.approx(15.4 * 3600 * 0.9 / day_j * DAY_S, rel=1e-9)
    assert found.metrics["battery_life_s"] == pytest.approx(
        15.4 * 3600 * 0.9 / (day_j / DAY_S + 0.35), rel=1e-9
    )


def test_parts_add_up_to_the_mean() -> None:
    for answer in asked(CHIP, "samsung-lpddr5-pim", CELLS).answers:
        parts = sum(float(np.max(answer.duty.power_w[name])) for name in PARTS)
        assert parts == pytest.approx(answer.metrics["mean_w"], rel=1e-12)


def test_milliwatts_end_at_the_rate_that_is_told() -> None:
    rate = asked(CHIP).answers[0].rates.milliwatts_up_to_per_s
    assert mean_w(asked(CHIP, events=f"{rate!r}/s")) == pytest.approx(0.01, rel=1e-9)


def test_the_device_decides_half_at_the_rate_that_is_told() -> None:
    rate = asked(CELLS).answers[0].rates.half_from_per_s
    metrics = asked(CELLS, events=f"{rate!r}/s").answers[0].metrics
    assert metrics["device_w"] == pytest.approx(metrics["mean_w"] / 2, rel=1e-9)


def test_a_battery_lasts_a_day_at_the_rate_that_is_told() -> None:
    rate = asked(CHIP).answers[0].rates.day_up_to_per_s
    metrics = asked(CHIP, events=f"{rate!r}/s").answers[0].metrics
    assert metrics["battery_life_s"] == pytest.approx(DAY_S, rel=1e-9)


def test_a_mean_beyond_what_a_handset_gives_off_is_said() -> None:
    # 2.3 W for ever in a phone at 25 degC, of which a third as many events are far below.
    told = [
        any("gives off for ever" in note for note in asked(CHIP, events=events).answers[0].notes)
        for events in ("10000/day", "30000/day")
    ]
    assert told == [False, True]


def test_a_device_that_no_battery_of_a_handset_feeds_is_said() -> None:
    # 15.4 Wh in an hour are 15.4 W; the chip draws 6 W, the board of cells 56 W.
    chip, cells = asked(CHIP, CELLS).answers
    assert not any("empty the battery" in note for note in chip.notes)
    assert not any("empty the battery" in note for note in cells.notes)  # 3.6 times that
    small = always_on([CELLS], network=SMALL, handset="small-phone").answers[0]
    assert any("would empty the battery in 6.4" in note for note in small.notes)


def test_two_devices_take_the_same_at_the_rate_that_is_told_and_swap_there() -> None:
    against = asked(CHIP, CELLS, changes=WASTEFUL).answers[1].against
    assert against is not None and against.even_per_s is not None
    below, at, above = (
        asked(CHIP, CELLS, events=f"{against.even_per_s * share!r}/s", changes=WASTEFUL)
        for share in (0.5, 1, 2)
    )
    assert mean_w(below, 1) < mean_w(below, 0)
    assert mean_w(at, 1) == pytest.approx(mean_w(at, 0), rel=1e-9)
    assert mean_w(above, 1) > mean_w(above, 0)


def test_there_is_time_for_as_many_events_as_told_and_no_more() -> None:
    rate = asked(CHIP).answers[0].rates.most_per_s
    busy = asked(CHIP, events=f"{rate * 0.999999!r}/s").answers[0].duty.busy_fraction["awake"]
    assert float(np.max(busy)) == pytest.approx(1, rel=1e-5)
    with pytest.raises(RequestError, match=r"awake would take 1\.01 times the time there is"):
        asked(CHIP, events=f"{rate * 1.01!r}/s")


def test_loading_weights_at_each_wake_is_what_the_profile_would_say() -> None:
    kept = asked(CHIP).answers[0].mean_by_keeping_w
    loaded = asked(CHIP, changes=("profile.is_retained=false",)).answers[0]
    assert kept["retained"] == mean_w(asked(CHIP))
    assert loaded.metrics["mean_w"] == pytest.approx(kept["loaded"], rel=1e-12)
    assert float(np.max(loaded.duty.power_w["retention"])) == 0


def test_cells_that_need_no_power_keep_only_what_is_in_memory() -> None:
    # All matrices of the network are in cells; the table of tokens is not.
    chip, cells = asked(CHIP, CELLS).answers
    assert float(np.max(cells.response.held_bytes)) < 0.001 * float(np.max(chip.response.held_bytes))


def test_a_range_holds_the_value_and_grows_with_what_is_not_known() -> None:
    wide = asked(CHIP).answers[0].ends_ratio["mean_w"]
    assert wide[0] < 1 < wide[1]
    narrow = asked(CHIP, events="20/day").answers[0].ends_ratio["mean_w"]
    assert wide[0] < narrow[0] < 1 < narrow[1] < wide[1]


def test_what_moves_the_mean_moves_it_to_where_it_says() -> None:
    driver = next(one for one in asked(CHIP).answers[0].drivers if one.ranged.address == "profile.tokens_out")
    for end, told in ((driver.ranged.low, driver.mean_low_w), (driver.ranged.high, driver.mean_high_w)):
        changes = (f"profile.tokens_out={end:.0f}",)
        assert mean_w(asked(CHIP, changes=changes)) == pytest.approx(told, rel=1e-9)


def test_a_device_beside_itself_takes_as_much() -> None:
    against = asked(CHIP, CHIP).answers[1].against
    assert against is not None
    assert (against.mean_ratio, against.even_per_s) == (1, None)


def test_waking_is_paid_once_and_not_by_the_device() -> None:
    # An answer of no time and nothing kept: what is left of a wake is the handset's own.
    answer = always_on([CHIP], network="resnet-50", profile="ambient-agent").answers[0]
    wakes = 60 / 3600
    assert float(np.max(answer.duty.power_w["waking"])) == pytest.approx(wakes * 0.1)
    awake_w = wakes * float(np.max(answer.response.time_s)) * 0.5
    assert float(np.max(answer.duty.power_w["awake"])) == pytest.approx(awake_w)


def test_an_encoder_reads_as_many_tokens_as_the_profile_says() -> None:
    short, long = (
        always_on([CHIP], network="bert-base", changes=(f"profile.tokens_in={count}",)).answers[0]
        for count in (64, 512)
    )
    assert float(np.max(short.response.energy_j)) < 0.5 * float(np.max(long.response.energy_j))


def test_an_end_of_a_range_that_leaves_no_time_is_named() -> None:
    found = always_on(["hailo-10h"], network="llama-3.1-8b", profile="ambient-agent").answers[0]
    assert found.overworked == ("profile.events",)
    assert asked(CHIP).answers[0].overworked == ()


def test_how_far_a_model_may_be_off_moves_the_mean_as_by_hand() -> None:
    # Energy of an answer times its ratio; time of an answer times the inverse of the ratio of rates.
    answer = always_on([CHIP], network=SMALL, profile="ambient-agent", events="600/h").answers[0]
    wakes, spans = (
        600 / 3600,
        {one.ranged.address.split(",")[0].rsplit(".")[-1]: one for one in answer.drivers},
    )
    energy_j, time_s = float(np.max(answer.response.energy_j)), float(np.max(answer.response.time_s))
    low, high = answer.confidence.ratios["energy_per_output_token_j"]
    for ratio, told in ((low, spans["energy"].mean_low_w), (high, spans["energy"].mean_high_w)):
        assert told == pytest.approx(answer.metrics["mean_w"] + (ratio - 1) * wakes * energy_j, rel=1e-9)
    kept_w = 1e-3 + float(np.max(answer.response.held_bytes)) * 5e-3 / 2**30
    slow, fast = answer.confidence.ratios["tokens_per_s"]
    for rate, told in ((fast, spans["time"].mean_low_w), (slow, spans["time"].mean_high_w)):
        more_s = wakes * time_s * (1 / rate - 1)
        assert told == pytest.approx(answer.metrics["mean_w"] + more_s * (0.5 - kept_w), rel=1e-9)


def test_without_a_pause_the_handset_is_awake_too() -> None:
    answer = asked(CHIP).answers[0]
    answering_w = float(np.max(answer.response.energy_j / answer.response.time_s))
    assert answer.nonstop_w == pytest.approx(answering_w + 0.5, rel=1e-12)


def test_a_handset_gives_a_model_no_more_memory_than_it_has() -> None:
    with pytest.raises(
        RequestError, match="does not fit into the 500 MB that the handset gives a model; expected"
    ):
        asked(CHIP, changes=("handset.model_memory=500MB",))
