"""Design points: what a spec means, and in which order a grid runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import RequestError
from npuwatt.explore.points import Axis, Points, axis

FIXED = settings(derandomize=True, deadline=None)


def of(text: str, suffix: str = "_w", is_whole: bool = False, address: str = "devices.gpu.power_cap") -> Axis:
    return axis(address, "gpu", ("power_cap",), text, suffix=suffix, is_whole=is_whole)


def values(one: Axis) -> list[float]:
    found: list[float] = one.at(np.arange(one.count)).tolist()
    return found


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("1 W, 2 kW,300mW", "_w", [1, 2000, 0.3]),
        ("100W..500W:5", "_w", [100, 200, 300, 400, 500]),
        ("1W..1000W:4log", "_w", [1, 10, 100, 1000]),
        ("500W..100W:3", "_w", [500, 300, 100]),
        ("1 pJ/bit..3 pJ/bit:3", "_j_per_byte", [8e-12, 16e-12, 24e-12]),
        ("50 %,0.9", "_fraction", [0.5, 0.9]),
        ("1..3:2", "", [1, 3]),
    ],
)
def test_a_spec_lists_values_or_spreads_them_between_its_ends(
    text: str, suffix: str, expected: list[float]
) -> None:
    assert values(of(text, suffix)) == pytest.approx(expected, rel=1e-12)


@FIXED
@given(low=st.floats(1e-6, 1e6), high=st.floats(1e-6, 1e6), count=st.integers(2, 200), is_log=st.booleans())
def test_both_ends_are_exact_and_what_lies_between_runs_one_way(
    low: float, high: float, count: int, is_log: bool
) -> None:
    found = values(of(f"{low!r}W..{high!r}W:{count}{'log' if is_log else ''}"))
    assert (found[0], found[-1]) == (low, high)
    assert len(found) == count
    steps = np.diff(found) * (1 if high >= low else -1)
    assert (steps >= -1e-12 * max(low, high)).all()


def test_whole_numbers_stay_whole() -> None:
    found = of("1..64:7log", "", is_whole=True, address="request.batch")
    assert values(found) == [1, 2, 4, 8, 16, 32, 64]
    assert values(of("1..10:4", "", is_whole=True)) == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("5", "no unit"),
        ("5 J", "in J"),
        ("1W..2W", "expected lo..hi:N"),
        ("1W..2W:1", "at least 2"),
        ("1W..2W:x", "expected lo..hi:N"),
        ("0W..2W:3log", "above 0"),
        ("-1W..2W:3log", "above 0"),
        ("1W,,2W", "not a finite number"),
        ("1W..nan W:3", "not a finite number"),
        ("inf W", "not a finite number"),
    ],
)
def test_a_spec_that_cannot_be_read_says_what_would_do(text: str, told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        of(text)
    assert "devices.gpu.power_cap" in str(caught.value)


@pytest.mark.parametrize("text", ["0,1", "1.5", "-3..4:2"])
def test_a_length_that_is_no_whole_number_of_1_or_more_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="whole number"):
        of(text, "", is_whole=True)


def test_the_last_axis_of_a_grid_varies_fastest() -> None:
    points = Points(axes=(of("1W,2W", address="a"), of("1,2,3", "", address="b")))
    assert points.count == 6
    first, second = points.columns(np.arange(6))
    assert first.tolist() == [1, 1, 1, 2, 2, 2]
    assert second.tolist() == [1, 2, 3, 1, 2, 3]


def test_paired_axes_run_in_step() -> None:
    points = Points(axes=(of("1W,2W", address="a"), of("5,6", "", address="b")), is_zip=True)
    assert points.count == 2
    assert [column.tolist() for column in points.columns(np.arange(2))] == [[1, 2], [5, 6]]


@FIXED
@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_slice_of_a_grid_is_the_same_as_in_the_whole(counts: list[int], seed: int) -> None:
    axes = [
        of(",".join(f"{value} W" for value in range(1, count + 1)), address=f"a{place}")
        for place, count in enumerate(counts)
    ]
    points = Points(axes=tuple(axes))
    whole = points.columns(np.arange(points.count))
    some = np.random.default_rng(seed).integers(0, points.count, 5)
    for part, full in zip(points.columns(some), whole, strict=True):
        np.testing.assert_array_equal(part, full[some])
    assert len({tuple(row) for row in np.stack(whole, axis=-1).tolist()}) == points.count


def test_corners_are_every_combination_of_ends() -> None:
    points = Points(axes=(of("3W,1W,2W", address="a"), of("5..9:3", "", address="b")))
    corners = {tuple(map(float, pair)) for pair in zip(*points.corners(), strict=True)}
    assert corners == {(1, 5), (1, 9), (3, 5), (3, 9)}


@pytest.mark.parametrize(
    ("axes", "options", "told"),
    [
        (("1W,2W", "1W,2W,3W"), {"is_zip": True}, "expected as many values"),
        (("1W..2W:1000000", "1W..2W:1000000", "1W..2W:1000000"), {}, "at most"),
    ],
)
def test_points_that_do_not_go_together_are_refused(
    axes: tuple[str, ...], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(RequestError, match=told):
        Points(axes=tuple(of(text, address=str(place)) for place, text in enumerate(axes)), **options)


def test_an_address_that_stands_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="stands twice"):
        Points(axes=(of("1W"), of("2W")))
