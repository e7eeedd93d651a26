"""What a fleet depends on, out of texts: demand, limits, prices, a site; and every number of it that has a range."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from npuwatt import require, units
from npuwatt.arrays import Real
from npuwatt.datacenter.carbon import Embodied, Grid
from npuwatt.datacenter.cooling import Cooling, one_of
from npuwatt.datacenter.facility import Facility, hall_faults
from npuwatt.datacenter.planning import Planning
from npuwatt.datacenter.tco import Money, Price, Prices
from npuwatt.device.evaluate import Device
from npuwatt.errors import NpuwattError, PresetError, RequestError, did_you_mean, shown
from npuwatt.preset.library import index
from npuwatt.record import Record, replace
from npuwatt.study.fleet_figures import Site
from npuwatt.study.ranges import GIVEN, Ranged, range_of, ranged_numbers
from npuwatt.study.scenario import (
    Chosen,
    implausible,
    load_constants,
    load_datacenter,
    load_grid,
    load_prices,
)

OWNERS = ("datacenter", "grid", "cooling", "money", "embodied", "planning")
_ASKED = ("devices", "network", "stack")
_MOST_USD = 1e12  # of a device, or of its rent in a second
_DEMAND = re.compile(r"\s*([0-9.eE+-]+)\s*(req|requests?|tok|tokens?)\s*/\s*(s|min|h|day|month|year)\s*")
_LEAST, _MOST = 1e-15, 1e15  # of requests a second, and of seconds: no number between these overflows
_FIELD = {"datacenter": "hall"}


class Ground(Record):
    """A site with the presets behind it."""

    site: Site
    chosen: dict[str, Chosen[Any]]  # by owner of an address; prices too
    asked: dict[str, str]  # climate and use of water, where they were asked for
    warnings: tuple[str, ...]

    def is_given(self, owner: str, address: str) -> bool:
        """Whether a number was set by hand."""
        found = self.chosen[owner].evidence.get(address)
        return found is not None and found.where == GIVEN


class Priced(Record):
    """The price of a device and what kind of price it is."""

    price: Price
    basis: str  # given, assumed, or as its table says
    ranged: Ranged | None  # None: given by the user


def requests_per_s(text: str, output_len: float) -> float:
    """A demand as requests each second: `10req/s`, or output tokens as in `1e9token/day`."""
    match = _DEMAND.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        rate = float(match[1]) * units.parse(f"1 /{match[3]}", "_per_s")
        require.within(_LEAST, _MOST, demand=rate)
    except (ValueError, NpuwattError):
        raise RequestError(
            f"--demand: {shown(text)} given; expected requests or output tokens in a time, above 0, as in 10req/s or "
            "1e9token/day"
        ) from None
    return rate / output_len if match[2].startswith("tok") else rate


def seconds(option: str, text: str) -> float:
    """A limit on a wait."""
    try:
        value = units.parse(text, "_s")
    except NpuwattError as error:
        raise RequestError(*(f"{option}: {fault}" for fault in error.faults)) from error
    if not _LEAST <= value <= _MOST:
        raise RequestError(f"{option}: {shown(text)} given; expected a time above 0, as in 50ms")
    return value


def changes_of_site(changes: Sequence[str], devices: Sequence[str]) -> tuple[list[str], list[str]]:
    """`--set` texts apart: those of `OWNERS`, and those of devices, network and stack."""
    known = (*OWNERS, *_ASKED)
    site, others = [], []
    for change in changes:
        address, _, value = (part.strip() for part in change.partition("="))
        owner, _, rest = address.partition(".")
        if owner == "prices":
            raise RequestError(
                f"--set {shown(change)}: expected --price, as in --price {devices[0]}=30000USD"
            )
        if owner not in known:
            near = did_you_mean(address, [f"{one}.{rest}" for one in known if rest], cutoff=0.8)
            raise RequestError(
                f"unknown address {shown(address)}{near or '; expected one under ' + ', '.join(known)}"
            )
        if owner not in OWNERS:
            others.append(change)
        elif rest and value:
            site.append(f"{owner}.{rest}={value}")
        else:
            raise RequestError(
                f"--set {shown(change)}: expected ADDRESS=VALUE, as in money.tariff=0.10USD/kWh"
            )
    return site, others


def given_prices(texts: Sequence[str], devices: Sequence[str], *, is_rent: bool) -> dict[str, Price]:
    """`DEVICE=USD` of the device alone, `DEVICE=USD/server` of a whole server, or `DEVICE=2.5USD/h` to rent at."""
    found: dict[str, Price] = {}
    for text in texts:
        name, _, amount = (part.strip() for part in text.partition("="))
        if name in devices and not amount:
            raise RequestError(
                f"--price {shown(text)}: tells no amount; expected {name}=30000USD or the like"
            )
        if name not in devices:
            near = did_you_mean(name, devices)
            raise RequestError(
                f"--price {shown(text)}: names no device asked for{near or '; expected DEVICE=USD, as in '}"
                + ("" if near else f"{devices[0]}=30000USD")
            )
        bare = re.sub(r"\s*/\s*server$", "", amount)
        is_hourly = "/" in bare
        bare = amount if is_hourly else bare
        if is_hourly and not is_rent:
            raise RequestError(
                f"--price {shown(text)}: a rent, and nothing is rented; expected --rent with it, or USD"
            )
        number = re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", bare)
        try:
            value = units.parse(f"{bare} USD" if number else bare, "_usd_per_s" if is_hourly else "_usd")
            require.not_negative(price=value)
            if value > _MOST_USD:
                raise NpuwattError(f"{shown(amount)} given; expected at most {_MOST_USD:g} USD")
        except NpuwattError as error:
            raise RequestError(*(f"--price {name}: {fault}" for fault in error.faults)) from error
        known = found.get(name, Price(dated="", covers="device", basis="sale"))
        if is_hourly:
            found[name] = replace(known, rent_usd_per_s=value)
        else:
            found[name] = replace(known, purchase_usd=value, covers="device" if bare == amount else "server")
    return found


def ground(
    *,
    site: str,
    climate: str | None,
    water: str | None,
    grid: str,
    life_s: float | None,
    changes: Sequence[str],
    presets: Sequence[str],
) -> Ground:
    """Load a site; `changes` are those of `OWNERS`."""
    by_owner: dict[str, list[str]] = {owner: [] for owner in OWNERS}
    for change in changes:
        owner, _, rest = change.partition(".")
        by_owner[owner].append(rest)
    if life_s is not None:
        by_owner["money"].append(f"server_life={life_s} s")
        by_owner["embodied"].append(f"life={life_s} s")
    hall = _hall(site, by_owner["datacenter"], presets)
    chosen: dict[str, Chosen[Any]] = {
        "datacenter": hall,
        "grid": load_grid(grid, changes=by_owner["grid"], folders=presets),
        "cooling": load_constants("cooling", Cooling, changes=by_owner["cooling"]),
        "money": load_constants("money", Money, changes=by_owner["money"]),
        "embodied": load_constants("embodied", Embodied, changes=by_owner["embodied"]),
        "planning": load_constants("planning", Planning, changes=by_owner["planning"]),
        "prices": load_prices(),
    }
    cooling: Cooling = chosen["cooling"].record
    asked = {}
    if climate is not None:
        one_of("--climate", climate, cooling.free_cooling_fraction)
        asked["climate"] = climate
    if water is not None:
        one_of("--water", water, cooling.water)
        asked["water"] = water
    record: Facility = replace(hall.record, **asked)
    faults = hall_faults(record, cooling)
    if faults:
        raise RequestError(*(f"hall {shown(site)}: {fault}" for fault in faults))
    region: Grid = chosen["grid"].record
    found = Site(
        hall=record, cooling=cooling, grid=region, money=chosen["money"].record,
        embodied=chosen["embodied"].record, planning=chosen["planning"].record,
    )  # fmt: skip
    warnings = [line for owner in OWNERS for line in implausible(chosen[owner], by_owner[owner], owner)]
    return Ground(site=found, chosen=chosen, asked=asked, warnings=tuple(warnings))


def _hall(site: str, changes: Sequence[str], presets: Sequence[str]) -> Chosen[Facility]:
    try:
        return load_datacenter(site, changes=changes, folders=presets)
    except PresetError as error:
        known = f"expected one of {', '.join(index()['datacenters'])}, or a path"
        raise PresetError(
            *(fault.replace("'npuwatt presets list' names them all", known) for fault in error.faults)
        ) from error


def halls(base: Ground) -> dict[str, Facility]:
    """Every built-in hall in the climate and with the water asked for, else its own; and the one asked for as it is."""
    own = base.chosen["datacenter"].preset.name
    found = {name: replace(load_datacenter(name).record, **base.asked) for name in index()["datacenters"]}
    return found | {own: base.site.hall}


def class_of(device: Chosen[Device]) -> str:
    """The class of a device as tables of classes name it."""
    return device.preset.header("class").replace(" ", "-")


def priced(
    device: Chosen[Device], place: int, given: dict[str, Price], base: Ground, *, is_rent: bool
) -> Priced:
    """What a device costs: as given, as known by the name of its preset, or as assumed for its class.

    Raises
    ------
    RequestError
        It is to be rented and nobody tells for how much, or its class has no assumed price.
    """
    prices: Prices = base.chosen["prices"].record
    known = prices.devices.get(device.preset.name)
    field, path = ("rent_usd_per_s", "rent") if is_rent else ("purchase_usd", "purchase")
    own = given.get(device.typed)
    if own is not None and getattr(own, field) is not None:
        if (
            own.covers == "server" and own.purchase_usd is not None
        ):  # of a whole one: each device has its share
            own = replace(own, purchase_usd=own.purchase_usd / base.site.planning.server_devices_count)
        if known is not None and own.rent_usd_per_s is None:  # what it rents for is known all the same
            own = replace(own, rent_usd_per_s=known.rent_usd_per_s)
        return Priced(price=own, basis="given", ranged=None)
    if known is not None and getattr(known, field) is not None:
        where = f"devices.{device.preset.name}.{path}"
        item = base.chosen["prices"].evidence[where]
        ranged = range_of(f"prices.{where}", (("units", str(place), "price", path),), item)
        return Priced(price=known, basis=known.basis, ranged=ranged)
    name = class_of(device)
    if is_rent:
        raise RequestError(
            f"device {shown(device.typed)}: nobody tells what it rents for; expected --price {device.typed}=2.5USD/h"
        )
    planning: Planning = base.site.planning
    if name not in planning.purchase_usd:
        raise RequestError(
            f"device {shown(device.typed)} has no known price; expected --price {device.typed}=10000USD"
        )
    price = Price(dated="", covers="device", basis="list", purchase_usd=planning.purchase_usd[name])
    item = base.chosen["planning"].evidence[f"purchase.{name}"]
    ranged = range_of(f"planning.purchase.{name}", (("units", str(place), "price", "purchase"),), item)
    return Priced(price=price, basis="assumed", ranged=None if item.where == GIVEN else ranged)


def made_kg(device: Chosen[Device], place: int, base: Ground) -> tuple[Real, bool, Ranged]:
    """Carbon of making a device, whether that is assumed for its class, and its range."""
    name, family = device.preset.name, class_of(device)
    paths = (("units", str(place), "made"),)
    known = base.site.embodied.devices_kg.get(name)
    if known is not None:
        item = base.chosen["embodied"].evidence[f"devices.{name}"]
        return known, False, range_of(f"embodied.devices.{name}", paths, item)
    if family not in base.site.planning.made_kg:
        raise RequestError(
            f"device {shown(device.typed)}: nothing is known of the carbon of making it; expected a class among "
            f"{', '.join(base.site.planning.made_kg)}"
        )
    item = base.chosen["planning"].evidence[f"made.{family}"]
    return base.site.planning.made_kg[family], True, range_of(f"planning.made.{family}", paths, item)


def ranged_site(base: Ground) -> list[Ranged]:
    """Every number of the site that has a range and was not set by hand."""
    return [
        item
        for owner in OWNERS
        for item in ranged_numbers(base.chosen[owner], owner, within=("site", _FIELD.get(owner, owner)))
    ]
