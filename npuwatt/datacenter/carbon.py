"""Carbon of use, by the grid, and of making hardware: by device and server over a life, or by the area of a die."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.datacenter.cooling import one_of
from npuwatt.datacenter.facility import MOST_PUE
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

FIELD_M2 = 26e-3 * 33e-3  # one exposure of a lithography scanner: no die is larger
Parts = dict[str, Real]


class Grid(Record):
    """Electricity of one region."""

    name: str
    intensity_kg_per_j: Real  # of what is generated there: location-based
    code: str = ""
    country: str = ""  # code of the country that a part of one lies in
    dated: str = ""  # year of the intensity, where its source tells one
    market_kg_per_j: Real | None = None  # of the contracts that a buyer holds there: market-based
    tariff_usd_per_j: Real | None = None
    water_l_per_j: Real | None = None  # that power plants drink

    kind: ClassVar[Literal["grid"]] = "grid"

    def __post_init__(self) -> None:
        require.not_negative(intensity=self.intensity_kg_per_j)
        for name, value in (
            ("market", self.market_kg_per_j),
            ("tariff", self.tariff_usd_per_j),
            ("water", self.water_l_per_j),
        ):
            if value is not None:
                require.not_negative(**{name: value})


class Grids(Record):
    """Regions of one source by name."""

    regions: Mapping[str, Grid]

    kind: ClassVar[Literal["grids"]] = "grids"


class Fab(Record):
    """Making a wafer of one technology, for each square metre of it."""

    energy_j_per_m2: Real  # EPA
    gases_kg_per_m2: Real  # GPA, after abatement

    def __post_init__(self) -> None:
        require.not_negative(energy=self.energy_j_per_m2, gases=self.gases_kg_per_m2)


class Embodied(Record):
    """Carbon of making hardware."""

    devices_kg: Mapping[str, Real]  # whole accelerators by name of device
    server_kg: Real  # one server without its accelerators
    fabs: Mapping[str, Fab]  # by technology
    materials_kg_per_m2: Real  # MPA, on any technology
    yield_fraction: Real
    fab_grid_kg_per_j: Real
    package_kg: Real  # each packaged chip
    dram_kg_per_byte: Real
    life_s: Real  # over which hardware is written off

    kind: ClassVar[Literal["embodied"]] = "embodied"

    def __post_init__(self) -> None:
        require.not_negative(
            server=self.server_kg,
            materials=self.materials_kg_per_m2,
            fab_grid=self.fab_grid_kg_per_j,
            package=self.package_kg,
            dram=self.dram_kg_per_byte,
            **{f"devices.{name}": mass for name, mass in self.devices_kg.items()},
        )
        require.fraction(**{"yield": self.yield_fraction})
        require.positive(life=self.life_s)


def intensity_kg_per_j(grid: Grid, basis: Literal["location", "market"] = "location") -> Real:
    """Carbon of a joule taken from a grid; scalar or (P, 1).

    Location-based is what the grid emits where the hall stands; market-based what the buyer's contracts
    say, which no SCI takes.

    Raises
    ------
    NpuwattError
        Market-based was asked for, and no contract is known.
    """
    if basis == "location":
        return grid.intensity_kg_per_j
    if grid.market_kg_per_j is None:
        raise NpuwattError(
            f"grid: {grid.name} has no market-based intensity; expected 'market', or location-based"
        )
    return grid.market_kg_per_j


def operational_kg(it_j: Real, *, pue_ratio: Real, grid_kg_per_j: Real) -> Real:
    """Carbon of use: E_IT PUE I; for a power, carbon in each second. Scalar or (P, 1)."""
    require.not_negative(it_energy=it_j, intensity=grid_kg_per_j)
    require.within(1.0, MOST_PUE, pue=pue_ratio)
    return it_j * pue_ratio * grid_kg_per_j


def embodied_kg(total_kg: Real, *, life_s: Real, used_s: Real, share_fraction: Real = 1.0) -> Real:
    """Share of the carbon of making hardware: TE (TiR / EL) (RR / ToR); scalar or (P, 1).

    Source
    ------
    Green Software Foundation, Software Carbon Intensity 1.1 (ISO/IEC 21031).
    """
    require.not_negative(embodied=total_kg, used=used_s)
    require.positive(life=life_s)
    require.share(share=share_fraction)
    return total_kg * (used_s / life_s) * share_fraction


def node_embodied_kg(embodied: Embodied, *, device_kg: Real, devices_count: Real) -> Parts:
    """Carbon of making one server: `devices` and the `server` around them."""
    require.not_negative(device=device_kg)
    require.positive(devices=devices_count)
    return {"devices": device_kg * devices_count, "server": embodied.server_kg}


def die_kg(embodied: Embodied, *, technology: str, area_m2: Real) -> Real:
    """Carbon of making a good die: (CI_fab EPA + GPA + MPA) area / yield; scalar or (P, 1).

    Raises
    ------
    NpuwattError
        No such technology. An area beyond one exposure: it holds wafer loss, which the yield counts already,
        or several dies.

    Source
    ------
    Gupta et al., ACT, ISCA, 2022, and github.com/facebookresearch/ACT.
    """
    fab = one_of("technology", technology, embodied.fabs)
    require.positive(area=area_m2)
    if np.any(np.greater(area_m2, FIELD_M2)):
        given, most = (f"{1e6 * float(np.max(area)):.5g} mm2" for area in (area_m2, FIELD_M2))
        raise NpuwattError(f"area: {given} given; expected one die without wafer loss, at most {most}")
    per_area = fab.energy_j_per_m2 * embodied.fab_grid_kg_per_j + fab.gases_kg_per_m2
    return (per_area + embodied.materials_kg_per_m2) * area_m2 / embodied.yield_fraction


def device_from_parts_kg(
    embodied: Embodied,
    *,
    technology: str,
    die_area_m2: Real,
    dies_count: Real,
    dram_bytes: Real,
    packages_count: Real = 1.0,
) -> Parts:
    """Carbon of a device whose maker tells none: `dies`, `packages` and `dram`."""
    require.positive(dies=dies_count, packages=packages_count)
    require.not_negative(dram=dram_bytes)
    dies = die_kg(embodied, technology=technology, area_m2=die_area_m2) * dies_count
    return {
        "dies": dies,
        "packages": embodied.package_kg * packages_count,
        "dram": embodied.dram_kg_per_byte * dram_bytes,
    }


def node_kg_per_s(
    *, it_w: Real, pue_ratio: Real, grid_kg_per_j: Real, node_kg: Mapping[str, Real], life_s: Real
) -> Parts:
    """Carbon of a node in each second: `operational`, and each part of `node_kg` over its life."""
    made = {name: embodied_kg(mass, life_s=life_s, used_s=1.0) for name, mass in node_kg.items()}
    return {"operational": operational_kg(it_w, pue_ratio=pue_ratio, grid_kg_per_j=grid_kg_per_j)} | made


def million_tokens_kg(parts_kg_per_s: Mapping[str, Real], *, tokens_per_s: Real) -> Parts:
    """Software carbon intensity for a million tokens, by part: (O + M) / R.

    An SCI if the operational part is location-based; `tokens_per_s` is the mean over all hours.
    """
    require.positive(tokens=tokens_per_s)
    return {name: 1e6 * mass / tokens_per_s for name, mass in parts_kg_per_s.items()}
