"""What a planner assumes where a question does not say: headroom, spares, prices and carbon by class of device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.record import Record


class Planning(Record):
    """Assumptions behind a fleet."""

    peak_ratio: Real  # demand at its peak over its mean
    headroom_fraction: Real  # of capacity, left free at the peak
    spares_fraction: Real  # replicas that stand by, over those that take requests
    server_devices_count: Real  # accelerators in one server
    junction_limit_k: Real
    purchase_usd: Mapping[str, Real]  # of a device without a known price, by its class
    made_kg: Mapping[str, Real]  # carbon of making a device whose maker tells none, by its class
    die_area_m2: Mapping[str, Real]  # by device

    kind: ClassVar[Literal["planning"]] = "planning"

    def __post_init__(self) -> None:
        require.within(1.0, 1e6, peak=self.peak_ratio)
        require.within(0.0, 0.99, headroom=self.headroom_fraction)
        require.share(spares=self.spares_fraction)
        require.within(1.0, 1024.0, server_devices=self.server_devices_count)
        require.positive(junction_limit=self.junction_limit_k)
        require.not_negative(**{f"purchase.{name}": price for name, price in self.purchase_usd.items()})
        require.not_negative(**{f"made.{name}": mass for name, mass in self.made_kg.items()})
        require.positive(**{f"die_area.{name}": area for name, area in self.die_area_m2.items()})
