"""Which renderer, and where to: standard output, or a file that is whole or not there."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from npuwatt.errors import NpuwattError, say, shown

if TYPE_CHECKING:
    from npuwatt.report.document import Report

FORMATS = ("table", "plain", "json", "jsonl", "csv", "markdown")


def emit(
    record: dict[str, Any],
    view: Callable[[dict[str, Any]], Report],
    *,
    style: str | None,
    output: str | None,
    no_color: bool = False,
) -> None:
    """Show one record in one format; a terminal gets tables, a pipe plain text, unless told otherwise."""
    with opened(output) as stream:
        stream.write(rendered(record, view, style=style, stream=stream, no_color=no_color))


def rendered(
    record: dict[str, Any],
    view: Callable[[dict[str, Any]], Report],
    *,
    style: str | None,
    stream: TextIO,
    no_color: bool,
) -> str:
    """The record's text in one format."""
    chosen = style or usual_format(stream, no_color=no_color)
    if chosen in ("json", "jsonl", "csv"):
        from npuwatt.report import data

        return {"json": data.to_json, "jsonl": data.to_jsonl, "csv": data.to_csv}[chosen](record)
    return for_people(view(record), chosen, stream=stream, no_color=no_color)


def usual_format(stream: TextIO, *, no_color: bool) -> str:
    """What is shown where no format was asked for: tables on a terminal, plain text in a pipe."""
    return "table" if wants_color(stream, no_color) or stream.isatty() else "plain"


def for_people(report: Report, style: str, *, stream: TextIO, no_color: bool) -> str:
    """A report as a table, plain text or Markdown."""
    if style == "table":
        import shutil

        from npuwatt.report.console import console

        width = shutil.get_terminal_size((80, 24)).columns
        color = wants_color(stream, no_color)
        return console(report, width=width, color=color, encoding=stream.encoding or "utf-8")
    from npuwatt.report import text

    return text.markdown(report) if style == "markdown" else text.plain(report)


def check_format(style: str | None, as_json: bool) -> str | None:
    """The format asked for by --format or --json."""
    if style is not None and style not in FORMATS:
        from npuwatt.errors import did_you_mean

        near = did_you_mean(style, FORMATS) or f"; expected one of {', '.join(FORMATS)}"
        raise NpuwattError(f"--format: {shown(style)} given{near}")
    if as_json and style not in (None, "json", os.environ.get("NPUWATT_FORMAT")):
        raise NpuwattError(f"--json and --format {style}: expected one of them")
    return "json" if as_json else style


def wants_color(stream: TextIO, no_color: bool) -> bool:
    """NO_COLOR and --no-color, then FORCE_COLOR, then whether it is a terminal that can."""
    if no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def check_output(output: str | None, option: str = "--output") -> None:
    """Fail before any work if a file cannot come to be where it is wanted."""
    if output is None or output == "-":
        return
    if not output or os.path.isdir(output) or output.endswith(os.sep):
        raise NpuwattError(f"{option} {shown(output)}: is a folder; expected a file")
    folder = os.path.dirname(os.path.abspath(output))
    if "\0" in output or not os.path.isdir(folder):
        raise NpuwattError(
            f"{option} {shown(output)}: there is no folder {shown(folder)}; expected a file in an existing one"
        )


@contextmanager
def opened(output: str | None) -> Iterator[TextIO]:
    """Standard output, or a file written beside its place and moved there once it is whole."""
    if output is None or output == "-":
        yield sys.stdout
        return
    check_output(output)
    try:
        mode = os.stat(output).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):  # a device or a pipe has no place to move a file to
        with open(output, "w", encoding="utf-8", newline="") as stream:
            yield stream
    else:
        yield from _moved_into_place(os.path.realpath(output))
    say(f"wrote {output}")


def write_together(texts: Mapping[str, str]) -> None:
    """Write several files and make missing folders for them: all of them whole, or everything as it was."""
    made: list[str] = []
    ready: dict[str, str] = {}  # place -> the new content beside it
    before: dict[str, bytes | None] = {}  # of places that have their new content
    try:
        for path, text in texts.items():
            _make_folder(os.path.dirname(os.path.abspath(path)), made)
            place = os.path.realpath(path)
            ready[place] = _written_beside(place, text)
        for place, temporary in ready.items():
            old = _content(place)
            os.replace(temporary, place)
            before[place] = old
    except BaseException:
        for place, old in before.items():
            if old is None:
                os.unlink(place)
            else:
                with open(place, "wb") as stream:
                    stream.write(old)
        for place, temporary in ready.items():
            if place not in before:
                os.unlink(temporary)
        for folder in reversed(made):
            os.rmdir(folder)
        raise
    for path in texts:
        say(f"wrote {path}")


def _make_folder(folder: str, made: list[str]) -> None:
    """A folder and those above it, noted where they were missing."""
    if not os.path.isdir(folder):
        _make_folder(os.path.dirname(folder), made)
        os.mkdir(folder)
        made.append(folder)


def _content(path: str) -> bytes | None:
    """What a file holds; None where there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _written_beside(path: str, text: str) -> str:
    """A temporary file in the folder of `path` with its mode, whole or not there."""
    handle, temporary = _temporary(path)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        os.chmod(temporary, _mode(path))
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _temporary(path: str) -> tuple[int, str]:
    import tempfile

    _end_by_signals()
    return tempfile.mkstemp(dir=os.path.dirname(path), prefix=".npuwatt-", suffix=".part")


def _end_by_signals() -> None:
    """From here on, who is told to end takes its unfinished file away first, as after Ctrl-C."""
    import signal
    import threading

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)  # as a shell tells it

    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(one) == signal.SIG_DFL:  # nohup stays nohup
                signal.signal(one, end)


def _mode(path: str) -> int:
    """The mode of a file, or that of a new one."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _moved_into_place(path: str) -> Iterator[TextIO]:
    """A file in the same folder that takes the place of `path` once it is whole, and is gone if that fails."""
    handle, temporary = _temporary(path)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
