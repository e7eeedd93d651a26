"""How warm a handset gets: steady states, and courses in time under a governor, over many design points at once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, Real
from npuwatt.errors import NpuwattError
from npuwatt.handset.body import (
    Body,
    body,
    leaked_slope_w_per_k,
    leaked_w,
    shed_slope_w_per_k,
    shed_w,
)
from npuwatt.handset.columns import picked, point_count, spread
from npuwatt.handset.governor import Kind, governor_of
from npuwatt.handset.network import Handset
from npuwatt.handset.steady import Settled, Sustained, settled, sustained
from npuwatt.record import Record, names_of, replace

MOST_PERIODS = 200_000
_STEEPEST = 0.5  # of the way to runaway: slopes of leakage beyond it stay out of the modes, which would grow
_CHUNK = 2048  # design points whose modes stay in cache together


class Course(Record):
    """What a session does to a handset; arrays are (P, 1) unless told otherwise, temperatures absolute."""

    time_s: Array  # (T + 1,)
    power_w: Array  # (P, T): what the chip drew in each period, or (P, 0) where no series was asked for
    heat_w: Array  # (P, T), or (P, 0): the same with what leaked on top
    skin_k: Array  # (P, T + 1), or (P, 0)
    die_k: Array  # (P, T + 1), or (P, 0)
    watched_k: Array  # (P, T + 1) of the node that was asked for, or (P, 0)
    mean_power_w: Array
    peak_skin_k: Array
    peak_die_k: Array
    end_k: Array  # (P, N): every node at the end, in the order of the network and then the case
    overshoot_k: Array  # of the skin over its limit at its warmest; 0 where it stays below
    reaches_s: Array  # when the skin reaches its limit; infinity where it does not
    runs_away: npt.NDArray[np.bool_]
    in_j: Array  # heat of the chip and of the rest
    out_j: Array  # to the room
    stored_j: Array


class Steady(Record):
    """Where a handset settles: (P, N) temperatures, and (P, 1) what leaks on top; infinite where it runs away."""

    names: tuple[str, ...]
    temperature_k: Array
    leakage_w: Array
    runs_away: npt.NDArray[np.bool_]


def steady(
    handset: Handset, *, power_w: Real, rated_w: Real, ambient_k: Real, in_case: bool = False
) -> Steady:
    """The steady state under a constant power of the chip; any number may be a (P, 1) column."""
    points = point_count((handset, power_w, rated_w, ambient_k))
    parts = body(handset, rated_w=rated_w, ambient_k=ambient_k, in_case=in_case)
    found: Settled = settled(parts, np.array(spread(power_w, points)))
    return Steady(
        names=parts.names,
        temperature_k=found.rise_k + ambient_k,
        leakage_w=found.leakage_w,
        runs_away=found.runs_away,
    )


def sustainable(
    handset: Handset, *, rated_w: Real, ambient_k: Real, limit_k: Real, in_case: bool = False
) -> Sustained:
    """Most constant power whose steady state keeps the skin at `limit_k` or below, and the die at its own limit."""
    check_limit(limit_k, ambient_k)
    points = point_count((handset, rated_w, ambient_k, limit_k))
    parts = body(handset, rated_w=rated_w, ambient_k=ambient_k, in_case=in_case)
    return sustained(
        parts,
        skin_rise_k=np.array(spread(limit_k - ambient_k, points)),
        junction_rise_k=np.array(spread(handset.junction_limit_k - ambient_k, points)),
    )


def course(
    handset: Handset,
    *,
    power_w: Real,
    rated_w: Real,
    ambient_k: Real,
    duration_s: float,
    start_k: Real | None = None,
    limit_k: Real | None = None,
    governor: Kind = "none",
    in_case: bool = False,
    series: bool = True,
    watched: str | None = None,
) -> Course:
    """The course of a session in which the chip demands a constant power and a governor lets through a part of it.

    Each period of the governor is a piece of constant power. Heat flow is solved exactly in it by the modes of
    the network (eigen-decomposition of the symmetric form); leakage and the loss at the surface enter with a
    fixed slope in the modes, and what they differ from it as a line from the start to the end of the piece.

    Parameters
    ----------
    power_w, rated_w, ambient_k, start_k, limit_k : float or (P, 1)
        Demand of the chip; its rated power, which leakage is a share of; the room; the whole handset at the start
        (None: as the room); limit of the skin (None: the handset's own). Numbers of the handset may be columns
        too, but for the period of control, which all points share.
    series
        Whether to keep power, skin and die of every period.
    watched
        A node of the handset whose temperature is kept of every period too.

    Raises
    ------
    NpuwattError
        No time, too many periods, a period that varies.
    """
    limit_k = handset.skin_limit_k if limit_k is None else limit_k
    start_k = ambient_k if start_k is None else start_k
    if np.size(handset.control_period_s) > 1:
        raise NpuwattError("control_period: a column given; expected one number for all design points")
    periods = _periods(duration_s, float(np.max(handset.control_period_s)))
    points = point_count((handset, power_w, rated_w, ambient_k, start_k, limit_k))
    parts = []
    for first in range(0, points, _CHUNK):
        part = slice(first, min(first + _CHUNK, points))
        parts.append(
            _chunk(
                picked(handset, part), picked(power_w, part), picked(rated_w, part), picked(ambient_k, part),
                picked(start_k, part), picked(limit_k, part), part.stop - first, duration_s, periods, governor, in_case,
                series, watched,
            )
        )  # fmt: skip
    time_s = np.linspace(0.0, duration_s, periods + 1)
    return Course(time_s=time_s, **{name: np.concatenate([one[name] for one in parts]) for name in parts[0]})


def check_limit(limit_k: Real, ambient_k: Real) -> None:
    """Raise NpuwattError unless the limit lies above the room."""
    if np.any(np.less_equal(limit_k, ambient_k)):
        given, room = float(np.min(limit_k)) - 273.15, float(np.max(ambient_k)) - 273.15
        raise NpuwattError(f"limit: {given:.4g} degC given; expected above the {room:.4g} degC of the room")


def _periods(duration_s: float, period_s: float) -> int:
    if not 0 < duration_s < math.inf:
        raise NpuwattError(f"duration: {duration_s:g} s given; expected a time above 0")
    count = math.ceil(duration_s / period_s * (1 - 1e-12))
    if count > MOST_PERIODS:
        raise NpuwattError(
            f"duration: {duration_s:g} s given, {count} periods of control; expected at most {MOST_PERIODS} of them"
        )
    return count


class _Modes(Record):
    """Modes of a network over one piece; arrays are (N, P)."""

    die_k: Array  # rise of the die by each mode; also how each takes heat of the die
    skin_k: Array
    surface_k: Array
    rest_w: Array  # what the rest in use gives each mode, W
    shapes_k: Array  # (P, N, N): rise of each node by each mode
    decay_ratio: Array
    first_s: Array  # h phi1: by a constant source
    second_s: Array  # h phi2: by what the source grows by over the piece
    integral_s: tuple[Array, Array, Array]  # of a mode: h phi1 of itself, h^2 phi2 and h^2 phi3 of the two
    surface_slope_w_per_k: Array  # (P,) W/K in the modes
    leak_slope_w_per_k: Array


def _modes(parts: Body, limit_rise_k: Array, piece_s: float) -> _Modes:
    """Eigen-decomposition of C^-1/2 (links + surface slope - leakage slope) C^-1/2."""
    points = len(limit_rise_k)
    surface_slope = np.array(spread(shed_slope_w_per_k(parts.air, limit_rise_k), points))
    steepest = _STEEPEST / (
        parts.resistance_k_per_w[:, parts.heated, parts.heated, np.newaxis] + 1.0 / surface_slope
    )
    leak_slope = np.minimum(leaked_slope_w_per_k(parts.leak, limit_rise_k), steepest)
    count = len(parts.names)
    matrix = np.array(np.broadcast_to(parts.conductance_w_per_k, (points, count, count)))
    matrix[:, parts.surface, parts.surface] += surface_slope[:, 0]
    matrix[:, parts.heated, parts.heated] -= leak_slope[:, 0]
    root = 1.0 / np.sqrt(np.broadcast_to(parts.capacity_j_per_k, (points, count)))
    rates, vectors = np.linalg.eigh(root[:, :, np.newaxis] * matrix * root[:, np.newaxis, :])
    shapes = root[:, :, np.newaxis] * vectors
    rest = shapes[:, parts.warmed, :] * np.broadcast_to(parts.other_w, (points, 1))
    exponent = np.ascontiguousarray(rates.T) * piece_s
    one, two, three = _phi(exponent)
    return _Modes(
        die_k=np.ascontiguousarray(shapes[:, parts.heated, :].T),
        skin_k=np.ascontiguousarray(shapes[:, parts.skin, :].T),
        surface_k=np.ascontiguousarray(shapes[:, parts.surface, :].T),
        rest_w=np.ascontiguousarray(rest.T),
        shapes_k=shapes,
        decay_ratio=np.exp(-exponent),
        first_s=piece_s * one,
        second_s=piece_s * two,
        integral_s=(piece_s * one, piece_s**2 * two, piece_s**2 * three),
        surface_slope_w_per_k=surface_slope[:, 0],
        leak_slope_w_per_k=leak_slope[:, 0],
    )


def _phi(exponent: Array) -> tuple[Array, Array, Array]:
    """phi1, phi2, phi3 at -x: integrals of e^-xt with weights 1, and so on; by series where x is small."""
    small = np.abs(exponent) < 0.5
    x = np.where(small, 1.0, exponent)
    one = -np.expm1(-x) / x
    two = (1.0 - one) / x
    three = (0.5 - two) / x
    y = np.where(small, exponent, 0.0)
    return tuple(  # type: ignore[return-value]  # three of them
        np.where(small, sum((-y) ** n / math.factorial(n + order) for n in range(16)), direct)
        for order, direct in ((1, one), (2, two), (3, three))
    )


def _chunk(
    handset: Handset,
    power_w: Real,
    rated_w: Real,
    ambient_k: Real,
    start_k: Real,
    limit_k: Real,
    points: int,
    duration_s: float,
    periods: int,
    kind: Kind,
    in_case: bool,
    series: bool,
    watched: str | None,
) -> dict[str, Array]:
    """The course of some design points; within, arrays are (N, P) or (P,)."""
    parts = body(handset, rated_w=rated_w, ambient_k=ambient_k, in_case=in_case)
    room, limit = spread(ambient_k, points), np.array(spread(limit_k, points))
    demand = np.array(spread(power_w, points))
    piece_s = duration_s / periods
    modes = _modes(parts, limit - room, piece_s)
    law = governor_of(handset, kind, limit_k)
    started = np.broadcast_to(np.asarray(start_k - ambient_k, dtype=np.float64), (points, 1))
    capacity = np.broadcast_to(parts.capacity_j_per_k, (points, len(parts.names)))
    state = np.einsum("pnm,pn->mp", modes.shapes_k, capacity * started)
    flat = _flat(parts, points)

    def residues(state: Array) -> tuple[Array, Array, Array]:
        """Rise of the die, what leaks at it, and what the surface differs from its slope in the modes, as heat."""
        die = np.einsum("np,np->p", modes.die_k, state)
        surface = np.minimum(np.einsum("np,np->p", modes.surface_k, state), flat.leak.hottest_rise_k)
        return (
            die,
            leaked_w(flat.leak, die),
            modes.surface_slope_w_per_k * surface - shed_w(flat.air, surface),
        )

    skin = np.einsum("np,np->p", modes.skin_k, state)
    die, leaking, kept_back = residues(state)
    peak_skin, peak_die, before = skin, die, skin
    reaches = np.full(points, np.inf)
    limit_rise = (limit - room)[:, 0]
    total_w = np.zeros(points)
    summed = [np.zeros_like(state), np.zeros(points), np.zeros(points), np.zeros(points), np.zeros(points)]
    moments, seen = periods + 1 if series else 0, parts.names.index(watched or handset.skin)
    kept = {
        "power_w": np.empty((max(moments - 1, 0), points)),
        "heat_w": np.empty((max(moments - 1, 0), points)),
        "skin_k": np.empty((moments, points)),
        "die_k": np.empty((moments, points)),
        "watched_k": np.empty((periods + 1 if watched else 0, points)),
    }
    kept["skin_k"][:1], kept["die_k"][:1], kept["watched_k"][:1] = skin, die, started[:, 0]
    reaches[started[:, 0] >= limit_rise] = 0.0
    for period in range(periods):
        power = law.allowed_w(skin[:, np.newaxis] + room, demand)[:, 0]
        leaked = np.maximum(leaking, -power) - modes.leak_slope_w_per_k * die
        heat = power + leaked
        source = modes.die_k * heat + modes.surface_k * kept_back + modes.rest_w
        summed[0] += state
        state = modes.decay_ratio * state + modes.first_s * source
        then_die, then_leaking, then_back = residues(state)
        then_leaked = np.maximum(then_leaking, -power) - modes.leak_slope_w_per_k * then_die
        more_leaked, more_back = then_leaked - leaked, then_back - kept_back
        state += modes.second_s * (modes.die_k * more_leaked + modes.surface_k * more_back)
        for place, value in enumerate((heat, kept_back, more_leaked, more_back), start=1):
            summed[place] += value
        total_w += power
        before, skin = skin, np.einsum("np,np->p", modes.skin_k, state)
        cooler = die
        die, leaking, kept_back = residues(state)
        peak_skin, peak_die = np.maximum(peak_skin, skin), np.maximum(peak_die, die)
        crossed = (skin >= limit_rise) & np.isinf(reaches)
        if crossed.any():
            share = (limit_rise - before)[crossed] / (skin - before)[crossed]
            reaches[crossed] = (period + share) * piece_s
        if watched:
            kept["watched_k"][period + 1] = np.einsum("pn,np->p", modes.shapes_k[:, seen, :], state)
        if series:
            sloped = modes.leak_slope_w_per_k * (cooler + die) / 2
            kept["power_w"][period], kept["heat_w"][period] = power, heat + more_leaked / 2 + sloped
            kept["skin_k"][period + 1], kept["die_k"][period + 1] = skin, die
    rises = np.einsum("pnm,mp->pn", modes.shapes_k, state)
    into, out = _energies(parts, modes, summed, periods, piece_s)
    found = {
        "mean_power_w": total_w / periods,
        "peak_skin_k": peak_skin + room[:, 0],
        "peak_die_k": peak_die + room[:, 0],
        "overshoot_k": np.maximum(peak_skin - limit_rise, 0.0),
        "reaches_s": reaches,
        "runs_away": peak_die >= np.broadcast_to(parts.leak.hottest_rise_k, (points, 1))[:, 0],
        "in_j": into,
        "out_j": out,
        "stored_j": np.sum(capacity * (rises - started), axis=-1),
    }
    columns = {name: value[:, np.newaxis] for name, value in found.items()}
    told = {name: value.T + (room if name.endswith("_k") else 0.0) for name, value in kept.items()}
    return columns | told | {"end_k": rises + room}


def _flat(parts: Body, points: int) -> Body:
    """The same laws with (P,) numbers."""

    def own(law: Record) -> dict[str, Array]:
        return {
            name: np.ascontiguousarray(np.broadcast_to(getattr(law, name), (points, 1))[:, 0])
            for name in names_of(law)
        }

    return replace(
        parts, air=replace(parts.air, **own(parts.air)), leak=replace(parts.leak, **own(parts.leak))
    )


def _energies(
    parts: Body, modes: _Modes, summed: list[Array], periods: int, piece_s: float
) -> tuple[Array, Array]:
    """Heat that came in and that went out, by the integrals of the modes over all pieces: (P,) each."""
    states, heat, kept_back, more_leaked, more_back = summed
    own, by_source, by_growth = modes.integral_s
    source = modes.die_k * heat + modes.surface_k * kept_back + modes.rest_w * periods
    integral = own * states + by_source * source
    integral = integral + by_growth * (modes.die_k * more_leaked + modes.surface_k * more_back)
    die = np.einsum("np,np->p", modes.die_k, integral)
    surface = np.einsum("np,np->p", modes.surface_k, integral)
    rest_j = np.broadcast_to(parts.other_w, (len(heat), 1))[:, 0] * periods * piece_s
    into = piece_s * (heat + more_leaked / 2) + modes.leak_slope_w_per_k * die + rest_j
    out = modes.surface_slope_w_per_k * surface - piece_s * (kept_back + more_back / 2)
    return into, out
