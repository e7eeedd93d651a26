"""Which assumption decides a ranking: every ranged number is varied alone, for all devices together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from npuwatt.arrays import Array, column
from npuwatt.datacenter.facility import hall_faults
from npuwatt.errors import NpuwattError
from npuwatt.preset.paths import with_values
from npuwatt.record import Record
from npuwatt.study.fleet_figures import Case, Figures, Terms, figures
from npuwatt.study.ranges import Ranged, ratio_ends

_STEPS = 24  # of bisection, which is more than the digits that are shown


class Turn(Record):
    """An assumption that alone puts another device first."""

    ranged: Ranged
    value: float  # the nearest to the assumed one at which it does
    first: int  # the place of who is first there


class Narrowing(Record):
    """The assumption that alone brings the second nearest to the first."""

    ranged: Ranged
    value: float  # the end of its range that does
    gap_ratio: float  # the second over the first there


class Ranking(Record):
    """Who is first, and what that hangs on."""

    order: tuple[int, ...]  # places of the devices, the best first
    gap_ratio: float  # the second over the first
    turns: tuple[Turn, ...]  # those that take the smallest change of their own range first
    narrows: Narrowing | None  # where nothing turns it
    ends_ratio: tuple[
        tuple[float, float], ...
    ]  # each device's lowest and highest over its value, in the order asked


def rank(case: Case, terms: Terms, inputs: Sequence[Ranged], metric: str) -> tuple[Ranking, tuple[str, ...]]:
    """Order devices by a metric, and find what turns the order's first place.

    Returns
    -------
    The ranking, and the addresses that could not be varied because at an end of their range there is no figure.
    """
    ranged, left_out = _usable(case, terms, inputs, metric)
    assumed = np.array([item.value for item in ranged])
    ends = np.array([[item.low, item.high] for item in ranged]).reshape(-1)
    values = _values(case, terms, ranged, np.append(np.repeat(np.arange(len(ranged)), 2), -1), ends, metric)
    base = values[:, -1]
    order = np.argsort(base, kind="stable")
    first = int(order[0])
    spread = tuple(
        ratio_ends(np.append(own, varied)) for own, varied in zip(base, values[:, :-1], strict=True)
    )
    if len(order) == 1:
        return Ranking(order=(first,), gap_ratio=np.inf, turns=(), narrows=None, ends_ratio=spread), left_out
    gaps = _gap(values[:, :-1], first)
    at = [2 * i + int(np.argmin(gaps[2 * i : 2 * i + 2])) for i in range(len(ranged))]
    turning = [i for i in range(len(ranged)) if gaps[at[i]] < 1.0]

    def winners_at(points: Array) -> Array:
        return _values(case, terms, ranged, np.array([*turning, -1]), points, metric)[:, :-1]

    turns = _turns(ranged, turning, assumed[turning], ends[[at[i] for i in turning]], winners_at, first)
    nearest = int(np.argmin(gaps))
    return Ranking(
        order=tuple(int(place) for place in order),
        gap_ratio=float(_gap(values[:, -1:], first)[0]),
        turns=turns,
        narrows=None
        if turning
        else Narrowing(
            ranged=ranged[nearest // 2], value=float(ends[nearest]), gap_ratio=float(gaps[nearest])
        ),
        ends_ratio=spread,
    ), left_out


def _turns(
    ranged: Sequence[Ranged],
    turning: Sequence[int],
    assumed: Array,
    ends: Array,
    values_at: Callable[[Array], Array],
    first: int,
) -> tuple[Turn, ...]:
    """Bisect each from the assumed value, where the first is first, to the end at which it is not."""
    if not turning:
        return ()
    stays, turned = assumed.copy(), ends.copy()
    for _ in range(_STEPS):
        middle = (stays + turned) / 2
        is_turned = _gap(values_at(middle), first) < 1.0
        stays, turned = np.where(is_turned, stays, middle), np.where(is_turned, middle, turned)
    winners = np.argmin(values_at(turned), axis=0)
    share = np.abs(turned - assumed) / np.abs(ends - assumed)
    return tuple(
        Turn(ranged=ranged[turning[i]], value=float(turned[i]), first=int(winners[i]))
        for i in np.argsort(share, kind="stable")
    )


def _gap(values: Array, first: int) -> Array:
    """The best of the others over the first, at each point; below 1 another one is first."""
    own = values[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.min(np.delete(values, first, axis=0), axis=0) / own
    return np.where(np.isnan(found), 1.0, found)  # neither has an answer


def _values(
    case: Case, terms: Terms, ranged: Sequence[Ranged], which: Array, points: Array, metric: str
) -> Array:
    """A metric of each device at points that differ from the case in one input each: (devices, P).

    `which` names the input of each point, -1 for none; `points` are its values there.
    """
    changes: dict[tuple[str, ...], Array] = {}
    for i in sorted({int(one) for one in which if one >= 0}):
        varied = np.full(len(which), ranged[i].value)
        varied[which == i] = points[np.flatnonzero(which == i)]
        changes |= dict.fromkeys(ranged[i].paths, column(varied))
    found = figures(with_values(case, changes), terms)
    return np.stack([_row(one, metric, len(which)) for one in found])


def _row(found: Figures, metric: str, points: int) -> Array:
    return np.broadcast_to(np.ravel(found.metrics[metric]), (points,))


def _usable(
    case: Case, terms: Terms, inputs: Sequence[Ranged], metric: str
) -> tuple[list[Ranged], tuple[str, ...]]:
    """Inputs at both ends of which every record holds and each fleet has figures, and the addresses of the others."""
    usable = [item for item in inputs if _is_taken(case, item)]
    if not _have_figures(case, terms, usable, metric):  # seldom, so that they are tried alone only then
        usable = [item for item in usable if _have_figures(case, terms, [item], metric)]
    kept = {item.address for item in usable}
    return usable, tuple(item.address for item in inputs if item.address not in kept)


def _is_taken(case: Case, item: Ranged) -> bool:
    try:
        varied = with_values(case, dict.fromkeys(item.paths, column([item.low, item.high])))
    except NpuwattError:
        return False
    return not hall_faults(varied.site.hall, varied.site.cooling)


def _have_figures(case: Case, terms: Terms, items: Sequence[Ranged], metric: str) -> bool:
    which = np.append(np.repeat(np.arange(len(items)), 2), -1)
    ends = np.array([[item.low, item.high] for item in items]).reshape(-1)
    try:
        return not np.any(np.isnan(_values(case, terms, items, which, ends, metric)))
    except (NpuwattError, FloatingPointError):  # a PUE that no hall has, or amounts beyond any number
        return False
