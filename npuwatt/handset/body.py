"""A handset in a room as equations: capacities, conductances, and the two laws that are not lines."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real, side_by_side
from npuwatt.handset.network import CASE, Handset
from npuwatt.record import Record

STEFAN_BOLTZMANN_W_PER_M2_K4 = 5.670374419e-8
HOTTEST_K = 500.0  # of a chip: beyond it leaks no more in this model, and counts as run away


class Air(Record):
    """What the surface gives to the room: a |rise|^n rise + radiation (T^4 - ambient^4), at its hot share."""

    convection_w_per_k: Real  # a: at a rise of 1 K
    convection_exponent_ratio: Real
    radiation_w_per_k: Real  # area sigma emissivity, per K^4
    ambient_k: Real


class Leak(Record):
    """What a chip leaks on top of the power that a device model gives."""

    most_w: Real  # share of its rated power
    growth_per_k: Real
    offset_k: Real  # reference temperature over the room
    hottest_rise_k: Real


class Body(Record):
    """Nodes of a handset, and how heat goes between them; temperatures are rises over the room.

    Matrices keep their two node axes after the design points: (P, N, N), or (1, N, N) if none varies.
    """

    names: tuple[str, ...]
    heated: int
    warmed: int
    skin: int
    surface: int  # the node that faces the room: the skin, or the outside of the case
    capacity_j_per_k: Array  # (P, N)
    conductance_w_per_k: Array  # (P, N, N) of links alone: rows sum to 0
    resistance_k_per_w: Array  # (P, N, N) of links with the surface held: rise of a row by heat at a column
    other_w: Real
    air: Air
    leak: Leak


def body(handset: Handset, *, rated_w: Real, ambient_k: Real, in_case: bool) -> Body:
    """Equations of a handset; numbers or (P, 1).

    Only the share `spreading` of the surface is as warm as the hot spot: so is that share of what stores
    heat there and of the case's conductance. A lumped phone has R / spreading and C spreading then, and
    its time constant does not change.
    """
    names = (*handset.nodes, CASE) if in_case else tuple(handset.nodes)
    skin, spreading = names.index(handset.skin), handset.surface.spreading_fraction
    stored: list[Real] = [node.capacity_j_per_k for node in handset.nodes.values()]
    stored[skin] = stored[skin] * spreading
    ways = [
        (names.index(link.first), names.index(link.second), 1.0 / link.resistance_k_per_w)
        for link in handset.links
    ]
    if in_case:
        stored.append(handset.case.capacity_j_per_k * spreading)
        ways.append((skin, len(names) - 1, spreading / handset.case.resistance_k_per_w))
    surface = len(names) - 1 if in_case else skin
    conductance = _conductance(len(names), ways)
    return Body(
        names=names,
        heated=names.index(handset.heated),
        warmed=names.index(handset.warmed),
        skin=skin,
        surface=surface,
        capacity_j_per_k=side_by_side(stored),
        conductance_w_per_k=conductance,
        resistance_k_per_w=_resistance(conductance, surface),
        other_w=handset.other_w,
        air=_air(handset, ambient_k),
        leak=Leak(
            most_w=handset.leakage.share_fraction * rated_w,
            growth_per_k=handset.leakage.growth_per_k,
            offset_k=handset.leakage.reference_k - ambient_k,
            hottest_rise_k=HOTTEST_K - ambient_k,
        ),
    )


def shed_w(air: Air, rise_k: Array) -> Array:
    """Heat that the surface gives to the room at a rise over it; any shapes that broadcast.

    Laws: Stefan and Boltzmann, for a small grey body in large surroundings; natural convection in laminar flow,
    which grows as rise^(5/4).
    """
    room = air.ambient_k
    fourth = ((rise_k + 4.0 * room) * rise_k + 6.0 * room * room) * rise_k + 4.0 * room * room * room
    # T^4 - ambient^4 over the rise, without the loss of digits of a difference
    return (air.convection_w_per_k * _power(rise_k, air) + air.radiation_w_per_k * fourth) * rise_k


def shed_slope_w_per_k(air: Air, rise_k: Array) -> Array:
    """How much more heat the surface gives for a kelvin more."""
    convection = air.convection_w_per_k * (1.0 + air.convection_exponent_ratio) * _power(rise_k, air)
    return np.asarray(convection + air.radiation_w_per_k * 4.0 * (air.ambient_k + rise_k) ** 3)


def leaked_w(leak: Leak, rise_k: Array) -> Array:
    """Leakage on top of that at the reference temperature; negative below it, held from `HOTTEST_K` on.

    Source
    ------
    HotSpot, University of Virginia, temperature.c: leakage grows exponentially with temperature.
    """
    over_k = np.minimum(rise_k, leak.hottest_rise_k) - leak.offset_k
    return np.asarray(leak.most_w * (np.exp(leak.growth_per_k * over_k) - 1.0))  # expm1 is five times slower


def leaked_slope_w_per_k(leak: Leak, rise_k: Array) -> Array:
    """How much more leaks for a kelvin more, below `HOTTEST_K`."""
    over_k = np.minimum(rise_k, leak.hottest_rise_k) - leak.offset_k
    return np.asarray(leak.most_w * leak.growth_per_k * np.exp(leak.growth_per_k * over_k))


def rises_k(parts: Body, *, surface_k: Array, heat_w: Array) -> Array:
    """Rise of every node in a steady state, from that of the surface and the heat of the chip: (P, N)."""
    by_chip = parts.resistance_k_per_w[:, :, parts.heated]
    by_rest = parts.resistance_k_per_w[:, :, parts.warmed]
    return surface_k + by_chip * heat_w + by_rest * parts.other_w


def _air(handset: Handset, ambient_k: Real) -> Air:
    surface = handset.surface
    shining = surface.area_m2 * surface.spreading_fraction
    exponent = surface.convection_exponent_ratio
    return Air(
        convection_w_per_k=shining * surface.convection_w_per_m2_k * surface.convection_rise_k**-exponent,
        convection_exponent_ratio=exponent,
        radiation_w_per_k=shining * surface.emissivity_fraction * STEFAN_BOLTZMANN_W_PER_M2_K4,
        ambient_k=ambient_k,
    )


def _power(rise_k: Array, air: Air) -> Array:
    """|rise|^n; the usual 1/4 by two square roots, which are exact and ten times as fast."""
    size, exponent = np.abs(rise_k), air.convection_exponent_ratio
    return np.sqrt(np.sqrt(size)) if np.all(np.equal(exponent, 0.25)) else np.power(size, exponent)


def _conductance(count: int, ways: list[tuple[int, int, Real]]) -> Array:
    """Links as a matrix: what leaves a node for each kelvin of each node."""
    points = len(side_by_side([way for _, _, way in ways])) if ways else 1
    matrix = np.zeros((points, count, count))
    for first, second, way in ways:
        flat = np.ravel(way)
        for here, there in ((first, second), (second, first)):
            matrix[:, here, here] += flat
            matrix[:, here, there] -= flat
    return matrix


def _resistance(conductance: Array, surface: int) -> Array:
    """Rise of each node over the surface by a watt at each node."""
    others = [node for node in range(conductance.shape[-1]) if node != surface]
    found = np.zeros_like(conductance)
    if others:
        inner = np.ix_(range(len(conductance)), others, others)
        found[inner] = np.linalg.inv(conductance[inner])
    return found
