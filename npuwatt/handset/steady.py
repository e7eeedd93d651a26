"""Where a handset settles, and the watts that it settles at its limit with; leakage and surface fed back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.handset.body import (
    Body,
    leaked_slope_w_per_k,
    leaked_w,
    rises_k,
    shed_slope_w_per_k,
    shed_w,
)
from npuwatt.record import Record

_STEPS = 80  # of Newton, quadratic; at the edge of runaway each still halves the error. Also of bisection
_CLOSE = 1e-14
_LEAST_SLOPE = 1e-12


class Settled(Record):
    """A steady state: rises over the room of all nodes, and what leaks on top; both infinite where it runs away."""

    rise_k: Array  # (P, N)
    leakage_w: Array  # (P, 1)
    runs_away: npt.NDArray[np.bool_]


class Sustained(Record):
    """Most chip power that a handset settles within its limits with, and which of them binds."""

    power_w: Array
    bound_by: npt.NDArray[np.str_]  # skin, junction, runaway: its leakage; rest: that alone reaches a limit


def settled(parts: Body, power_w: Array) -> Settled:
    """The cooler steady state under a constant chip power of (P, 1), if there is one.

    All heat leaves through the surface, so the only unknown is the leakage x = g(x), g growing in x. Newton
    from the least x rises to the lowest root without passing it, as g is convex but for the slightly
    concave surface law. Where the slope of g reaches 1 before, or the chip `HOTTEST_K`, there is none.
    """
    leaked, away = _least(parts, power_w), np.zeros_like(power_w, dtype=bool)
    for _ in range(_STEPS):
        heat = np.maximum(power_w + leaked, 0.0)
        surface = _surface_rise_k(parts, heat + parts.other_w)
        chip = rises_k(parts, surface_k=surface, heat_w=heat)[:, parts.heated : parts.heated + 1]
        wanted = np.maximum(leaked_w(parts.leak, chip), -power_w)
        through = 1.0 / np.maximum(shed_slope_w_per_k(parts.air, surface), _LEAST_SLOPE)
        by_chip = parts.resistance_k_per_w[:, parts.heated, parts.heated, np.newaxis]
        gain = leaked_slope_w_per_k(parts.leak, chip) * (through + by_chip) * (wanted > -power_w)
        short = wanted - leaked
        away |= (short > 0) & ((gain >= 1.0) | (chip >= parts.leak.hottest_rise_k))
        step = np.where(away, 0.0, short / np.maximum(1.0 - gain, _LEAST_SLOPE))
        leaked = leaked + step
        if np.all(np.abs(step) <= _CLOSE * (np.abs(leaked) + power_w)):
            break
    rise = rises_k(parts, surface_k=surface, heat_w=heat)
    return Settled(
        rise_k=np.where(away, np.inf, rise), leakage_w=np.where(away, np.inf, leaked), runs_away=away
    )


def sustained(parts: Body, *, skin_rise_k: Array, junction_rise_k: Array) -> Sustained:
    """Most constant chip power whose steady state keeps skin and junction at or below their rises, (P, 1).

    Power is followed along the steady states, from the rise of the surface: heat less leakage. Where it
    stops growing before a limit is reached, the chip runs away first.
    """
    by_skin = _surface_where(parts, parts.skin, skin_rise_k)
    by_junction = _surface_where(parts, parts.heated, junction_rise_k)
    last = np.minimum(by_skin, by_junction)
    folded = _power_slope(parts, last) < 0.0
    unheated = _surface_rise_k(parts, last * 0.0 + parts.other_w)  # by the rest alone
    low, high = np.minimum(unheated, last), last
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        grows = _power_slope(parts, middle) >= 0.0
        low, high = np.where(grows, middle, low), np.where(grows, high, middle)
    surface = np.where(folded, low, last)
    heat = shed_w(parts.air, surface) - parts.other_w
    chip = rises_k(parts, surface_k=surface, heat_w=heat)[:, parts.heated : parts.heated + 1]
    power = heat - leaked_w(parts.leak, chip)
    by_rest = last <= unheated
    limit = np.where(folded | (power <= 0.0), "runaway", np.where(by_junction < by_skin, "junction", "skin"))
    return Sustained(
        power_w=np.where(by_rest, 0.0, np.maximum(power, 0.0)), bound_by=np.where(by_rest, "rest", limit)
    )


def _least(parts: Body, power_w: Array) -> Array:
    return np.maximum(-(parts.leak.most_w + 0.0 * power_w), -power_w)


def _surface_rise_k(parts: Body, flow_w: Array) -> Array:
    """Rise of the surface that gives off a flow: Newton on a convex law, from above after one step."""
    rise = flow_w / shed_slope_w_per_k(parts.air, np.full_like(flow_w, 10.0))
    for _ in range(_STEPS):
        slope = np.maximum(shed_slope_w_per_k(parts.air, rise), _LEAST_SLOPE)
        step = (shed_w(parts.air, rise) - flow_w) / slope
        rise = np.maximum(rise - step, 0.0)
        if np.all(np.abs(step) <= _CLOSE * rise):
            break
    return rise


def _surface_where(parts: Body, node: int, rise_k: Array) -> Array:
    """Rise of the surface in the steady state that brings a node to a rise; 0 if even no heat exceeds it."""
    by_chip = parts.resistance_k_per_w[:, node, parts.heated, np.newaxis]
    by_rest = (parts.resistance_k_per_w[:, node, parts.warmed, np.newaxis] - by_chip) * parts.other_w
    surface = rise_k + 0.0 * by_rest
    for _ in range(_STEPS):
        slope = 1.0 + by_chip * shed_slope_w_per_k(parts.air, surface)
        step = (surface + by_chip * shed_w(parts.air, surface) + by_rest - rise_k) / slope
        surface = np.maximum(surface - step, 0.0)
        if np.all(np.abs(step) <= _CLOSE * surface):
            break
    return surface


def _power_slope(parts: Body, surface_k: Array) -> Array:
    """Growth of steady chip power with the rise of the surface: negative beyond the edge of runaway."""
    heat = shed_w(parts.air, surface_k) - parts.other_w
    chip = rises_k(parts, surface_k=surface_k, heat_w=heat)[:, parts.heated : parts.heated + 1]
    slope = shed_slope_w_per_k(parts.air, surface_k)
    by_chip = parts.resistance_k_per_w[:, parts.heated, parts.heated, np.newaxis]
    more = leaked_slope_w_per_k(parts.leak, chip) * (chip < parts.leak.hottest_rise_k)
    return np.asarray(slope - more * (1.0 + by_chip * slope))
