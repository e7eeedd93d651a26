"""model import: a Hugging Face config.json becomes a preset; model scan: the zeros of a checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit, opened
from npuwatt.cli.progress import QUIET, Progress
from npuwatt.errors import NpuwattError, shown

if TYPE_CHECKING:
    from npuwatt.checkpoint.files import Stored

ABOUT = """Networks of your own.

\b
  npuwatt model import config.json --output presets/networks/mine.yaml
  npuwatt model scan model.safetensors
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


_CHECKPOINT = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A .safetensors file, an index of shards, or the folder of a model; .bin and .pt with npuwatt[torch]."
    ),
]  # fmt: skip
_PER_CHANNEL = Annotated[
    bool, typer.Option("--per-channel", help="Densities by input channel too, in JSON and --densities.")
]
_EXACT = Annotated[
    bool, typer.Option("--exact", help="Count small weights in all, not in a sample: several times slower.")
]
_DENSITIES = Annotated[
    str | None,
    typer.Option(
        "--densities", metavar="FILE", show_default="none",
        help="Write the densities of all tensors as JSON, for --densities of other commands.",
    ),
]  # fmt: skip


def scan(
    path: _CHECKPOINT,
    per_channel: _PER_CHANNEL = False,
    exact: _EXACT = False,
    written: _DENSITIES = None,
    quiet: QUIET = False,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Count the zeros of a checkpoint, their pattern, and the weights that are nearly zero.

    \b
      npuwatt model scan model.safetensors
      npuwatt model scan . --per-channel --densities densities.json
    """
    style = check_format(style, as_json)
    check_output(output)
    check_output(written, "--densities")
    from npuwatt.checkpoint.scan import scan as answer
    from npuwatt.checkpoint.sources import open_checkpoint
    from npuwatt.report.scan import densities_text, scan_record, scan_report

    checkpoint = open_checkpoint(path, _read_pickled)
    for option, target in (("--output", output), ("--densities", written)):
        _check_kept(option, target, checkpoint.files)
    _check_own(written, output)
    found = answer(checkpoint, per_channel=per_channel, exact=exact, progress=_progress(quiet))
    record = scan_record(found)

    def show() -> None:
        emit(record, scan_report, style=style, output=output, no_color=no_color)

    if written is None:
        show()
    else:
        _beside(written, densities_text(record), show)
    from npuwatt.cli.estimate import hint

    if written is None:
        hint(f"npuwatt model scan {path} --densities densities.json", "writes a file for npuwatt sparsity")
    else:
        hint(f"npuwatt sparsity gpu --densities {written} --network NAME", "tells what these zeros save")


def _beside(densities: str, text: str, show: Callable[[], None]) -> None:
    """Write the density file unless what is shown beside it cannot be; who closes a pipe has seen enough of that."""
    with opened(densities) as stream:
        stream.write(text)
        stream.flush()
        with suppress(BrokenPipeError):
            show()
            sys.stdout.flush()


def _check_kept(option: str, target: str | None, files: tuple[str, ...]) -> None:
    """Fail before a checkpoint is overwritten by what is said about it."""
    if target is None or not os.path.exists(target):
        return
    folders = {os.path.realpath(os.path.dirname(file) or ".") for file in files}
    name, folder = os.path.basename(target), os.path.realpath(os.path.dirname(target) or ".")
    is_told = folder in folders and (name.endswith(".index.json") or name == "config.json")
    if is_told or any(os.path.samefile(target, file) for file in files):
        raise NpuwattError(f"{option} {shown(target)}: is a file of the checkpoint; expected another")


def _check_own(densities: str | None, output: str | None) -> None:
    """Fail unless densities go into a file of their own."""
    if densities is None:
        return
    if densities == "-" or (os.path.exists(densities) and not os.path.isfile(densities)):
        raise NpuwattError(f"--densities {shown(densities)}: is no plain file; expected one")
    if output is not None and os.path.realpath(output) == os.path.realpath(densities):
        raise NpuwattError(f"--densities {shown(densities)}: is --output too; expected another file")


def _read_pickled(path: str) -> list[Stored]:
    """Tensors of a .bin or .pt file, by a package that not everyone has."""
    from npuwatt.extras.need import need

    need("torch", "torch")
    from npuwatt.extras.torch_checkpoint import read_pickled

    return read_pickled(path)


def _progress(quiet: bool) -> Callable[[int, int], None]:
    """A bar that learns how much there is to do with its first step."""
    from npuwatt.units import show

    bars: list[Progress] = []

    def tell(done: int, total: int) -> None:
        if not bars:
            bars.append(Progress(total, show(total, "_bytes"), quiet))
        bars[0](done)

    return tell


COMMANDS: tuple[Any, ...] = (import_, scan)
