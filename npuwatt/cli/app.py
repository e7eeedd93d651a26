"""The command line: what was typed goes to one command, what goes wrong becomes one line."""

from __future__ import annotations

import sys
from typing import Any

import typer

from npuwatt.cli import estimate, explore, model, presets
from npuwatt.errors import NpuwattError

_ABOUT = """What a token costs, in joules and seconds, on a GPU, an NPU or a processing-in-memory board.

\b
  npuwatt compare gpu npu pim
  npuwatt compare gpu npu pim --network Qwen/Qwen3-32B --batch 32
  npuwatt estimate h100-sxm --format json
  npuwatt presets list
"""


def build() -> typer.Typer:
    """The app with its commands; pages of a terminal get panels, all else plain text."""
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app = typer.Typer(
        name="npuwatt",
        help=_ABOUT,
        context_settings=settings,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )
    app.callback()(_root)
    for command in (estimate.compare, estimate.estimate, explore.sweep):
        app.command(no_args_is_help=False)(command)
    for name, group in (("presets", presets), ("model", model)):
        part = typer.Typer(name=name, help=group.ABOUT, no_args_is_help=True, context_settings=settings)
        for command in group.COMMANDS:
            part.command(command.__name__.rstrip("_"))(command)
        app.add_typer(part)
    app.command("schema")(presets.schema)
    app.command("help", help="The help of a command, as with -h.")(_help)
    return app


def _root(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and leave.", is_eager=True),
) -> None:
    if version:
        from npuwatt import __version__

        print(f"npuwatt {__version__}")
        raise typer.Exit


def _help(command: list[str] = typer.Argument(None, metavar="[COMMAND...]", show_default=False)) -> None:  # noqa: B008 (typer's form)
    build()([*(command or []), "--help"], prog_name="npuwatt", standalone_mode=False)


def invoke(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code: Any = build()(arguments or ["--help"], prog_name="npuwatt", standalone_mode=False)
    except NpuwattError as error:
        return _refuse(error.faults)
    except Exception as error:  # what typer raises for unusable arguments has no common public name
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error))
            return 0
        if not hasattr(error, "format_message"):
            raise
        text = " ".join(error.format_message().split())
        return _refuse([f"{text[0].lower()}{text[1:]}".rstrip(".") + "; -h shows what is accepted"])
    return code if isinstance(code, int) else 0


def _refuse(faults: Any) -> int:
    for fault in faults:
        print(f"npuwatt: {fault}", file=sys.stderr)
    return 2
