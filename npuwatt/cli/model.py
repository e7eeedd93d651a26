"""model import: a Hugging Face config.json becomes a preset."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit, opened

ABOUT = """Networks of your own.

\b
  npuwatt model import config.json --output presets/networks/mine.yaml
"""
_CONFIG = Annotated[str, typer.Argument(metavar="CONFIG", help="Path of a Hugging Face config.json.")]
_NAME = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The network's name.", show_default="as the file says"),
]
_EXPECT = Annotated[
    str | None,
    typer.Option(
        "--expect-params", metavar="COUNT", show_default="not compared",
        help="Parameters it should have, as 8.03e9 or 8.03B; exit 1 if it is more than 1 % off.",
    ),
]  # fmt: skip


def import_(
    config: _CONFIG,
    name: _NAME = None,
    expect_params: _EXPECT = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> int:
    """Write a preset from a config.json; its parameters and cache per token stand on top and on standard error.

    \b
      npuwatt model import config.json --output mine.yaml --expect-params 8.03B
      npuwatt compare gpu --network mine.yaml
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.errors import NpuwattError, say
    from npuwatt.report.imports import import_record, import_report
    from npuwatt.study.imports import expected_count, import_model
    from npuwatt.study.presets import expect_parameters

    expected = None if expect_params is None else expected_count(expect_params)
    found = import_model(config, name=name)
    if expected is not None:
        try:
            expect_parameters(found.network, expected)
        except NpuwattError as error:
            say(f"npuwatt: {error}")
            return 1
    record = import_record(found)
    if style is None:
        with opened(output) as stream:
            stream.write(found.preset)
        say(record["networks"][0]["summary"])
    else:
        emit(record, import_report, style=style, output=output, no_color=no_color)
    return 0


COMMANDS: tuple[Any, ...] = (import_,)
