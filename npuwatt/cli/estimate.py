"""compare and estimate: one request, on several devices or op by op on one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.errors import say


def compare(
    devices: o.DEVICES,
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
    """The same request on several devices: time, power, energy per token.

    \b
      npuwatt compare gpu npu pim
      npuwatt compare gpu npu pim --network Qwen/Qwen3-32B --batch 32 --weights fp8
      npuwatt compare h100-sxm b200-sxm --network qwen3-32b --serving --batch 64
      npuwatt compare gpu --set devices.gpu.power_cap=500W --format json
      npuwatt compare gpu npu pim --constants article
      npuwatt compare gpu pim crossbar --per-macro
    """
    asked, style = o.asked(locals()), check_format(style, as_json)
    check_output(output)
    from npuwatt.report.records import compare_record
    from npuwatt.report.views import compare_report
    from npuwatt.study.compare import compare as answer

    found = answer(devices, **asked)
    warn(found.question.warnings)
    record = compare_record(found, per_macro=per_macro)
    emit(record, compare_report, style=style, output=output, no_color=no_color)
    hint(f"npuwatt estimate {devices[0]}", "shows where the time and energy go, op by op")


def estimate(
    device: o.DEVICE,
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
    """One device op by op and level by level.

    \b
      npuwatt estimate h100-sxm
      npuwatt estimate pim --network deepseek-v3 --batch 16 --format csv
      npuwatt estimate gpu --stack vllm-0.11 --batch 64 --no-prefill
    """
    asked, style = o.asked(locals()), check_format(style, as_json)
    check_output(output)
    from npuwatt.report.estimate_view import estimate_report
    from npuwatt.report.records import estimate_record
    from npuwatt.study.estimate import estimate as answer

    found = answer(device, **asked)
    warn(found.question.warnings)
    record = estimate_record(found, per_macro=per_macro)
    emit(record, estimate_report, style=style, output=output, no_color=no_color)
    hint(f"npuwatt presets show {device}", "traces each number of the device to its source")


def warn(lines: Sequence[str]) -> None:
    """Doubts about what was given, where they do not mix with the result."""
    for line in lines:
        say(f"warning: {line}")


def hint(command: str, what: str) -> None:
    """What to try next, for a person at a terminal only."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        say(f"next: {command}  {what}")
