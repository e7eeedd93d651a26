"""presets list, show, check and path: what there is, and where each number comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit

ABOUT = """Devices, networks, stacks, handsets, profiles, datacenters, grids and constants: what there is, and where each number comes from.

\b
  npuwatt presets list
  npuwatt presets show h100-sxm
  npuwatt presets check
"""
_NAME = Annotated[
    str, typer.Argument(metavar="NAME", help="A preset name or path.", autocompletion=o.complete_any)
]
_PATHS = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME...]", help="Preset names or paths.", show_default="all of them"),
]
_FOLDER = Annotated[
    str | None,
    typer.Argument(
        metavar="[FOLDER]",
        help="devices, networks, stacks, handsets, profiles, datacenters, grids or constants.",
        show_default="all of them",
    ),
]


def list_(
    folder: _FOLDER = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Name the built-in presets.

    \b
      npuwatt presets list
      npuwatt presets list devices --format csv
    """
    from npuwatt.errors import NpuwattError, did_you_mean, shown
    from npuwatt.preset import library
    from npuwatt.report.presets import list_record, list_report

    style = check_format(style, as_json)
    check_output(output)
    index = library.index()
    if folder is not None and folder not in index:
        near = did_you_mean(folder, index) or f"; expected one of {', '.join(index)}"
        raise NpuwattError(f"unknown folder {shown(folder)}{near}")
    kept = index if folder is None else {folder: index[folder]}
    emit(list_record(kept), list_report, style=style, output=output, no_color=no_color)


def show(
    name: _NAME,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Every number of one preset: value, range, quality, source and where in it.

    \b
      npuwatt presets show h100-sxm
      npuwatt presets show meta-llama/Llama-3.1-8B-Instruct --format json
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.report.presets import show_record, show_report
    from npuwatt.study.presets import show_preset

    record = show_record(show_preset(name, presets=o.folders(presets)))
    emit(record, show_report, style=style, output=output, no_color=no_color)


def check(
    names: _PATHS = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> int:
    """Hold presets to the rules: a unit, a source and a quality for each number; parameters near the published total.

    Exit 1 if a rule does not hold, 2 if a preset cannot be read.

    \b
      npuwatt presets check
      npuwatt presets check h100-sxm llama-3.1-8b
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.report.presets import check_record, check_report
    from npuwatt.study.presets import check_presets

    record = check_record(check_presets(names or (), presets=o.folders(presets)))
    emit(record, check_report, style=style, output=output, no_color=no_color)
    return 0 if record["sound"] else 1


def path(
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Print the folders that presets are looked for in, first the user's.

    \b
      npuwatt presets path
    """
    from npuwatt.preset import library
    from npuwatt.report.presets import path_record, path_report

    style = check_format(style, as_json)
    check_output(output)
    found = path_record([*o.folders(presets), library.presets_root()])
    emit(found, path_report, style=style, output=output, no_color=no_color)


COMMANDS: tuple[Any, ...] = (list_, show, check, path)
