"""GPU or NPU: a memory hierarchy, multipliers and a power supply. Same equations, other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.errors import NpuwattError


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLevel:
    """One level of a memory hierarchy. The first level of a device is its main memory.

    Energy per byte is what this level adds to a byte on its way to the arithmetic.
    """

    read_energy_j_per_byte: Real
    bandwidth_bytes_per_s: Real = 0.0  # 0: never the limit
    utilization_fraction: Real = 1.0  # achieved share of the bandwidth in long streams
    capacity_bytes: Real = 0.0
    tile_count: Real = 0.0  # outputs on a side of the block that one pass over this level serves; 0: streamed once

    def __post_init__(self) -> None:
        require.not_negative(
            read_energy=self.read_energy_j_per_byte,
            bandwidth=self.bandwidth_bytes_per_s,
            capacity=self.capacity_bytes,
            tile=self.tile_count,
        )
        require.fraction(utilization=self.utilization_fraction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What joins one device to its neighbours: rate of one direction, at the device."""

    bandwidth_bytes_per_s: Real
    energy_j_per_byte: Real
    latency_s: Real = 0.0
    utilization_fraction: Real = 1.0

    def __post_init__(self) -> None:
        require.positive(bandwidth=self.bandwidth_bytes_per_s)
        require.not_negative(energy=self.energy_j_per_byte, latency=self.latency_s)
        require.fraction(utilization=self.utilization_fraction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """A board at its power input.

    Where board energies were measured, level and MAC energies hold everything and the overheads are nothing
    (`movement_overhead_ratio` 0, `regulator_efficiency_fraction` 1). Where they were not, energies are those of
    the bare parts and the two overheads bring them to the board. The two are never added together.
    """

    peak_macs_per_s: Mapping[str, Real]  # dense, by number type
    mac_energy_j_per_mac: Mapping[str, Real]
    levels: Mapping[str, MemoryLevel]  # main memory first
    static_power_w: Real  # drawn all the time, clocks up
    power_cap_w: Real
    utilization_fraction: Real = 1.0  # achieved share of the peak in large matrix products
    movement_overhead_ratio: Real = 0.0  # control, queues and wires, per joule of the bare data path
    regulator_efficiency_fraction: Real = 1.0
    link: Link | None = None

    kind = "accelerator"

    def __post_init__(self) -> None:
        from npuwatt.workload.request import WIDTHS

        for dtype in (*self.peak_macs_per_s, *self.mac_energy_j_per_mac):
            if dtype not in WIDTHS:
                raise NpuwattError(f"peak: number type '{dtype}'; expected some of {', '.join(WIDTHS)}")
        for dtype, peak in self.peak_macs_per_s.items():
            require.positive(peak=peak)
            if dtype not in self.mac_energy_j_per_mac:
                raise NpuwattError(f"mac_energy: has no '{dtype}', and peak has one")
        for energy in self.mac_energy_j_per_mac.values():
            require.not_negative(mac_energy=energy)
        main = next(iter(self.levels.values()))
        require.positive(**{"levels: bandwidth of the first level": main.bandwidth_bytes_per_s})
        require.positive(**{"levels: capacity of the first level": main.capacity_bytes})
        require.not_negative(static_power=self.static_power_w, movement_overhead=self.movement_overhead_ratio)
        require.positive(power_cap=self.power_cap_w)
        require.fraction(
            utilization=self.utilization_fraction, regulator_efficiency=self.regulator_efficiency_fraction
        )
        headroom = self.power_cap_w - self.static_power_w
        require.positive(**{"power_cap: headroom over static_power in W": headroom})

    @property
    def memory(self) -> MemoryLevel:
        """Main memory: the first level."""
        return next(iter(self.levels.values()))
