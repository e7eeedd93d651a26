"""Grids: one region out of the tables that hold many, as a preset of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from npuwatt.errors import PresetError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.preset.load import Document
from npuwatt.record import replace

_OF_COUNTRY = (
    "tariff",
    "water",
)  # what a state or a cloud region has from its country unless it says its own


def find_region(name: str, folders: Iterable[str] = ()) -> library.Preset:
    """The region that a key, a code or a name means, in any case; or a preset of one by its path or in `folders`.

    Raises
    ------
    PresetError
        No such region; the nearest name.
    """
    folders = tuple(folders)
    if library.is_path(name) or library.user_file("grids", name, folders) is not None:
        return library.find("grids", name, folders)
    tables = [library.find("grids", table) for table in library.index()["grids"]]
    known = {key: (table, key) for table in tables for key in table.document.tree["regions"]}
    names = {key.lower(): key for key in known}
    for table, key in known.values():
        for other in ("code", "name"):
            names.setdefault(str(_region(table, key).get(other, key)).lower(), key)
    if name.lower() not in names:
        near = did_you_mean(name, names) or "; expected a country, a state of the USA or a cloud region"
        raise PresetError(f"unknown region {shown(name)}{near}")
    table, key = known[names[name.lower()]]
    document = _alone(table.document, key)
    country = names.get(str(document.tree.get("country", "")).lower())
    if country is not None:
        of_country = _alone(known[country][0].document, country).tree
        lent = {part: of_country[part] for part in _OF_COUNTRY if part in of_country}
        document = replace(document, tree=lent | document.tree)
    return replace(table, name=key, document=document)


def regions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and plain data of each built-in region."""
    for table in library.index()["grids"]:
        yield from library.find("grids", table).document.tree["regions"].items()


def _region(table: library.Preset, key: str) -> dict[str, Any]:
    found: dict[str, Any] = table.document.tree["regions"][key]
    return found


def _alone(table: Document, key: str) -> Document:
    """One region under the header of its table, with its own lines."""
    header = {name: value for name, value in table.tree.items() if name != "regions"}
    prefix = f"regions.{key}."
    lines = {
        address.removeprefix(prefix): line
        for address, line in table.lines.items()
        if address.startswith(prefix)
    }
    return Document(
        tree=header | table.tree["regions"][key] | {"kind": "grid"}, lines=lines, label=table.label
    )
