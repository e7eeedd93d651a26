"""sweep: one request at many design points."""

from __future__ import annotations

from typing import Annotated

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, opened
from npuwatt.cli.progress import QUIET, Progress
from npuwatt.errors import NpuwattError, say

VARY = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="ADDRESS=SPEC", show_default="none",
        help="Values of one address: a,b,c or lo..hi:N or lo..hi:Nlog, with units. Several flags make a grid.",
    ),
]  # fmt: skip
ZIP = Annotated[bool, typer.Option("--zip", help="Take the values of all addresses in step, not as a grid.")]
BEST = Annotated[
    str | None,
    typer.Option(
        "--best",
        metavar="METRIC",
        show_default="all points",
        help="Keep only the best points of a metric; with --per-macro, of a figure of one array too.",
    ),
]
TOP = Annotated[int, typer.Option("--top", metavar="N", help="How many points --best keeps.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Count points and rows, and compute nothing.")]
MOST_ROWS = 10_000  # that a table for people may have


def sweep(
    devices: o.DEVICES,
    vary: VARY = None,
    pair: ZIP = False,
    best: BEST = None,
    top: TOP = 1,
    dry_run: DRY_RUN = False,
    quiet: QUIET = False,
    network: o.NETWORK = "llama-3.1-8b",
    input_len: o.INPUT_LEN = None,
    output_len: o.OUTPUT_LEN = None,
    batch: o.BATCH = 1,
    count: o.COUNT = None,
    mode: o.MODE = None,
    serving: o.SERVING = False,
    stack: o.STACK = None,
    prefill: o.PREFILL = None,
    expert_parallel: o.EXPERT_PARALLEL = False,
    data_parallel: o.DATA_PARALLEL = 1,
    weights: o.WEIGHTS = None,
    activations: o.ACTIVATIONS = None,
    kv_cache: o.KV_CACHE = None,
    pattern: o.PATTERN = None,
    density: o.DENSITY = None,
    activation_density: o.ACTIVATION_DENSITY = None,
    densities: o.DENSITIES = None,
    constants: o.CONSTANTS = "sourced",
    changes: o.SET = None,
    presets: o.PRESETS = None,
    per_macro: o.PER_MACRO = False,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Many design points: any number of a device, or of the request.

    CSV unless told otherwise.

    \b
      npuwatt sweep gpu npu --vary request.batch=1..64:7log
      npuwatt sweep gpu --vary devices.gpu.levels.dram.bandwidth=2TB/s..8TB/s:4 --vary request.batch=1,8,64
      npuwatt sweep gpu --vary request.batch=1..512:512 --best energy_per_output_token_j --top 3
      npuwatt sweep sparse-npu --vary request.density=0.1..1:10 --vary request.activation_density=50%,100%
      npuwatt sweep gpu --serving --batch 32 --vary stack.sequence_time=0us..60us:5
      npuwatt sweep crossbar --per-macro --vary devices.crossbar.arrays.adc.bits=4..9:6 --best array_snr_db
      npuwatt sweep gpu --vary devices.gpu.power_cap=300W..700W:401 --dry-run
    """
    asked, style = o.asked(locals()), check_format(style, as_json) or "csv"
    check_output(output)
    from npuwatt.explore.sweep import sweep as answer

    found = answer(devices, vary=vary or (), pair=pair, best=best, top=top, per_macro=per_macro, **asked)
    for line in found.question.warnings:
        say(f"warning: {line}")
    rows = min(found.row_count, top) if best else found.row_count
    if style in ("table", "plain", "markdown") and rows > MOST_ROWS and not dry_run:
        raise NpuwattError(
            f"--format {style}: {rows} rows; expected at most {MOST_ROWS}, or csv, jsonl or json"
        )
    with opened(output) as stream:
        if dry_run:
            from npuwatt.report.sweeps import write_count

            write_count(found, rows, stream, style)
            return
        import gc

        from npuwatt.report.sweeps import write_rows

        gc.freeze()
        gc.enable()
        write_rows(
            found,
            stream,
            style,
            progress=Progress(found.row_count, f"{found.row_count} rows", quiet),
            no_color=no_color,
        )
