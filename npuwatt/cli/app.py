"""The command line: what was typed goes to one command, what goes wrong becomes one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from npuwatt.cli.kept import keeping
from npuwatt.errors import NpuwattError, say

_ABOUT = """What a token costs, in joules and seconds, on a GPU, an NPU or a processing-in-memory board.

\b
  npuwatt compare gpu npu pim
  npuwatt compare gpu npu pim --network Qwen/Qwen3-32B --batch 32
  npuwatt estimate h100-sxm --format json
  npuwatt presets list
"""
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# Where each command lives, and the first sentence of its help. Reading the options of all commands takes longer than
# most commands run, so only the one that was typed is loaded; the others are names and a sentence.
COMMANDS: dict[str, tuple[str, str]] = {
    "compare": (
        "npuwatt.cli.estimate",
        "The same request on several devices: time, power, energy per token.",
    ),
    "estimate": ("npuwatt.cli.estimate", "One device op by op and level by level."),
    "accuracy": (
        "npuwatt.cli.accuracy",
        "Signal over noise of products in memory cells, from programming on.",
    ),
    "sparsity": (
        "npuwatt.cli.sparsity",
        "What zeros save on each device, what they cost in accuracy, and which software runs them.",
    ),
    "fleet": (
        "npuwatt.cli.fleet",
        "Servers, hall, dollars, carbon and water for a demand, device by device.",
    ),
    "phone": (
        "npuwatt.cli.phone",
        "How warm a handset gets while a chip in it works, and how many tokens that leaves.",
    ),
    "always-on": (
        "npuwatt.cli.always_on",
        "Mean milliwatts and days of battery of a chip that sleeps until a detector wakes it.",
    ),
    "sweep": ("npuwatt.cli.explore", "Many design points: any number of a device, or of the request."),
    "validate": (
        "npuwatt.cli.audit",
        "Predict measured serving runs, published chips or a phone's temperatures, and print predicted beside measured.",
    ),
    "calibrate": ("npuwatt.cli.audit", "Fit a device and its serving stack to measured runs."),
    "presets": (
        "npuwatt.cli.presets",
        "Devices, networks, stacks, handsets, profiles, datacenters, grids and constants, and where each number comes from.",
    ),
    "model": ("npuwatt.cli.model", "Networks of your own."),
    "schema": ("npuwatt.cli.schema", "Print the JSON Schema (2020-12) that a command's JSON passes."),
}
_GROUPS = ("presets", "model")


def build(wanted: str | None) -> typer.Typer:
    """The app with one command loaded, or with none for the list of them all."""
    app = typer.Typer(
        name="npuwatt",
        help=_ABOUT,
        context_settings=_SETTINGS,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )
    app.callback()(_root)
    for name, (place, about) in COMMANDS.items():
        if name != wanted:
            if wanted not in COMMANDS:
                app.command(name, help=about)(_named(name))
        elif name in _GROUPS:
            group = import_module(place)
            part = typer.Typer(name=name, help=group.ABOUT, no_args_is_help=True, context_settings=_SETTINGS)
            for command in group.COMMANDS:
                part.command(command.__name__.rstrip("_"))(keeping(command))
            app.add_typer(part)
        else:
            app.command(name)(keeping(getattr(import_module(place), name.replace("-", "_"))))
    if wanted not in COMMANDS:
        app.command("help", help="Show the help of a command, as -h does.")(_help)
    return app


def _named(name: str) -> Callable[[], None]:
    """A stand-in for a command that was not typed; completion and help only read its name."""

    def command() -> None:
        raise NpuwattError(f"'{name}' must stand first; expected npuwatt {name} ...")

    return command


def _root(
    version: bool = typer.Option(
        False, "--version", "-V", help="Print the version and leave.", is_eager=True
    ),
) -> None:
    if version:
        from npuwatt import __version__

        print(f"npuwatt {__version__}")
        raise typer.Exit


def _help(command: list[str] = typer.Argument(None, metavar="[COMMAND...]", show_default=False)) -> None:  # noqa: B008 (typer's form)
    """Only a name for the list of commands: `invoke` turns `help X` into `X --help`."""


def invoke(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    typed = arguments
    if "_NPUWATT_COMPLETE" in os.environ:
        typed = os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    wanted = next((word for word in typed if not word.startswith("-")), None)
    try:
        code: Any = build(wanted)(arguments or ["--help"], prog_name="npuwatt", standalone_mode=False)
    except NpuwattError as error:
        return _refuse(error.faults)
    except Exception as error:  # what typer raises for unusable arguments has no common public name
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error))
            return 0
        if not hasattr(error, "format_message"):
            raise
        text = " ".join(error.format_message().split())
        text = text if len(text) <= 300 else text[:299] + "…"
        return _refuse([f"{text[0].lower()}{text[1:]}".rstrip(".") + "; -h shows what is accepted"])
    return code if isinstance(code, int) else 0


def _refuse(faults: Any) -> int:
    for fault in faults:
        say(f"npuwatt: {fault}")
    return 2
