"""Total cost of ownership: what a node of accelerators costs each second, owned, colocated or rented, and by which part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.datacenter.cooling import one_of
from npuwatt.datacenter.facility import MOST_PUE
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

YEAR_S = 31557600.0
MONTH_S = YEAR_S / 12.0  # of calendars: payments come twelve times a year
HOUR_S = 3600.0
ENERGY = ("it_energy", "overhead_energy")
BOUGHT = ("servers", "network", "spares")  # gone when the server's life ends
Parts = dict[str, Real]


class Money(Record):
    """What capital, halls, people and energy cost where nothing else is known. Rates are yearly, nominal, paid monthly."""

    server_life_s: Real
    facility_life_s: Real
    cost_of_capital_fraction: Real  # a year
    salvage_fraction: Real  # of the price of servers, network and spares, when their life ends
    network_ratio: Real  # price of the network over that of the servers
    spares_ratio: Real  # price of spare parts over that of the servers; whole spare servers are the fleet's
    maintenance_fraction: Real  # of the straight-line amortisation of servers and network
    staff_usd_per_s: Real  # of one node
    software_usd_per_s: Real  # of one node
    facility_usd_per_w: Real  # of provisioned IT power
    facility_opex_usd_per_w_s: Real
    colocation_usd_per_w_s: Real  # in place of the two above
    colocation_has_energy: bool
    tariff_usd_per_j: Real
    average_power_fraction: Real  # of the provisioned power, over all hours
    server_price_ratio: Real  # of a server over its bare devices
    server_power_ratio: Real  # provisioned for a server over the rated power of its devices
    month_s: Real  # of the books: how long a month's payment lasts
    discount_fraction: Mapping[str, Real]  # on rent, by commitment

    kind: ClassVar[Literal["money"]] = "money"

    def __post_init__(self) -> None:
        require.positive(
            server_life=self.server_life_s, facility_life=self.facility_life_s, month=self.month_s
        )
        require.share(
            cost_of_capital=self.cost_of_capital_fraction,
            salvage=self.salvage_fraction,
            maintenance=self.maintenance_fraction,
            **{f"discount.{name}": share for name, share in self.discount_fraction.items()},
        )
        require.not_negative(
            network=self.network_ratio,
            spares=self.spares_ratio,
            staff=self.staff_usd_per_s,
            software=self.software_usd_per_s,
            facility=self.facility_usd_per_w,
            facility_opex=self.facility_opex_usd_per_w_s,
            colocation=self.colocation_usd_per_w_s,
            tariff=self.tariff_usd_per_j,
        )
        require.fraction(average_power=self.average_power_fraction)
        require.within(1.0, 100.0, server_price=self.server_price_ratio, server_power=self.server_power_ratio)


class Price(Record):
    """What one device is sold or rented for."""

    dated: str
    covers: Literal["server", "device"]  # its share of a whole server, or the device alone
    basis: Literal["sale", "list", "build-cost", "leak"]  # only the first two are prices that somebody asks
    purchase_usd: Real | None = None
    rent_usd_per_s: Real | None = None

    def __post_init__(self) -> None:
        for name, price in (("purchase", self.purchase_usd), ("rent", self.rent_usd_per_s)):
            if price is not None:
                require.not_negative(**{name: price})


class Prices(Record):
    """Prices by name of device."""

    devices: Mapping[str, Price]

    kind: ClassVar[Literal["prices"]] = "prices"


class Node(Record):
    """One server as the books see it."""

    price_usd: Real
    devices_count: Real
    provisioned_w: Real  # IT power that the hall keeps for it
    average_w: Real | None = (
        None  # over all hours, idle ones too; None: the usual share of what is provisioned
    )

    def __post_init__(self) -> None:
        require.not_negative(price=self.price_usd)
        require.positive(devices=self.devices_count, provisioned=self.provisioned_w)
        if self.average_w is not None:
            require.not_negative(average=self.average_w)
            if np.any(np.greater(self.average_w, self.provisioned_w)):
                most_w = float(np.max(self.average_w))
                raise NpuwattError(f"average: {most_w:.6g} W given; expected at most what is provisioned")


def node_of(price: Price, money: Money, *, devices_count: Real, device_w: Real) -> Node:
    """A server of `devices_count` devices, each rated `device_w`, at their price.

    Raises
    ------
    NpuwattError
        The devices have no purchase price.
    """
    if price.purchase_usd is None:
        raise NpuwattError("purchase: none known; expected a price to buy at, as in 30000 USD")
    around_ratio = 1.0 if price.covers == "server" else money.server_price_ratio
    return Node(
        price_usd=price.purchase_usd * devices_count * around_ratio,
        devices_count=devices_count,
        provisioned_w=device_w * devices_count * money.server_power_ratio,
    )


def monthly_payment_usd(
    principal_usd: Real, *, cost_of_capital_fraction: Real, life_s: Real, salvage_usd: Real = 0.0
) -> Real:
    """Annuity that returns a principal, less what is left of it in the end, with interest; scalar or (P, 1).

    (P - S (1 + i)^-N) i / (1 - (1 + i)^-N), i a twelfth of the yearly rate, N months; (P - S) / N at rate 0.
    """
    months, left = _months(life_s), _discounted(cost_of_capital_fraction, life_s)
    return (principal_usd - salvage_usd * left) / _annuity(cost_of_capital_fraction, months)


def interest_usd(
    principal_usd: Real, *, cost_of_capital_fraction: Real, life_s: Real, salvage_usd: Real = 0.0
) -> Real:
    """What all payments come to beyond the straight-line loss of value P - S; scalar or (P, 1)."""
    paid = monthly_payment_usd(
        principal_usd,
        cost_of_capital_fraction=cost_of_capital_fraction,
        life_s=life_s,
        salvage_usd=salvage_usd,
    )
    return paid * _months(life_s) - (principal_usd - salvage_usd)


def present_value_usd(monthly_usd: Real, *, cost_of_capital_fraction: Real, life_s: Real) -> Real:
    """Worth today of the same sum at the end of each month of a life; scalar or (P, 1)."""
    return monthly_usd * _annuity(cost_of_capital_fraction, _months(life_s))


def net_present_value_usd(flows_usd: Array, *, cost_of_capital_fraction: Real) -> Array:
    """Worth today of flows now and after each month: sum of C_t (1 + i)^-t.

    Parameters
    ----------
    flows_usd : (..., T)
        Received is positive, paid negative; the first now, the next after one month.

    Returns
    -------
    (..., 1)
    """
    months = np.arange(np.shape(flows_usd)[-1], dtype=np.float64)
    discount = np.exp(-months * np.log1p(np.asarray(cost_of_capital_fraction) / 12.0))
    return np.asarray((flows_usd * discount).sum(axis=-1, keepdims=True))


def capital_usd(node: Node, money: Money) -> Parts:
    """What a node ties up on its first day, by part; scalars or (P, 1)."""
    return {
        "servers": node.price_usd,
        "network": node.price_usd * money.network_ratio,
        "spares": node.price_usd * money.spares_ratio,
        "facility": node.provisioned_w * money.facility_usd_per_w,
    }


def owned_usd_per_s(
    node: Node, money: Money, *, pue_ratio: Real, tariff_usd_per_j: Real | None = None
) -> Parts:
    """What a node costs each second in a hall of one's own, by part.

    Parameters
    ----------
    tariff_usd_per_j : scalar or (P, 1)
        Price of energy at the site; None for the usual one.

    Returns
    -------
    dict of scalars or (P, 1)
        `servers`, `network`, `spares`, `maintenance`, `staff`, `software`, `facility`, `facility_opex`,
        `it_energy` and `overhead_energy`, the last for all that the hall draws beyond IT.

    Source
    ------
    Hamilton, Cost of Power in Large-Scale Data Centers, 2008; Magaki et al., ASIC Clouds, ISCA, 2016.
    """
    facility_usd = monthly_payment_usd(
        capital_usd(node, money)["facility"],
        cost_of_capital_fraction=money.cost_of_capital_fraction,
        life_s=money.facility_life_s,
    )
    opex_usd = money.facility_opex_usd_per_w_s * MONTH_S * node.provisioned_w
    hall = {"facility": facility_usd / money.month_s, "facility_opex": opex_usd / money.month_s}
    return (
        _hardware_usd_per_s(node, money) | hall | _energy_usd_per_s(node, money, pue_ratio, tariff_usd_per_j)
    )


def colocated_usd_per_s(
    node: Node, money: Money, *, pue_ratio: Real, tariff_usd_per_j: Real | None = None
) -> Parts:
    """The same in a hall whose provisioned watts are rented: `colocation` for the facility and its upkeep.

    Energy comes on top unless the rent has it.
    """
    energy = _energy_usd_per_s(node, money, pue_ratio, tariff_usd_per_j)
    if money.colocation_has_energy:
        energy = dict.fromkeys(energy, 0.0)
    rent = money.colocation_usd_per_w_s * MONTH_S * node.provisioned_w / money.month_s
    return _hardware_usd_per_s(node, money) | {"colocation": rent} | energy


def rented_usd_per_s(price: Price, money: Money, *, devices_count: Real, commitment: str = "") -> Parts:
    """What rented devices cost each second, at the discount of a commitment if there is one: `rent` alone.

    Raises
    ------
    NpuwattError
        Nobody rents the device out; no such commitment.
    """
    if price.rent_usd_per_s is None:
        raise NpuwattError("rent: none known; expected a price to rent at, as in 2.5 USD/h")
    discount = one_of("commitment", commitment, money.discount_fraction) if commitment else 0.0
    return {"rent": price.rent_usd_per_s * devices_count * (1.0 - discount)}


def device_hour_usd(
    parts_usd_per_s: Mapping[str, Real], *, devices_count: Real, sold_fraction: Real
) -> Parts:
    """Cost of one hour of one device that somebody uses, by part; the hours nobody uses are paid by those."""
    require.positive(devices=devices_count)
    require.fraction(sold=sold_fraction)
    return {name: cost * HOUR_S / devices_count / sold_fraction for name, cost in parts_usd_per_s.items()}


def million_tokens_usd(parts_usd_per_s: Mapping[str, Real], *, tokens_per_s: Real) -> Parts:
    """Cost of a million tokens by part, `tokens_per_s` being the mean over all hours of what the parts pay for."""
    require.positive(tokens=tokens_per_s)
    return {name: 1e6 * cost / tokens_per_s for name, cost in parts_usd_per_s.items()}


def energy_share(parts: Mapping[str, Real]) -> Real:
    """Share of energy in a cost by parts, that of the hall's overhead with it; scalar or (P, 1)."""
    return sum((parts.get(name, 0.0) for name in ENERGY), start=0.0) / sum(parts.values(), start=0.0)


def break_even_s(*, extra_capital_usd: Real, saved_usd_per_s: Real) -> Array:
    """Time after which more capital has paid for itself by what it saves; scalar or (P, 1), seconds.

    0 where it takes no more capital and saves; infinite where it never does.
    """
    extra, saved = np.asarray(extra_capital_usd, dtype=float), np.asarray(saved_usd_per_s, dtype=float)
    time_s = np.maximum(extra, 0.0) / np.where(saved > 0.0, saved, 1.0)
    return np.where((saved > 0.0) | ((saved == 0.0) & (extra <= 0.0)), time_s, np.inf)


def buying_break_even_s(
    node: Node,
    money: Money,
    rented: Mapping[str, Real],
    *,
    pue_ratio: Real,
    tariff_usd_per_j: Real | None = None,
) -> Array:
    """Time of use after which a bought node is cheaper than rented ones: capital / (rent - running cost).

    Capital is what stands in the racks; the hall is a running cost, since it outlives them.
    """
    extra, saved = _bought(node, money, rented, pue_ratio, tariff_usd_per_j)
    return break_even_s(extra_capital_usd=extra, saved_usd_per_s=saved)


def buying_npv_usd(
    node: Node,
    money: Money,
    rented: Mapping[str, Real],
    *,
    pue_ratio: Real,
    tariff_usd_per_j: Real | None = None,
) -> Real:
    """Worth today of buying a node instead of renting it for the life of servers; below 0 where renting is better."""
    capital, saved = _bought(node, money, rented, pue_ratio, tariff_usd_per_j)
    rate, life_s = money.cost_of_capital_fraction, money.server_life_s
    saved_usd = present_value_usd(saved * money.month_s, cost_of_capital_fraction=rate, life_s=life_s)
    return saved_usd - capital * (1.0 - money.salvage_fraction * _discounted(rate, life_s))


def _bought(
    node: Node, money: Money, rented: Mapping[str, Real], pue_ratio: Real, tariff_usd_per_j: Real | None
) -> tuple[Real, Real]:
    """Capital in the racks, and what owning saves of the rent each second."""
    owned = owned_usd_per_s(node, money, pue_ratio=pue_ratio, tariff_usd_per_j=tariff_usd_per_j)
    capital = capital_usd(node, money)
    running = sum((cost for name, cost in owned.items() if name not in BOUGHT), start=0.0)
    return (
        sum((capital[name] for name in BOUGHT), start=0.0),
        sum(rented.values(), start=0.0) - running,
    )


def _hardware_usd_per_s(node: Node, money: Money) -> Parts:
    """Servers with all around them but the hall and energy."""
    capital = capital_usd(node, money)
    found = {}
    for name in BOUGHT:
        found[name] = monthly_payment_usd(
            capital[name],
            cost_of_capital_fraction=money.cost_of_capital_fraction,
            life_s=money.server_life_s,
            salvage_usd=capital[name] * money.salvage_fraction,
        )
    straight = (capital["servers"] + capital["network"]) / _months(money.server_life_s)
    found["maintenance"] = money.maintenance_fraction * straight
    found["staff"] = money.staff_usd_per_s * MONTH_S
    found["software"] = money.software_usd_per_s * MONTH_S
    return {name: monthly / money.month_s for name, monthly in found.items()}


def _energy_usd_per_s(node: Node, money: Money, pue_ratio: Real, tariff_usd_per_j: Real | None) -> Parts:
    require.within(1.0, MOST_PUE, pue=pue_ratio)
    tariff = money.tariff_usd_per_j if tariff_usd_per_j is None else tariff_usd_per_j
    require.not_negative(tariff=tariff)
    usual_w = node.provisioned_w * money.average_power_fraction
    it_energy = (usual_w if node.average_w is None else node.average_w) * tariff
    return {"it_energy": it_energy, "overhead_energy": it_energy * (pue_ratio - 1.0)}


def _months(life_s: Real) -> Real:
    require.positive(life=life_s)
    return life_s / MONTH_S


def _discounted(cost_of_capital_fraction: Real, life_s: Real) -> Array:
    """Worth today of one dollar at the end of a life."""
    return np.asarray(np.exp(-_months(life_s) * np.log1p(np.asarray(cost_of_capital_fraction) / 12.0)))


def _annuity(cost_of_capital_fraction: Real, months: Real) -> Array:
    """Worth today of one dollar at the end of each of `months`: (1 - (1 + i)^-N) / i, exact for small rates too."""
    require.share(cost_of_capital=cost_of_capital_fraction)
    i = np.asarray(cost_of_capital_fraction) / 12.0
    return np.where(i > 0.0, -np.expm1(-months * np.log1p(i)) / np.where(i > 0.0, i, 1.0), months)
