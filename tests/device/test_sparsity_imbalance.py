"""Lanes that wait for the busiest: published figures, brute force, and the limits of the exact sum."""

from __future__ import annotations

import tracemalloc
from itertools import product
from math import comb, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from npuwatt.arrays import column
from npuwatt.device.imbalance import expected_greatest, imbalance_ratio, normal_imbalance_ratio

FIXED = settings(derandomize=True, deadline=None)
SHAPES = [(4, 16), (16, 16), (16, 64), (16, 256), (64, 256), (256, 256), (256, 4096)]


def exact(density: float, lanes: int, window: int) -> float:
    return imbalance_ratio(density, lanes_count=lanes, window_count=window).item()


# E[max of P Binomial(n, d)] / (n d), computed with exact binomial sums by others.
@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0.10, [1.793, 2.473, 1.705, 1.343, 1.462, 1.564, 1.135]),
        (0.50, [1.255, 1.434, 1.220, 1.110, 1.146, 1.176, 1.044]),
    ],
)
def test_the_busiest_lane_has_as_much_more_to_do_as_published(density: float, expected: list[float]) -> None:
    found = [exact(density, *shape) for shape in SHAPES]
    assert found == pytest.approx(expected, rel=0.02)
    assert found == pytest.approx(expected, abs=6e-4)  # to the digits printed


@pytest.mark.parametrize(("lanes", "window", "density"), [(2, 3, 0.3), (3, 4, 0.7), (3, 2, 0.05)])
def test_the_sum_equals_going_through_every_outcome(lanes: int, window: int, density: float) -> None:
    chance = [comb(window, j) * density**j * (1 - density) ** (window - j) for j in range(window + 1)]
    most = sum(
        max(counts) * np.prod([chance[j] for j in counts])
        for counts in product(range(window + 1), repeat=lanes)
    )
    assert exact(density, lanes, window) == pytest.approx(most / (window * density), rel=1e-12)


@pytest.mark.parametrize("density", [1e-4, 0.01, 0.3, 0.999])
@pytest.mark.parametrize("lanes", [1, 64, 10**6])
def test_the_longest_windows_and_most_lanes_equal_the_sum_of_exact_tails(lanes: int, density: float) -> None:
    tails = binom.sf(np.arange(65536), 65536, density)  # scipy's regularised incomplete beta function
    with np.errstate(divide="ignore"):
        most = -np.expm1(lanes * np.log1p(-tails)).sum()
    assert exact(density, lanes, 65536) == pytest.approx(most / (65536 * density), rel=1e-9)


def test_many_densities_of_long_windows_take_little_memory() -> None:
    tracemalloc.start()
    try:
        imbalance_ratio(column(np.linspace(1e-3, 1, 2000)), lanes_count=64.0, window_count=65536.0)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**26  # all at once, 2000 x 65536 numbers of 8 bytes are 2**30


# 1 / sqrt(pi) and 3 / (2 sqrt(pi)) in closed form; the rest as published beside the figures above.
@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, 0.0), (2, pi**-0.5), (3, 1.5 * pi**-0.5), (4, 1.029), (16, 1.766), (64, 2.344), (256, 2.827)],
)
def test_the_greatest_of_normal_numbers_has_its_known_mean(count: int, expected: float) -> None:
    assert expected_greatest(count).item() == pytest.approx(expected, abs=1e-6 if count < 4 else 6e-4)


@pytest.mark.parametrize(("density", "off"), [(0.5, 0.01), (0.1, 0.07)])
def test_the_normal_form_is_near_the_exact_one(density: float, off: float) -> None:
    for lanes, window in SHAPES:
        near = np.asarray(normal_imbalance_ratio(density, lanes_count=lanes, window_count=window)).item()
        assert near == pytest.approx(exact(density, lanes, window), rel=off)


@FIXED
@given(density=st.floats(1e-4, 1), lanes=st.integers(1, 300), window=st.integers(1, 500))
def test_it_lies_between_no_wait_and_work_for_every_position(density: float, lanes: int, window: int) -> None:
    found = exact(density, lanes, window)
    assert 1 <= found <= 1 / density * (1 + 1e-12)
    assert exact(density, lanes + 1, window) >= found * (1 - 1e-12)


@pytest.mark.parametrize("density", [0.05, 0.4, 1.0])
def test_one_lane_never_waits_and_full_work_is_even(density: float) -> None:
    assert exact(density, 1, 77) == pytest.approx(1, rel=1e-12)
    assert exact(1.0, 64, 77) == 1


def test_columns_of_lanes_windows_and_densities_equal_a_loop() -> None:
    lanes, windows, densities = (
        column([4, 16, 16, 256]),
        column([16, 64, 7, 300]),
        np.array([[0.1, 0.5, 0.9]]),
    )
    for array in (lanes, windows, densities):
        array.flags.writeable = False
    together = imbalance_ratio(densities, lanes_count=lanes, window_count=windows)
    alone = [
        [exact(d, int(p), int(n)) for d in densities[0]]
        for p, n in zip(lanes[:, 0], windows[:, 0], strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_no_work_at_all_waits_for_nothing() -> None:
    assert exact(0.0, 16, 64) == 1
