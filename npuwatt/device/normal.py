"""The normal distribution over arrays: numpy has no error function."""

from __future__ import annotations

import math

import numpy as np

from npuwatt.arrays import Array, Real

# Chebyshev fit of ln(erfc(x) / t) + x^2 in t = 1 / (1 + x / 2), lowest power first; relative error under 1.2e-7.
_FIT = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
    0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
)  # fmt: skip


def normal_density(x: Real) -> Array:
    """Density of the standard normal distribution; any shape."""
    return np.asarray(np.exp(np.square(x) * -0.5) * (1 / math.sqrt(2 * math.pi)))


def normal_tail(x: Real) -> Array:
    """Share of a standard normal distribution above `x`, which is 0 or more; any shape.

    Source
    ------
    Press et al., "Numerical Recipes", 2nd ed., 1992, section 6.2: erfc.
    """
    z = np.asarray(x) * math.sqrt(0.5)
    t = 1 / (1 + 0.5 * z)
    found = t * _FIT[-1]
    for coefficient in reversed(_FIT[1:-1]):
        found += coefficient
        found *= t
    return np.asarray(0.5 * t * np.exp(found + _FIT[0] - z * z))


def polynomial(coefficients: tuple[Real, ...], x: Array) -> Array:
    """Sum of coefficients times powers of `x`, the constant first; coefficients are numbers or (P, 1) columns."""
    total: Real = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return np.asarray(total + 0.0 * x)
