"""A fleet in its hall, in figures: servers, watts, dollars, carbon and water, at any number of design points."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.datacenter.carbon import (
    Embodied,
    Grid,
    intensity_kg_per_j,
    million_tokens_kg,
    node_embodied_kg,
    node_kg_per_s,
)
from npuwatt.datacenter.cooling import Cooling, captured_at_chip_fraction
from npuwatt.datacenter.facility import (
    Facility,
    facility_power,
    rung_of,
    site_water_of,
    water_l,
)
from npuwatt.datacenter.heat import coolant_needed_k, heat_flux_w_per_m2
from npuwatt.datacenter.planning import Planning
from npuwatt.datacenter.server import rated_itue, tue
from npuwatt.datacenter.serving import Curve, Demand, Fleet, Limits
from npuwatt.datacenter.serving import fleet as servers_for
from npuwatt.datacenter.tco import (
    HOUR_S,
    YEAR_S,
    Money,
    Node,
    Price,
    buying_break_even_s,
    buying_npv_usd,
    capital_usd,
    colocated_usd_per_s,
    energy_share,
    million_tokens_usd,
    node_of,
    owned_usd_per_s,
    rented_usd_per_s,
)
from npuwatt.record import Record, replace

SAME = ("work", "power")
BASES = ("location", "market")
OWNERSHIPS = ("owned", "colocation", "rented")
Amounts = dict[str, Any]  # number or column by name
_FILLINGS = 3  # spares are whole too, so that the first guess may be one too many


class Site(Record):
    """All that is not a device; any number may be a (P, 1) column."""

    hall: Facility
    cooling: Cooling
    grid: Grid
    money: Money
    embodied: Embodied
    planning: Planning


class Unit(Record):
    """Devices that serve together as one replica."""

    curve: Curve
    devices_count: float
    rated_w: Real  # of one device
    price: Price  # of one device
    made_kg: Real  # carbon of making one device
    die_area_m2: Real | None = None
    speed_ratio: Real = 1.0  # true over predicted
    power_ratio: Real = 1.0


class Case(Record):
    """Devices side by side on one site."""

    site: Site
    units: tuple[Unit, ...]


class Terms(Record):
    """What is asked of every fleet alike."""

    mean_requests_per_s: float
    input_len: float
    output_len: float
    limits: Limits
    same: str = "work"
    ownership: str = "owned"
    basis: Literal["location", "market"] = "location"  # of carbon of use
    is_hall_given: bool = False  # its design load was set: it is not built for the first fleet
    is_tariff_given: bool = False  # it was set, so that of the grid does not hold


class Figures(Record):
    """One fleet; each amount is a number or a (P, 1) column."""

    hall: Facility
    is_met: Any  # whether some batch meets the limits; elsewhere costs and carbon are infinite
    metrics: Amounts
    cost_usd: Amounts  # of a million output tokens, by part
    emitted_kg: Amounts  # the same
    facility_w: Amounts  # at the mean load, by part


def figures(case: Case, terms: Terms) -> tuple[Figures, ...]:
    """What each fleet needs, costs and emits.

    For the same work each meets the same demand, in a hall built for it. For the same power each takes as much
    as all replicas in the first one's hall carry, which is larger only where one replica needs it to be.

    Raises
    ------
    RequestError
        No batch of a device meets the limits at any design point.
    """
    demand = _demand(terms, case.site.planning)
    found = []
    first_w: Real = 0.0
    for place, unit in enumerate(case.units):
        asked, served = demand, _served(case.site, unit, terms, demand)
        if place == 0:
            first_w = _provisioned_w(case.site, unit, served)
        if terms.same == "power":
            asked, served = _filling(case.site, unit, terms, demand, first_w)
        provisioned_w = _provisioned_w(case.site, unit, served)
        built_w = np.maximum(first_w, provisioned_w) if terms.same == "power" else provisioned_w
        hall = _hall(case.site.hall, built_w, terms)
        found.append(_figures(replace(case.site, hall=hall), unit, terms, asked, served, provisioned_w))
    return tuple(found)


def _demand(terms: Terms, planning: Planning) -> Demand:
    return Demand(
        mean_requests_per_s=terms.mean_requests_per_s,
        peak_requests_per_s=terms.mean_requests_per_s * planning.peak_ratio,
        input_len=terms.input_len,
        output_len=terms.output_len,
    )


def _filling(site: Site, unit: Unit, terms: Terms, demand: Demand, room_w: Real) -> tuple[Demand, Fleet]:
    """The multiple of a demand that keeps busy all whole replicas that IT power is there for; one at least."""
    served = _served(site, unit, terms, demand)
    for _ in range(_FILLINGS):
        share = room_w / _provisioned_w(site, unit, served)
        held = np.maximum(np.floor(served.servers_count * share * (1.0 + 1e-9)), 1.0)
        carried = held * served.capacity_requests_per_s * (1.0 - site.planning.headroom_fraction)
        demand = _times(demand, carried / demand.peak_requests_per_s)
        served = _served(site, unit, terms, demand)
    return demand, served


def _times(demand: Demand, ratio: Real) -> Demand:
    return replace(
        demand,
        mean_requests_per_s=demand.mean_requests_per_s * ratio,
        peak_requests_per_s=demand.peak_requests_per_s * ratio,
    )


def _served(site: Site, unit: Unit, terms: Terms, demand: Demand) -> Fleet:
    """Replicas for a demand; points where no batch meets the limits hold the numbers of one that does."""
    curve = unit.curve
    found = servers_for(
        demand,
        replace(
            curve,
            ttft_s=curve.ttft_s / unit.speed_ratio,
            tpot_s=curve.tpot_s / unit.speed_ratio,
            output_tokens_per_s=curve.output_tokens_per_s * unit.speed_ratio,
            power_w=curve.power_w * unit.power_ratio,
            idle_w=curve.idle_w * unit.power_ratio,
        ),
        terms.limits,
        headroom_fraction=site.planning.headroom_fraction,
        spares_fraction=site.planning.spares_fraction,
    )
    if np.all(np.isfinite(found.batch)):
        return found
    place = int(np.argmax(np.isfinite(found.servers_count)))
    kept = {name: value for name, value in vars(found).items() if name != "batch"}
    filled = {
        name: np.where(np.isfinite(value), value, value.reshape(-1)[place]) for name, value in kept.items()
    }
    return Fleet(batch=found.batch, **filled)


def _devices_count(unit: Unit, served: Fleet) -> Array:
    return (served.servers_count + served.spares_count) * unit.devices_count


def _device_input_ratio(site: Site) -> Real:
    """Power that a rack gives for a device over the device's own.

    The rest of a server is taken in proportion, its fans and supplies too: what is known of a server in air
    holds in liquid but for the fans that it spares. So components take device power times
    `server_power_ratio` over the ITUE in air, and the server takes that times its own ITUE.
    """
    server = site.cooling.server
    return site.money.server_power_ratio * _rated_itue(site) / rated_itue(server)


def _rated_itue(site: Site) -> Real:
    liquid = captured_at_chip_fraction(rung_of(site.hall, site.cooling))
    return rated_itue(site.cooling.server, liquid_fraction=liquid)


def _device_w(unit: Unit) -> Real:
    """Most that a device draws: as rated, or as predicted where that is more."""
    predicted_w = np.max(unit.curve.power_w, axis=-1, keepdims=True) * unit.power_ratio / unit.devices_count
    most_w: Real = np.maximum(unit.rated_w, predicted_w)
    return most_w


def _provisioned_w(site: Site, unit: Unit, served: Fleet) -> Real:
    """IT power that a hall keeps for a fleet, spares too."""
    return _devices_count(unit, served) * _device_w(unit) * _device_input_ratio(site)


def _hall(hall: Facility, design_it_w: Real, terms: Terms) -> Facility:
    if hall.parts is None or terms.is_hall_given:
        return hall
    return replace(hall, parts=replace(hall.parts, design_it_w=design_it_w))


def _figures(
    site: Site, unit: Unit, terms: Terms, demand: Demand, served: Fleet, provisioned_w: Real
) -> Figures:
    input_ratio = _device_input_ratio(site)
    itue_ratio = np.minimum(_rated_itue(site), input_ratio)  # components are the devices at least
    mean_w, peak_w = served.mean_w * input_ratio, served.peak_w * input_ratio
    parts_w = facility_power(site.hall, site.cooling, mean_w)
    facility_w = sum(parts_w.values(), start=0.0)
    pue = facility_w / mean_w
    is_met = np.isfinite(served.batch)
    devices = _devices_count(unit, served)
    servers = devices / site.planning.server_devices_count
    tokens_per_s = demand.mean_tokens_per_s
    node = _node(site, unit, input_ratio, mean_w / servers)
    spent = _spent(site, unit, terms, node, pue)
    site_l_per_j, grid_l_per_j = site_water_of(site.hall, site.cooling), site.grid.water_l_per_j
    it_j_per_million_tokens = 1e6 * mean_w / tokens_per_s
    cost_usd = million_tokens_usd(
        {name: cost * servers for name, cost in spent.items()}, tokens_per_s=tokens_per_s
    )
    made_kg = node_embodied_kg(site.embodied, device_kg=unit.made_kg, devices_count=node.devices_count)
    emitted = node_kg_per_s(
        it_w=mean_w / servers, pue_ratio=pue, grid_kg_per_j=intensity_kg_per_j(site.grid, terms.basis), node_kg=made_kg,
        life_s=site.embodied.life_s,
    )  # fmt: skip
    emitted_kg = million_tokens_kg(
        {name: mass * servers for name, mass in emitted.items()}, tokens_per_s=tokens_per_s
    )
    hall_w = provisioned_w if site.hall.parts is None else site.hall.parts.design_it_w
    feed_w = sum(facility_power(site.hall, site.cooling, provisioned_w).values(), start=0.0)
    capital = capital_usd(node, site.money) if terms.ownership == "owned" else {}
    metrics: Amounts = {
        "batch": served.batch,
        "ttft_s": served.peak_ttft_s,
        "tpot_s": served.peak_tpot_s,
        "replicas_count": served.servers_count,
        "spares_count": served.spares_count,
        "devices_count": devices,
        "servers_count": np.ceil(servers * (1.0 - 1e-9)),
        "mean_in_flight_count": served.mean_in_flight_count,
        "peak_in_flight_count": served.peak_in_flight_count,
        "mean_utilization_ratio": served.mean_utilization_ratio,
        "peak_utilization_ratio": served.peak_utilization_ratio,
        "tokens_per_s": tokens_per_s,
        "mean_it_w": mean_w,
        "peak_it_w": peak_w,
        "provisioned_it_w": provisioned_w,
        "hall_it_w": hall_w,
        "hall_load_fraction": mean_w / hall_w,
        "facility_mean_w": facility_w,
        "facility_peak_w": sum(facility_power(site.hall, site.cooling, peak_w).values(), start=0.0),
        "feed_w": feed_w,
        "tokens_per_s_per_feed_w": tokens_per_s / feed_w,
        "pue": pue,
        "itue": itue_ratio,
        "tue": tue(itue_ratio, pue),
        "facility_j_per_year": facility_w * YEAR_S,
        "energy_j_per_million_tokens": 1e6 * facility_w / tokens_per_s,
        "water_l_per_million_tokens": water_l(
            it_j_per_million_tokens,
            site_l_per_j=site_l_per_j,
            pue_ratio=pue,
            grid_l_per_j=0.0 if grid_l_per_j is None else grid_l_per_j,
        ),
        "site_water_l_per_million_tokens": it_j_per_million_tokens * site_l_per_j,
        "grid_water_l_per_million_tokens": None
        if grid_l_per_j is None
        else it_j_per_million_tokens * pue * grid_l_per_j,
        "usd_per_million_tokens": np.where(is_met, sum(cost_usd.values()), np.inf),
        "usd_per_device_hour": sum(spent.values()) * HOUR_S / node.devices_count,
        "energy_cost_fraction": _energy_share(cost_usd),
        **_buying(site, unit, terms, node, pue),
        "capital_usd": sum(capital.values(), start=0.0) * servers,
        "kg_per_million_tokens": np.where(is_met, sum(emitted_kg.values()), np.inf),
        "coolant_needed_k": coolant_needed_k(
            junction_limit_k=site.planning.junction_limit_k,
            power_w=_device_w(unit),
            resistance_k_per_w=rung_of(site.hall, site.cooling).resistance_k_per_w,
        ),
        "die_flux_w_per_m2": None
        if unit.die_area_m2 is None
        else heat_flux_w_per_m2(unit.rated_w, unit.die_area_m2),
    }
    return Figures(
        hall=site.hall,
        is_met=is_met,
        metrics=metrics,
        cost_usd=cost_usd,
        emitted_kg=emitted_kg,
        facility_w=parts_w,
    )


def _node(site: Site, unit: Unit, input_ratio: Real, average_w: Real) -> Node:
    """One whole server; a fleet pays for a part of one in part."""
    devices_count = site.planning.server_devices_count
    provisioned_w = _device_w(unit) * devices_count * input_ratio
    average_w = np.minimum(average_w, provisioned_w)  # a hair above where all run at their rating
    if unit.price.purchase_usd is None:
        return Node(
            price_usd=0.0, devices_count=devices_count, provisioned_w=provisioned_w, average_w=average_w
        )
    node = node_of(unit.price, site.money, devices_count=devices_count, device_w=_device_w(unit))
    return replace(node, provisioned_w=provisioned_w, average_w=average_w)


def _spent(site: Site, unit: Unit, terms: Terms, node: Node, pue: Real) -> Amounts:
    """Dollars that a server costs each second, by part."""
    if terms.ownership == "rented":
        return rented_usd_per_s(unit.price, site.money, devices_count=node.devices_count)
    tariff = None if terms.is_tariff_given else site.grid.tariff_usd_per_j
    spent = owned_usd_per_s if terms.ownership == "owned" else colocated_usd_per_s
    return spent(node, site.money, pue_ratio=pue, tariff_usd_per_j=tariff)


def _buying(site: Site, unit: Unit, terms: Terms, node: Node, pue: Real) -> Amounts:
    """Buying against renting the same devices, in a hall of one's own; nothing where one of the prices is not known."""
    names = ("buying_break_even_s", "buying_npv_usd_per_device")
    if (
        unit.price.purchase_usd is None
        or unit.price.rent_usd_per_s is None
        or terms.ownership == "colocation"
    ):
        return dict.fromkeys(names)
    rented = rented_usd_per_s(unit.price, site.money, devices_count=node.devices_count)
    tariff = None if terms.is_tariff_given else site.grid.tariff_usd_per_j
    asked: Any = {"pue_ratio": pue, "tariff_usd_per_j": tariff}
    after_s, npv_usd = (
        one(node, site.money, rented, **asked) for one in (buying_break_even_s, buying_npv_usd)
    )
    return dict(zip(names, (after_s, npv_usd / node.devices_count), strict=True))


def _energy_share(cost_usd: Amounts) -> Real:
    """Share of energy in a cost; none in one that is nothing."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(energy_share(cost_usd))
