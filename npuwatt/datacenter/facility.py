"""Power of a hall at any IT load: by a given PUE, by its cooling rung alone, or part by part; and its water."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.datacenter.cooling import (
    AIR_J_PER_M3_K,
    WATER_J_PER_M3_K,
    Chiller,
    Cooling,
    Mover,
    Rung,
    chiller_cop,
    compact_pue,
    free_cooling_fraction,
    mover_power_w,
    one_of,
)
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace

MOST_PUE = 100.0
_MOST_STEPS = 100  # of Newton; five or six are enough unless fans take far more than IT


class Ups(Record):
    """Loss of uninterruptible power: design (a0 + a1 u + a2 u^2), u the load of one of `installed` equal shares."""

    standing_ratio: Real
    linear_ratio: Real
    square_ratio: Real
    installed_ratio: Real = 1.0  # capacity over design load: 2 where every feed is doubled (2N)

    def __post_init__(self) -> None:
        require.not_negative(standing=self.standing_ratio, square=self.square_ratio)
        require.within(-1.0, 1.0, linear=self.linear_ratio)
        require.within(1.0, 10.0, installed=self.installed_ratio)
        saved = np.minimum(self.linear_ratio, 0.0)
        if np.any(saved**2 > 4.0 * self.standing_ratio * self.square_ratio):
            raise NpuwattError(
                "linear: the loss falls below 0 at some load; expected linear^2 <= 4 standing square"
            )


class Parts(Record):
    """What a hall is built of, sized for its design load."""

    design_it_w: Real
    ups: Ups
    distribution_fraction: Real  # of the IT load
    lighting_fraction: Real  # of the design load, on at any load
    miscellaneous_fraction: Real  # the same: offices, security, controls
    tower_fraction: Real  # power of towers or dry coolers over the heat they reject
    fans: Mover
    chiller: Chiller
    pumps: Mover | None = None

    def __post_init__(self) -> None:
        require.positive(design_it=self.design_it_w)
        require.share(
            distribution=self.distribution_fraction,
            lighting=self.lighting_fraction,
            miscellaneous=self.miscellaneous_fraction,
            tower=self.tower_fraction,
        )


class Facility(Record):
    """A hall: how it is cooled and where it stands. A given PUE wins over parts, and parts over the rung's own PUE."""

    rung: str
    climate: str
    water: str
    coolant_k: Real | None = None  # None: as usual on its rung
    pue_ratio: Real | None = None
    parts: Parts | None = None

    kind: ClassVar[Literal["datacenter"]] = "datacenter"

    def __post_init__(self) -> None:
        if self.pue_ratio is not None:
            require.within(1.0, MOST_PUE, pue=self.pue_ratio)
        if self.coolant_k is not None:
            require.positive(coolant=self.coolant_k)


def hall_faults(facility: Facility, cooling: Cooling) -> tuple[str, ...]:
    """What a hall asks for and a table of cooling does not have, a line each: a name, or a coolant that warm."""
    faults: list[str] = []
    tables: tuple[tuple[str, str, Mapping[str, object]], ...] = (
        ("rung", facility.rung, cooling.rungs),
        ("climate", facility.climate, cooling.free_cooling_fraction),
        ("water", facility.water, cooling.water),
    )
    for what, name, known in tables:
        try:
            one_of(what, name, known)
        except NpuwattError as error:
            faults += error.faults
    rung = cooling.rungs.get(facility.rung)
    if rung is not None and facility.coolant_k is not None:
        given_k, most_k = float(np.max(facility.coolant_k)), float(np.min(rung.most_coolant_k))
        if given_k > most_k:
            faults.append(
                f"coolant: {given_k - 273.15:.6g} degC given; expected at most {most_k - 273.15:.6g} degC, "
                f"the warmest of {facility.rung}"
            )
    return tuple(faults)


def rung_of(facility: Facility, cooling: Cooling) -> Rung:
    """The cooling rung of a hall."""
    return one_of("rung", facility.rung, cooling.rungs)


def coolant_of(facility: Facility, cooling: Cooling) -> Real:
    """Coolant temperature of a hall, kelvin: its own, or the usual one of its rung."""
    return rung_of(facility, cooling).usual_coolant_k if facility.coolant_k is None else facility.coolant_k


def free_fraction_of(facility: Facility, cooling: Cooling) -> Real:
    """Share of the year that a hall needs no chiller."""
    return free_cooling_fraction(
        cooling,
        rung=facility.rung,
        climate=facility.climate,
        water=facility.water,
        coolant_k=coolant_of(facility, cooling),
    )


def facility_power(facility: Facility, cooling: Cooling, it_w: Real) -> dict[str, Real]:
    """Average power of a hall over a year, by part; their sum over `it` is the PUE.

    Parameters
    ----------
    it_w : scalar or (P, 1)
        IT load, watts: above 0, and at most the design load where the hall is given in parts.

    Returns
    -------
    dict of scalars or (P, 1)
        Watts by part. `it` and `overhead` where the PUE is given or the rung's own; else `it`, `ups`,
        `distribution`, `lighting`, `fans`, `pumps`, `chiller`, `tower` and `miscellaneous`.

    Raises
    ------
    NpuwattError
        The load is not above 0 or above the design load; no such rung, climate or use of water.

    Source
    ------
    Shares and fan power: Lei and Masanet, Energy, 2020. Chillers run the hours that free cooling leaves.
    """
    require.positive(it_load=it_w)
    parts = facility.parts if facility.pue_ratio is None else None
    if parts is not None and np.any(np.greater(it_w, parts.design_it_w)):
        most_w, design_w = float(np.max(it_w)), float(np.min(parts.design_it_w))
        raise NpuwattError(
            f"it_load: {most_w:.6g} W given; expected at most the design load of the hall, {design_w:.6g} W"
        )
    return power_by_part(facility, cooling, it_w)


def power_by_part(facility: Facility, cooling: Cooling, it_w: Real) -> dict[str, Real]:
    """The same without its checks: what the curves say, also beyond the design load."""
    if facility.pue_ratio is not None:
        return {"it": it_w, "overhead": it_w * (facility.pue_ratio - 1.0)}
    if facility.parts is None:
        pue_ratio = compact_pue(rung_of(facility, cooling), free_fraction_of(facility, cooling))
        return {"it": it_w, "overhead": it_w * (pue_ratio - 1.0)}
    parts = facility.parts
    electric = _electric_w(parts, it_w)
    heat_w = sum(electric.values(), start=it_w)
    design_heat_w = sum(_electric_w(parts, parts.design_it_w).values(), start=parts.design_it_w)
    liquid = rung_of(facility, cooling).liquid_fraction
    fans_w = mover_power_w(
        parts.fans,
        heat_w=heat_w - liquid * it_w,
        design_heat_w=design_heat_w - liquid * parts.design_it_w,
        medium_j_per_m3_k=AIR_J_PER_M3_K,
    )
    pumps_w = 0.0 if parts.pumps is None else mover_power_w(
        parts.pumps, heat_w=heat_w, design_heat_w=design_heat_w, medium_j_per_m3_k=WATER_J_PER_M3_K
    )  # fmt: skip
    chilled_w = (heat_w + fans_w) * (1.0 - free_fraction_of(facility, cooling))
    chiller_w = chilled_w / chiller_cop(parts.chiller, coolant_of(facility, cooling))
    tower_w = parts.tower_fraction * (heat_w + fans_w + chiller_w)
    cooled = {"fans": fans_w, "pumps": pumps_w, "chiller": chiller_w, "tower": tower_w}
    return {
        "it": it_w,
        **electric,
        **cooled,
        "miscellaneous": parts.miscellaneous_fraction * parts.design_it_w,
    }


def _electric_w(parts: Parts, it_w: Real) -> dict[str, Real]:
    """Losses and lights inside the hall, whose heat is cooled like that of IT."""
    return {
        "ups": ups_standing_w(parts) + ups_load_w(parts, it_w),
        "distribution": parts.distribution_fraction * it_w,
        "lighting": parts.lighting_fraction * parts.design_it_w,
    }


def ups_standing_w(parts: Parts) -> Real:
    """Loss of the UPS without load."""
    return parts.ups.standing_ratio * parts.ups.installed_ratio * parts.design_it_w


def ups_load_w(parts: Parts, it_w: Real) -> Real:
    """Loss of the UPS that follows its load."""
    load = it_w / (parts.ups.installed_ratio * parts.design_it_w)
    return (parts.ups.linear_ratio + parts.ups.square_ratio * load) * it_w


def total_power_w(facility: Facility, cooling: Cooling, it_w: Real) -> Real:
    """Power of a hall, all parts together; scalar or (P, 1), watts."""
    return sum(facility_power(facility, cooling, it_w).values(), start=0.0)


def pue(facility: Facility, cooling: Cooling, it_w: Real) -> Real:
    """Facility power over IT power, 1 or more; scalar or (P, 1)."""
    return total_power_w(facility, cooling, it_w) / it_w


def it_load_w(facility: Facility, cooling: Cooling, feed_w: Real) -> Real:
    """IT load under which a hall draws all of its feed, or the design load where the feed carries more.

    Raises
    ------
    NpuwattError
        The feed is not above what the hall draws without IT.
    """
    require.positive(feed=feed_w)
    if facility.pue_ratio is not None or facility.parts is None:
        return feed_w / pue(facility, cooling, 1.0)
    least_w = _sum_w(facility, cooling, 0.0)
    if np.any(np.less_equal(feed_w, least_w)):
        raise NpuwattError(
            f"feed: {float(np.min(feed_w)):.6g} W given; expected more than the hall draws without IT, "
            f"{float(np.max(least_w)):.6g} W"
        )
    it_w = facility.parts.design_it_w
    small_w = it_w * 1e-6
    for _ in range(_MOST_STEPS):  # power is convex in load: Newton's method from above never oversteps
        power_w = _sum_w(facility, cooling, it_w)
        over_w = np.maximum(power_w - feed_w, 0.0)
        if not np.any(over_w > 1e-13 * power_w):
            break
        it_w = it_w - over_w * small_w / (_sum_w(facility, cooling, it_w + small_w) - power_w)
    return it_w


def _sum_w(facility: Facility, cooling: Cooling, it_w: Real) -> Real:
    return sum(power_by_part(facility, cooling, it_w).values(), start=0.0)


def sized_for(facility: Facility, cooling: Cooling, feed_w: Real) -> Facility:
    """The same hall, built to draw all of a feed at its design load; every part scales with it."""
    require.positive(feed=feed_w)
    if facility.parts is None:
        return facility
    at_design = pue(facility, cooling, facility.parts.design_it_w)
    return replace(facility, parts=replace(facility.parts, design_it_w=feed_w / at_design))


def site_water_of(facility: Facility, cooling: Cooling) -> Real:
    """Water that cooling drinks on site, litres per joule of IT."""
    return one_of("water", facility.water, cooling.water).site_water_l_per_j


def water_l(it_j: Real, *, site_l_per_j: Real, pue_ratio: Real, grid_l_per_j: Real) -> Real:
    """Water of a site and of the power plants behind it: E_IT (WUE_site + PUE WUE_grid), litres.

    Both sit on the energy of IT: PUE stands before the grid's water alone, and once.

    Source
    ------
    EcoLogits 0.11.3, usage water.
    """
    require.not_negative(it_energy=it_j, site_water=site_l_per_j, grid_water=grid_l_per_j)
    require.within(1.0, MOST_PUE, pue=pue_ratio)
    return it_j * (site_l_per_j + pue_ratio * grid_l_per_j)
