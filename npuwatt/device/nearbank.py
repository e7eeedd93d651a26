"""Digital processing in memory: units beside the DRAM banks of a board that also has an ordinary processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real, side_by_side
from npuwatt.device.accelerator import (
    Accelerator,
    accelerator_costs,
    board_energy_j,
    check_headroom,
    component_of,
    dtype_for,
)
from npuwatt.device.costs import OpCosts
from npuwatt.errors import NpuwattError
from npuwatt.record import Record
from npuwatt.workload.ops import STORED, OpTable
from npuwatt.workload.request import SAME_BITS, WIDTHS, width_bytes


class Banks(Record):
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
        for dtype, peak in self.peak_macs_per_s.items():
            require.positive(peak=peak)
            if dtype not in WIDTHS:
                raise NpuwattError(f"peak: number type '{dtype}'; expected some of {', '.join(WIDTHS)}")


class NearBankPim(Record):
    """A board whose memory computes. `host` is its processor; its first level is the same memory from outside."""

    host: Accelerator
    banks: Banks

    kind: ClassVar[Literal["near-bank-pim"]] = "near-bank-pim"

    def __post_init__(self) -> None:
        if "banks" in self.host.levels:
            raise NpuwattError("host.levels.banks: this name is the computing banks' own; expected another")
        check_headroom(self.host, self.banks.parts_count * self.banks.standby_power_w, name="host.power_cap")


def nearbank_costs(board: NearBankPim, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Each op runs beside the banks or on the host, whichever takes less time.

    Units beside the banks keep nothing: every MAC reads its weight or cached number from the bank
    again, so a batch or a prompt gains no reuse there. Inputs, outputs, new cache entries and
    attention scores (softmax is the host's work) cross the ordinary memory interface, and the
    host cannot use the memory meanwhile.
    """
    host, banks = board.host, board.banks
    alone = accelerator_costs(host, ops, devices)
    able = np.array(
        [
            [
                kind in (*STORED, "attention") and computes_as_stored(banks, dtype, float(stored_bytes))
                for kind, dtype, stored_bytes in zip(ops.kinds, ops.dtypes, ops.operand_bytes[0], strict=True)
            ]
        ]
    )
    peak = side_by_side(
        banks.peak_macs_per_s[dtype_for(banks.peak_macs_per_s, dtype)] if can else 1.0
        for can, dtype in zip(able[0], ops.dtypes, strict=True)
    )
    parts = devices * banks.parts_count
    inside_bytes = ops.macs * ops.operand_bytes
    outside_bytes = ops.activation_bytes + ops.kv_written_bytes + ops.score_bytes
    memory_s = inside_bytes / (parts * banks.bandwidth_bytes_per_s * banks.utilization_fraction)
    compute_s = ops.macs / (parts * peak)
    outside_s = outside_bytes / (
        devices * host.memory.bandwidth_bytes_per_s * host.memory.utilization_fraction
    )
    rest_s = outside_s + ops.layers * banks.switch_time_s
    banks_s = np.maximum(memory_s, compute_s) + rest_s
    here = able & (banks_s < alone.time_s)

    level_j = {name: outside_bytes * level.read_energy_j_per_byte for name, level in host.levels.items()}
    near_j = board_energy_j(host, ops.macs * banks.mac_energy_j_per_mac, level_j, links=outside_bytes * 0.0)
    inside_j = inside_bytes * banks.read_energy_j_per_byte
    main = component_of(host, next(iter(host.levels)))
    near_j[main] = near_j[main] + inside_j
    control = 1 + host.movement_overhead_ratio  # commands and sequencing go with bytes inside the memory too
    near_j["overhead"] = near_j["overhead"] + inside_j * (control / host.regulator_efficiency_fraction - 1)
    moved = {name: np.where(here, outside_bytes, alone.level_bytes[name]) for name in host.levels}
    level_energy_j = {name: np.where(here, level_j[name], alone.level_energy_j[name]) for name in host.levels}
    limits_s = {name: np.where(here, 0.0, alone_s) for name, alone_s in alone.limits_s.items()}
    limits_s["compute"] = np.where(here, compute_s, alone.limits_s["compute"])
    limits_s["memory"] = np.where(here, memory_s + rest_s, alone.limits_s["memory"])
    return OpCosts(
        time_s=np.where(here, banks_s, alone.time_s),
        limits_s=limits_s,
        energy_j={name: np.where(here, near_j[name], alone.energy_j[name]) for name in near_j},
        level_bytes=moved | {"banks": np.where(here, inside_bytes, 0.0)},
        level_energy_j=level_energy_j | {"banks": np.where(here, inside_j, 0.0)},
    )


def computes_as_stored(banks: Banks, dtype: str, stored_bytes: float) -> bool:
    """Whether the units multiply numbers of this type as they lie in memory: there is nothing to unpack them with."""
    known = dtype in banks.peak_macs_per_s or SAME_BITS.get(dtype) in banks.peak_macs_per_s
    return known and width_bytes(dtype) == stored_bytes
