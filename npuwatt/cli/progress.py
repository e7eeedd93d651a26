"""How far a long command has come, for a person at a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, TextIO

import typer

QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


class Progress:
    """A bar on a terminal's standard error once a command has taken half a second."""

    def __init__(self, total: int, total_said: str, quiet: bool, stream: TextIO | None = None) -> None:
        self.total, self.total_said, self.stream = total, total_said, stream or sys.stderr
        self.shown = self.stream.isatty() and not quiet and not os.environ.get("CI")
        self.start = self.last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not self.shown or now - self.start < 0.5 or (now - self.last < 0.1 and done < self.total):
            return
        self.last = now
        share = done / self.total
        bar = "#" * round(30 * share)
        end = "\n" if done >= self.total else ""
        self.stream.write(f"\r[{bar:<30}] {100 * share:3.0f} % of {self.total_said}{end}")
        self.stream.flush()
