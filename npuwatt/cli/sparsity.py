"""sparsity: what the zeros of a network save on each device, and at which price."""

from __future__ import annotations

from typing import Annotated

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.cli.estimate import hint, warn

_IDEAL = Annotated[
    bool,
    typer.Option("--ideal", help="As if kernels, waiting lanes and imperfect skipping held nothing back."),
]

_PATTERN = Annotated[str | None, o.pattern_option("2:4 where nothing is said of zeros")]


def sparsity(
    devices: o.DEVICES,
    pattern: _PATTERN = None,
    density: o.DENSITY = None,
    activation_density: o.ACTIVATION_DENSITY = None,
    densities: o.DENSITIES = None,
    ideal: _IDEAL = False,
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
    constants: o.CONSTANTS = "sourced",
    changes: o.SET = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """What zeros save on each device, what they cost in accuracy, and which software runs them.

    2:4 where nothing is said of zeros. Up to 3 % of accuracy lost counts as "without loss", which is npuwatt's own.

    \b
      npuwatt sparsity gpu npu --pattern 2:4
      npuwatt sparsity a100-sxm-80gb --pattern 2:4 --weights int4 --batch 16
      npuwatt sparsity npu --density 0.5 --activation-density 0.4 --network llama-2-7b
      npuwatt sparsity gpu --pattern 2:4 --ideal --format json
      npuwatt sparsity gpu npu --densities densities.json
    """
    asked, style = o.asked(locals()) | {"ideal": ideal}, check_format(style, as_json)
    check_output(output)
    from npuwatt.report.sparsity import sparsity_report
    from npuwatt.report.sparsity_records import sparsity_record
    from npuwatt.study.sparsity import sparsity as answer

    found = answer(devices, **asked)
    warn(found.question.warnings)
    emit(sparsity_record(found), sparsity_report, style=style, output=output, no_color=no_color)
    hint("npuwatt model scan PATH", "counts the zeros of a checkpoint of your own")
