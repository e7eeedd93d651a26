"""Digital processing in memory: units beside the DRAM banks of a board that also has an ordinary processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.device.accelerator import Accelerator


@dataclass(frozen=True, kw_only=True, slots=True)
class Banks:
    """The compute units beside the banks; rates and powers are those of one part (a stack, a chip, a DIMM)."""

    parts_count: Real  # stacks, chips or DIMMs on the board
    bandwidth_bytes_per_s: Real  # from the banks to their units, of one part
    read_energy_j_per_byte: Real  # from cell to unit, activation included
    peak_macs_per_s: Mapping[str, Real]  # of one part, by number type; others go to the host
    mac_energy_j_per_mac: Real
    standby_power_w: Real  # of one part
    utilization_fraction: Real = 1.0
    switch_time_s: Real = 0.0  # entering and leaving compute mode, for each op of each layer

    def __post_init__(self) -> None:
        require.positive(parts=self.parts_count, bandwidth=self.bandwidth_bytes_per_s)
        require.not_negative(read_energy=self.read_energy_j_per_byte, mac_energy=self.mac_energy_j_per_mac)
        require.not_negative(standby_power=self.standby_power_w, switch_time=self.switch_time_s)
        require.fraction(utilization=self.utilization_fraction)
        for peak in self.peak_macs_per_s.values():
            require.positive(peak=peak)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearBankPim:
    """A board whose memory computes. `host` is its processor; its first level is the same memory from outside."""

    host: Accelerator
    banks: Banks

    kind = "near-bank-pim"
