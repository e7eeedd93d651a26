"""Lanes that work side by side on random zeros wait for the one with the most work."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.normal import normal_tail

# A chance of exp(-50), times a million lanes and all counts, changes no digit that a float has.
_SURE = 50.0
_CELLS = 2**19  # numbers of one pass
_REACH, _STEPS = 9.0, 2001  # standard deviations and points of an integral over a smooth integrand


def imbalance_ratio(density: Real, *, lanes_count: Real, window_count: Real) -> Array:
    """Work of the busiest lane over the mean: E[max of P Binomial(n, d)] / (n d).

    Parameters
    ----------
    density : (..., L)
        Share d of positions that are work, each at random.
    lanes_count : scalar or (P, 1)
        Lanes P that wait for each other.
    window_count : scalar or (P, 1)
        Positions n of a lane between two such waits; a whole number.

    Returns
    -------
    (..., L)
        From 1, where nothing is zero, to 1/d; where nothing is work, 1.
    """
    shape = np.broadcast_shapes(np.shape(density), np.shape(lanes_count), np.shape(window_count))
    cases = np.stack(
        [np.broadcast_to(part, shape).ravel() for part in (np.rint(window_count), density, lanes_count)],
        axis=-1,
    )
    different, places = np.unique(cases, axis=0, return_inverse=True)  # few, of many points times ops
    # Windows of about one length together, and never more numbers at once than fit into a processor's cache.
    each = max(1, _CELLS // (2 * int(np.max(_farthest(different[:, 0], 0.5))) + 2))
    parts = [_expected_most(different[i : i + each]) for i in range(0, len(different), each)]
    found: Array = np.concatenate(parts)[places.reshape(-1)].reshape(shape)
    return found


def _expected_most(cases: Array) -> Array:
    """Of rows (n, d, P): the sum over counts of the chance that some lane has as much to do or more, over n d.

    Counts farther from the mean than `_farthest` are sure, below it, or never come.
    """
    window, density, lanes = (cases[:, [i]] for i in range(3))
    mean, reach = window * density, _farthest(window, density)
    first = np.clip(np.floor(mean - reach), 0.0, window)
    last = np.clip(np.ceil(mean + reach), 0.0, window)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, np.max(window) + 1)))])  # of factorials
    count = first + np.arange(np.max(last - first) + 1).reshape(1, -1)
    done = np.minimum(count, last)
    left = window - done
    ways = logs[window.astype(np.intp)] - logs[done.astype(np.intp)] - logs[left.astype(np.intp)]
    inside = np.clip(density, 1e-300, 1 - 1e-16)
    chance = np.where(count > last, 0.0, np.exp(ways + done * np.log(inside) + left * np.log1p(-inside)))
    at_least = np.cumsum(chance[:, ::-1], axis=-1)[:, ::-1]  # from its small end, which many lanes make large
    with np.errstate(divide="ignore"):  # the first one is sure
        some = -np.expm1(lanes * np.log1p(-at_least / at_least[:, :1]))
    most = first + np.sum(some[:, 1:], axis=-1, keepdims=True)
    found = most / np.where(mean > 0, mean, 1.0)
    bounded: Array = np.clip(np.where(mean > 0, found, 1.0), 1.0, 1 / np.maximum(density, 1e-300))
    return bounded[:, 0]


def _farthest(window: Real, density: Real) -> Array:
    """How far from its mean a lane's work lies at most, but for a chance of exp(-_SURE).

    Source
    ------
    Bernstein's inequality: P(|X - mean| >= t) <= 2 exp(-t^2 / (2 (variance + t/3))) of a binomial X.
    """
    variance, third = window * density * (1 - density), _SURE / 3
    found: Array = third + np.sqrt(third**2 + 2 * variance * _SURE)
    return found


def normal_imbalance_ratio(density: Real, *, lanes_count: Real, window_count: Real) -> Real:
    """The same where counts are nearly normal: 1 + z_P sqrt((1 - d) / (n d)).

    z_P is the expected greatest of P standard normal numbers. Within 1 % of the exact one at d = 0.5; at d = 0.1 too low,
    by 2 % for 256 lanes of 256 positions and by 6 % for 16 of 16.
    """
    spread: Real = np.sqrt((1 - density) / (window_count * density))
    return 1 + expected_greatest(lanes_count) * spread


def expected_greatest(count: Real) -> Array:
    """Mean of the greatest of `count` standard normal numbers, by quadrature: (P, 1)."""
    x, step = np.linspace(0.0, _REACH, _STEPS, retstep=True)
    above, counts = normal_tail(x), np.atleast_2d(count)
    beyond = 1 - (1 - above) ** counts - above**counts  # chance to lie above x, less that to lie below -x
    found: Array = step * (np.sum(beyond, axis=-1, keepdims=True) - beyond[:, :1] / 2)
    return found
