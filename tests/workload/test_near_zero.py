"""Weights near zero: shares of known distributions, and zeros that quantisation makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from npuwatt.errors import NpuwattError
from npuwatt.workload.near_zero import (
    GAUSS,
    LAPLACE,
    LLM_WEIGHTS,
    near_zero_fraction,
    near_zero_norm_fraction,
    near_zero_threshold_ratio,
    quantised_zero_fraction,
)

SHAPES = st.sampled_from([GAUSS, LLM_WEIGHTS, LAPLACE])
quick = settings(derandomize=True, deadline=None, max_examples=40)


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        (GAUSS, (0.0797, 0.3829, 0.5, 0.6827)),
        (LAPLACE, (0.1319, 0.5069, 0.6148, 0.7569)),
        (LLM_WEIGHTS, (0.0942, 0.4268, 0.5428, 0.7115)),
    ],
)
def test_shares_below_a_threshold_are_those_of_tables(shape: float, shares: tuple[float, ...]) -> None:
    found = near_zero_fraction(np.array([0.1, 0.5, 0.6745, 1.0]), shape=shape)
    assert tuple(found.round(4)) == shares


@pytest.mark.parametrize(
    ("shape", "thresholds"),
    [
        (GAUSS, (0.6745, 0.8416, 1.0364)),
        (LAPLACE, (0.4901, 0.6479, 0.8513)),
        (LLM_WEIGHTS, (0.6068, 0.7725, 0.9735)),
    ],
)
def test_thresholds_of_a_share_are_those_of_tables(shape: float, thresholds: tuple[float, ...]) -> None:
    found = near_zero_threshold_ratio(np.array([0.5, 0.6, 0.7]), shape=shape)
    assert tuple(found.round(4)) == thresholds


@pytest.mark.parametrize(
    ("shape", "shares"),
    [(GAUSS, (7.1, 12.9, 21.7)), (LAPLACE, (3.3, 6.6, 12.1)), (LLM_WEIGHTS, (5.5, 10.3, 17.9))],
)
def test_small_weights_carry_5_to_18_percent_of_the_squared_norm(
    shape: float, shares: tuple[float, ...]
) -> None:
    thresholds = near_zero_threshold_ratio(np.array([0.5, 0.6, 0.7]), shape=shape)
    assert tuple((100 * near_zero_norm_fraction(thresholds, shape=shape)).round(1)) == shares


def test_the_norm_below_the_median_of_a_gauss_distribution_has_a_closed_form() -> None:
    t = stats.norm.ppf(0.75)
    assert float(near_zero_norm_fraction(t)) == pytest.approx(0.5 - 2 * t * stats.norm.pdf(t), rel=1e-12)


@quick
@given(t=st.floats(0, 25), shape=SHAPES)
def test_shares_are_those_of_the_generalised_normal_distribution(t: float, shape: float) -> None:
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    assert float(near_zero_fraction(t, shape=shape)) == pytest.approx(
        1 - 2 * stats.gennorm.sf(t, shape, scale=scale), abs=1e-12
    )
    assert float(near_zero_norm_fraction(t, shape=shape)) == pytest.approx(
        special.gammainc(3 / shape, (t / scale) ** shape), abs=1e-12
    )


@quick
@given(share=st.floats(0, 1 - 1e-9), shape=SHAPES)
def test_a_threshold_holds_the_share_that_was_asked_for(share: float, shape: float) -> None:
    found = near_zero_fraction(near_zero_threshold_ratio(share, shape=shape), shape=shape)
    assert float(found) == pytest.approx(share, abs=1e-12)


@quick
@given(t=st.floats(0.01, 5), shape=SHAPES)
def test_small_weights_carry_less_than_their_share_of_the_norm(t: float, shape: float) -> None:
    assert near_zero_norm_fraction(t, shape=shape) < near_zero_fraction(t, shape=shape)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_that_no_threshold_holds_is_refused(share: float) -> None:
    with pytest.raises(NpuwattError, match=r"fraction: .* given; expected a number from 0 to 1"):
        near_zero_threshold_ratio(share)


# Gauss; symmetric codes, the largest magnitude of a group is the largest code.
QUANTISED = {
    (8, 32): 0.0073,
    (8, 64): 0.0081,
    (8, 128): 0.0089,
    (8, 4096): 0.0119,
    (4, 32): 0.1324,
    (4, 64): 0.1467,
    (4, 128): 0.1599,
    (4, 4096): 0.2140,
    (3, 128): 0.3615,
}


@pytest.mark.parametrize(("setting", "share"), QUANTISED.items(), ids=str)
def test_zeros_of_quantised_weights_are_those_of_tables(setting: tuple[int, int], share: float) -> None:
    bits, group = setting
    assert float(quantised_zero_fraction(bits, group)[0, 0]) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("shape", [GAUSS, LLM_WEIGHTS, LAPLACE])
@pytest.mark.parametrize(("bits", "group"), [(8, 16), (4, 32), (4, 2), (3, 128), (2, 8)])
def test_zeros_of_quantised_weights_are_those_of_weights_that_were_drawn_and_rounded(
    bits: int, group: int, shape: float
) -> None:
    drawn = stats.gennorm.rvs(shape, size=(2**20 // group, group), random_state=np.random.default_rng(5))
    scale = np.abs(drawn).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    zeros = np.mean(np.rint(drawn / scale) == 0)
    assert float(quantised_zero_fraction(bits, group, shape=shape)[0, 0]) == pytest.approx(zeros, abs=0.002)


def test_a_column_of_points_equals_a_loop_over_them() -> None:
    bits, groups = np.array([[8.0], [4.0], [3.0]]), np.array([[32.0], [128.0], [4096.0]])
    together = quantised_zero_fraction(bits, groups)
    alone = [quantised_zero_fraction(b, g)[0] for (b,), (g,) in zip(bits, groups, strict=True)]
    assert together.shape == (3, 1)
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_a_weight_with_a_scale_of_its_own_is_never_zero() -> None:
    assert float(quantised_zero_fraction(4, 1)[0, 0]) == 0


@pytest.mark.parametrize(("bits", "group", "named"), [(1, 32, "bits"), (4, 0, "group")])
def test_codes_and_groups_that_hold_nothing_are_refused(bits: float, group: float, named: str) -> None:
    with pytest.raises(NpuwattError, match=f"{named}: .* given; expected a number from"):
        quantised_zero_fraction(bits, group)
