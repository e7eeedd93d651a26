"""Two common claims, and the conditions under which each would hold: PUE 1.05 at half the chip power, TCO 3 to 5 times lower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npuwatt.arrays import Array, Real, column
from npuwatt.datacenter.change import Change, same_work
from npuwatt.datacenter.cooling import Rung, compact_pue, free_cooling_fraction
from npuwatt.datacenter.facility import Facility
from npuwatt.datacenter.heat import coolant_needed_k
from npuwatt.preset.paths import with_value
from npuwatt.record import Record
from npuwatt.study.fleet_figures import Case, Figures, Site, Terms, Unit, figures

PUE, HALF, TARGETS = 1.05, 0.5, (3.0, 5.0)  # what is claimed
_SPEEDS = np.geomspace(0.01, 1000.0, 601)  # steps of 2 %


class RungCondition(Record):
    """What a cooling rung needs for the claimed PUE, other losses as its usual floor has them."""

    rung: str
    needed_free_fraction: float | None  # None: its floor alone is above
    reached_in: tuple[tuple[str, str], ...]  # climates and uses of water
    coolant_k: float | None  # that reaches it in the hall's climate; None: none that the rung allows
    allowed_full_k: float  # coolant that a chip of the first fleet allows, as it is
    allowed_half_k: float  # and at half its power


class PueClaim(Record):
    """What halving the chip power does to the hall, and what would bring its PUE to the claimed one."""

    change: Change
    rungs: tuple[RungCondition, ...]

    @property
    def holds(self) -> bool:
        """Whether half the power is enough by itself."""
        return bool(np.all(np.less_equal(self.change.pue_after, PUE)))


class CostClaim(Record):
    """When a fleet's tokens would cost so many times less than the first one's."""

    place: int
    now_ratio: float  # cost of the first over its own
    target_ratio: float
    at_price_usd: float | None  # of one device; None: not even for nothing, or it is rented
    at_rent_usd_per_s: float | None  # the same of its rent; None where it is bought
    at_speed_ratio: (
        float | None
    )  # of the predicted rate, at the same power; None: at none up to a thousand times


class Claims(Record):
    """Both claims."""

    pue: PueClaim
    costs: tuple[CostClaim, ...]


def fleet_claims(case: Case, terms: Terms, results: Sequence[Figures]) -> Claims:
    """Both claims for fleets side by side; the first one is what the others are held against."""
    return Claims(
        pue=_pue_claim(case.site, case.units[0], results[0]),
        costs=tuple(
            claim
            for place in range(1, len(case.units))
            for claim in _cost_claims(case, terms, results, place)
        ),
    )


def _pue_claim(site: Site, unit: Unit, first: Figures) -> PueClaim:
    it_w = first.metrics["mean_it_w"]
    return PueClaim(
        change=same_work(first.hall, site.cooling, it_before_w=it_w, it_after_w=HALF * it_w),
        rungs=tuple(
            _condition(site, first.hall, name, rung, unit) for name, rung in site.cooling.rungs.items()
        ),
    )


def _condition(site: Site, hall: Facility, name: str, rung: Rung, unit: Unit) -> RungCondition:
    cooling = site.cooling
    reached = tuple(
        (climate, water)
        for climate in cooling.free_cooling_fraction
        for water in cooling.water
        if np.all(
            np.less_equal(
                compact_pue(rung, free_cooling_fraction(cooling, rung=name, climate=climate, water=water)),
                PUE,
            )
        )
    )
    needed = None
    if rung.floor_ratio <= PUE:
        needed = (
            float(max(0.0, 1.0 - (PUE - rung.floor_ratio) / rung.penalty_ratio))
            if rung.penalty_ratio
            else 0.0
        )
    allowed = [
        float(
            coolant_needed_k(
                junction_limit_k=site.planning.junction_limit_k, power_w=share * unit.rated_w,
                resistance_k_per_w=rung.resistance_k_per_w,
            )
        )
        for share in (1.0, HALF)
    ]  # fmt: skip
    return RungCondition(
        rung=name, needed_free_fraction=needed, reached_in=reached,
        coolant_k=None if needed is None else _coolant_k(site, hall, name, rung, needed),
        allowed_full_k=allowed[0], allowed_half_k=allowed[1],
    )  # fmt: skip


def _coolant_k(site: Site, hall: Facility, name: str, rung: Rung, needed: float) -> float | None:
    """The coolest water or air that gives so much free cooling in the hall's climate, if the rung allows it."""
    tried = np.linspace(273.15, float(np.max(rung.most_coolant_k)), 2001)
    given = free_cooling_fraction(
        site.cooling, rung=name, climate=hall.climate, water=hall.water, coolant_k=column(tried)
    )
    share = np.broadcast_to(np.ravel(given), tried.shape)
    return float(tried[np.argmax(share >= needed)]) if np.any(share >= needed) else None


def _cost_claims(case: Case, terms: Terms, results: Sequence[Figures], place: int) -> list[CostClaim]:
    first, own = (_usd(results[i]) for i in (0, place))
    unit = case.units[place]
    is_rent = terms.ownership == "rented"
    path = ("price", "rent" if is_rent else "purchase")
    price = unit.price.rent_usd_per_s if is_rent else unit.price.purchase_usd
    asked: Real = price or 1.0  # any will do for a straight line
    free, one = _alone(case, terms, place, path, column([0.0, float(np.max(asked))]))
    slope = (one - free) / float(np.max(asked))  # cost is linear in the price
    with np.errstate(divide="ignore", invalid="ignore"):  # what costs nothing is infinitely cheap
        ratios = first[0] / _alone(case, terms, place, ("speed",), column(_SPEEDS))
        now = float(first[0] / own[0])
    found = []
    for target in TARGETS:
        at_price = (first[0] / target - free) / slope
        told = float(at_price) if at_price >= 0 else None
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
