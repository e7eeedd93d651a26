"""Digital processing in memory: units beside the DRAM banks of a board that also has an ordinary processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, side_by_side
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
from npuwatt.record import Record, replace
from npuwatt.workload.ops import STORED, OpTable
from npuwatt.workload.request import SAME_BITS, WIDTHS, width_bytes


class DataPath(Record):
    """What each stretch of the way out of a DRAM adds to a byte, from the row to the pins of the part."""

    activation_j_per_byte: Real  # opening and closing the row
    column_j_per_byte: Real  # from the cells through the column decoder
    group_j_per_byte: Real = 0.0  # on to the multiplexer of the bank group
    global_j_per_byte: Real = 0.0  # on to the global I/O of the die
    tsv_j_per_byte: Real = 0.0  # down the stack to its buffer die
    io_j_per_byte: Real = 0.0  # out through the pins

    def __post_init__(self) -> None:
        require.not_negative(
            activation=self.activation_j_per_byte,
            column=self.column_j_per_byte,
            group=self.group_j_per_byte,
            tsv=self.tsv_j_per_byte,
            io=self.io_j_per_byte,
            **{"global": self.global_j_per_byte},
        )


class Banks(Record):
    """The compute units in the memory; rates and powers are those of one part (a stack, chip, channel or DIMM)."""

    unit: Literal["bank", "bank-group", "buffer"]  # where a unit sits: as far as a byte travels inside
    parts_count: Real  # on the board
    parallelism_ratio: Real  # what all units read at once, over what the pins carry
    peak_macs_per_s: Mapping[str, Real]  # by number type; others go to the host
    mac_energy_j_per_mac: Real
    standby_power_w: Real
    pins_bandwidth_bytes_per_s: Real = 0.0  # 0: the host takes all that the pins give
    power_budget_w: Real = 0.0  # for moving bits inside; 0: never the limit
    command_overhead_ratio: Real = 0.0  # commands and sequencing, per joule of moving bits inside
    utilization_fraction: Real = 1.0  # achieved share of the bandwidth inside
    switch_time_s: Real = 0.0  # modes, commands and input vectors, for each op of each layer
    overlap_fraction: Real = 0.0  # of transfers to the host while the units read; 1: a second row buffer

    def __post_init__(self) -> None:
        require.whole(1, parts=self.parts_count)
        require.positive(parallelism=self.parallelism_ratio)
        require.not_negative(
            pins_bandwidth=self.pins_bandwidth_bytes_per_s,
            power_budget=self.power_budget_w,
            command_overhead=self.command_overhead_ratio,
            mac_energy=self.mac_energy_j_per_mac,
            standby_power=self.standby_power_w,
            switch_time=self.switch_time_s,
        )
        require.fraction(utilization=self.utilization_fraction)
        require.share(overlap=self.overlap_fraction)
        for dtype, peak in self.peak_macs_per_s.items():
            require.positive(peak=peak)
            if dtype not in WIDTHS:
                raise NpuwattError(f"peak: number type '{dtype}'; expected some of {', '.join(WIDTHS)}")


class NearBankPim(Record):
    """A board whose memory computes.

    `host` is its processor. Its first level is the same memory as seen from outside, and the energy
    of that level is only what the processor's side adds (controller, PHY): a byte on its way there
    has paid for the whole of `path` before.
    """

    host: Accelerator
    path: DataPath
    banks: Banks

    kind: ClassVar[Literal["near-bank-pim"]] = "near-bank-pim"

    def __post_init__(self) -> None:
        if "banks" in self.host.levels:
            raise NpuwattError("host.levels.banks: this name is the computing banks' own; expected another")
        if self.host.sparsity and self.host.sparsity.format != "dense":
            given = self.host.sparsity.format
            raise NpuwattError(
                f"host.sparsity.format: {given} given; expected dense, as banks read the same weights"
            )
        check_headroom(self.host, self.banks.parts_count * self.banks.standby_power_w, name="host.power_cap")


def outside_energy_j_per_byte(board: NearBankPim) -> Real:
    """What a byte costs from its row to the pins."""
    path = board.path
    die = path.activation_j_per_byte + path.column_j_per_byte + path.group_j_per_byte + path.global_j_per_byte
    return die + path.tsv_j_per_byte + path.io_j_per_byte


def inside_energy_j_per_byte(board: NearBankPim) -> Real:
    """What a byte costs from its row to the unit that uses it: the stretches up to there."""
    path, unit = board.path, board.banks.unit
    energy = path.activation_j_per_byte + path.column_j_per_byte
    if unit != "bank":
        energy = energy + path.group_j_per_byte
    if unit == "buffer":
        energy = energy + path.global_j_per_byte + path.tsv_j_per_byte
    return energy


def flip_batch(board: NearBankPim) -> Real:
    """The batch from which on a product with weights moves them for less energy through the pins.

    Units in the memory read a weight again for each token of the batch, a processor with caches
    reads it once: B W e_inside against W e_outside. Path energies alone; what the processor's side adds
    moves it up, and its cheaper arithmetic down.
    """
    return outside_energy_j_per_byte(board) / inside_energy_j_per_byte(board)


def outside_bandwidth_bytes_per_s(board: NearBankPim) -> Real:
    """What the pins of one part carry."""
    pins = board.banks.pins_bandwidth_bytes_per_s
    taken = board.host.memory.bandwidth_bytes_per_s / board.banks.parts_count
    return np.where(np.equal(pins, 0), taken, pins)


def inside_bandwidth_bytes_per_s(board: NearBankPim) -> Real:
    """What the units of one part read: as many banks at once as there are, or as many as its power feeds.

    With the outside bandwidth B and the energy e of a byte inside it is B min(parallelism, P / (e B)).

    Source
    ------
    Park et al., "AttAcc! Unleashing the Power of PIM for Batched Transformer-based Generative Model
    Inference", ASPLOS 2024: units at bank, bank group or buffer die under one power budget.
    """
    budget_w = board.banks.power_budget_w
    fed = budget_w / np.maximum(inside_energy_j_per_byte(board), 1e-300)
    fed = np.where(np.equal(budget_w, 0), np.inf, fed)
    return np.minimum(board.banks.parallelism_ratio * outside_bandwidth_bytes_per_s(board), fed)


def outside_host(board: NearBankPim) -> Accelerator:
    """The processor with the whole energy of a byte from the memory: the path to the pins and its own side."""
    name, memory = next(iter(board.host.levels.items()))
    energy = outside_energy_j_per_byte(board) + memory.read_energy_j_per_byte
    return replace(
        board.host, levels={**board.host.levels, name: replace(memory, read_energy_j_per_byte=energy)}
    )


def nearbank_costs(board: NearBankPim, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Each op runs in the memory or on the host, whichever takes less time under the power limit of the board.

    Whole blocks of weights that are zero are not stored, so nobody reads them; other zeros are stored like numbers.
    """
    near = banks_costs(board, ops, devices)
    kept = (
        ops if "block" not in ops.patterns else replace(ops, weight_bytes=ops.weight_bytes * kept_blocks(ops))
    )
    alone = accelerator_costs(outside_host(board), kept, devices)
    here = paced_time_s(board, near, devices) < paced_time_s(board, alone, devices)

    def chosen(beside: Mapping[str, Array], host: Mapping[str, Array]) -> dict[str, Array]:
        return {
            name: np.where(here, beside.get(name, 0.0), host.get(name, 0.0)) for name in {**host, **beside}
        }

    return OpCosts(
        time_s=np.where(here, near.time_s, alone.time_s),
        limits_s=chosen(near.limits_s, alone.limits_s),
        energy_j=chosen(near.energy_j, alone.energy_j),
        level_bytes=chosen(near.level_bytes, alone.level_bytes),
        level_energy_j=chosen(near.level_energy_j, alone.level_energy_j),
        metadata_j=np.where(here, 0.0, alone.metadata_j),
        lost_s=chosen({}, alone.lost_s),
    )


def kept_blocks(ops: OpTable) -> Array:
    """Share of each op's weights that lie in blocks with something in them: (..., L).

    All banks follow one command, so a zero saves nothing while its neighbours in the row do not.
    """
    blocks = np.array([[pattern == "block" for pattern in ops.patterns]])
    return np.where(blocks, ops.weight_density, 1.0)


def paced_time_s(board: NearBankPim, costs: OpCosts, devices: Real) -> Array:
    """Time of each op if the board were at its power limit all through it: no less than its energy over what is left."""
    host, banks = board.host, board.banks
    at_rest_w = host.static_power_w + host.clocks_power_w + banks.parts_count * banks.standby_power_w
    dynamic_j = sum(costs.energy_j.values(), start=np.zeros((1, 1)))
    return np.maximum(costs.time_s, dynamic_j / (devices * (host.power_cap_w - at_rest_w)))


def banks_costs(board: NearBankPim, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Costs of each op in the memory; what its units cannot compute takes forever there.

    Units in the memory keep nothing: every MAC reads its weight or cached number again, so a batch
    or a prompt gains no reuse there. Inputs, outputs, new cache entries and attention scores
    (softmax is the host's work) cross the ordinary memory interface. Banks serve one master at a
    time: the transfers wait for the units, but for what a second row buffer lets pass meanwhile.
    """
    host, banks = outside_host(board), board.banks
    able = _able(banks, ops)
    peak = side_by_side(
        banks.peak_macs_per_s[dtype_for(banks.peak_macs_per_s, dtype)] if can else 1.0
        for can, dtype in zip(able[0], ops.dtypes, strict=True)
    )
    parts = devices * banks.parts_count
    macs = ops.macs if "block" not in ops.patterns else ops.macs * kept_blocks(ops)
    inside_bytes = macs * ops.operand_bytes
    outside_bytes = ops.activation_bytes + ops.kv_written_bytes + ops.score_bytes
    memory_s = inside_bytes / (parts * inside_bandwidth_bytes_per_s(board) * banks.utilization_fraction)
    compute_s = macs / (parts * peak)
    outside_s = outside_bytes / (
        devices * host.memory.bandwidth_bytes_per_s * host.memory.utilization_fraction
    )
    inside_s = np.maximum(memory_s, compute_s)
    waiting_s = outside_s - banks.overlap_fraction * np.minimum(inside_s, outside_s)
    rest_s = waiting_s + ops.layers * banks.switch_time_s

    level_j = {name: outside_bytes * level.read_energy_j_per_byte for name, level in host.levels.items()}
    energy_j = board_energy_j(host, macs * banks.mac_energy_j_per_mac, level_j, links=outside_bytes * 0.0)
    inside_j = inside_bytes * inside_energy_j_per_byte(board)
    main = component_of(host, next(iter(host.levels)))
    energy_j[main] = energy_j[main] + inside_j
    commanded = (1 + banks.command_overhead_ratio) / host.regulator_efficiency_fraction
    energy_j["overhead"] = energy_j["overhead"] + inside_j * (commanded - 1)
    return OpCosts(
        time_s=np.where(able, inside_s + rest_s, np.inf),
        limits_s={"compute": compute_s, "memory": memory_s + rest_s},
        energy_j=energy_j,
        level_bytes={**dict.fromkeys(host.levels, outside_bytes), "banks": inside_bytes},
        level_energy_j={**level_j, "banks": inside_j},
    )


def _able(banks: Banks, ops: OpTable) -> Array:
    """1 for each op that the units can compute, else 0: (1, L)."""
    return np.array(
        [
            [
                float(kind in (*STORED, "attention") and computes_as_stored(banks, dtype, float(stored)))
                for kind, dtype, stored in zip(ops.kinds, ops.dtypes, ops.operand_bytes[0], strict=True)
            ]
        ]
    )


def computes_as_stored(banks: Banks, dtype: str, stored_bytes: float) -> bool:
    """Whether the units multiply numbers of this type as they lie in memory: there is nothing to unpack them with."""
    known = dtype in banks.peak_macs_per_s or SAME_BITS.get(dtype) in banks.peak_macs_per_s
    return known and width_bytes(dtype) == stored_bytes
