"""A phone that warms: what its battery's readings tell, what a handset predicts, and which files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.audit.phones import (
    DECODING,
    HANDSET,
    NODE,
    JudgedPhone,
    built_in,
    judged_phone,
    predicted,
    read_readings,
)
from npuwatt.errors import NpuwattError
from npuwatt.handset.network import Decoding
from npuwatt.handset.thermal import course
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.scenario import Chosen, load_constants, load_handset

CHOSEN = load_handset(HANDSET)
WATTS = load_constants(DECODING, Decoding).evidence["power"]
TIME_S = np.array([0.0, 30.0, 60.0, 120.0, 288.0])
ROOM_K = 301.15


@pytest.fixture(scope="module")
def found() -> JudgedPhone:
    return judged_phone()


def battery_k(power_w: float, seconds: float, handset: Any = CHOSEN.record) -> float:
    """The battery of a handset at the end of a course of its own, of a governor's periods."""
    heat_w = power_w - handset.other_w
    ran = course(handset, power_w=heat_w, rated_w=heat_w, ambient_k=ROOM_K, duration_s=seconds, series=False)
    return float(ran.end_k[0, tuple(handset.nodes).index(NODE)])


def without_ranges(chosen: Chosen[Any], *kept: str) -> Chosen[Any]:
    return replace(
        chosen,
        evidence={
            address: item if address in kept else replace(item, low=item.value, high=item.value)
            for address, item in chosen.evidence.items()
        },
    )


def test_two_constants_follow_the_galaxy_s25_within_a_quarter_of_a_kelvin_and_halve_the_error_of_one(
    found: JudgedPhone,
) -> None:
    # github.com/hedone21/llm_rs2, profile_cpu_short_len_2048_20260129_090435.json
    assert found.two.rms_k <= 0.25
    assert found.two.rms_k <= found.one.rms_k / 2
    assert found.one.rms_k == pytest.approx(0.360, abs=0.001)
    assert found.two.rms_k == pytest.approx(0.120, abs=0.001)


def test_its_slow_constant_and_its_slow_rise_are_not_identified_and_their_ratio_is(
    found: JudgedPhone,
) -> None:
    known = found.possible.identified
    assert [name for name, holds in known.items() if not holds] == ["slow constant", "slow rise"]
    assert known["slow slope"]


def test_a_phone_that_decodes_empties_15_4_watt_hours_in_3_85_hours() -> None:
    # llmbook.apartsin.com, section 60.3: 3 to 5 W; 4000 mAh x 3.85 V = 15.4 Wh at 4 W.
    assert 15.4 / WATTS.value == pytest.approx(3.85)
    assert (WATTS.low, WATTS.high) == (3.0, 5.0)


def test_the_prediction_is_that_of_a_course_for_each_reading() -> None:
    many = predicted(CHOSEN, TIME_S, room_k=ROOM_K)
    alone = [battery_k(WATTS.value, seconds) for seconds in TIME_S[1:]]
    np.testing.assert_allclose(many.mid_k[1:], alone, atol=1e-3)
    assert many.mid_k[0] == many.low_k[0] == many.high_k[0] == ROOM_K


def test_where_the_power_alone_has_a_range_its_ends_are_those_of_the_prediction() -> None:
    only = predicted(without_ranges(CHOSEN), TIME_S, room_k=ROOM_K)
    assert only.mostly_from == "phone-decoding.power"
    assert only.low_k[-1] == pytest.approx(battery_k(3.0, 288.0), abs=1e-3)
    assert only.high_k[-1] == pytest.approx(battery_k(5.0, 288.0), abs=1e-3)


def test_ranges_add_up_in_squares() -> None:
    address = "nodes.battery.capacity"
    power = predicted(without_ranges(CHOSEN), TIME_S, room_k=ROOM_K)
    both = predicted(without_ranges(CHOSEN, address), TIME_S, room_k=ROOM_K)
    heavy = replace(
        CHOSEN.record,
        nodes={
            **CHOSEN.record.nodes,
            NODE: replace(CHOSEN.record.nodes[NODE], capacity_j_per_k=CHOSEN.evidence[address].high),
        },
    )
    below_k = power.mid_k[-1] - power.low_k[-1]
    heavier_k = battery_k(4.0, 288.0) - battery_k(4.0, 288.0, heavy)
    assert both.mid_k[-1] - both.low_k[-1] == pytest.approx(np.hypot(below_k, heavier_k), abs=2e-3)


def test_the_number_named_is_the_one_that_moves_the_last_reading_most() -> None:
    address = "nodes.battery.capacity"
    usual = without_ranges(CHOSEN, address)
    item = usual.evidence[address]
    unknown = replace(usual, evidence={**usual.evidence, address: replace(item, low=item.value / 20)})
    assert predicted(usual, TIME_S, room_k=ROOM_K).mostly_from == "phone-decoding.power"
    assert predicted(unknown, TIME_S, room_k=ROOM_K).mostly_from == f"handset.{address}"


def test_a_prediction_starts_at_the_first_reading_and_knows_no_other(tmp_path: Path) -> None:
    cool, warm = (judged_phone(written(tmp_path, rows)).predicted for rows in (GOOD, [*GOOD[:-1], "150,44"]))
    assert cool.room_k == cool.mid_k[0] == 28 + 273.15
    np.testing.assert_array_equal(cool.mid_k, warm.mid_k)
    np.testing.assert_array_equal(cool.high_k, warm.high_k)


def test_long_series_are_predicted_in_longer_pieces_to_a_hundredth_of_a_kelvin() -> None:
    many = predicted(CHOSEN, np.array([0.0, 600.0, 14400.0]), room_k=ROOM_K)
    assert many.mid_k[1:] == pytest.approx([battery_k(4.0, 600.0), battery_k(4.0, 14400.0)], abs=0.01)


def test_the_step_of_a_sensor_is_the_coarsest_that_all_readings_are_whole_numbers_of(tmp_path: Path) -> None:
    assert read_readings(built_in()).resolution_k == 0.1
    for cells, step in (
        ("30 31 30 32 33 34", 1.0),
        ("30 31 30.25 32 33 34", 0.01),
        ("30.12345 31 1 2 3 4", 0.001),
    ):
        path = written(tmp_path, [f"{30 * place},{cell}" for place, cell in enumerate(cells.split())])
        assert read_readings(path).resolution_k == step


def test_planted_constants_come_back_from_a_file_of_half_an_hour_by_the_second(tmp_path: Path) -> None:
    time_s = np.arange(1801.0)
    celsius = 25 + 6 * (1 - np.exp(-time_s / 35)) + 9 * (1 - np.exp(-time_s / 400))
    rows = [f"{second:g},{reading:.2f}" for second, reading in zip(time_s, celsius, strict=True)]
    back = judged_phone(written(tmp_path, rows))
    assert back.two.time_constants_s == pytest.approx((35, 400), rel=0.01)
    assert back.two.rises_k == pytest.approx((6, 9), rel=0.01)
    assert all(back.possible.identified.values())


def test_a_range_beyond_what_a_handset_accepts_counts_for_nothing(tmp_path: Path) -> None:
    text = (Path(library.presets_root()) / "handsets" / "large-phone.yaml").read_text()
    wild = tmp_path / "wild.yaml"
    wild.write_text(text.replace("value: 0.25, low: 0.2, high: 0.33", "value: 0.25, low: 0.2, high: 0.9"))
    assert wild.read_text() != text
    usual, odd = (predicted(load_handset(name), TIME_S, room_k=ROOM_K) for name in (HANDSET, str(wild)))
    np.testing.assert_array_equal(odd.mid_k, usual.mid_k)
    assert odd.high_k[-1] < usual.high_k[-1]


def written(folder: Path, rows: list[str]) -> str:
    path = folder / "phone.csv"
    path.write_text("\n".join(["time_s,battery_c", *rows]) + "\n")
    return str(path)


GOOD = ["0,28", "30,30", "60,31", "90,32", "120,33", "150,34"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (GOOD[:5], "phone.csv: 5 readings; expected 6 or more"),
        ([*GOOD[1:], "180,35"], ":2: time_s: 30 given; expected 0 at the first reading"),
        ([*GOOD[:3], GOOD[1], *GOOD[3:]], ":5: time_s: 30 given after 60; expected each reading later"),
        ([*GOOD, GOOD[-1]], ":8: time_s: 150 given after 150"),
        ([*GOOD[:5], "150,nan"], ":7: battery_c: 'nan' given; expected degrees Celsius from -50 to 150"),
        ([*GOOD[:5], "150,307"], ":7: battery_c: '307' given"),
        ([*GOOD[:5], "150,"], ":7: battery_c: nothing given"),
        ([*GOOD[:5], "inf,34"], ":7: time_s: 'inf' given; expected a finite number, 0 or more"),
        ([*GOOD[:5], "150,34,1"], ":7: 3 cells given; expected 2"),
        ([f"{second},30" for second in range(0, 72, 12)], "phone.csv: 60 s of readings; expected 120 to 86400 s"),
        ([*GOOD, "100000,30"], "phone.csv: 100000 s of readings"),
        ([f"{second},30" for second in range(0, 60000, 10000)], "phone.csv: time: too few readings in the first 2000 s"),
        ([f"{second},30" for second in range(4001)], "phone.csv: more than 4000 readings; expected fewer"),
    ],
)  # fmt: skip
def test_readings_that_tell_nothing_are_refused_by_file_and_line(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(NpuwattError) as caught:
        judged_phone(written(tmp_path, rows))
    assert said in str(caught.value)
    assert len(caught.value.faults) == 1


def test_faults_of_both_kinds_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(NpuwattError) as caught:
        read_readings(written(tmp_path, [*GOOD[1:], GOOD[0]]))
    assert len(caught.value.faults) == 2
