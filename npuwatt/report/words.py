"""Rounded numbers, names and the line that says what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.study.verdicts import INEXACT, TRAINABLE, UNKNOWN
from npuwatt.units import show_in

Record = dict[str, Any]
NAMES = {
    "arithmetic": "arithmetic",
    "conversion": "converters",
    "on_chip": "on-chip movement",
    "dram": "DRAM",
    "links": "links",
    "overhead": "control and regulators",
    "static": "static power",
}
_BOUNDS = {
    "on_chip": "on-chip movement", "link": "links", "conversion": "converters", "kernels": "sparse kernels",
    "power": "power cap",
}  # fmt: skip
_MARKS = {
    "!": "products of its cells are too noisy to deploy as they are",
    "?": "nothing is known about the noise of its cells",
}


def quantity(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number for people, or a dash where there is none."""
    return "-" if value is None else show_in(value, unit, digits)


def percent(share: float) -> str:
    """A share of one: '52 %', '<1 %'."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def ratio(value: float | None) -> str:
    """A ratio: '0.67x'."""
    return "-" if value is None else f"{value:.3g}x"


def factor(value: float | None) -> str:
    """How many times better, in two digits: '2.1x'; nothing where the better one costs nothing."""
    return "" if value is None else f"{value:.2g}x" if value < 99.5 else f"{value:.0f}x"


def bound(name: str | None) -> str:
    """What sets the time, in words."""
    return "-" if name is None else _BOUNDS.get(name, name)


def counted(count: int, what: str) -> str:
    """A count and its noun: '1 device', '2 devices'."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def label(result: Record) -> str:
    """What tables call a device: as it was typed, or by its preset's name where a path was typed."""
    return str(result.get("label") or (result["preset"] if "/" in result["device"] else result["device"]))


def request_line(request: Record) -> str:
    """The request in one line."""
    widths = {
        "weights": request["weights"],
        "activations": request["activations"],
        "KV cache": request["kv_cache"],
    }
    if len(set(widths.values())) == 1:
        stored = f"all {request['weights']}"
    else:
        stored = ", ".join(f"{what} {width}" for what, width in widths.items())
    batch = f"batch {request['batch']}"
    if request["mode"] == "serving":
        batch = f"serving on {request['stack']}, {batch} running"
    elsewhere = " (read elsewhere)" if request["prefill"] is False else ""
    lengths = f"{request['input_len']} tokens in{elsewhere}, {request['output_len']} out"
    article = ", the article's constants" if request["constants"] == "article" else ""
    zeros = zeros_line(request)
    return f"{request['network']}, {batch}, {lengths}, {stored}{_sharing(request)}{article}{zeros and ', ' + zeros}"


def zeros_line(request: Record) -> str:
    """What was said of zeros, in words; nothing where nothing is zero."""
    told = []
    if request["densities"]:
        told.append(f"weights {_filled(request['density'])} by {request['densities']}")
    elif request["pattern"] != "dense":
        told.append(f"{request['pattern']} weights {_filled(request['density'])}")
    if request["activation_density"] != 1:
        told.append(f"activations {_filled(request['activation_density'])}")
    return ", ".join([*told, *(["ideal skipping"] if request["ideal"] else [])])


def _filled(density: float | str) -> str:
    """A density in words; 'varied' in a sweep over it."""
    return "full to varied shares" if isinstance(density, str) else f"{percent(density)} full"


def _sharing(request: Record) -> str:
    shared = f", {counted(request['devices'], 'device')}" if request["devices"] else ""
    if request["data_parallel"] > 1:
        shared += f" in {counted(request['data_parallel'], 'group')}"
    return shared + (", whole experts on devices" if request["expert_parallel"] else "")


def mark(result: Record) -> str:
    """What stands behind the name of a device that cannot be deployed as it is, as far as is known."""
    return {INEXACT: "!", UNKNOWN: "?"}.get(_verdict(result), "")


def labelled(results: Sequence[Record]) -> list[Record]:
    """Results with what to call each; two files of one name are told apart by their paths."""
    short = [label(result) for result in results]
    return [
        result | {"label": (result["device"] if short.count(name) > 1 else name) + mark(result)}
        for result, name in zip(results, short, strict=True)
    ]


def mark_notes(results: Sequence[Record]) -> list[str]:
    """What the marks behind names mean, of those that stand there."""
    return [f"{sign}: {meaning}" for sign, meaning in _MARKS.items() if sign in map(mark, results)]


def caveat(result: Record) -> str:
    """What the products of a device's cells still need, as words behind others."""
    return " and needs noise-aware training" if _verdict(result) == TRAINABLE else ""


def _verdict(result: Record) -> str:
    return str((result["exactness"] or {}).get("verdict", ""))


def confidence_line(result: Record) -> str:
    """How sure an answer is, by what was measured where others like it were predicted."""
    found = result["confidence"]
    ends = found["energy_per_output_token_j"]
    low, high = (quantity(ends[side], "J") for side in ("low", "high"))
    if found["class"] == "never measured":
        return f"{label(result)} (never measured): {low} to {high} a token, an assumed factor of three or so either way"
    return f"{label(result)} ({found['class']}): nine of ten servers would measure {low} to {high} a token"


def software_line(result: Record) -> str:
    """How much of a token's time and energy is software."""
    if not result["software_time_fraction"]:
        return f"{label(result)}: no software counted; this is what the hardware would allow"
    time, energy = (percent(result[f"software_{what}_fraction"] or 0.0) for what in ("time", "energy"))
    return (
        f"{label(result)}: software (host, launches, kernels that overlap or fill blocks in part) is {time} of the time and "
        f"{energy} of the energy of a token, against the ideal stack"
    )


def serving_lines(request: Record, results: Sequence[Record]) -> list[str]:
    """How much of each device's answer is software, and what the times of a server mean."""
    if request["mode"] != "serving":
        return []
    lines = [software_line(result) for result in results if result["fits"]]
    return [
        *lines,
        "TPOT is the mean step, ITL the median one; TTFT leaves out waiting for a place in the batch",
    ]


def step_name(phase: Record) -> str:
    """What a phase is called: in serving, by whether it takes prompts along, and how often it comes."""
    if phase["steps_fraction"] is None:
        return "one decode step" if phase["phase"] == "decode" else "prefill"
    name = "a step that takes prompts along" if phase["phase"] == "mixed" else "a step without prompts"
    return f"{name} ({percent(phase['steps_fraction'])} of all)"
