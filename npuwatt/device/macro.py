"""Published compute-in-memory macros: what a multiply-accumulate takes, from how the macro is organised alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array
from npuwatt.record import Record

REFERENCE_NODE_M = 28e-9  # at which the capacitances hold
Flags = npt.NDArray[np.bool_]


class LeftOut(Record):
    """How far predictions were off on chips that neither the constants nor the choice of their form had seen."""

    chips_count: int
    median_ratio: float
    p90_ratio: float
    coverage_fraction: float  # of the intervals
    score_ratio: float  # interval score in natural logarithms


class MacroConstants(Record):
    """Eight constants for all macros, how sure they are by class, and how far others are off.

    Capacitances are switched at the supply and hold at 28 nm. `low_ratio` and `high_ratio` are measured over
    predicted energies, between which four of five chips of a class should lie.
    """

    cell_capacitance_farad: float  # per weight bit and step: cell, its share of the lines and drivers
    level_capacitance_farad: float  # per level of a converter
    gate_capacitance_farad: float  # per product of an input bit and a weight bit: multiplier and adder tree
    serial_fraction: float  # of input bits beyond the first that take a step of their own
    current_ratio: float  # what a cell takes that passes current during a read, over one that shares charge
    magnetic_ratio: float  # what a magnetic cell takes over another that passes current
    analog_floor_m: float  # node below which charges no longer shrink
    digital_floor_m: float  # the same of adder trees
    low_ratio: Mapping[str, float]
    high_ratio: Mapping[str, float]
    left_out: LeftOut
    peers_ratio: Mapping[str, float]

    kind: ClassVar[Literal["cim-chips"]] = "cim-chips"

    def __post_init__(self) -> None:
        require.positive(
            cell_capacitance=self.cell_capacitance_farad, gate_capacitance=self.gate_capacitance_farad,
            current=self.current_ratio, magnetic=self.magnetic_ratio,
            analog_floor=self.analog_floor_m, digital_floor=self.digital_floor_m,
        )  # fmt: skip
        require.not_negative(level_capacitance=self.level_capacitance_farad)
        require.share(serial=self.serial_fraction)


def interval_ratio(constants: MacroConstants, class_name: str) -> tuple[float, float]:
    """Measured over predicted of a class, between which four of five chips should lie."""
    key = class_name.replace(" ", "-")  # as presets write it
    return constants.low_ratio[key], constants.high_ratio[key]


class Macros(Record):
    """How macros are organised; arrays are (R,)."""

    node_m: Array
    voltage_v: Array
    input_bits_count: Array
    weight_bits_count: Array
    adc_bits_count: Array
    rows_count: Array  # that one conversion sums
    is_digital: Flags  # gates beside the cells multiply and add
    is_current: Flags  # cells pass current during a read
    is_magnetic: Flags


def mac_energy_j(macros: Macros, constants: MacroConstants) -> Array:
    """Energy of one multiply-accumulate at the macro's own bits: E = C V^2, with C in proportion to the node.

    In an analog macro each weight bit's cell is charged once a step, and the sum of a column is converted once for
    all its rows. In a digital one gates switch for each product of two bits.

    Returns
    -------
    (R,)
        Joules for each macro.
    """
    analog_farad = cell_farad(macros, constants) + conversion_farad(macros, constants)
    digital_farad = constants.gate_capacitance_farad * macros.input_bits_count * macros.weight_bits_count
    switched_farad = np.where(macros.is_digital, digital_farad, analog_farad)
    return macros.voltage_v**2 * size_ratio(macros, constants) * switched_farad


def size_ratio(macros: Macros, constants: MacroConstants) -> Array:
    """Node over the reference: (R,). Below a floor a node is a name, and capacitances shrink no further."""
    floor_m = np.where(macros.is_digital, constants.digital_floor_m, constants.analog_floor_m)
    return np.maximum(macros.node_m, floor_m) / REFERENCE_NODE_M


def cell_farad(macros: Macros, constants: MacroConstants) -> Array:
    """Capacitance that cells switch for one multiply-accumulate of an analog macro: (R,)."""
    steps = 1 + constants.serial_fraction * (macros.input_bits_count - 1)
    current = np.where(macros.is_current, constants.current_ratio, 1.0)
    magnetic = np.where(macros.is_current & macros.is_magnetic, constants.magnetic_ratio, 1.0)
    return constants.cell_capacitance_farad * steps * macros.weight_bits_count * current * magnetic


def conversion_farad(macros: Macros, constants: MacroConstants) -> Array:
    """Capacitance that a converter switches for each of the rows whose sum it converts: (R,)."""
    return constants.level_capacitance_farad * converter_levels(macros) / macros.rows_count


def converter_levels(macros: Macros) -> Array:
    """Levels that a conversion tells apart, a unit capacitor each: no more than the sum of a column can have.

    A sum of R products of b_x and b_w bits lies between 0 and R (2^b_x - 1)(2^b_w - 1): (R,).
    """
    highest = np.exp2(macros.input_bits_count) - 1
    largest_sum = macros.rows_count * highest * (np.exp2(macros.weight_bits_count) - 1)
    levels: Array = np.minimum(np.exp2(macros.adc_bits_count), largest_sum + 1)
    return levels
