"""Cooling of a hall: rungs from air to immersion, the hours that need no chiller, fans, pumps and chillers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.datacenter.heat import Leakage, coolant_needed_k
from npuwatt.datacenter.server import Server
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.record import Record

# Dry air and water near 20 degrees Celsius.
AIR_J_PER_KG_K, AIR_KG_PER_M3 = 1005.0, 1.2
WATER_J_PER_KG_K, WATER_KG_PER_M3 = 4186.0, 997.0
AIR_J_PER_M3_K = AIR_J_PER_KG_K * AIR_KG_PER_M3
WATER_J_PER_M3_K = WATER_J_PER_KG_K * WATER_KG_PER_M3
_LEAST_FREE, _MOST_FREE = 0.001, 0.999  # every year has some hour that needs a chiller, and one that does not

T = TypeVar("T")


class Rung(Record):
    """One way to take heat from a rack. Its PUE is floor + (1 - share of free cooling) penalty."""

    most_rack_w: Real
    floor_ratio: Real
    penalty_ratio: Real
    liquid_fraction: Real  # share of the heat of IT that leaves in a liquid
    resistance_k_per_w: Real  # junction to coolant, of one accelerator
    usual_coolant_k: Real  # at which the free cooling of the climates holds
    most_coolant_k: Real
    has_economiser: bool = True
    has_liquid_at_chip: bool = False  # then the server's own fans have that heat no more

    def __post_init__(self) -> None:
        require.positive(
            most_rack=self.most_rack_w,
            resistance=self.resistance_k_per_w,
            usual_coolant=self.usual_coolant_k,
            most_coolant=self.most_coolant_k,
        )
        require.within(1.0, 10.0, floor=self.floor_ratio)
        require.not_negative(penalty=self.penalty_ratio)
        require.share(liquid=self.liquid_fraction)


class WaterMode(Record):
    """How much water a site gives for its cooling: what that adds to free cooling, and what it drinks."""

    added_ratio: Real  # to the share of hours without a chiller
    site_water_l_per_j: Real  # per joule of IT: WUE

    def __post_init__(self) -> None:
        require.within(-1.0, 1.0, added=self.added_ratio)
        require.not_negative(site_water=self.site_water_l_per_j)


class Cooling(Record):
    """What there is to choose from: rungs, climates, uses of water; and what is the same on all of them."""

    rungs: Mapping[str, Rung]
    free_cooling_fraction: Mapping[str, Real]  # by climate
    water: Mapping[str, WaterMode]
    climate_spread_k: Real  # scale of the logistic in coolant temperature
    leakage: Leakage
    server: Server

    kind: ClassVar[Literal["cooling"]] = "cooling"

    def __post_init__(self) -> None:
        require.positive(climate_spread=self.climate_spread_k)
        for name, share in self.free_cooling_fraction.items():
            require.share(**{f"free_cooling.{name}": share})


class Mover(Record):
    """Fans or pumps that carry heat: flow from heat and temperature rise, power with the cube of flow."""

    rise_k: Real
    pressure_pa: Real
    efficiency_fraction: Real
    least_flow_fraction: Real  # of the flow at design; the speed they never go below

    def __post_init__(self) -> None:
        require.positive(rise=self.rise_k, pressure=self.pressure_pa)
        require.fraction(efficiency=self.efficiency_fraction)
        require.share(least_flow=self.least_flow_fraction)


class Chiller(Record):
    """Compression cooling: a stated COP, or a share of what Carnot allows between coolant and outdoors."""

    condensing_k: Real
    approach_k: Real  # evaporator below coolant
    carnot_fraction: Real
    least_lift_k: Real  # a warmer coolant does not shrink the lift below this
    cop_ratio: Real | None = None

    def __post_init__(self) -> None:
        require.positive(condensing=self.condensing_k, least_lift=self.least_lift_k)
        require.not_negative(approach=self.approach_k)
        require.fraction(carnot=self.carnot_fraction)
        if self.cop_ratio is not None:
            require.positive(cop=self.cop_ratio)


def one_of(what: str, name: str, known: Mapping[str, T]) -> T:
    """The entry of a table by its name, or a NpuwattError that says which there are."""
    if name not in known:
        near = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
        raise NpuwattError(f"{what}: {shown(name)} given{near}")
    return known[name]


def free_cooling_fraction(
    cooling: Cooling, *, rung: str, climate: str, water: str, coolant_k: Real | None = None
) -> Real:
    """Share of the year whose heat leaves without a chiller; scalar or (P, 1).

    At the rung's usual coolant: the climate's share and what the use of water adds. A warmer coolant
    gains hours, a cooler one loses them, as if outdoor temperature were spread like a logistic:
    logit f = logit f_usual + (T - T_usual) / spread. No law of this is published: its shape (monotone,
    between 0 and 1, exact at the usual coolant) and its spread are assumed.

    Raises
    ------
    NpuwattError
        No such rung, climate or use of water.
    """
    step = one_of("rung", rung, cooling.rungs)
    share = one_of("climate", climate, cooling.free_cooling_fraction)
    added = one_of("water", water, cooling.water).added_ratio
    if not step.has_economiser:
        return 0.0
    usual = np.clip(share + added, _LEAST_FREE, _MOST_FREE)
    if coolant_k is None:
        return usual
    warmer = (coolant_k - step.usual_coolant_k) / cooling.climate_spread_k
    odds = usual / (1.0 - usual)
    against = np.exp(np.clip(-warmer, -500.0, 500.0))
    return np.asarray(odds / (odds + against))


def compact_pue(rung: Rung, free_fraction: Real) -> Real:
    """PUE of a rung without the parts of a hall: floor + (1 - free) penalty.

    Source
    ------
    cooling-pue-ladder 1.0.0.
    """
    return rung.floor_ratio + (1.0 - free_fraction) * rung.penalty_ratio


def captured_at_chip_fraction(rung: Rung) -> Real:
    """Share of a server's heat that its own fans need not move: none where air is still at the chip."""
    return rung.liquid_fraction if rung.has_liquid_at_chip else 0.0


def rungs_that_hold(cooling: Cooling, rack_w: Real) -> dict[str, npt.NDArray[np.bool_]]:
    """Whether each rung takes the heat of a rack; scalar or (P, 1) by name of rung."""
    return {name: np.less_equal(rack_w, rung.most_rack_w) for name, rung in cooling.rungs.items()}


def allowed_coolant_k(rung: Rung, *, junction_limit_k: Real, power_w: Real) -> Real:
    """Warmest coolant that both the chip and the rung allow; scalar or (P, 1)."""
    needed_k = coolant_needed_k(
        junction_limit_k=junction_limit_k, power_w=power_w, resistance_k_per_w=rung.resistance_k_per_w
    )
    return np.minimum(needed_k, rung.most_coolant_k)


def air_mass_flow_kg_per_s(heat_w: Real, rise_k: Real) -> Real:
    """Air that carries `heat_w` at a temperature rise: Q / (cp dT)."""
    return heat_w / (AIR_J_PER_KG_K * rise_k)


def air_flow_m3_per_s(heat_w: Real, rise_k: Real) -> Real:
    """The same as volume: mass flow over density."""
    return air_mass_flow_kg_per_s(heat_w, rise_k) / AIR_KG_PER_M3


def mover_power_w(mover: Mover, *, heat_w: Real, design_heat_w: Real, medium_j_per_m3_k: float) -> Any:
    """Power of fans or pumps that are sized for `design_heat_w` and carry `heat_w`; scalar or (P, 1).

    At design, flow times pressure over efficiency. Below, flow follows heat down to its floor, and power
    follows the cube of flow (affinity laws).
    """
    design_flow_m3_per_s = design_heat_w / (medium_j_per_m3_k * mover.rise_k)
    design_w = design_flow_m3_per_s * mover.pressure_pa / mover.efficiency_fraction
    return design_w * np.maximum(heat_w / design_heat_w, mover.least_flow_fraction) ** 3


def chiller_cop(chiller: Chiller, coolant_k: Real) -> Array:
    """Heat moved per work: as stated, or g T_evap / (T_cond - T_evap); scalar or (P, 1)."""
    if chiller.cop_ratio is not None:
        return np.asarray(chiller.cop_ratio)
    evaporator_k = coolant_k - chiller.approach_k
    lift_k = np.maximum(chiller.condensing_k - evaporator_k, chiller.least_lift_k)
    return np.asarray(chiller.carnot_fraction * evaporator_k / lift_k)
