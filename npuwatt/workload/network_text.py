"""A network as the text of a preset file: what `npuwatt model import` writes."""

from __future__ import annotations

import json
from typing import Any

from npuwatt import units
from npuwatt.record import Record, is_required, names_of
from npuwatt.workload.network import Network

MOST_COLUMNS = 118


def to_yaml(network: Network, *, name: str, about: str, cite: str, comment: str = "") -> str:
    """A preset that reads back as the same record; what a record leaves at its default is not written.

    `cite` says where the numbers come from, as a source of the file's own.
    """
    lines = [f"# {line}".rstrip() for line in _printable(comment, keep="\n").split("\n") if comment]
    lines += [
        f"kind: {network.kind}",
        f"name: {_quoted(name)}",
        f"about: {_quoted(about)}",
        "source: config",
        "sources:",
        f"  config: {{cite: {_quoted(cite)}, quality: datasheet}}",
        "",
    ]
    for key, value in _stated(network).items():
        lines += _entry(key, value)
    return "\n".join(lines) + "\n"


def _stated(record: Any) -> dict[str, Any]:
    """The fields of a record that are not at their default, by preset key."""
    found = {}
    for name in names_of(record):
        value = getattr(record, name)
        if is_required(type(record), name) or value != getattr(type(record), name):
            found[units.key_of(name)] = value
    return found


def _entry(key: str, value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [f"{key}:", *(f"  - {_inline(item)}" for item in value)]
    line = f"{key}: {_inline(value)}"
    if not isinstance(value, Record) or len(line) <= MOST_COLUMNS:
        return [line]
    return [f"{key}:", *(f"  {inner}: {_inline(part)}" for inner, part in _stated(value).items())]


def _inline(value: Any) -> str:
    if isinstance(value, Record):
        return "{" + ", ".join(f"{key}: {_inline(part)}" for key, part in _stated(value).items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """Text of any origin as a YAML scalar that stays text."""
    return json.dumps(_printable(text), ensure_ascii=False)


def _printable(text: str, keep: str = "") -> str:
    return "".join(c if c.isprintable() or c in keep else "?" for c in text[:2000])
