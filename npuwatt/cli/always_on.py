"""always-on: what it takes to listen all day and to let a chip answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.cli.estimate import hint, warn

_DAY = "What it listens for"


def _option(name: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_DAY, **more)


_PROFILE = Annotated[
    str,
    _option(
        "--profile",
        "NAME",
        "Detectors and events: preset name or path.",
        autocompletion=o.complete("profiles"),
    ),
]
_EVENTS = Annotated[
    str | None,
    _option("--events", "RATE", "Events that deserve an answer, as in 20/day.", show_default="the profile's"),
]


def always_on(
    devices: o.DEVICES,
    profile: _PROFILE = "voice-assistant",
    events: _EVENTS = None,
    handset: o.HANDSET = "large-phone",
    network: o.HANDSET_NETWORK = "",
    input_len: Annotated[int | None, o.whole("--input-len", "the profile's", "Tokens that one answer reads.")] = None,
    output_len: Annotated[int | None, o.whole("--output-len", "the profile's", "Tokens that one answer writes.")] = None,
    weights: o.HANDSET_WEIGHTS = None,
    activations: o.HANDSET_ACTIVATIONS = None,
    kv_cache: o.HANDSET_KV_CACHE = None,
    changes: o.SET = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:  # fmt: skip
    """Mean milliwatts and days of battery of a chip that sleeps until a detector wakes it.

    \b
      npuwatt always-on snapdragon-8-elite samsung-lpddr5-pim
      npuwatt always-on snapdragon-8-elite --profile camera-watch --handset tablet --events 100/day
      npuwatt always-on snapdragon-8-elite hailo-10h --network llama-3.2-1b --set profile.is_retained=false
      npuwatt always-on snapdragon-8-elite --profile ambient-agent --events 60/h --format json
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.report.always_on import always_on_record
    from npuwatt.report.always_on_view import always_on_report
    from npuwatt.study.always_on import always_on as answer

    found = answer(
        devices, profile=profile, handset=handset, events=events, network=network, input_len=input_len,
        output_len=output_len, weights=weights, activations=activations, kv_cache=kv_cache, changes=changes or (),
        presets=o.folders(presets),
    )  # fmt: skip
    warn([*found.question.warnings, *found.warnings])
    emit(always_on_record(found), always_on_report, style=style, output=output, no_color=no_color)
    hint(f"npuwatt phone {devices[0]} --handset {handset}", "shows how warm it gets while it answers")
