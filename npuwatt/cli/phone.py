"""phone: how warm a handset gets, and what that leaves of the rate of a chip."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.cli.estimate import hint, warn

_POCKET = "What it sits in"


def _option(name: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_POCKET, **more)


_MINUTES = Annotated[float, _option("--minutes", "N", "Length of the session, up to 480.")]
_LIMIT = Annotated[
    str | None,
    _option(
        "--limit", "TEMPERATURE", "Of the skin at most; trip points move along.", show_default="the handset's"
    ),
]
_AMBIENT = Annotated[str, _option("--ambient", "TEMPERATURE", "Of the room, 0 to 45 degC.")]
_START = Annotated[
    str | None,
    _option("--start", "TEMPERATURE", "Of the whole handset at the start.", show_default="the room's"),
]
_GOVERNOR = Annotated[
    str,
    _option(
        "--governor", "WHICH", "What throttles: none, trips or allocator.",
        autocompletion=lambda incomplete: ["none", "trips", "allocator"],
    ),
]  # fmt: skip
_CASE = Annotated[bool, typer.Option("--case", rich_help_panel=_POCKET, help="Put the handset in its case.")]
_POWER = Annotated[
    str | None,
    _option(
        "--power", "POWER", "What the chip demands: watts, or a share of its power cap as in 50%.",
        show_default="what its work draws",
    ),
]  # fmt: skip
_CLAIMS = Annotated[
    bool,
    typer.Option(
        "--claims", rich_help_panel=_POCKET,
        help="Add for which peak powers, spreading and rooms a share of peak (--power, else 50%) holds the limit.",
    ),
]  # fmt: skip
_COURSE = Annotated[
    bool,
    typer.Option(
        "--course", rich_help_panel=_POCKET,
        help="Tell every moment of the course: in JSON, and as the lines of CSV and JSON lines.",
    ),
]  # fmt: skip


def phone(
    devices: o.DEVICES,
    handset: o.HANDSET = "large-phone",
    minutes: _MINUTES = 5.0,
    limit: _LIMIT = None,
    ambient: _AMBIENT = "25degC",
    start: _START = None,
    governor: _GOVERNOR = "allocator",
    case: _CASE = False,
    power: _POWER = None,
    claims: _CLAIMS = False,
    course: _COURSE = False,
    network: o.HANDSET_NETWORK = "",
    input_len: o.INPUT_LEN = None,
    output_len: o.OUTPUT_LEN = None,
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
    """How warm a handset gets while a chip in it works, and how many tokens that leaves.

    \b
      npuwatt phone snapdragon-8-elite samsung-lpddr5-pim
      npuwatt phone snapdragon-8-elite --handset small-phone --minutes 30 --ambient 35degC --case
      npuwatt phone snapdragon-8-elite --power 50% --limit 42degC --minutes 5 --claims
      npuwatt phone apple-m4-ane --handset fanless-laptop --set handset.surface.spreading=0.9 --format json
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.report.phone import phone_record
    from npuwatt.report.phone_view import phone_report
    from npuwatt.study.phone import phone as answer

    found = answer(
        devices, handset=handset, minutes=minutes, limit=limit, ambient=ambient, start=start, governor=governor,
        in_case=case, power=power, claims=claims, network=network, input_len=input_len,
        output_len=output_len, weights=weights, activations=activations, kv_cache=kv_cache, changes=changes or (),
        presets=o.folders(presets),
    )  # fmt: skip
    warn([*found.question.warnings, *found.warnings])
    emit(phone_record(found, is_whole=course), phone_report, style=style, output=output, no_color=no_color)
    request = found.question.request
    widths = f"--weights {request.weights} --activations {request.activations} --kv-cache {request.kv_cache}"
    hint(
        f"npuwatt estimate {devices[0]} -n {found.question.network.typed} {widths}",
        "shows where the time and energy of a token go",
    )
