"""Published compute-in-memory chips from a CSV file: their organisation, its gaps filled and flagged, and their energy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.audit.csv_columns import BITS, BITS_OR_NONE, SIZE, Columns, Rows, read_rows
from npuwatt.device.macro import Flags, Macros
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace

T = TypeVar("T")
CLASSES = ("SRAM analog", "SRAM digital", "RRAM", "PCM", "MRAM", "eDRAM", "flash", "other")
MOST_ROWS = 1_000_000
COLUMNS = Columns(
    texts=("chip_id", "device", "compute_model", "ops_definition", "confidence", "same_as"),
    numbers={
        "node_nm": SIZE,
        "array_rows": SIZE,
        "rows_active": SIZE,
        "voltage_V": SIZE,
        "input_bits": BITS,
        "weight_bits": BITS,
        "adc_bits": BITS_OR_NONE,
        "tops_w": SIZE,
        "e_per_mac_fJ": SIZE,
    },
    required=("chip_id", "device", "node_nm"),
    row_is="operating point",
    elsewhere={
        "task": "measured runs are read without --chips",
        "battery_c": "temperatures of a phone are read with --phones",
    },
)
# The usual case of published macros, where a row does not say. Noise leaves a conductance about four bits.
VOLTAGE_V, ROWS, ADC_BITS, INPUT_BITS, WEIGHT_BITS, CONDUCTANCE_BITS = 0.8, 64.0, 6.0, 8.0, 8.0, 4.0
# Between which most published macros lie.
VOLTAGES_V, ROWS_ENDS, ADC_ENDS, BITS_ENDS = (0.6, 1.2), (16.0, 1024.0), (3.0, 10.0), (1.0, 8.0)

_TECHNOLOGIES = (  # the first whose word a device text holds
    ("MRAM", re.compile(r"mram|mtj", re.IGNORECASE)),
    ("RRAM", re.compile(r"re?ram|oxram|memristor", re.IGNORECASE)),
    ("PCM", re.compile(r"pcm|pcram|phase.?change", re.IGNORECASE)),
    ("flash", re.compile(r"flash|sonos", re.IGNORECASE)),
    ("eDRAM", re.compile(r"dram|gain.?cell", re.IGNORECASE)),
    ("SRAM", re.compile(r"sram", re.IGNORECASE)),
)
_CONDUCTANCES = ("MRAM", "RRAM", "PCM", "flash")
_DIGITAL = re.compile(r"\+d\b|digital", re.IGNORECASE)
_MODELS = {"DIMC", "IS", "QS", "QR"}  # digital; currents summed, charges summed, charges shared
_NORMALISED = re.compile(r"1[\s-]*b(it)?[\s-]*norm", re.IGNORECASE)
_NATIVE = re.compile(r"native", re.IGNORECASE)
_DOUBTFUL = re.compile(r"check|likely|doubt|simulat|not silicon", re.IGNORECASE)


class Chips(Record):
    """Operating points of chips; arrays are (R,)."""

    lines: npt.NDArray[np.int64]
    chip_ids: list[str]
    silicon: list[str]  # the chip that counts: rows of the same silicon may have several ids
    classes: npt.NDArray[np.str_]  # of CLASSES
    macros: Macros
    ends: list[
        tuple[Macros, Macros]
    ]  # the same, what is not told at either end of the usual, one field a pair
    measured_j: Array  # of one multiply-accumulate at the chip's own bits; NaN where none is told
    flags: dict[str, Flags]  # what was taken for granted, and where


def read_chips(path: str) -> Chips:
    """All operating points of a file; '-' is standard input.

    Raises
    ------
    NpuwattError
        A faulty file, with a line for each fault; or one of more than MOST_ROWS rows.
    """
    parts: list[Rows] = []
    for part in read_rows(path, COLUMNS):
        parts.append(part)
        if sum(len(one.lines) for one in parts) > MOST_ROWS:
            label = "standard input" if path == "-" else path
            raise NpuwattError(f"{label}: more than {MOST_ROWS} rows; expected fewer")
    return chips_of(_joined(parts))


def chips_of(rows: Rows) -> Chips:
    """Rows of a file as chips. What was measured goes into `measured_j` and nowhere else."""
    technology = np.array(_each(rows.texts["device"], _technology))
    models = _each(rows.texts["compute_model"], _models)
    is_told = np.array([bool(found) for found in models])
    is_digital = np.array(_each(rows.texts["device"], _says_digital)) | _has(models, "DIMC")
    is_conductance = np.isin(technology, _CONDUCTANCES) & ~is_digital
    is_current = np.where(is_told, _has(models, "IS"), is_conductance)
    charge_or_bits = np.where(is_digital, "SRAM digital", "SRAM analog")
    measured_j, doubts = _measured(rows)
    macros = _macros(rows, technology == "MRAM", is_digital, is_current, is_conductance)
    ids, same = rows.texts["chip_id"], rows.texts["same_as"]
    return Chips(
        lines=rows.lines,
        chip_ids=ids,
        silicon=[other or own for own, other in zip(ids, same, strict=True)],
        classes=np.where(technology == "SRAM", charge_or_bits, technology),
        macros=macros,
        ends=_ends(macros, rows, ~is_told & ~is_digital),
        measured_j=measured_j,
        flags=_gaps(rows, is_digital, is_conductance, is_told)
        | {"technology not known": technology == "other"}
        | doubts,
    )


def _each(texts: Sequence[str], told: Callable[[str], T]) -> list[T]:
    """What each text tells; equal ones are asked once."""
    known = {text: told(text) for text in set(texts)}
    return [known[text] for text in texts]


def _technology(device: str) -> str:
    return next((name for name, words in _TECHNOLOGIES if words.search(device)), "other")


def _says_digital(device: str) -> bool:
    return bool(_DIGITAL.search(device))


def _models(text: str) -> frozenset[str]:
    """The known ways to compute that a text names."""
    return frozenset(re.split(r"[^A-Z]+", text.upper())) & _MODELS


def _has(models: Sequence[frozenset[str]], name: str) -> Flags:
    return np.array([name in found for found in models])


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        lines=np.concatenate([part.lines for part in parts]),
        texts={name: [text for part in parts for text in part.texts[name]] for name in COLUMNS.texts},
        numbers={name: np.concatenate([part.numbers[name] for part in parts]) for name in COLUMNS.numbers},
    )


def _macros(
    rows: Rows, is_magnetic: Flags, is_digital: Flags, is_current: Flags, is_conductance: Flags
) -> Macros:
    numbers = rows.numbers
    return Macros(
        node_m=numbers["node_nm"] * 1e-9,
        voltage_v=_or(numbers["voltage_V"], VOLTAGE_V),
        input_bits_count=_or(numbers["input_bits"], INPUT_BITS),
        weight_bits_count=_or(
            numbers["weight_bits"], np.where(is_conductance, CONDUCTANCE_BITS, WEIGHT_BITS)
        ),
        adc_bits_count=_or(numbers["adc_bits"], ADC_BITS),
        rows_count=_or(numbers["rows_active"], _or(numbers["array_rows"], ROWS)),
        is_digital=is_digital,
        is_current=is_current,
        is_magnetic=is_magnetic,
    )


def _ends(macros: Macros, rows: Rows, has_no_model: Flags) -> list[tuple[Macros, Macros]]:
    """Macros with each field that is not told at the two ends between which it usually lies."""
    missing = {name: np.isnan(values) for name, values in rows.numbers.items()}
    spans: list[tuple[str, Flags, tuple[float, float]]] = [
        ("voltage_v", missing["voltage_V"], VOLTAGES_V),
        ("input_bits_count", missing["input_bits"], BITS_ENDS),
        ("weight_bits_count", missing["weight_bits"], BITS_ENDS),
        ("adc_bits_count", missing["adc_bits"], ADC_ENDS),
        ("rows_count", missing["rows_active"] & missing["array_rows"], ROWS_ENDS),
        ("is_current", has_no_model, (False, True)),
    ]

    def at(name: str, where: Flags, value: float) -> Macros:
        return replace(macros, **{name: np.where(where, value, getattr(macros, name))})

    return [
        (at(name, where, low), at(name, where, high)) for name, where, (low, high) in spans if where.any()
    ]


def _gaps(rows: Rows, is_digital: Flags, is_conductance: Flags, is_told: Flags) -> dict[str, Flags]:
    """What a row does not say although its form needs it, and what is taken instead."""
    missing = {name: np.isnan(values) for name, values in rows.numbers.items()}
    is_analog = ~is_digital
    no_rows = missing["rows_active"] & is_analog
    return {
        f"voltage_V: {VOLTAGE_V:g} taken": missing["voltage_V"],
        f"input_bits: {INPUT_BITS:g} taken": missing["input_bits"],
        f"weight_bits: {WEIGHT_BITS:g} taken": missing["weight_bits"] & ~is_conductance,
        f"weight_bits: {CONDUCTANCE_BITS:g} taken": missing["weight_bits"] & is_conductance,
        f"adc_bits: {ADC_BITS:g} taken": missing["adc_bits"] & is_analog,
        "rows_active: array_rows taken": no_rows & ~missing["array_rows"],
        f"rows_active: {ROWS:g} taken": no_rows & missing["array_rows"],
        "compute_model: charge taken": ~is_told & is_analog & ~is_conductance,
        "compute_model: current taken": ~is_told & is_conductance,
    }


def _measured(rows: Rows) -> tuple[Array, dict[str, Flags]]:
    """Measured energy of one multiply-accumulate at the chip's own bits, and flags of rows that tell none: (R,).

    A multiply-accumulate is two operations; figures normalised to one bit count b_x b_w times as many.
    """
    numbers, said = rows.numbers, rows.texts["ops_definition"]
    is_normalised = np.array(_each(said, lambda text: bool(_NORMALISED.search(text))))
    scale = np.where(is_normalised, numbers["input_bits"] * numbers["weight_bits"], 1.0)
    measured_j = _or(2e-12 / numbers["tops_w"] * scale, numbers["e_per_mac_fJ"] * 1e-15)
    is_nothing = np.isnan(measured_j)
    is_bare = is_nothing & ~np.isnan(numbers["tops_w"])
    is_native = is_normalised | np.array(_each(said, lambda text: bool(_NATIVE.search(text))))
    remarks = [" ".join(pair) for pair in zip(rows.texts["confidence"], said, strict=True)]
    return measured_j, {
        "nothing measured: normalised to 1 bit, and its bits are not told": is_bare,
        "nothing measured": is_nothing & ~is_bare,
        "ops_definition: native taken": ~is_native & ~np.isnan(numbers["tops_w"]),
        "doubtful by its own remarks": np.array(_each(remarks, lambda text: bool(_DOUBTFUL.search(text)))),
    }


def _or(values: Array, default: Array | float) -> Array:
    found: Array = np.where(np.isnan(values), default, values)
    return found
