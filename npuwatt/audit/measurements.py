"""Measured LLM-serving runs from a CSV file, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

from npuwatt.audit.csv_columns import COUNT, NOT_NEGATIVE, POSITIVE, Columns, Rows, read_rows
from npuwatt.workload.request import Width

TEXTS = ("model_id", "weight_precision", "gpu", "task")
NUMBERS = {  # each numeric column, and what it accepts
    "num_gpus": COUNT,
    "avg_batch": POSITIVE,
    "avg_output_len": POSITIVE,
    "tp": COUNT,
    "dp": COUNT,
    "ep": COUNT,
    "pp": COUNT,
    "kv_pos_window": NOT_NEGATIVE,
    "prefills_per_output_token": POSITIVE,
    "avg_input_len": POSITIVE,
    "median_itl_ms": POSITIVE,
    "avg_tpot_ms": POSITIVE,
    "output_tok_s": POSITIVE,
    "avg_power_w": POSITIVE,
    "j_per_output_token": POSITIVE,
}
REQUIRED = ("model_id", "weight_precision", "gpu", "num_gpus", "avg_batch", "avg_output_len")
_COLUMNS = Columns(
    texts=TEXTS, numbers=NUMBERS, required=REQUIRED, row_is="run",
    elsewhere={
        "chip_id": "published chips are read with --chips",
        "battery_c": "temperatures of a phone are read with --phones",
    },
)  # fmt: skip
_WIDTHS: dict[str, Width] = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "bfloat16/float16 (not stated)": "bf16",
    "auto": "bf16",  # takes the type of the checkpoint, which is bf16 for most networks of today
    "float16": "fp16",
    "fp16": "fp16",
    "half": "fp16",
    "fp8": "fp8",
    "float8": "fp8",
    "fp8_e4m3": "fp8",
    "int8": "int8",
    "w8a8": "int8",
    "mxfp4": "fp4",
    "nvfp4": "fp4",
    "fp4": "fp4",
    "int4": "int4",
    "awq": "int4",
    "gptq": "int4",
    "w4a16": "int4",
    "fp32": "fp32",
    "float32": "fp32",
}


Measurements = Rows


def width_of(precision: str) -> Width | None:
    """The number type that a file's text for the precision means, or None if it is unknown."""
    return _WIDTHS.get(precision.strip().lower())


def read_measurements(path: str, *, chunk_rows: int = 8192) -> Iterator[Measurements]:
    """The rows of a file of measured runs, at most `chunk_rows` at a time; '-' is standard input.

    Raises
    ------
    NpuwattError
        Before a chunk with a fault is given out, as `read_rows` says.
    """
    return read_rows(path, _COLUMNS, chunk_rows=chunk_rows)
