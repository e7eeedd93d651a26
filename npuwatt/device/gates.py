"""Logic beside memory cells: one-bit multipliers, adder trees and the registers behind them."""

from __future__ import annotations

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.record import Record

REFERENCE_NODE_M = 28e-9
NOR_FARAD = 0.35e-15
ADDER_FARAD = 4.2e-15  # a full adder: three NAND and two XOR gates
REGISTER_FARAD = 2.1e-15
NAND_AREA_M2 = 0.614e-12
NAND_TIME_S = 47.8e-12
_ADDER_NANDS = 6.0  # area of a full adder, an XOR counted as one and a half


class Gates(Record):
    """How the logic of a digital array is used."""

    columns_count: Real  # that share one adder tree
    toggle_fraction: Real = 1.0  # of the gates that switch in a step

    def __post_init__(self) -> None:
        require.positive(columns=self.columns_count)
        require.fraction(toggle=self.toggle_fraction)


def adder_count(inputs: Real, bits: Real) -> Real:
    """Full adders in a tree that sums `inputs` numbers of `bits` bits."""
    return np.maximum(inputs * (bits + 1) - (bits + np.log2(inputs) + 1), 0.0)


def multiplier_energy_j(gates: Gates, *, bits: Real, node_m: Real, supply_v: Real) -> Real:
    """Energy of one input bit times one weight of `bits` bits.

    Source
    ------
    ZigZag, zigzag-dse 3.9.1, imc_unit.py: gate capacitances at 28 nm and 0.9 V. Below 28 nm the
    name of a node no longer shrinks the wires between gates: published digital macros spend as
    much at 4 as at 28 nm.
    """
    return bits * NOR_FARAD * _charge(gates, node_m, supply_v)


def tree_energy_j(
    gates: Gates, rows: Real, *, bits: Real, input_bits: Real, node_m: Real, supply_v: Real
) -> Real:
    """Energy of one sum over `rows` products and of the register that gathers it. Source as above."""
    registers = bits + input_bits + np.log2(np.maximum(rows, 1.0))
    farad = adder_count(np.maximum(rows, 1.0), bits) * ADDER_FARAD + registers * REGISTER_FARAD
    return farad * _charge(gates, node_m, supply_v)


def gate_time_s(rows: Real, *, bits: Real, node_m: Real) -> Real:
    """Time of one sum: two NAND delays for each bit of the carry and each level of the tree. Source as above."""
    return 2 * NAND_TIME_S * (bits + np.log2(np.maximum(rows, 1.0))) * node_m / REFERENCE_NODE_M


def gates_area_m2(rows: Real, *, bits: Real, node_m: Real) -> Real:
    """Area of one adder tree with its multipliers. Source as above."""
    nands = adder_count(np.maximum(rows, 1.0), bits) * _ADDER_NANDS + rows * bits
    return nands * NAND_AREA_M2 * (node_m / REFERENCE_NODE_M) ** 2


def _charge(gates: Gates, node_m: Real, supply_v: Real) -> Real:
    scale = np.maximum(node_m, REFERENCE_NODE_M) / REFERENCE_NODE_M
    return scale * supply_v**2 * gates.toggle_fraction
