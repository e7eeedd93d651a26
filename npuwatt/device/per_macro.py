"""One array by itself, fully used: the figures that papers print, and the area that it takes."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Real
from npuwatt.device.converters import adc_area_m2
from npuwatt.device.crossbar import Arrays, active_rows, columns_per_weight, mapped, vector_energy_j
from npuwatt.device.gates import gates_area_m2
from npuwatt.record import Record
from npuwatt.units import OPS_PER_MAC


class PerMacro(Record):
    """An array without buffers, links, host, memory and conversion losses; a MAC at its own number of bits."""

    energy_j_per_mac: dict[str, Real]  # by part: cell, row, converter, gates, logic
    macs_per_s: Real
    area_m2: Real
    bit_products_count: Real  # one-bit products in a MAC, by which papers multiply

    @property
    def total_j_per_mac(self) -> Real:
        """Energy of a MAC, all parts."""
        return sum(self.energy_j_per_mac.values(), start=0.0)

    def figures(self) -> dict[str, Real]:
        """What papers compare macros by: native, and as one-bit products."""
        with np.errstate(divide="ignore"):
            ops_per_j = np.divide(OPS_PER_MAC, self.total_j_per_mac)
            ops_per_s_m2 = np.divide(OPS_PER_MAC * self.macs_per_s, self.area_m2)
        return {
            "ops_per_j": ops_per_j,
            "one_bit_ops_per_j": ops_per_j * self.bit_products_count,
            "ops_per_s_m2": ops_per_s_m2,
            "one_bit_ops_per_s_m2": ops_per_s_m2 * self.bit_products_count,
        }


def per_macro(arrays: Arrays) -> PerMacro:
    """The figures of one array with every cell in use; scalars or (P, 1)."""
    rows = arrays.rows_count
    outputs = np.floor(arrays.columns_count / columns_per_weight(arrays))
    macs = rows * outputs
    return PerMacro(
        energy_j_per_mac={
            name: joules / macs for name, joules in vector_energy_j(arrays, rows, outputs).items()
        },
        macs_per_s=macs / mapped(arrays, rows, outputs).time_s,
        area_m2=array_area_m2(arrays),
        bit_products_count=arrays.weight_bits * arrays.input_bits,
    )


def array_area_m2(arrays: Arrays) -> Real:
    """Area of one array: cells, row drivers, sample-and-holds, converters with what adds behind them, or trees."""
    rows, columns = arrays.rows_count, arrays.columns_count
    edges_m2 = rows * arrays.row_area_m2 + columns * arrays.column_area_m2
    if arrays.adc is not None:
        each_m2 = adc_area_m2(arrays.adc, node_m=arrays.node_m)
        edges_m2 = edges_m2 + np.ceil(columns / arrays.adc.columns_count) * (
            each_m2 + arrays.shift_add_area_m2
        )
    if arrays.gates is not None:
        trees = np.ceil(columns / (columns_per_weight(arrays) * arrays.gates.columns_count))
        each_m2 = gates_area_m2(active_rows(arrays), bits=arrays.weight_bits, node_m=arrays.node_m)
        edges_m2 = edges_m2 + trees * each_m2
    return rows * columns * arrays.cell_area_m2 + edges_m2


def chip_area_m2(arrays: Arrays) -> Real:
    """Area of one chip: its arrays, and what stands beside them."""
    return arrays.arrays_count * array_area_m2(arrays) + arrays.other_area_m2
