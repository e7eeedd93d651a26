"""GPU or NPU: a memory hierarchy, multipliers and a power supply. Same equations, other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, side_by_side
from npuwatt.device.costs import OpCosts
from npuwatt.device.roofline import roofline_time_s
from npuwatt.device.sparsity import ZeroSkipping, ZeroWork, zero_work
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace
from npuwatt.workload.ops import OpTable
from npuwatt.workload.request import WIDTHS, next_wider


class MemoryLevel(Record):
    """One level of a memory hierarchy. The first level of a device is its main memory.

    Energy per byte is what this level adds to a byte on its way to the arithmetic.
    """

    read_energy_j_per_byte: Real
    bandwidth_bytes_per_s: Real = 0.0  # 0: never the limit
    utilization_fraction: Real = 1.0  # achieved share of the bandwidth in long streams
    capacity_bytes: Real = 0.0
    tile_count: Real = (
        0.0  # outputs on a side of the block that one pass over this level serves; 0: streamed once
    )

    def __post_init__(self) -> None:
        require.not_negative(
            read_energy=self.read_energy_j_per_byte,
            bandwidth=self.bandwidth_bytes_per_s,
            capacity=self.capacity_bytes,
            tile=self.tile_count,
        )
        require.fraction(utilization=self.utilization_fraction)


class Link(Record):
    """What joins one device to its neighbours: rate of one direction, at the device."""

    bandwidth_bytes_per_s: Real
    energy_j_per_byte: Real
    latency_s: Real = 0.0
    utilization_fraction: Real = 1.0

    def __post_init__(self) -> None:
        require.positive(bandwidth=self.bandwidth_bytes_per_s)
        require.not_negative(energy=self.energy_j_per_byte, latency=self.latency_s)
        require.fraction(utilization=self.utilization_fraction)


class Accelerator(Record):
    """A board at its power input.

    Where board energies were measured, level and MAC energies hold everything and the overheads are nothing
    (`movement_overhead_ratio` 0, `regulator_efficiency_fraction` 1). Where they were not, energies are those of
    the bare parts and the two overheads bring them to the board. The two are never added together.
    """

    peak_macs_per_s: Mapping[str, Real]  # dense, by number type
    mac_energy_j_per_mac: Mapping[str, Real]
    levels: Mapping[str, MemoryLevel]  # main memory first
    static_power_w: Real  # drawn all the time
    power_cap_w: Real
    clocks_power_w: Real = (
        0.0  # on top of it while a request runs: clock trees, schedulers and caches that wait
    )
    utilization_fraction: Real = 1.0  # achieved share of the peak in large matrix products
    experts_utilization_fraction: Real = 1.0  # of that, what the grouped products of experts reach
    experts_energy_ratio: Real = 1.0  # energy of a MAC in such a product over one in a dense product
    cache_energy_j_per_byte: Real = 0.0  # what a cached byte costs more than others: gathering pages, softmax
    movement_overhead_ratio: Real = 0.0  # control, queues and wires, per joule of the bare data path
    regulator_efficiency_fraction: Real = 1.0
    link: Link | None = None
    sparsity: ZeroSkipping | None = None  # none: zeros are numbers like others

    kind: ClassVar[Literal["accelerator"]] = "accelerator"

    def __post_init__(self) -> None:
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
        require.not_negative(
            static_power=self.static_power_w,
            clocks_power=self.clocks_power_w,
            movement_overhead=self.movement_overhead_ratio,
        )
        require.positive(power_cap=self.power_cap_w)
        require.fraction(
            utilization=self.utilization_fraction,
            experts_utilization=self.experts_utilization_fraction,
            regulator_efficiency=self.regulator_efficiency_fraction,
        )
        require.positive(experts_energy=self.experts_energy_ratio)
        require.not_negative(cache_energy=self.cache_energy_j_per_byte)
        check_headroom(self)

    @property
    def memory(self) -> MemoryLevel:
        """Main memory: the first level."""
        return next(iter(self.levels.values()))


def check_headroom(chip: Accelerator, others_w: Real = 0.0, *, name: str = "power_cap") -> None:
    """Raise NpuwattError unless the cap leaves room for work above what the board draws at rest."""
    room_w = _headroom_w(chip) - others_w
    least_w = float(np.min(room_w))
    if least_w <= 0:
        rest = "what the board draws at rest (static_power, clocks_power and standby)"
        raise NpuwattError(f"{name}: headroom of {least_w:.4g} W given; expected a cap above {rest}")


def dtype_for(supported: Mapping[str, object], dtype: str) -> str:
    """The number type a device computes `dtype` in: its own, one of as many bits, or the next wider it has."""
    for name in (dtype, *next_wider(dtype)):
        if name in supported:
            return name
    have, widest = ", ".join(supported), next(iter(supported))
    raise NpuwattError(
        f"computes in {have}, and the request needs {dtype}; expected a type it has, as in "
        f"--weights {widest} --activations {widest} --kv-cache {widest}"
    )


def _by_op(values: Mapping[str, Real], dtypes: tuple[str, ...], supported: Mapping[str, object]) -> Array:
    """A number for each op by its type: (1, L), or (P, L) where a type's number is a column; 1 without arithmetic."""
    return side_by_side(values[dtype_for(supported, dtype)] if dtype else 1.0 for dtype in dtypes)


def level_bytes(
    levels: Mapping[str, MemoryLevel], memory_bytes: Array, macs: Array, operand_bytes: Array
) -> dict[str, Array]:
    """Bytes that cross each level. A blocked level serves tile x tile outputs in a pass, so each MAC needs
    1/tile of its two operands from there; no level moves less than what main memory moves."""
    moved = {}
    for i, (name, level) in enumerate(levels.items()):
        tile = level.tile_count
        if i == 0 or np.all(np.equal(tile, 0)):
            moved[name] = memory_bytes
        else:
            blocked = np.where(np.equal(tile, 0), 0.0, 2 * macs * operand_bytes / np.maximum(tile, 1e-300))
            moved[name] = np.maximum(memory_bytes, blocked)
    return moved


def component_of(chip: Accelerator, level: str) -> str:
    """The energy component a level counts under: main memory is `dram` unless it is SRAM, all else `on_chip`."""
    return "dram" if level == next(iter(chip.levels)) and level != "sram" else "on_chip"


def board_energy_j(
    chip: Accelerator, arithmetic_j: Array, level_j: Mapping[str, Array], **others_j: Array
) -> dict[str, Array]:
    """Dynamic energy by component at the board's power input.

    Overhead is the control that goes with moving data, and what the regulators lose on everything.
    """
    energy_j = {"arithmetic": arithmetic_j, **others_j}
    lost = 1 / chip.regulator_efficiency_fraction
    work_j = reduce(np.add, energy_j.values())
    movement_j = reduce(np.add, level_j.values())
    for name, moved_j in level_j.items():
        component = component_of(chip, name)
        energy_j[component] = energy_j[component] + moved_j if component in energy_j else moved_j
    controlled = (1 + chip.movement_overhead_ratio) * lost
    return energy_j | {"overhead": movement_j * (controlled - 1) + work_j * (lost - 1)}


def accelerator_costs(chip: Accelerator, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Time and dynamic energy of each op on `devices` boards that share the work evenly."""
    if chip.sparsity is None or not ops.has_zeros:
        return _costs(chip, ops, devices)
    return _costs_with_zeros(chip, ops, zero_work(chip.sparsity, ops), devices)


def _costs(
    chip: Accelerator,
    ops: OpTable,
    devices: Real,
    *,
    supply_ratio: Real = 1.0,
    arithmetic_ratio: Real = 1.0,
    time_ratio: Real = 1.0,
) -> OpCosts:
    """Costs of ops whose multipliers take only a part of the operands, the energy and the time of dense work."""
    memory_bytes = ops.memory_bytes
    moved = level_bytes(chip.levels, memory_bytes, ops.macs * supply_ratio, ops.operand_bytes)
    peak = _by_op(chip.peak_macs_per_s, ops.dtypes, chip.peak_macs_per_s) * chip.utilization_fraction
    mac_energy = _by_op(chip.mac_energy_j_per_mac, ops.dtypes, chip.peak_macs_per_s)
    if "experts" in ops.kinds:
        grouped = np.array([[kind == "experts" for kind in ops.kinds]])
        peak = peak * np.where(grouped, chip.experts_utilization_fraction, 1.0)
        mac_energy = mac_energy * np.where(grouped, chip.experts_energy_ratio, 1.0)
    limits_s = {"compute": ops.macs / (devices * peak) * time_ratio}
    for i, (name, level) in enumerate(chip.levels.items()):
        if np.any(level.bandwidth_bytes_per_s):
            limit = "on_chip" if i else "memory"
            unlimited = np.equal(level.bandwidth_bytes_per_s, 0)
            rate = (
                devices
                * np.where(unlimited, np.inf, level.bandwidth_bytes_per_s)
                * level.utilization_fraction
            )
            waited_bytes = moved[name] if i else moved[name] + ops.weight_bytes * ops.weights_stall_ratio
            limits_s[limit] = np.maximum(limits_s.get(limit, 0.0), waited_bytes / rate)
    links_j = ops.link_bytes * 0.0
    if chip.link:
        sent_per_s = devices * chip.link.bandwidth_bytes_per_s * chip.link.utilization_fraction
        limits_s["link"] = ops.link_bytes / sent_per_s + ops.link_steps * chip.link.latency_s
        links_j = ops.link_bytes * chip.link.energy_j_per_byte
    time_s = roofline_time_s(limits_s)
    level_j = {name: moved[name] * level.read_energy_j_per_byte for name, level in chip.levels.items()}
    if np.any(chip.cache_energy_j_per_byte):
        nearest = next(reversed(level_j))
        level_j[nearest] = level_j[nearest] + ops.kv_bytes * chip.cache_energy_j_per_byte
    energy_j = board_energy_j(chip, ops.macs * mac_energy * arithmetic_ratio, level_j, links=links_j)
    return OpCosts(
        time_s=time_s, limits_s=limits_s, energy_j=energy_j, level_bytes=moved, level_energy_j=level_j
    )


def _costs_with_zeros(chip: Accelerator, ops: OpTable, work: ZeroWork, devices: Real) -> OpCosts:
    """Costs of what zeros leave to do, with what it takes to know it, and what keeps it from taking less time."""
    stored = replace(ops, weight_bytes=ops.weight_bytes * work.stored_ratio)
    supply = (work.value_ratio + 1) / 2  # of the two operands of a MAC, weights come without their zeros

    def run(table: OpTable, time_ratio: Array) -> OpCosts:
        return _costs(
            chip, table, devices,
            supply_ratio=supply, arithmetic_ratio=work.arithmetic_ratio, time_ratio=time_ratio,
        )  # fmt: skip

    values = replace(ops, weight_bytes=ops.weight_bytes * work.value_ratio)
    least_s = run(values, work.balanced_ratio).time_s
    told_s = run(stored, work.balanced_ratio).time_s
    waiting_s = run(stored, work.waiting_ratio).time_s
    costs = run(stored, work.time_ratio)
    if chip.sparsity is not None and chip.sparsity.speedup_ratio and np.any(ops.power_held_fraction):
        costs = _as_measured(costs, _costs(chip, ops, devices), work, _headroom_w(chip) * devices)
    metadata_j, handling_j = _metadata_j(chip, ops, work)
    energy_j = costs.energy_j | {"overhead": costs.energy_j["overhead"] + handling_j}
    lost_s = {
        "metadata": told_s - least_s,
        "imbalance": waiting_s - told_s,
        "kernels": costs.time_s - waiting_s,
    }
    return replace(costs, energy_j=energy_j, metadata_j=metadata_j + handling_j, lost_s=lost_s)


def _as_measured(costs: OpCosts, dense: OpCosts, work: ZeroWork, headroom_w: Real) -> OpCosts:
    """Costs of ops that are no faster than dense ones times a measured speed-up.

    Dense kernels were timed under the power limit of their board, so what that adds to their time counts. Dense ops
    between N:M kernels gain nothing from the power that those spare, or the phase would gain more than the kernels.
    Kernels that unpack fewer bytes were not timed so; their bytes tell.
    """
    most = np.where(work.stored_ratio < 1, np.inf, 1.0)
    most = np.where(work.speedup_ratio > 0, work.speedup_ratio, most)
    dense_j = reduce(np.add, dense.energy_j.values())
    least_s = np.maximum(dense.time_s, dense_j / headroom_w) / most
    held = least_s > costs.time_s
    took_s = np.where(costs.time_s > 0, costs.time_s, 1.0)  # sums over one device take none
    slower = np.where(held, least_s, costs.time_s) / took_s
    time_s, timed = costs.time_s * slower, work.speedup_ratio > 0
    # Before the others, which are slowed as much: of equal times the first one counts.
    limits_s = {"kernels": np.where(held & timed, time_s, 0.0), "power": np.where(held & ~timed, time_s, 0.0)}
    limits_s |= {name: seconds * slower for name, seconds in costs.limits_s.items()}
    return replace(costs, time_s=time_s, limits_s=limits_s)


def _metadata_j(chip: Accelerator, ops: OpTable, work: ZeroWork) -> tuple[Array, Array]:
    """Energy at the board's input of bringing metadata, and of decoding it and finding what is worth a MAC."""
    assert chip.sparsity is not None  # the caller saw to it
    told_bytes = ops.weight_bytes * work.metadata_ratio
    each_j = reduce(np.add, (level.read_energy_j_per_byte for level in chip.levels.values()))
    lost = 1 / chip.regulator_efficiency_fraction
    handling_j = told_bytes * chip.sparsity.decode_energy_j_per_byte
    handling_j = handling_j + ops.macs * work.searched_ratio * chip.sparsity.intersection_energy_j_per_mac
    return told_bytes * each_j * (1 + chip.movement_overhead_ratio) * lost, handling_j * lost


def _headroom_w(chip: Accelerator) -> Real:
    """Power that is left for work under the cap."""
    return chip.power_cap_w - chip.static_power_w - chip.clocks_power_w
