"""Analog processing in memory: weights as conductances, inputs as voltages, sums as currents, then converters."""

from __future__ import annotations

from dataclasses import dataclass

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.device.accelerator import Accelerator


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrays:
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
            cell=self.cell_bits, weight=self.weight_bits, input=self.input_bits, dac=self.dac_bits,
            columns_per_adc=self.columns_per_adc_count, cells_per_bit=self.cells_per_bit_count,
        )  # fmt: skip
        require.not_negative(
            settle_time=self.settle_time_s, adc_time=self.adc_time_s, adc_energy=self.adc_energy_j,
            dac_energy=self.dac_energy_j, cell_energy=self.cell_energy_j, shift_add_energy=self.shift_add_energy_j,
            buffer_energy=self.buffer_energy_j_per_byte, static_power=self.static_power_w,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossbar:
    """A board of crossbar chips. `host` keeps what may not live in the cells: cache, attention, embeddings."""

    host: Accelerator
    arrays: Arrays

    kind = "crossbar"
