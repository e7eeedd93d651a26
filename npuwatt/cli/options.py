"""Options that commands share: one name, one meaning, one help text everywhere."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from npuwatt.cli.emit import FORMATS
from npuwatt.errors import NpuwattError

# Text choices are plain str and checked by the library, so that its one-line errors hold for both.
_REQUEST, _RUN, _OUTPUT, _PRESETS = "What is asked", "How it runs", "Output", "Numbers"


def complete_any(incomplete: str) -> list[str]:
    """Every preset name and alias, whatever its folder."""
    from npuwatt.preset import library

    return sorted(name for entries in library.index().values() for name in entries)


def complete(folder: str) -> Any:
    def names(incomplete: str) -> list[str]:
        from npuwatt.preset import library

        entries = library.index()[folder]
        return sorted(
            {*entries, *(alias for entry in entries.values() for alias in entry.get("aliases", ()))}
        )

    return names


DEVICES = Annotated[
    list[str],
    typer.Argument(
        metavar="DEVICE...", help="Devices: preset names or paths.", autocompletion=complete("devices")
    ),
]
DEVICE = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", help="A device: preset name or path.", autocompletion=complete("devices")
    ),
]


def network(**more: Any) -> Any:
    """The network; what it is where nothing is said differs."""
    return typer.Option(
        "--network", "-n", envvar="NPUWATT_NETWORK", metavar="NAME", rich_help_panel=_REQUEST,
        help="Network: short name, Hugging Face id, preset or config.json path.",
        autocompletion=complete("networks"), **more,
    )  # fmt: skip


NETWORK = Annotated[str, network()]


def whole(name: str, shown: str, text: str, panel: str = _REQUEST) -> Any:
    variable = "NPUWATT_" + name.strip("-").upper().replace("-", "_")
    return typer.Option(
        name, envvar=variable, metavar="N", help=text, show_default=shown, rich_help_panel=panel
    )


def width(name: str, what: str, usual: str = "bf16; int8 with --constants article") -> Any:
    """A number type; `usual` in words where nothing is said."""
    variable = "NPUWATT_" + name.strip("-").upper().replace("-", "_")
    return typer.Option(
        name, envvar=variable, metavar="WIDTH", rich_help_panel=_REQUEST, help=f"Number type of {what}: fp32, bf16, fp16, fp8, int8, fp4, int4.",
        show_default=usual,
    )  # fmt: skip


INPUT_LEN = Annotated[int | None, whole("--input-len", "512", "Prompt tokens of each sequence.")]
OUTPUT_LEN = Annotated[int | None, whole("--output-len", "256", "Generated tokens of each sequence.")]
BATCH = Annotated[int, whole("--batch", "1", "Sequences served together.")]
COUNT = Annotated[
    int | None, whole("--devices", "the fewest that hold it", "Equal devices that share the work.")
]
MODE = Annotated[
    str | None,
    typer.Option(
        "--mode", envvar="NPUWATT_MODE", metavar="MODE", rich_help_panel=_RUN, show_default="step",
        help="step: one batch, without software; serving: a full server that takes prompts in as it goes.",
        autocompletion=lambda incomplete: ["step", "serving"],
    ),
]  # fmt: skip
SERVING = Annotated[bool, typer.Option("--serving", rich_help_panel=_RUN, help="Short for --mode serving.")]
STACK = Annotated[
    str | None,
    typer.Option(
        "--stack", envvar="NPUWATT_STACK", metavar="NAME", rich_help_panel=_RUN,
        help="Serving software: preset name or path. It selects serving.", show_default="vllm-0.11 in serving",
        autocompletion=complete("stacks"),
    ),
]  # fmt: skip
PREFILL = Annotated[
    bool | None,
    typer.Option(
        "--prefill/--no-prefill", envvar="NPUWATT_PREFILL", rich_help_panel=_RUN, show_default="prefill",
        help="In serving: read the prompts too, or have them read elsewhere.",
    ),
]  # fmt: skip
EXPERT_PARALLEL = Annotated[
    bool,
    typer.Option(
        "--expert-parallel", envvar="NPUWATT_EXPERT_PARALLEL", rich_help_panel=_RUN,
        help="Experts lie whole on devices; without it each is cut over all.",
    ),
]  # fmt: skip
DATA_PARALLEL = Annotated[
    int, whole("--data-parallel", "1", "Groups of devices, each with a copy of the weights.", _RUN)
]
WEIGHTS = Annotated[str | None, width("--weights", "weights")]
ACTIVATIONS = Annotated[str | None, width("--activations", "activations")]
KV_CACHE = Annotated[str | None, width("--kv-cache", "the key-value cache")]
PATTERNS = ("dense", "unstructured", "1:2", "2:4", "4:8", "block")


def pattern_option(default: str) -> Any:
    """Where zeros lie; `default` in words."""
    return typer.Option(
        "--pattern", envvar="NPUWATT_PATTERN", metavar="PATTERN", rich_help_panel=_REQUEST, show_default=default,
        help=f"Where zeros lie among weights: {', '.join(PATTERNS)}.",
        autocompletion=lambda incomplete: list(PATTERNS),
    )  # fmt: skip


def share(text: str) -> float:
    """A share of one, or in percent."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


PATTERN = Annotated[str | None, pattern_option("dense")]
DENSITY = Annotated[
    float | None,
    typer.Option(
        "--density", envvar="NPUWATT_DENSITY", metavar="SHARE", rich_help_panel=_REQUEST, parser=share,
        help="Share of weights that are not zero, as 0.5 or 50%; without --pattern they lie anywhere.",
        show_default="what the pattern leaves",
    ),
]  # fmt: skip
ACTIVATION_DENSITY = Annotated[
    float | None,
    typer.Option(
        "--activation-density", envvar="NPUWATT_ACTIVATION_DENSITY", metavar="SHARE", rich_help_panel=_REQUEST, parser=share,
        help="Share of activations that are not zero, of those that weights multiply.", show_default="1",
    ),
]  # fmt: skip
DENSITIES = Annotated[
    str | None,
    typer.Option(
        "--densities", envvar="NPUWATT_DENSITIES", metavar="FILE", rich_help_panel=_REQUEST, show_default="none",
        help="Zeros as 'npuwatt model scan --densities' found them, op by op.",
    ),
]  # fmt: skip
CONSTANTS = Annotated[
    str,
    typer.Option(
        "--constants", envvar="NPUWATT_CONSTANTS", metavar="SET", rich_help_panel=_PRESETS,
        help="Energies: sourced (each preset's own) or article (two energies, int8).",
    ),
]  # fmt: skip
PER_MACRO = Annotated[
    bool,
    typer.Option(
        "--per-macro", rich_help_panel=_OUTPUT,
        help="Add what papers and data sheets print of a part, as TOPS/W, beside the board's.",
    ),
]  # fmt: skip
SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="ADDRESS=VALUE", rich_help_panel=_PRESETS, show_default="none",
        help="Change a number, with its unit: devices.gpu.power_cap=500W. Repeatable.",
    ),
]  # fmt: skip
PRESETS = Annotated[
    list[str] | None,
    typer.Option(
        "--presets", metavar="FOLDER", rich_help_panel=_PRESETS, show_default="$NPUWATT_PRESETS",
        help="Your presets, found before the built-in ones. Repeatable.",
    ),
]  # fmt: skip
FORMAT = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", envvar="NPUWATT_FORMAT", metavar="FORMAT", rich_help_panel=_OUTPUT,
        autocompletion=lambda incomplete: list(FORMATS),
        help="table, plain, json, jsonl, csv or markdown.", show_default="table; plain in a pipe",
    ),
]  # fmt: skip
JSON = Annotated[bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="Short for --format json.")]
OUTPUT = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", rich_help_panel=_OUTPUT, show_default="-, standard output",
        help="Write to a file, whole or not at all.",
    ),
]  # fmt: skip
NO_COLOR = Annotated[
    bool, typer.Option("--no-color", rich_help_panel=_OUTPUT, help="No colours (as NO_COLOR=1).")
]
DEBUG = Annotated[bool, typer.Option("--debug", rich_help_panel=_OUTPUT, help="Show where a bug happened.")]

_ASKED = (
    "network", "input_len", "output_len", "batch", "stack", "prefill", "expert_parallel", "data_parallel", "weights",
    "activations", "kv_cache", "pattern", "density", "activation_density", "densities", "constants",
)  # fmt: skip


def asked(given: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a question, out of a command's own parameters."""
    found = {name: given[name] for name in _ASKED}
    return found | {
        "mode": _mode(given["mode"], given["serving"]),
        "devices": given["count"],
        "changes": given["changes"] or (),
        "presets": folders(given["presets"]),
    }


def _mode(mode: str | None, serving: bool) -> str | None:
    """What --mode or the short --serving says."""
    if mode == "step" and serving:
        raise NpuwattError("--mode step with --serving: one contradicts the other; expected one of the two")
    return mode or ("serving" if serving else None)


def folders(given: list[str] | None) -> tuple[str, ...]:
    """The user's presets folders: those of --presets, else of NPUWATT_PRESETS."""
    found = given or [part for part in os.environ.get("NPUWATT_PRESETS", "").split(os.pathsep) if part]
    for folder in found:
        if not os.path.isdir(folder):
            raise NpuwattError(f"--presets '{folder}': is no folder; expected one that holds *.yaml presets")
    return tuple(found)


# Of a device in a handset, where other number types and another network are usual.
HANDSET = Annotated[
    str,
    typer.Option(
        "--handset", metavar="NAME", rich_help_panel="What it sits in", help="Handset: preset name or path.",
        autocompletion=complete("handsets"),
    ),
]  # fmt: skip
HANDSET_NETWORK = Annotated[str, network(show_default="the handset's")]
HANDSET_WEIGHTS = Annotated[str | None, width("--weights", "weights", "int4")]
HANDSET_ACTIVATIONS = Annotated[str | None, width("--activations", "activations", "int8")]
HANDSET_KV_CACHE = Annotated[str | None, width("--kv-cache", "the key-value cache", "int8")]
