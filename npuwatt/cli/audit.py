"""validate and calibrate: the model held to what was measured, and fitted to measured runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, for_people, opened, usual_format, write_together
from npuwatt.errors import NpuwattError, say, shown

_FILE = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]", help="Measured runs, chips or a phone's temperatures, as CSV.",
        show_default="63 runs, 44 chips or 11 temperatures that come along",
    ),
]  # fmt: skip
_STACK = Annotated[
    str | None,
    typer.Option("--stack", metavar="NAME", help="Serving software of the runs.", show_default="by task"),
]
_INPUT_LEN = Annotated[
    int | None,
    typer.Option(
        "--input-len",
        metavar="N",
        help="Prompt tokens of each run.",
        show_default="as the file says, else by task: chat 400, gpqa 220, others 400",
    ),
]
_MAX_MAPE = Annotated[
    list[str] | None,
    typer.Option(
        "--max-mape", metavar="METRIC=VALUE", show_default="none",
        help="Exit 1 where a metric's mean absolute error is above VALUE (0.2 or 20%). Repeatable.",
    ),
]  # fmt: skip

_CHIPS = Annotated[
    bool, typer.Option("--chips", help="FILE holds published compute-in-memory chips, not runs.")
]
_PHONES = Annotated[
    bool,
    typer.Option("--phones", help="FILE holds temperatures of a phone's battery (time_s, battery_c), not runs."),
]  # fmt: skip
_HANDSET = Annotated[
    str | None,
    typer.Option(
        "--handset", metavar="NAME", show_default="large-phone", autocompletion=o.complete("handsets"),
        help="With --phones: the handset that predicts them, preset name or path.",
    ),
]  # fmt: skip
_MAX_FACTOR = Annotated[
    str | None,
    typer.Option(
        "--max-factor", metavar="VALUE", show_default="none",
        help="With --chips: exit 1 where the median factor between predicted and measured is above VALUE.",
    ),
]  # fmt: skip


def validate(
    file: _FILE = None,
    chips: _CHIPS = False,
    phones: _PHONES = False,
    handset: _HANDSET = None,
    max_factor: _MAX_FACTOR = None,
    stack: _STACK = None,
    input_len: _INPUT_LEN = None,
    max_mape: _MAX_MAPE = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Predict measured serving runs, published chips or a phone's temperatures, and print predicted beside measured.

    With --phones: how a phone's battery warmed, as time constants fit it and as a handset predicts it.

    \b
      npuwatt validate
      npuwatt validate --format json --max-mape j_per_output_token=25%
      npuwatt validate runs.csv --stack vllm-0.11 --input-len 512
      npuwatt validate --chips --max-factor 2.5
      npuwatt validate --phones --handset small-phone
    """
    chosen = check_format(style, as_json)
    check_output(output)
    if file == "":
        raise NpuwattError("FILE: '' given; expected a path, '-' for standard input, or nothing at all")
    if chips:
        _refuse_options(
            "--chips",
            {
                "--phones": phones or None, "--handset": handset, "--stack": stack, "--input-len": input_len,
                "--max-mape": max_mape, "--presets": presets,
            },
        )  # fmt: skip
        _validate_chips(file, max_factor, style=chosen, output=output, no_color=no_color)
        return
    if phones:
        _refuse_options(
            "--phones",
            {"--stack": stack, "--input-len": input_len, "--max-mape": max_mape, "--max-factor": max_factor},
        )
        _validate_phones(
            file, handset, folders=o.folders(presets), style=chosen, output=output, no_color=no_color
        )
        return
    if handset is not None:
        raise NpuwattError("--handset: predicts temperatures of a phone; expected --phones beside it")
    if max_factor is not None:
        raise NpuwattError("--max-factor: is a gate of chips; expected --chips beside it, or --max-mape")
    _check_tokens(input_len)
    from npuwatt.audit.anchors import anchors as judged_anchors
    from npuwatt.audit.measured import CHUNK_ROWS, Summary, check, exceeded, judged, limits_of
    from npuwatt.report import audit as show
    from npuwatt.report.judged_rows import write_rows

    limits = limits_of(max_mape or ())
    summary = Summary()
    parts = judged(
        file, stack=stack, input_tokens=None if input_len is None else float(input_len),
        folders=o.folders(presets), summary=summary,
    )  # fmt: skip
    first = next(parts)  # a fault in it is told before anything is written
    if first.count == CHUNK_ROWS and file not in (None, "-") and output in (None, "-"):
        check(str(file))  # and so is one behind it
    parts = chain((first,), parts)
    head = show.head_record(file, stack)
    anchors = [] if file else [show.anchor_record(one) for one in judged_anchors()]
    with opened(output) as stream:
        chosen = chosen or usual_format(stream, no_color=no_color)
        if chosen in ("json", "jsonl", "csv"):
            write_rows(parts, stream, chosen, head, lambda: show.rest_record(summary, anchors))
        else:
            found = show.report(parts, summary, head, anchors)
            stream.write(for_people(found, chosen, stream=stream, no_color=no_color))
    lines = exceeded(summary, limits)
    for line in lines:
        say(f"npuwatt: {line}")
    if lines:
        raise typer.Exit(1)


def _refuse_options(mode: str, given: dict[str, object]) -> None:
    """Fail on options that mean nothing in a mode."""
    wrong = [name for name, value in given.items() if value not in (None, [])]
    if wrong:
        raise NpuwattError(f"{mode} and {', '.join(wrong)}: expected one or the other")


def _validate_chips(
    file: str | None, max_factor: str | None, *, style: str | None, output: str | None, no_color: bool
) -> None:
    """Published chips beside their predictions."""
    from npuwatt.audit.chips import exceeded, factor_limit, judged_chips
    from npuwatt.cli.emit import emit
    from npuwatt.report.chips import chips_record, chips_report

    limit = factor_limit(max_factor)
    found = judged_chips(file)
    emit(chips_record(found, file), chips_report, style=style, output=output, no_color=no_color)
    line = exceeded(found, limit, is_fitted_on=file is None)
    if line:
        say(f"npuwatt: {line}")
        raise typer.Exit(1)


def _validate_phones(
    file: str | None,
    handset: str | None,
    *,
    folders: Sequence[str],
    style: str | None,
    output: str | None,
    no_color: bool,
) -> None:
    """Temperatures of a phone beside fits and a prediction."""
    from npuwatt.audit.phones import HANDSET, judged_phone
    from npuwatt.cli.emit import emit
    from npuwatt.report.phones import phones_record, phones_report

    found = judged_phone(file, handset=HANDSET if handset is None else handset, folders=folders)
    emit(phones_record(found, file), phones_report, style=style, output=output, no_color=no_color)


def _check_tokens(input_len: int | None) -> None:
    if input_len is not None and not 1 <= input_len <= 100_000_000:
        raise NpuwattError(f"--input-len: {input_len} given; expected a whole number from 1 to 100000000")


_RUNS = Annotated[str, typer.Argument(metavar="FILE", help="Measured runs, as CSV.")]
_FITTED = Annotated[
    list[str],
    typer.Option("--device", metavar="PRESET", help="A device to fit. Repeatable.", show_default=False),
]
_HOLD = Annotated[
    list[str] | None,
    typer.Option(
        "--hold", metavar="PRESET", show_default="none",
        help="A device whose runs count for the stack, while it stays as it is. Repeatable.",
    ),
]  # fmt: skip
_FIT = Annotated[
    list[str] | None,
    typer.Option(
        "--fit", metavar="ADDRESS", show_default="all that have a range",
        help="A constant to fit, as h100-sxm.clocks_power or vllm-0.11.step_time. Repeatable.",
    ),
]  # fmt: skip
_SOURCE = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="TEXT",
        help="Citation of the runs, or a key of sources.yaml.",
        show_default="the file",
    ),
]
_WRITE = Annotated[
    str | None,
    typer.Option(
        "--write", metavar="FOLDER", help="Write the new presets below this folder.", show_default="nowhere"
    ),
]


def calibrate(
    file: _RUNS,
    device: _FITTED,
    hold: _HOLD = None,
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="Serving software of the runs.")
    ] = "vllm-0.11",
    fit: _FIT = None,
    input_len: _INPUT_LEN = None,
    source: _SOURCE = None,
    write: _WRITE = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
    debug: o.DEBUG = False,
) -> None:
    """Fit the named constants of a device and of its serving stack to measured runs.

    Each constant stays within the range that its preset gives; what the runs cannot tell is said.

    \b
      npuwatt calibrate runs.csv --device h100-sxm --fit h100-sxm.clocks_power --fit vllm-0.11.step_time
      npuwatt calibrate runs.csv --device h100-sxm --fit vllm-0.11.step_time --write mychips
    """
    chosen = check_format(style, as_json)
    check_output(output)
    _check_tokens(input_len)
    if write is not None:
        _check_write(write, file)
    from npuwatt.extras.need import need

    need("scipy", "fit")
    from npuwatt.audit.calibrate import calibrate as answer
    from npuwatt.audit.made import presets_of
    from npuwatt.cli.emit import emit
    from npuwatt.extras.fit import solve
    from npuwatt.report.calibrated import calibrate_record, calibrate_report

    found = answer(
        file, solve=solve, devices=device, hold=hold or (), stack=stack, only=fit or (),
        input_tokens=None if input_len is None else float(input_len), folders=o.folders(presets),
        progress=_progress(quiet),
    )  # fmt: skip
    made: dict[str, str] = {}
    if write is not None:
        texts = presets_of(found, file, source)
        made = {os.path.join(write, relative): content for relative, content in texts.items()}
        write_together(made)
    written = list(made)
    emit(
        calibrate_record(found, file, written),
        calibrate_report,
        style=chosen,
        output=output,
        no_color=no_color,
    )


def _check_write(folder: str, file: str) -> None:
    """Fail before a long fit if presets cannot come to be where they are wanted."""
    if file == "-":
        raise NpuwattError("--write: runs come from standard input; expected a file, which presets can name")
    for place in (folder, os.path.join(folder, "devices"), os.path.join(folder, "stacks")):
        if not folder or "\0" in folder or (os.path.lexists(place) and not os.path.isdir(place)):
            raise NpuwattError(
                f"--write {shown(folder)}: {shown(place)} is no folder; expected one, or a name for a new one"
            )


def _progress(quiet: bool) -> Callable[[str], None]:
    """What is being done, for a person at a terminal."""
    shows = sys.stderr.isatty() and not quiet and not os.environ.get("CI")

    def tell(what: str) -> None:
        if shows:
            say(f"{what} ...")

    return tell
