"""What happens to a hall when its chips change: the same work on less power, or more work on the same feed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.datacenter.cooling import Cooling
from npuwatt.datacenter.facility import (
    Facility,
    coolant_of,
    facility_power,
    it_load_w,
    power_by_part,
    ups_load_w,
    ups_standing_w,
)
from npuwatt.record import Record, replace

GIVEN = "PUE as given"
_CAUSE_OF_PART = {
    "distribution": "proportional overhead",
    "lighting": "fixed overhead",
    "miscellaneous": "fixed overhead",
    "fans": "cubic fans",
    "pumps": "cubic pumps",
    "chiller": "heat of the losses",
    "tower": "heat of the losses",
}


class Change(Record):
    """A hall before and after. `causes_ratio` sums to the change of PUE: below 0 lowers it, above 0 raises it."""

    it_before_w: Real
    it_after_w: Real
    facility_before_w: Real
    facility_after_w: Real
    causes_ratio: Mapping[str, Real]
    warnings: tuple[str, ...] = ()

    @property
    def pue_before(self) -> Real:
        return self.facility_before_w / self.it_before_w

    @property
    def pue_after(self) -> Real:
        return self.facility_after_w / self.it_after_w


class Refill(Record):
    """Units on the same feed before and after, whole ones, and what changed in the hall around them."""

    units_before_count: Real
    units_after_count: Real
    work_ratio: Real  # work for each watt of the feed, after over before
    change: Change


def same_work(
    facility: Facility,
    cooling: Cooling,
    *,
    it_before_w: Real,
    it_after_w: Real,
    after: Facility | None = None,
) -> Change:
    """The same work in the same hall, whose IT load changes; `after` is the hall where it changes too.

    Parameters
    ----------
    it_before_w, it_after_w : scalar or (P, 1)

    Raises
    ------
    NpuwattError
        A load is not above 0 or above the design load of its hall.
    """
    after = facility if after is None else after
    before_w = sum(facility_power(facility, cooling, it_before_w).values(), start=0.0)
    after_w = sum(facility_power(after, cooling, it_after_w).values(), start=0.0)
    causes = _load_causes(facility, cooling, it_before_w, it_after_w)
    causes |= _hall_causes(facility, after, cooling, it_after_w)
    return Change(
        it_before_w=it_before_w,
        it_after_w=it_after_w,
        facility_before_w=before_w,
        facility_after_w=after_w,
        causes_ratio=causes,
        warnings=_warnings(before_w / it_before_w, after_w / it_after_w, causes),
    )


def same_feed(
    facility: Facility,
    cooling: Cooling,
    *,
    feed_w: Real,
    unit_before_w: Real,
    unit_after_w: Real,
    unit_work_ratio: Real = 1.0,
    after: Facility | None = None,
) -> Refill:
    """As many units as the same feed carries, before and after their power changes.

    PUE stays where the hall stays: what a lower power buys is more units, not a lower PUE. A hall carries
    no more than its design load; `after=sized_for(...)` is one built for all of the feed.

    Parameters
    ----------
    feed_w, unit_before_w, unit_after_w : scalar or (P, 1)
        Power of the feed, and IT power of one unit.
    unit_work_ratio : scalar or (P, 1)
        Work of a unit after over before.
    """
    require.positive(unit_before=unit_before_w, unit_after=unit_after_w, unit_work=unit_work_ratio)
    after = facility if after is None else after
    it_before_w, it_after_w = it_load_w(facility, cooling, feed_w), it_load_w(after, cooling, feed_w)
    units = (it_before_w / unit_before_w, it_after_w / unit_after_w)
    return Refill(
        units_before_count=whole(units[0]),
        units_after_count=whole(units[1]),
        work_ratio=unit_work_ratio * units[1] / units[0],
        change=same_work(facility, cooling, it_before_w=it_before_w, it_after_w=it_after_w, after=after),
    )


def whole(units: Real) -> Real:
    """Whole units of so many, where a hair under a whole one is rounding and not a missing part."""
    return np.floor(units * (1.0 + 1e-12))


def cause_shares(change: Change) -> dict[str, Real]:
    """Share of each cause in what lowers the PUE, below 0, or in what raises it, above 0; scalar or (P, 1).

    The lowering ones sum to -1 and the raising ones to 1: a fall that a rise hides is still told.
    """
    lowering = sum((np.minimum(cause, 0.0) for cause in change.causes_ratio.values()), start=0.0)
    raising = sum((np.maximum(cause, 0.0) for cause in change.causes_ratio.values()), start=0.0)
    return {
        name: cause
        / np.where(np.less(cause, 0.0), -lowering, np.where(np.greater(raising, 0.0), raising, 1.0))
        for name, cause in change.causes_ratio.items()
    }


def _load_causes(facility: Facility, cooling: Cooling, before_w: Real, after_w: Real) -> dict[str, Real]:
    """What another load does to each part's share, in the hall as it is."""
    if facility.pue_ratio is not None or facility.parts is None:
        return {}
    shares = [
        {name: power_w / it_w for name, power_w in power_by_part(facility, cooling, it_w).items()}
        for it_w in (before_w, after_w)
    ]
    causes: dict[str, Real] = {
        "standing losses": ups_standing_w(facility.parts) * (1.0 / after_w - 1.0 / before_w),
        "square-law losses": ups_load_w(facility.parts, after_w) / after_w
        - ups_load_w(facility.parts, before_w) / before_w,
    }
    for part, cause in _CAUSE_OF_PART.items():
        causes[cause] = causes.get(cause, 0.0) + shares[1][part] - shares[0][part]
    return causes


def _hall_causes(facility: Facility, after: Facility, cooling: Cooling, it_w: Real) -> dict[str, Real]:
    """What each change of the hall does to its PUE at one load, one after another.

    Coolant comes first where the rung stays; with another rung it belongs to it.
    """
    steps: list[tuple[str, Facility]] = []
    now = facility
    if after.rung == facility.rung and np.any(coolant_of(after, cooling) != coolant_of(facility, cooling)):
        now = replace(now, coolant_k=after.coolant_k)
        steps.append(("warmer coolant", now))
    if after.rung != facility.rung:
        now = replace(now, rung=after.rung, coolant_k=after.coolant_k)
        steps.append(("another rung", now))
    if (after.climate, after.water) != (facility.climate, facility.water):
        now = replace(now, climate=after.climate, water=after.water)
        steps.append(("another climate or use of water", now))
    if after.pue_ratio is not None or facility.pue_ratio is not None:
        steps.append((GIVEN, after))
    elif after.parts is not facility.parts:
        if after.parts is not None and now.parts is not None:
            now = replace(now, parts=replace(now.parts, design_it_w=after.parts.design_it_w))
            steps.append(("size of the hall", now))
        steps.append(("other parts", after))
    causes: dict[str, Real] = {}
    last = _pue(facility, cooling, it_w) if steps else 0.0
    for name, hall in steps:
        next_pue = _pue(hall, cooling, it_w)
        causes[name] = next_pue - last
        last = next_pue
    return causes


def _pue(facility: Facility, cooling: Cooling, it_w: Real) -> Real:
    return sum(power_by_part(facility, cooling, it_w).values(), start=0.0) / it_w


def _warnings(before: Real, after: Real, causes: Mapping[str, Real]) -> tuple[str, ...]:
    """A line where the PUE falls only because it is said to."""
    unexplained = np.logical_and(np.less(after, before), np.less(causes.get(GIVEN, 0.0), -1e-9))
    if not np.any(unexplained):
        return ()
    low, high = float(np.min(after)), float(np.max(before))
    return (
        f"PUE falls from {high:.4g} to {low:.4g} because it is given so: no part of the hall is the cause",
    )
