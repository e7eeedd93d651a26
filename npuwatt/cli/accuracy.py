"""accuracy: how exact products in memory cells are, minutes to years after the cells were written."""

from __future__ import annotations

from typing import Annotated

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.cli.estimate import hint, warn

_AT = Annotated[
    str, typer.Option("--at", metavar="TIMES", help="Moments since programming: 0s,1h,30day, with units.")
]
_TEMPERATURE = Annotated[
    str | None,
    typer.Option(
        "--temperature", metavar="T", help="Of the cells: 358 K or '85 degC'.", show_default="300 K"
    ),
]
_DISTRIBUTION = Annotated[
    str,
    typer.Option(
        "--distribution", metavar="NAME", help="How weights are spread: gaussian or laplace.",
        autocompletion=lambda incomplete: ["gaussian", "laplace"],
    ),
]  # fmt: skip
_CLIP = Annotated[
    float | None,
    typer.Option(
        "--clip", metavar="SIGMAS", help="Weight that takes the full range of a cell, in standard deviations.",
        show_default="the largest of a tile",
    ),
]  # fmt: skip
_REPROGRAM = Annotated[
    str | None,
    typer.Option(
        "--reprogram-every",
        metavar="TIME",
        help="Write all cells again this often: 30day.",
        show_default="never",
    ),
]
_TRIALS = Annotated[
    int, typer.Option("--trials", metavar="N", help="Simulate N columns cell by cell beside the closed form.")
]


def accuracy(
    device: o.DEVICE,
    at: _AT = "0s,1min,1h,1day,30day,1year",
    temperature: _TEMPERATURE = None,
    distribution: _DISTRIBUTION = "gaussian",
    clip: _CLIP = None,
    reprogram_every: _REPROGRAM = None,
    trials: _TRIALS = 0,
    network: o.NETWORK = "llama-3.1-8b",
    changes: o.SET = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Signal over noise of products in memory cells, from programming on.

    \b
      npuwatt accuracy crossbar
      npuwatt accuracy ibm-hermes --at 0s,1h,1day --temperature '60 degC' --trials 64
      npuwatt accuracy crossbar --reprogram-every 1day --set devices.crossbar.arrays.adc.bits=6
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.report.accuracy import accuracy_record, accuracy_report
    from npuwatt.study.accuracy import accuracy as answer

    found = answer(
        device, at=at, temperature=temperature, distribution=distribution, clip=clip,
        reprogram_every=reprogram_every, trials=trials, network=network, changes=changes or (),
        presets=o.folders(presets),
    )  # fmt: skip
    warn(found.warnings)
    emit(accuracy_record(found), accuracy_report, style=style, output=output, no_color=no_color)
    hint(f"npuwatt compare gpu {device} --per-macro", "shows what such a product costs, macro and board")
