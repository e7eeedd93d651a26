"""Ranges of answers: one number at a time, combined in squares, by hand."""

from __future__ import annotations

from math import exp, hypot, log

import numpy as np
import pytest

from npuwatt.record import Record, replace
from npuwatt.study.ranges import Ranged, difference_ends, ranged_numbers, ratio_ends, together, varied
from npuwatt.study.scenario import load_handset


class Pair(Record):
    first_w: float
    share_fraction: float

    def __post_init__(self) -> None:
        from npuwatt import require

        require.share(share=self.share_fraction)


class Twins(Record):
    first_w: float
    second_w: float


def number(key: str, value: float, low: float, high: float) -> Ranged:
    return Ranged(
        address=key, paths=((key,),), value=value, low=low, high=high, suffix="_w", source="assumed"
    )


def test_each_number_stands_alone_at_both_its_ends() -> None:
    inputs = [number("first", 2, 1, 4), number("share", 0.5, 0.25, 1)]
    record, used = varied(Pair(first_w=2.0, share_fraction=0.5), inputs)
    assert used == inputs
    assert np.ravel(record.first_w).tolist() == [2, 1, 4, 2, 2]
    assert np.ravel(record.share_fraction).tolist() == [0.5, 0.5, 0.5, 0.25, 1]


def test_a_number_whose_end_no_record_takes_is_left_out() -> None:
    record, used = varied(
        Pair(first_w=2.0, share_fraction=0.5), [number("share", 0.5, 0.25, 1.5), number("first", 2, 1, 4)]
    )
    assert [item.address for item in used] == ["first"]
    assert record.share_fraction == 0.5


def test_what_several_devices_share_is_varied_for_all_of_them_together() -> None:
    shared = [replace(number("price", 2, 1, 4), paths=((place,),)) for place in ("first", "second")]
    record, used = varied(Twins(first_w=2.0, second_w=2.0), together(shared))
    assert len(used) == 1
    assert np.ravel(record.first_w).tolist() == np.ravel(record.second_w).tolist() == [2, 1, 4]


def test_ratios_of_two_numbers_combine_in_squares_of_logs() -> None:
    low, high = ratio_ends(np.array([2.0, 1.0, 4.0, 3.0, 1.5]))
    assert low == pytest.approx(exp(-hypot(log(2), log(2 / 1.5))))
    assert high == pytest.approx(exp(hypot(log(2), log(1.5))))
    assert ratio_ends(np.array([2.0]), (0.5, 3.0)) == pytest.approx((0.5, 3.0))


def test_differences_combine_in_squares() -> None:
    assert difference_ends(np.array([10.0, 7.0, 13.0, 14.0, 6.0])) == pytest.approx((5.0, 15.0))
    assert difference_ends(np.array([10.0])) == (10.0, 10.0)


def test_what_has_no_answer_says_nothing() -> None:
    assert ratio_ends(np.array([2.0, np.nan, 4.0])) == pytest.approx((1.0, 2.0))
    assert ratio_ends(np.array([np.inf, 1.0, 4.0])) == (1.0, 1.0)


def test_a_number_set_by_hand_has_no_range() -> None:
    as_is = {item.address for item in ranged_numbers(load_handset("large-phone"), "handset")}
    changed = {
        item.address for item in ranged_numbers(load_handset("large-phone", changes=["other=1W"]), "handset")
    }
    assert as_is - changed == {"handset.other"}
