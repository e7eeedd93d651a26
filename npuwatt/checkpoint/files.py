"""Tensors as the files of a checkpoint hold them, and JSON that cannot hurt."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from typing import Any

from npuwatt.checkpoint.number_formats import Words
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record

MOST_JSON_BYTES = 100_000_000  # of a header; the safetensors format has the same limit
MOST_PARTS = (
    3_000_000  # entries and lists of JSON: some 300,000 tensors, and a few hundred MB once it is read
)

# Bits of a number, by the name that safetensors has for its type.
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class Stored(Record):
    """One tensor of a file."""

    name: str
    dtype: str  # a key of BITS
    shape: tuple[int, ...]
    size_bytes: int
    words: Callable[[], Words]  # its numbers in a row, as unsigned words of their width, mapped from the file

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def file_size(path: str) -> int:
    """Bytes of a plain file; NpuwattError if it is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise NpuwattError(f"{path}: is a directory; expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise NpuwattError(f"{path}: is not a plain file; expected one")
    return status.st_size


def unreadable(path: str, error: Exception) -> NpuwattError:
    """The line for a file that the system does not open."""
    reason = getattr(error, "strerror", None) or "cannot be opened"
    return NpuwattError(f"{path}: {reason.lower()}; expected a readable file")


def read_json(path: str, most_bytes: int = MOST_JSON_BYTES, most_parts: int = MOST_PARTS) -> dict[str, Any]:
    """A JSON file that holds one object; NpuwattError if it is none, or holds too much."""
    size = file_size(path)
    if size > most_bytes:
        raise NpuwattError(
            f"{path}: is {size / 1e6:.0f} MB; expected at most {most_bytes / 1e6:g} MB of JSON"
        )
    try:
        with open(path, "rb") as stream:
            content = stream.read(most_bytes)
    except OSError as error:
        raise unreadable(path, error) from error
    return json_object(content, path, most_parts)


def json_object(content: bytes, label: str, most_parts: int = MOST_PARTS) -> dict[str, Any]:
    """One JSON object; NpuwattError if it is none, names a thing twice, or would not fit into memory once read."""
    if sum(content.count(mark) for mark in (b"{", b"[", b",")) > most_parts:
        raise NpuwattError(f"{label}: more than {most_parts:,} entries of JSON; expected fewer")
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number)
    except NpuwattError as error:
        raise NpuwattError(f"{label}: {error}") from error
    except (ValueError, RecursionError) as error:  # ValueError: also of text that is not UTF-8
        raise NpuwattError(f"{label}: is not JSON; expected one JSON object") from error
    if not isinstance(found, dict):
        raise NpuwattError(f"{label}: holds {shown(found)}; expected one JSON object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value] # add tells nothing
        raise NpuwattError(f"{shown(twice)} stands twice; expected each name once")
    return found


def _no_number(text: str) -> Any:
    raise NpuwattError(f"{text} given; expected finite numbers")
