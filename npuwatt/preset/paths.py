"""One number by its address: changed as text before a preset is read, or replaced in a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npuwatt import units
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.preset.load import HEADER_KEYS, Document, scalar
from npuwatt.record import Record, names_of, replace


def changed(document: Document, changes: Sequence[str], prefix: str) -> Document:
    """`document` with `ADDRESS=VALUE` edits, so that a change passes the same checks as a file."""
    if not changes:
        return document
    tree = document.tree
    edits = {}
    for change in changes:
        address, _, text = change.partition("=")
        if address.split(".")[0] in HEADER_KEYS:
            raise NpuwattError(
                f"--set {prefix}.{address}: describes the preset; expected the address of a number in it"
            )
        tree = _with_leaf(tree, address.split("."), scalar(text.strip(), plain=True), f"{prefix}.{address}")
        edits[address] = f"--set {prefix}.{address}"
    return replace(document, tree=tree, edits=edits)


def _with_leaf(tree: Any, path: list[str], value: Any, address: str) -> Any:
    if isinstance(tree, list):
        return list(_with_leaf(_entries(tree), path, value, address).values())
    if not isinstance(tree, dict):
        raise NpuwattError(
            f"--set {shown(address)}: {path[0]} is inside a single value; expected an address above it"
        )
    key, rest = path[0], path[1:]
    if rest:
        inner = tree.get(key, {})
        if isinstance(inner, list) and rest[0] not in _entries(inner):
            raise NpuwattError(f"--set {shown(address)}: names no entry{_members(_entries(inner))}")
        return tree | {key: _with_leaf(inner, rest, value, address)}
    if isinstance(tree.get(key), list):
        raise NpuwattError(f"--set {shown(address)}: names a list{_members(_entries(tree[key]))}")
    if isinstance(tree.get(key), dict) and "value" not in tree[key]:
        raise NpuwattError(f"--set {shown(address)}: names a group{_members(tree[key])}")
    return tree | {key: {"value": value, "source": "assumed", "where": "set by the user"}}


def _entries(listed: Sequence[Any]) -> dict[str, Any]:
    """The entries of a list by the keys that addresses call them: '0', '1' and so on."""
    return {str(place): item for place, item in enumerate(listed)}


def _members(group: Mapping[str, Any]) -> str:
    return f"; expected one of {', '.join(group)}" if group else ""


def value_at(record: Any, path: Sequence[str], address: str) -> tuple[Any, str]:
    """The value at a path of keys without units, and the unit suffix of its field's name."""
    value, suffix = record, ""
    for key in path:
        value, suffix = _step(value, key, suffix, address)
    return value, suffix


def _step(value: Any, key: str, suffix: str, address: str) -> tuple[Any, str]:
    if isinstance(value, tuple):
        value = _entries(value)
    if isinstance(value, Mapping):
        if key not in value:
            raise NpuwattError(
                f"unknown address {shown(address)}{did_you_mean(key, value) or _members(value)}"
            )
        return value[key], suffix
    names = {units.key_of(name): name for name in names_of(value)} if isinstance(value, Record) else {}
    if key not in names:
        near = did_you_mean(key, names) or _members(names)
        raise NpuwattError(f"unknown address {shown(address)}{near}")
    return getattr(value, names[key]), units.suffix_of(names[key])


def with_value(record: Any, path: Sequence[str], value: Any) -> Any:
    """A record with another value at a path of keys; the checks of every record on the way run again."""
    return with_values(record, {tuple(path): value})


def with_values(record: Any, changes: Mapping[tuple[str, ...], Any]) -> Any:
    """A record with other values at several paths, each record on the way made once, so that they are checked together."""
    if () in changes:
        return changes[()]
    grouped: dict[str, dict[tuple[str, ...], Any]] = {}
    for path, value in changes.items():
        grouped.setdefault(path[0], {})[path[1:]] = value
    if isinstance(record, tuple):
        return tuple(with_values(_entries(record), changes).values())
    if isinstance(record, Mapping):
        return {**record, **{key: with_values(record[key], inner) for key, inner in grouped.items()}}
    names = {units.key_of(name): name for name in names_of(record)}
    fresh = {names[key]: with_values(getattr(record, names[key]), inner) for key, inner in grouped.items()}
    return replace(record, **fresh)


def is_number_field(record: Any, path: Sequence[str]) -> bool:
    """Whether the field at a path holds a plain number that may become a column of design points."""
    if not path:
        return False
    parent = record
    for key in path[:-1]:
        parent, _ = _step(parent, key, "", ".".join(path))
    if isinstance(parent, (Mapping, tuple)):
        return True
    kinds = {units.key_of(name): kind for name, kind in type(parent).__annotations__.items()}
    return kinds.get(path[-1]) == "Real"
