"""Processing in memory cells: weights as conductances, charges or bits, inputs as voltages, sums along columns."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.device.accelerator import Accelerator, accelerator_costs, board_energy_j, check_headroom
from npuwatt.device.converters import Adc, adc_energy_j, adc_time_s, dac_energy_j
from npuwatt.device.costs import OpCosts
from npuwatt.device.drift import Noise
from npuwatt.device.gates import Gates, gate_time_s, multiplier_energy_j, tree_energy_j
from npuwatt.device.roofline import roofline_time_s
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace
from npuwatt.workload.ops import STORED, OpTable


class ResistiveCell(Record):
    """A cell that holds a number as a conductance between two ends, read by a voltage."""

    g_max_siemens: Real
    g_min_siemens: Real
    read_v: Real
    pulse_s: Real
    series_ohm: Real = 0.0  # access device and wire

    def __post_init__(self) -> None:
        require.positive(g_max=self.g_max_siemens, pulse=self.pulse_s)
        require.not_negative(g_min=self.g_min_siemens, read=self.read_v, series=self.series_ohm)
        if np.any(np.greater_equal(self.g_min_siemens, self.g_max_siemens)):
            raise NpuwattError("g_min: not below g_max; expected a smaller conductance")


class Writing(Record):
    """What it takes to write one cell, and how often that can be done."""

    voltage_v: Real
    conductance_siemens: Real  # mean while it is written
    pulse_s: Real
    pulses_count: Real = 1.0  # write and verify
    endurance_count: Real = 0.0  # pulses that a cell lives; 0: no limit

    def __post_init__(self) -> None:
        require.positive(pulse=self.pulse_s, pulses=self.pulses_count)
        require.not_negative(
            voltage=self.voltage_v, conductance=self.conductance_siemens, endurance=self.endurance_count
        )


class Arrays(Record):
    """The arrays of one chip, and what each part of them costs.

    Cells are resistive (`cell`), or hold charge (`cell_charge_farad`) or bits (`gates`). Columns end in converters (`adc`) or,
    where cells hold bits, in adder trees.
    """

    parts_count: Real  # chips on the board
    arrays_count: Real  # arrays on a chip
    rows_count: Real
    columns_count: Real
    node_m: Real
    weight_bits: Real
    input_bits: Real
    write: Writing
    buffer_energy_j_per_byte: Real  # inputs and outputs between arrays and chips
    static_power_w: Real  # of one chip
    supply_v: Real = 0.0  # of what is charged: lines, drivers of several bits, converters in SRAM, gates
    cell: ResistiveCell | None = None
    cell_charge_farad: Real = 0.0  # charged at each use of a cell, converter's share of it apart
    adc: Adc | None = None
    gates: Gates | None = None
    noise: Noise | None = None  # of cells: how far a number read is off, and how that grows
    cell_bits: Real = 1.0
    dac_bits: Real = 1.0
    active_rows_count: Real = 0.0  # read at once; 0: all
    cells_per_bit_count: Real = 1.0  # 2: differential pairs
    conversions_per_pair_count: Real = 1.0  # 2: pairs are subtracted behind the converters
    settle_time_s: Real = 0.0
    transfer_time_s: Real = (
        0.0  # of a vector to the arrays and its product on from there, for each op of each layer
    )
    active_inputs_fraction: Real = 0.5  # of the rows in a step, by the value they carry
    line_farad: Real = 0.0  # of a row, for each cell on it
    wire_ohm: Real = (
        0.0  # of a column, for each cell on it; what wires of rows take, a gain for each column gives back
    )
    driver_energy_j: Real = 0.0  # of one row drive
    sample_hold_energy_j: Real = 0.0  # of one conversion
    shift_add_energy_j: Real = 0.0  # of one conversion
    logic_energy_j_per_mac: Real = 0.0  # behind the arrays: scaling, bias, activation
    copies_count: Real = 1.0  # of each layer, which share its tokens
    pipelined_layers_count: Real = 1.0  # that work at once on different tokens
    is_streamed: bool = False  # cells hold a part of the network at a time and are written for every pass
    cell_area_m2: Real = 0.0
    row_area_m2: Real = 0.0  # driver of one row
    column_area_m2: Real = 0.0  # sample-and-hold of one column
    shift_add_area_m2: Real = 0.0  # behind one converter
    other_area_m2: Real = 0.0  # of one chip

    def __post_init__(self) -> None:
        require.whole(
            1, parts=self.parts_count, arrays=self.arrays_count, rows=self.rows_count, columns=self.columns_count,
            cells_per_bit=self.cells_per_bit_count, conversions_per_pair=self.conversions_per_pair_count,
            copies=self.copies_count, pipelined_layers=self.pipelined_layers_count,
        )  # fmt: skip
        require.whole(0, active_rows=self.active_rows_count)
        require.positive(node=self.node_m)
        require.within(
            1.0, 32.0, weight_bits=self.weight_bits, input_bits=self.input_bits,
            cell_bits=self.cell_bits, dac_bits=self.dac_bits,
        )  # fmt: skip
        require.not_negative(
            supply=self.supply_v, cell_charge=self.cell_charge_farad,
            settle_time=self.settle_time_s, transfer_time=self.transfer_time_s, line=self.line_farad, wire=self.wire_ohm,
            driver_energy=self.driver_energy_j, sample_hold_energy=self.sample_hold_energy_j,
            shift_add_energy=self.shift_add_energy_j, logic_energy=self.logic_energy_j_per_mac,
            buffer_energy=self.buffer_energy_j_per_byte, static_power=self.static_power_w,
            cell_area=self.cell_area_m2, row_area=self.row_area_m2, column_area=self.column_area_m2,
            shift_add_area=self.shift_add_area_m2, other_area=self.other_area_m2,
        )  # fmt: skip
        require.fraction(active_inputs=self.active_inputs_fraction)
        if (self.adc is None) == (self.gates is None):
            raise NpuwattError("adc: expected either 'adc' or 'gates', for columns end in one or the other")
        if np.any(np.less(self.columns_count, columns_per_weight(self))):
            needed = float(np.max(columns_per_weight(self)))
            raise NpuwattError(
                f"columns: {np.min(self.columns_count):g} given; expected {needed:g} or more, which one weight takes"
            )


class Crossbar(Record):
    """A board of such chips. `host` keeps what may not live in the cells: cache, attention, embeddings."""

    host: Accelerator
    arrays: Arrays

    kind: ClassVar[Literal["crossbar"]] = "crossbar"

    def __post_init__(self) -> None:
        if "buffers" in self.host.levels:
            raise NpuwattError("host.levels.buffers: this name is the arrays' own; expected another")
        check_headroom(self.host, self.arrays.parts_count * self.arrays.static_power_w, name="host.power_cap")


class Mapping(Record):
    """A K x N matrix laid onto arrays, and what one vector times it takes; each is a scalar, (1, L), (P, 1) or (P, L)."""

    arrays_count: Real
    utilization_fraction: Real  # of the cells of those arrays
    steps_count: Real  # slices of the inputs, one after another
    conversions_count: Real
    drives_count: Real
    cells_count: Real  # cell uses
    time_s: Real


def mapped(arrays: Arrays, k: Real, n: Real) -> Mapping:
    """Tiles of a K x N matrix: bit slices side by side, input bits one after another.

    Rows beyond an array, or beyond those read at once, take conversions of their own; arrays that
    stand side by side are driven each for itself.

    Source
    ------
    Shafiee et al., "ISAAC", ISCA 2016; the same form in CiMLoop (Andrulis et al., ISPASS 2024) and
    CrossSim.
    """
    steps = np.ceil(arrays.input_bits / arrays.dac_bits)
    slices = np.ceil(arrays.weight_bits / arrays.cell_bits)
    columns = columns_per_weight(arrays)
    per_array = np.floor(arrays.columns_count / columns)  # a weight is never cut
    tall, wide = np.ceil(k / arrays.rows_count), np.ceil(n / per_array)
    groups = np.ceil(np.minimum(k, arrays.rows_count) / active_rows(arrays))
    held = tall * wide * arrays.rows_count * arrays.columns_count
    cells = k * n * columns
    return Mapping(
        arrays_count=tall * wide,
        utilization_fraction=cells / np.where(held > 0, held, 1.0),
        steps_count=steps,
        conversions_count=steps
        * slices
        * arrays.conversions_per_pair_count
        * n
        * np.ceil(k / active_rows(arrays)),
        drives_count=steps * k * wide,
        cells_count=steps * cells,
        time_s=steps * groups * step_time_s(arrays),
    )


def active_rows(arrays: Arrays) -> Real:
    """Rows whose cells add up in one conversion."""
    rows = np.where(np.equal(arrays.active_rows_count, 0), arrays.rows_count, arrays.active_rows_count)
    return np.minimum(rows, arrays.rows_count)


def columns_per_weight(arrays: Arrays) -> Real:
    """Columns that one weight takes: a slice for each `cell_bits` of it, doubled for differential pairs."""
    return np.ceil(arrays.weight_bits / arrays.cell_bits) * arrays.cells_per_bit_count


def weights_held_count(arrays: Arrays) -> Real:
    """Different weights that the arrays of one board hold."""
    per_array = arrays.rows_count * np.floor(arrays.columns_count / columns_per_weight(arrays))
    return arrays.parts_count * arrays.arrays_count * per_array / arrays.copies_count


def step_time_s(arrays: Arrays) -> Real:
    """Time of one step in a group of rows: settling, and all columns of a converter or adder tree."""
    rows = active_rows(arrays)
    if arrays.adc is None:
        assert arrays.gates is not None  # the record saw to it
        one_s = gate_time_s(rows, bits=arrays.weight_bits, node_m=arrays.node_m)
        return np.maximum(arrays.settle_time_s, arrays.gates.columns_count * one_s)
    one_s = adc_time_s(arrays.adc, node_m=arrays.node_m, rows=rows)
    return np.maximum(arrays.settle_time_s, arrays.adc.columns_count * one_s)


def mean_level(arrays: Arrays) -> Real:
    """Mean of what cells hold, as a share of the way from off to on: one of each pair is off, so half as much."""
    return 0.5 / arrays.cells_per_bit_count


def series_siemens(cell: ResistiveCell, g_siemens: Real) -> Real:
    """What a state of a cell conducts with its access device in series: G / (1 + G R)."""
    return g_siemens / (1 + g_siemens * cell.series_ohm)


def cell_energy_j(arrays: Arrays) -> Real:
    """Energy of one use of a cell.

    A resistive cell passes I = V G while it is read, so it takes V^2 G t. Other cells charge a capacitor: C V^2.
    """
    charged_j = arrays.cell_charge_farad * arrays.supply_v**2
    cell = arrays.cell
    if cell is None:
        return charged_j
    on, off = (series_siemens(cell, g) for g in (cell.g_max_siemens, cell.g_min_siemens))
    level = mean_level(arrays)
    conductance = level * on + (1 - level) * off
    passed_j = cell.read_v**2 * conductance * cell.pulse_s * arrays.active_inputs_fraction
    return charged_j + passed_j


def drive_energy_j(arrays: Arrays) -> Real:
    """Energy of driving one row: driver, converter of several bits, and the line across the array."""
    line_j = arrays.line_farad * arrays.columns_count * arrays.supply_v**2
    return arrays.driver_energy_j + dac_energy_j(arrays.dac_bits, supply_v=arrays.supply_v) + line_j


def conversion_energy_j(arrays: Arrays) -> Real:
    """Energy of one column readout: sample-and-hold, converter, shift and add."""
    if arrays.adc is None:
        return 0.0
    adc_j = adc_energy_j(arrays.adc, node_m=arrays.node_m, supply_v=arrays.supply_v)
    return adc_j + arrays.sample_hold_energy_j + arrays.shift_add_energy_j


def vector_energy_j(arrays: Arrays, k: Real, n: Real) -> dict[str, Real]:
    """Energy of one vector times a K x N matrix in the arrays, by part."""
    tiles = mapped(arrays, k, n)
    found = {
        "cell": tiles.cells_count * cell_energy_j(arrays),
        "row": tiles.drives_count * drive_energy_j(arrays),
        "converter": tiles.conversions_count * conversion_energy_j(arrays),
        "logic": k * n * arrays.logic_energy_j_per_mac,
    }
    if arrays.gates is not None:
        given = {"bits": arrays.weight_bits, "node_m": arrays.node_m, "supply_v": arrays.supply_v}
        rows = np.minimum(k, active_rows(arrays))
        sums = tiles.steps_count * n * np.ceil(k / active_rows(arrays))
        multiplied_j = tiles.steps_count * k * n * multiplier_energy_j(arrays.gates, **given)
        added_j = sums * tree_energy_j(arrays.gates, rows, input_bits=arrays.input_bits, **given)
        found["gates"] = multiplied_j + added_j
    return found


def write_energy_j(arrays: Arrays) -> Real:
    """Energy of writing one cell: V^2 G t for each pulse."""
    write = arrays.write
    return write.voltage_v**2 * write.conductance_siemens * write.pulse_s * write.pulses_count


def write_time_s(arrays: Arrays) -> Real:
    """Time of writing one array row by row; arrays are written side by side."""
    return arrays.rows_count * arrays.write.pulse_s * arrays.write.pulses_count


def crossbar_costs(board: Crossbar, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Products with weights run in the arrays; all else runs on the host.

    A product takes as many steps as its inputs have slices whatever its size, because all arrays
    of a layer work at once. Copies of a layer share its tokens, and layers in a pipeline work on
    different ones. More boards hold more weights but make no step shorter. Where weights are
    streamed, every pass brings them from main memory and writes them into the cells first.
    """
    host, arrays = board.host, board.arrays
    here = np.array([[kind in STORED for kind in ops.kinds]])
    alone = accelerator_costs(host, _outside(ops, here), devices)
    tiles = mapped(arrays, ops.k, ops.n)
    vectors = np.where(here, ops.macs / np.maximum(ops.k * ops.n, 1), 0.0)
    parts_j = {name: vectors * joules for name, joules in vector_energy_j(arrays, ops.k, ops.n).items()}
    moved = {"buffers": np.where(here, ops.activation_bytes, 0.0)}
    level_j = {"buffers": moved["buffers"] * arrays.buffer_energy_j_per_byte}

    shared = np.ceil(ops.tokens / arrays.copies_count)
    depth = np.minimum(arrays.pipelined_layers_count, np.maximum(ops.layers, 1.0))
    passes = np.ceil(tiles.arrays_count / (devices * arrays.parts_count * arrays.arrays_count))
    turns = np.maximum(passes, 1.0) if arrays.is_streamed else 1.0
    used_s = (shared + depth - 1) * ops.layers / depth * tiles.time_s * turns
    time_s = np.where(here, used_s + ops.layers * arrays.transfer_time_s, 0.0)
    limits_s = alone.limits_s | {"conversion": time_s}
    main = next(iter(host.levels))
    if arrays.is_streamed:
        weights = np.where(
            here, ops.weight_bytes / np.where(ops.operand_bytes > 0, ops.operand_bytes, 1.0), 0.0
        )
        brought_bytes = weights * arrays.weight_bits / 8
        rate = devices * host.memory.bandwidth_bytes_per_s * host.memory.utilization_fraction
        written_s = np.where(here, ops.layers * turns * write_time_s(arrays), 0.0)
        limits_s["memory"] = np.maximum(limits_s["memory"] + brought_bytes / rate, written_s)
        level_j[main] = brought_bytes * host.memory.read_energy_j_per_byte
        level_j["buffers"] = level_j["buffers"] + weights * columns_per_weight(arrays) * write_energy_j(
            arrays
        )
        moved[main] = brought_bytes
    near_j = board_energy_j(
        host,
        parts_j["cell"] + parts_j.get("gates", 0.0) + parts_j["logic"],
        level_j,
        conversion=parts_j["converter"] + parts_j["row"],
    )
    return OpCosts(
        time_s=roofline_time_s(limits_s),
        limits_s=limits_s,
        energy_j=_together(near_j, alone.energy_j),
        level_bytes=_together(moved, alone.level_bytes),
        level_energy_j=_together(level_j, alone.level_energy_j),
    )


def _outside(ops: OpTable, here: npt.NDArray[np.bool_]) -> OpTable:
    """What is left for the host: other ops, and of products with weights the cache that they write."""
    inside = (
        "macs",
        "weight_bytes",
        "activation_bytes",
        "kv_read_bytes",
        "score_bytes",
        "link_bytes",
        "link_steps",
    )
    return replace(ops, **{name: np.where(here, 0.0, getattr(ops, name)) for name in inside})


def _together(one: dict[str, Array], other: dict[str, Array]) -> dict[str, Array]:
    nothing = np.zeros((1, 1))
    return {name: one.get(name, nothing) + other.get(name, nothing) for name in one | other}
