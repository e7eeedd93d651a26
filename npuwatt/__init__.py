"""What a token costs, in joules, seconds, degrees and dollars, on a GPU, an NPU or a processing-in-memory board.

The functions behind the commands, one for each command's question::

    import npuwatt

    found = npuwatt.compare(["gpu", "npu", "pim"], network="llama-3.1-8b", batch=32)
    for answer in found.answers:
        print(answer.device.typed, answer.result.metrics()["energy_per_output_token_j"])

Each name is imported when it is first used, so that importing npuwatt itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from npuwatt.errors import NpuwattError
    from npuwatt.explore.sweep import sweep
    from npuwatt.preset.library import index as list_presets
    from npuwatt.report.always_on import always_on_record
    from npuwatt.report.fleet import fleet_record
    from npuwatt.report.phone import phone_record
    from npuwatt.report.records import compare_record, estimate_record
    from npuwatt.report.schemas import schema_of
    from npuwatt.study.accuracy import accuracy
    from npuwatt.study.always_on import always_on
    from npuwatt.study.compare import compare
    from npuwatt.study.designs import designs
    from npuwatt.study.estimate import estimate
    from npuwatt.study.fleet import fleet
    from npuwatt.study.imports import import_model
    from npuwatt.study.phone import phone
    from npuwatt.study.presets import check_presets, show_preset
    from npuwatt.study.sparsity import sparsity

__all__ = [
    "NpuwattError",
    "accuracy",
    "always_on",
    "always_on_record",
    "check_presets",
    "compare",
    "compare_record",
    "designs",
    "estimate",
    "estimate_record",
    "fleet",
    "fleet_record",
    "import_model",
    "list_presets",
    "phone",
    "phone_record",
    "schema_of",
    "show_preset",
    "sparsity",
    "sweep",
]

_HOMES = {
    "NpuwattError": "errors",
    "accuracy": "study.accuracy",
    "always_on": "study.always_on",
    "always_on_record": "report.always_on",
    "check_presets": "study.presets",
    "compare": "study.compare",
    "compare_record": "report.records",
    "designs": "study.designs",
    "estimate": "study.estimate",
    "estimate_record": "report.records",
    "fleet": "study.fleet",
    "fleet_record": "report.fleet",
    "import_model": "study.imports",
    "list_presets": "preset.library",
    "phone": "study.phone",
    "phone_record": "report.phone",
    "schema_of": "report.schemas",
    "show_preset": "study.presets",
    "sparsity": "study.sparsity",
    "sweep": "explore.sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'npuwatt' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"npuwatt.{_HOMES[name]}"), "index" if name == "list_presets" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
