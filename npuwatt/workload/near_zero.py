"""How many weights lie near zero, and become zero when quantised, if they follow a known distribution.

All three distributions are generalised normal ones with zero mean, told apart by the shape of their tails. Thresholds
are in standard deviations.
"""

from __future__ import annotations

import math

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, total

GAUSS, LLM_WEIGHTS, LAPLACE = 2.0, 1.5, 1.0
"""Shapes; 1.5 lies near trained language models, whose weights are reported to be generalised Gaussian."""

_MOST = 60.0  # where an incomplete gamma function of these orders is 1 in double precision
_TERMS = 200  # of its series, enough up to there
_STEPS = 60  # of Newton's method, enough for any share that differs from 1
_NODES = 128  # of a quadrature over a smooth integrand


def near_zero_fraction(threshold_ratio: Real, *, shape: float = GAUSS) -> Array:
    """Share of weights whose magnitude is below a threshold.

    Parameters
    ----------
    threshold_ratio : any shape
        Threshold over standard deviation, 0 or more.
    shape : float
        2 for a Gauss, 1 for a Laplace distribution.

    Source
    ------
    Nadarajah, "A generalized normal distribution", J. Applied Statistics 32(7), 2005.
    """
    return _incomplete_gamma(1 / shape, _power(threshold_ratio, shape))


def near_zero_norm_fraction(threshold_ratio: Real, *, shape: float = GAUSS) -> Array:
    """Share of the squared norm that weights below a threshold carry; as `near_zero_fraction`."""
    return _incomplete_gamma(3 / shape, _power(threshold_ratio, shape))


def near_zero_threshold_ratio(fraction: Real, *, shape: float = GAUSS) -> Array:
    """Threshold over standard deviation below which a share of the weights lies.

    Raises
    ------
    NpuwattError
        A share that is not from 0 to below 1.
    """
    require.within(0, math.nextafter(1, 0), fraction=fraction)
    wanted = np.asarray(fraction, dtype=np.float64)
    scale = _scale(shape)
    peak = shape / (scale * math.gamma(1 / shape))
    found = np.zeros_like(wanted)
    for _ in range(_STEPS):  # the share is concave in the threshold: from 0 up, no step goes too far
        power = _power(found, shape)
        missing = np.maximum(wanted - _incomplete_gamma(1 / shape, power), 0)
        found = found + missing / (peak * np.exp(-np.minimum(power, _MOST)))
    return found


def quantised_zero_fraction(bits: Real, group: Real, *, shape: float = GAUSS) -> Array:
    """Share of weights that become exact zeros in symmetric quantisation by groups.

    The largest magnitude M of a group becomes the code q = 2^(bits-1) - 1, and what is below M / 2q rounds to zero.
    The largest weight itself never does; the others are spread as weights below M are.

    Parameters
    ----------
    bits, group : number or (P, 1)
        Width of a code, from 2; weights that share a scale, from 1.

    Returns
    -------
    (P, 1)
        The expectation over M.

    Raises
    ------
    NpuwattError
        Fewer than 2 bits or an empty group.
    """
    require.within(2, 32, bits=bits)
    require.within(1, 1e9, group=group)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    below_largest = (0.5 * (nodes + 1)) ** (1 / np.asarray(group, dtype=np.float64))
    largest = near_zero_threshold_ratio(below_largest, shape=shape)
    codes = np.exp2(np.asarray(bits) - 1.0) - 1
    rounded = near_zero_fraction(largest / (2 * codes), shape=shape) / below_largest
    return total(0.5 * weights * rounded) * (1 - 1 / np.asarray(group))


def _scale(shape: float) -> float:
    """Scale of a generalised normal distribution whose standard deviation is 1."""
    return math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))


def _power(threshold_ratio: Real, shape: float) -> Array:
    return np.asarray((np.asarray(threshold_ratio, dtype=np.float64) / _scale(shape)) ** shape)


def _incomplete_gamma(order: float, x: Array) -> Array:
    """Regularised lower incomplete gamma function, by its power series, whose terms are all positive.

    Source
    ------
    Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, eq. 6.5.29.
    """
    x = np.minimum(x, _MOST)
    term = np.ones_like(x)
    series = term
    for n in range(1, _TERMS):
        term = term * x / (order + n)
        series = series + term
    return np.asarray(np.minimum(series * np.exp(-x) * x**order / math.gamma(order + 1), 1.0))
