"""Analog processing in memory: weights as conductances, inputs as voltages, sums as currents, then converters."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.device.accelerator import Accelerator, accelerator_costs, board_energy_j, check_headroom
from npuwatt.device.costs import OpCosts
from npuwatt.errors import NpuwattError
from npuwatt.record import Record
from npuwatt.workload.ops import STORED, OpTable


class Arrays(Record):
    """The crossbar arrays of one chip and what one use of each part costs."""

    parts_count: Real  # chips on the board
    arrays_count: Real  # arrays on a chip
    rows_count: Real
    columns_count: Real
    cell_bits: Real
    weight_bits: Real
    input_bits: Real
    dac_bits: Real
    columns_per_adc_count: Real
    settle_time_s: Real
    adc_time_s: Real  # of one conversion
    adc_energy_j: Real  # of one conversion
    dac_energy_j: Real  # of one row drive
    cell_energy_j: Real  # of one cell in one step
    shift_add_energy_j: Real  # of one conversion
    buffer_energy_j_per_byte: Real  # inputs and outputs between arrays and chips
    static_power_w: Real  # of one chip
    cells_per_bit_count: Real = 1.0  # 2: differential pairs

    def __post_init__(self) -> None:
        require.positive(
            parts=self.parts_count, arrays=self.arrays_count, rows=self.rows_count, columns=self.columns_count,
            cell_bits=self.cell_bits, weight_bits=self.weight_bits, input_bits=self.input_bits, dac_bits=self.dac_bits,
            columns_per_adc=self.columns_per_adc_count, cells_per_bit=self.cells_per_bit_count,
        )  # fmt: skip
        require.not_negative(
            settle_time=self.settle_time_s, adc_time=self.adc_time_s, adc_energy=self.adc_energy_j,
            dac_energy=self.dac_energy_j, cell_energy=self.cell_energy_j, shift_add_energy=self.shift_add_energy_j,
            buffer_energy=self.buffer_energy_j_per_byte, static_power=self.static_power_w,
        )  # fmt: skip


class Crossbar(Record):
    """A board of crossbar chips. `host` keeps what may not live in the cells: cache, attention, embeddings."""

    host: Accelerator
    arrays: Arrays

    kind: ClassVar[Literal["crossbar"]] = "crossbar"

    def __post_init__(self) -> None:
        if "buffers" in self.host.levels:
            raise NpuwattError("host.levels.buffers: this name is the arrays' own; expected another")
        check_headroom(self.host, self.arrays.parts_count * self.arrays.static_power_w, name="host.power_cap")


def weights_held_count(arrays: Arrays) -> Real:
    """Weights that the arrays of one board hold."""
    cells = arrays.parts_count * arrays.arrays_count * arrays.rows_count * arrays.columns_count
    return cells / columns_per_weight(arrays)


def columns_per_weight(arrays: Arrays) -> Real:
    """Columns that one weight takes: a slice for each `cell_bits` of it, doubled for differential pairs."""
    return np.ceil(arrays.weight_bits / arrays.cell_bits) * arrays.cells_per_bit_count


def uses_of_a_cell(arrays: Arrays) -> Real:
    """Cell readings that one multiply-accumulate takes: input steps by weight slices."""
    return np.ceil(arrays.input_bits / arrays.dac_bits) * columns_per_weight(arrays)


def crossbar_costs(board: Crossbar, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Products with weights run in the arrays, one token after another; all else runs on the host.

    A product takes ceil(input bits / DAC bits) steps whatever its size, because all arrays of a
    layer work at once. More boards hold more weights but make no step shorter.

    Source
    ------
    Shafiee et al., "ISAAC: A Convolutional Neural Network Accelerator with In-Situ Analog
    Arithmetic in Crossbars", ISCA 2016: mapping, bit slices and shared converters.
    """
    host, arrays = board.host, board.arrays
    alone = accelerator_costs(host, ops, devices)
    here = np.array([[kind in STORED for kind in ops.kinds]])
    uses = np.where(here, ops.macs / np.maximum(ops.k * ops.n, 1), 0.0)  # vectors times matrices
    slices, steps = columns_per_weight(arrays), np.ceil(arrays.input_bits / arrays.dac_bits)
    row_tiles = np.ceil(ops.k / arrays.rows_count)
    column_tiles = np.ceil(ops.n * slices / arrays.columns_count)
    conversions = uses * steps * slices * ops.n * row_tiles
    drives = uses * steps * ops.k * column_tiles
    cells = uses * steps * slices * ops.k * ops.n

    converting_s = arrays.columns_per_adc_count * arrays.adc_time_s
    serial = np.where(here, ops.tokens * ops.layers, 0.0) * steps
    time_s = serial * np.maximum(arrays.settle_time_s, converting_s)
    near_j = board_energy_j(
        host,
        cells * arrays.cell_energy_j,
        {"buffers": ops.activation_bytes * arrays.buffer_energy_j_per_byte},
        conversion=conversions * (arrays.adc_energy_j + arrays.shift_add_energy_j)
        + drives * arrays.dac_energy_j,
    )
    limits_s = {name: np.where(here, 0.0, value) for name, value in alone.limits_s.items()}
    limits_s["conversion"] = time_s
    return OpCosts(
        time_s=np.where(here, time_s, alone.time_s),
        limits_s=limits_s,
        energy_j={
            name: np.where(here, near_j.get(name, 0.0), alone.energy_j.get(name, 0.0))
            for name in near_j | alone.energy_j
        },
        level_bytes={name: np.where(here, 0.0, value) for name, value in alone.level_bytes.items()}
        | {"buffers": np.where(here, ops.activation_bytes, 0.0)},
        level_energy_j={name: np.where(here, 0.0, value) for name, value in alone.level_energy_j.items()}
        | {"buffers": np.where(here, ops.activation_bytes * arrays.buffer_energy_j_per_byte, 0.0)},
    )
