"""schema: the JSON Schema of a command's output."""

from __future__ import annotations

from typing import Annotated

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import opened

_SCHEMA = Annotated[str, typer.Argument(metavar="NAME", help="compare, estimate, sweep, presets-list, ...")]


def schema(name: _SCHEMA, output: o.OUTPUT = None, debug: o.DEBUG = False) -> None:
    """Print the JSON Schema (2020-12) that a command's JSON passes.

    \b
      npuwatt schema compare
    """
    import json

    from npuwatt.report.schemas import schema_of

    found = schema_of(name)
    with opened(output) as stream:
        stream.write(json.dumps(found, indent=2) + "\n")
