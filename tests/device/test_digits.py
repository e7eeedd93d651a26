"""Values, their tails and the digits that spell them, against integrals and drawn numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column, row
from npuwatt.device.digits import (
    GAUSSIAN,
    MOST_NODES,
    Values,
    beyond,
    largest_ratio,
    node_mass,
    nodes,
    share_beyond,
    spelling,
)
from npuwatt.device.normal import normal_density, normal_tail, polynomial

FIXED = settings(derandomize=True, deadline=None, max_examples=50)
SHAPES = [GAUSSIAN, Values(shape="laplace"), Values(histogram_count=(5.0, 3.0, 0.0, 1.0))]


def density(values: Values, x: Any) -> Any:
    """Of magnitudes, in their root mean square."""
    if values.histogram_count:
        rms = math.sqrt((5 * 1 / 3 + 3 * 7 / 3 + 0 + 1 * 37 / 3) / 9)  # in bins, each even
        return np.select([x * rms < 1, x * rms < 2, x * rms < 3, x * rms < 4], [5, 3, 0, 1], 0) / 9 * rms
    if values.shape == "laplace":
        return math.sqrt(2) * np.exp(-math.sqrt(2) * x)
    return np.exp(-(x**2) / 2) * math.sqrt(2 / math.pi)


@FIXED
@given(st.floats(0, 12))
def test_the_tail_of_the_normal_distribution_is_that_of_the_error_function(x: float) -> None:
    assert normal_tail(x) == pytest.approx(math.erfc(x / math.sqrt(2)) / 2, rel=2e-7)
    assert normal_density(x) == pytest.approx(math.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def test_a_polynomial_takes_numbers_and_columns() -> None:
    np.testing.assert_allclose(polynomial((1.0, 2.0, 3.0), row([0.0, 2.0])), [[1, 17]])
    np.testing.assert_allclose(polynomial((column([1.0, 5.0]),), row([0.0, 2.0])), [[1, 1], [5, 5]])


@FIXED
@given(reach=st.floats(0, 6), which=st.integers(0, 2))
def test_shares_and_moments_beyond_a_reach_are_integrals_of_the_density(reach: float, which: int) -> None:
    values = SHAPES[which]
    x = reach + (np.arange(200_000) + 0.5) * (20 / 200_000)
    weight = density(values, x) * (20 / 200_000)
    mean, square = beyond(values, reach)
    assert share_beyond(values, reach) == pytest.approx(weight.sum(), abs=1e-4)
    assert mean == pytest.approx((weight * (x - reach)).sum(), abs=1e-4)
    assert square == pytest.approx((weight * (x - reach) ** 2).sum(), abs=1e-4)
    assert beyond(values, 0.0)[1] == pytest.approx(1, abs=1e-6)


def test_the_largest_of_many_is_the_one_that_a_single_value_passes() -> None:
    for count in (100.0, 65536.0, 1e7):
        assert count * share_beyond(GAUSSIAN, largest_ratio(GAUSSIAN, count)) == pytest.approx(1, rel=0.02)
        laplace = Values(shape="laplace")
        assert count * share_beyond(laplace, largest_ratio(laplace, count)) == pytest.approx(1)
    drawn = np.abs(np.random.default_rng(0).standard_normal((200, 65536))).max(axis=1)
    assert largest_ratio(GAUSSIAN, 65536.0) == pytest.approx(np.median(drawn), rel=0.03)
    assert largest_ratio(SHAPES[2], 65536.0) == pytest.approx(4 / math.sqrt((5 / 3 + 7 + 37 / 3) / 9))


@FIXED
@given(bits=st.integers(1, 16), digit_bits=st.integers(1, 16))
def test_digits_spell_every_number_of_as_many_bits(bits: int, digit_bits: int) -> None:
    number = spelling(float(bits), float(digit_bits))
    assert number.digits == math.ceil(bits / digit_bits)
    assert number.largest == 2**bits - 1 < number.base**number.digits
    node = nodes(number)
    codes = (node.worth_ratio * node.digit_count).sum(axis=0) * number.largest
    assert (np.diff(codes) > 0).all() and codes[0] == 0
    if number.largest < MOST_NODES:
        np.testing.assert_allclose(codes, np.arange(number.largest + 1))
    assert (node.digit_count < number.base).all()


@FIXED
@given(
    bits=st.integers(1, 12), digit_bits=st.integers(1, 4), which=st.integers(0, 2), reach=st.floats(1, 5),
    is_cut=st.booleans(), is_offset=st.booleans(),
)  # fmt: skip
def test_the_mass_at_the_nodes_is_that_of_drawn_numbers(
    bits: int, digit_bits: int, which: int, reach: float, is_cut: bool, is_offset: bool
) -> None:
    node = nodes(spelling(float(bits), float(digit_bits)))
    mass = node_mass(node, SHAPES[which], reach, is_cut=is_cut, is_offset=is_offset)
    assert mass.sum() == pytest.approx(1)
    assert (mass >= -1e-12).all()
    x = (np.arange(400_000) + 0.5) * (20 / 400_000)
    weight = density(SHAPES[which], x) * (x < reach if is_cut else 1.0)
    place = np.concatenate([x, -x]) / reach if is_offset else x / reach
    place = np.clip((place + 1) / 2 if is_offset else place, 0.0, 1.0)
    weight = np.concatenate([weight, weight]) if is_offset else weight
    counts, _ = np.histogram(place, bins=[-1, *node.edge_ratio[0, :-1], 2], weights=weight / weight.sum())
    np.testing.assert_allclose(mass[0], counts, atol=1e-3)
