"""The constant power that brings a handset to a limit at just a moment, and the peak of which a share does so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npuwatt.arrays import Array, Real, total
from npuwatt.handset.body import body, shed_slope_w_per_k
from npuwatt.handset.columns import point_count, spread
from npuwatt.handset.network import Handset
from npuwatt.handset.steady import Sustained
from npuwatt.handset.thermal import check_limit, course, sustainable
from npuwatt.record import replace

_PIECES = 64  # of a course: the watts found are those of ten times as many within 0.1 %, at the edge of runaway within 0.5 %
_SETTLED = 12.0  # times what a handset takes to follow: after that it is in its steady state to 1e-5
_SEARCH = 60  # of regula falsi; some ten are usual
_CLOSE_K = 1e-4
_MARGIN = 1.25  # of a bracket over a straight line
_LEAST_GROWTH, _MOST_GROWTH = 1.25, 8.0  # of a bracket that is too low
_LEAST_W = 1e-3


def reaching(
    handset: Handset,
    *,
    ambient_k: Real,
    limit_k: Real,
    time_s: float,
    rated_w: Real | None = None,
    share_fraction: Real = 1.0,
    start_k: Real | None = None,
    in_case: bool = False,
) -> Sustained:
    """The power of which a share, drawn all the time, brings skin or die to its limit at exactly `time_s`, (P, 1).

    The other of the two is below its limit then. 0 where the rest of the handset alone reaches one.

    Parameters
    ----------
    rated_w : float or (P, 1), optional
        Rated power, which leakage is a share of; None: the power that is sought, as for the peak power of a chip.
    share_fraction : float or (P, 1)
        What of it the chip draws.
    """
    check_limit(limit_k, ambient_k)
    began_k = ambient_k if start_k is None else start_k
    points = point_count(
        (handset, ambient_k, limit_k, share_fraction, began_k, 0.0 if rated_w is None else rated_w)
    )
    lasts_s = min(time_s, _settled_s(handset, ambient_k, limit_k, in_case))
    held = replace(handset, control_period_s=lasts_s / _PIECES)
    names = tuple(handset.nodes)
    skin, die = names.index(handset.skin), names.index(handset.heated)

    def short_k(power_w: Array) -> tuple[Array, Array]:
        """What skin and die lack to their limits at the end."""
        end_k = course(
            held, power_w=share_fraction * power_w, rated_w=power_w if rated_w is None else rated_w, ambient_k=ambient_k,
            limit_k=limit_k, start_k=start_k, duration_s=lasts_s, in_case=in_case, series=False,
        ).end_k  # fmt: skip
        return limit_k - end_k[:, skin : skin + 1], handset.junction_limit_k - end_k[:, die : die + 1]

    lasting = sustainable(
        handset,
        rated_w=1.0 if rated_w is None else rated_w,
        ambient_k=ambient_k,
        limit_k=limit_k,
        in_case=in_case,
    )
    near = np.array(spread(2.0 * np.maximum(lasting.power_w, _LEAST_W) / share_fraction, points))
    power = _root(lambda power_w: np.minimum(*short_k(power_w)), near)
    by_skin, by_die = short_k(power)
    bound = np.where(by_die < by_skin, "junction", "skin")
    return Sustained(power_w=power, bound_by=np.where(power > 0.0, bound, "rest"))


def _settled_s(handset: Handset, ambient_k: Real, limit_k: Real, in_case: bool) -> float:
    """After how long the slowest of all points has settled: no network follows slower than all that it stores behind
    its greatest resistance."""
    parts = body(handset, rated_w=0.0, ambient_k=ambient_k, in_case=in_case)
    slope = shed_slope_w_per_k(parts.air, np.asarray(limit_k - ambient_k, dtype=np.float64))
    inner = np.max(np.diagonal(parts.resistance_k_per_w, axis1=1, axis2=2), axis=-1)
    return float(_SETTLED * np.max(total(parts.capacity_j_per_k)[:, 0] * (np.ravel(1.0 / slope) + inner)))


def _root(short: Callable[[Array], Array], near: Array) -> Array:
    """Where a falling function of (P, 1) crosses zero, from 0 on: a bracket from `near`, then regula falsi (Illinois)."""
    low = np.zeros_like(near)
    at_none = at_low = short(low)
    high, at_high = near, short(near)
    for _ in range(_SEARCH):
        over = ~(at_high > 0) | (at_none <= 0)
        if over.all():
            break
        straight = high + _MARGIN * at_high * (high - low) / np.maximum(at_low - at_high, _CLOSE_K)
        further = np.clip(straight, _LEAST_GROWTH * high, _MOST_GROWTH * high)
        low, at_low = np.where(over, low, high), np.where(over, at_low, at_high)
        high = np.where(over, high, further)
        at_high = short(high)
    power, side = high, np.zeros_like(near)
    for _ in range(_SEARCH):
        at_high = np.maximum(
            at_high, -at_low
        )  # a chip that runs away is infinitely far beyond, and says little
        power = high + at_high * (high - low) / np.where(at_low > at_high, at_low - at_high, 1.0)
        found = short(power)
        is_short = found > 0
        at_high = np.where(is_short & (side > 0), at_high / 2, at_high)
        at_low = np.where(~is_short & (side < 0), at_low / 2, at_low)
        low, at_low = np.where(is_short, power, low), np.where(is_short, found, at_low)
        high, at_high = np.where(is_short, high, power), np.where(is_short, at_high, found)
        side = np.where(is_short, 1.0, -1.0)
        if not np.any((np.abs(found) >= _CLOSE_K) & (at_none > 0)):  # nor where there is no number
            break
    return np.where(at_none <= 0, 0.0, power)
