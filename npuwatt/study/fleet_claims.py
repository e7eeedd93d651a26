"""Two common claims, and the conditions under which each would hold: PUE 1.05 at half the chip power, TCO 3 to 5 times lower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npuwatt.arrays import Array, Real, column
from npuwatt.datacenter.change import Change, same_work
from npuwatt.datacenter.facility import Facility, coolant_of, pue, rung_of
from npuwatt.datacenter.heat import coolant_needed_k
from npuwatt.preset.paths import with_value
from npuwatt.record import Record, replace
from npuwatt.study.fleet_figures import Case, Figures, Terms, figures

PUE, HALF, TARGETS = 1.05, 0.5, (3.0, 5.0)  # what is claimed
_SPEEDS = np.geomspace(0.01, 1000.0, 601)  # steps of 2 %


class HallCondition(Record):
    """One hall, built for the first fleet and under its load, as `fleet` itself has it."""

    site: str
    rung: str
    climate: str
    water: str
    pue_ratio: float
    half_ratio: float  # in the same hall, at half the power of its chips
    warm_ratio: float  # the same with coolant as warm as chip and rung then allow
    reached_in: tuple[
        tuple[str, str], ...
    ]  # climates and uses of water where the PUE as it is reaches the claimed one
    usual_coolant_k: float
    allowed_full_k: float  # coolant that a chip of the first fleet allows, as it is
    allowed_half_k: float  # and at half its power


class PueClaim(Record):
    """What halving the chip power does to the hall, and which halls have the claimed PUE."""

    change: Change
    halls: tuple[HallCondition, ...]

    @property
    def holds_before(self) -> bool:
        """Whether the hall has it as it is."""
        return bool(np.all(np.less_equal(self.change.pue_before, PUE)))

    @property
    def holds(self) -> bool:
        """Whether it has it at half the chip power."""
        return bool(np.all(np.less_equal(self.change.pue_after, PUE)))


class CostClaim(Record):
    """When a fleet's tokens would cost so many times less than the first one's."""

    place: int
    now_ratio: float  # cost of the first over its own
    target_ratio: float
    at_price_usd: float | None  # of one device alone; None: not even for nothing, or it is rented
    at_rent_usd_per_s: float | None  # the same of its rent; None where it is bought
    at_speed_ratio: (
        float | None
    )  # of the predicted rate, at the same power; None: at none up to a thousand times


class Claims(Record):
    """Both claims."""

    pue: PueClaim
    costs: tuple[CostClaim, ...]


def fleet_claims(
    case: Case, terms: Terms, results: Sequence[Figures], halls: Mapping[str, Facility]
) -> Claims:
    """Both claims for fleets side by side; the first one is what the others are held against.

    `halls` are those that the claimed PUE is looked for in, by name.
    """
    it_w = results[0].metrics["mean_it_w"]
    first = replace(case, units=case.units[:1])
    free = replace(terms, is_hall_given=False)  # a design load that was set is that of the hall asked for
    return Claims(
        pue=PueClaim(
            change=same_work(results[0].hall, case.site.cooling, it_before_w=it_w, it_after_w=HALF * it_w),
            halls=tuple(
                _hall_condition(first, terms if hall is case.site.hall else free, name, hall)
                for name, hall in halls.items()
            ),
        ),
        costs=tuple(
            claim
            for place in range(1, len(case.units))
            for claim in _cost_claims(case, terms, results, place)
        ),
    )


def _hall_condition(first: Case, terms: Terms, name: str, hall: Facility) -> HallCondition:
    cooling, rung = first.site.cooling, rung_of(hall, first.site.cooling)

    def found(climate: str, water: str) -> Figures:
        there = replace(hall, climate=climate, water=water)
        return figures(replace(first, site=replace(first.site, hall=there)), terms)[0]

    here = found(hall.climate, hall.water)
    half_w = HALF * here.metrics["mean_it_w"]
    allowed_k = [
        coolant_needed_k(
            junction_limit_k=first.site.planning.junction_limit_k, power_w=share * first.units[0].rated_w,
            resistance_k_per_w=rung.resistance_k_per_w,
        )
        for share in (1.0, HALF)
    ]  # fmt: skip
    usual_k = coolant_of(here.hall, cooling)
    warm_k = np.maximum(usual_k, np.minimum(allowed_k[1], rung.most_coolant_k))
    return HallCondition(
        site=name,
        rung=hall.rung,
        climate=hall.climate,
        water=hall.water,
        pue_ratio=_one(here.metrics["pue"]),
        half_ratio=_one(pue(here.hall, cooling, half_w)),
        warm_ratio=_one(pue(replace(here.hall, coolant_k=warm_k), cooling, half_w)),
        reached_in=tuple(
            (climate, water)
            for climate in cooling.free_cooling_fraction
            for water in cooling.water
            if _one(found(climate, water).metrics["pue"]) <= PUE
        ),
        usual_coolant_k=_one(usual_k),
        allowed_full_k=_one(allowed_k[0]),
        allowed_half_k=_one(allowed_k[1]),
    )


def _one(value: Real) -> float:
    return float(np.max(value))


def _cost_claims(case: Case, terms: Terms, results: Sequence[Figures], place: int) -> list[CostClaim]:
    first, own = (_usd(results[i]) for i in (0, place))
    unit = case.units[place]
    is_rent = terms.ownership == "rented"
    path = ("price", "rent" if is_rent else "purchase")
    price = unit.price.rent_usd_per_s if is_rent else unit.price.purchase_usd
    is_share = not is_rent and unit.price.covers == "server"
    around: Real = (
        case.site.money.server_price_ratio if is_share else 1.0
    )  # of a server beside its bare devices
    asked: Real = price or 1.0  # any will do for a straight line
    free, one = _alone(case, terms, place, path, column([0.0, float(np.max(asked))]))
    slope = (one - free) / float(np.max(asked))  # cost is linear in the price
    with np.errstate(divide="ignore", invalid="ignore"):  # what costs nothing is infinitely cheap
        ratios = first[0] / _alone(case, terms, place, ("speed",), column(_SPEEDS))
        now = float(first[0] / own[0])
    found = []
    for target in TARGETS:
        with np.errstate(all="ignore"):  # a price that changes nothing is none
            at_price = float(np.max((first[0] / target - free) / slope / around))
        told = at_price if 0 <= at_price < np.inf else None
        reached = ratios >= target
        found.append(
            CostClaim(
                place=place,
                now_ratio=now,
                target_ratio=target,
                at_price_usd=None if is_rent else told,
                at_rent_usd_per_s=told if is_rent else None,
                at_speed_ratio=float(_SPEEDS[np.argmax(reached)]) if np.any(reached) else None,
            )
        )
    return found


def _alone(case: Case, terms: Terms, place: int, path: tuple[str, ...], values: Array) -> Array:
    """Cost of a fleet's tokens where one number of its device is varied; the first fleet stands beside it."""
    varied = with_value(case, ("units", str(place), *path), values)
    return np.broadcast_to(_usd(figures(varied, terms)[place]), values.ravel().shape)


def _usd(found: Figures) -> Array:
    return np.ravel(found.metrics["usd_per_million_tokens"])
