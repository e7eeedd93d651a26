"""Preset files to frozen records by their type hints, with every fault of a file at once."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from npuwatt import units
from npuwatt.errors import NpuwattError, PresetError, did_you_mean, shown
from npuwatt.preset.evidence import QUALITIES, SPREAD, Evidence
from npuwatt.record import Record, is_required, names_of

T = TypeVar("T", bound=Record)
MOST_BYTES = 1_000_000
MOST_DEPTH = 16
MOST_FAULTS = 20
_INT = r"[+-]?(0|[1-9]\d{0,17})"
_FLOAT = r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d{1,4})?"
_PLAIN: dict[str, Any] = {"Real": float, "float": float, "int": int, "bool": bool, "str": str}
_LEAF_KEYS = ("value", "low", "high", "source", "quality", "where")
HEADER_KEYS = (
    "kind", "name", "about", "evidence", "class", "aliases", "source", "quality", "where", "sources", "calibration",
)  # fmt: skip


class Document(Record):
    """A preset file as plain data, with the line of each address."""

    tree: dict[str, Any]
    lines: Mapping[str, int] = {}
    label: str = ""  # what error lines call it: a path, or the name of a built-in preset
    edits: Mapping[str, str] = {}  # changed addresses, and what error lines call each

    def at(self, address: str) -> str:
        """`file:line: address` for an error line; the nearest line above where the address itself has none."""
        for edited, label in self.edits.items():
            if address == edited or address.startswith(f"{edited}.") or edited.startswith(f"{address}."):
                return label
        probe = address
        while probe and probe not in self.lines:
            probe = probe.rpartition(".")[0]
        line = f":{self.lines[probe]}" if probe in self.lines else ""
        return f"{self.label}{line}: {address}" if address else f"{self.label}{line}"


class Loaded(Record, Generic[T]):
    """A record and what is known of each of its numbers, by address."""

    record: T
    evidence: dict[str, Evidence]


def read_bytes(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The content of a plain file of at most `most` bytes; anything else is a PresetError of one line."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise PresetError(f"{path}: is a directory; expected a file")
        if not stat.S_ISREG(status.st_mode):
            raise PresetError(f"{path}: is not a plain file; expected one")
        if status.st_size > most:
            raise PresetError(f"{path}: is {status.st_size / 1e6:.0f} MB; expected at most {most / 1e6:g} MB")
        with open(path, "rb") as stream:
            return stream.read(most + 1)[:most]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be opened"
        raise PresetError(f"{path}: {reason.lower()}; expected a readable file") from error


def read_yaml(path: str | os.PathLike[str], label: str = "") -> Document:
    """One YAML file as data: no tags, no anchors, no duplicate keys, one mapping."""
    return parse_yaml(read_bytes(path), label or str(path))


def parse_yaml(content: bytes, label: str) -> Document:
    """YAML text as data; `label` opens each error line."""
    import yaml

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PresetError(f"{label}: is not UTF-8 text; expected a YAML preset") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    lines: dict[str, int] = {}
    try:
        events = yaml.parse(text, Loader=loader)
        tree = _Builder(iter(events), lines, label).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        raise PresetError(f"{label}{line}: {problem}; expected a YAML mapping") from error
    if not isinstance(tree, dict):
        given = "nothing" if tree is None else shown(tree)
        raise PresetError(f"{label}: holds {given}; expected a mapping of keys to values")
    return Document(tree=tree, lines=lines, label=label)


class _Builder:
    """Events of a YAML parser -> plain data. What YAML can do beyond plain data is refused by name."""

    def __init__(self, events: Any, lines: dict[str, int], label: str) -> None:
        self.events, self.lines, self.label = events, lines, label

    def document(self) -> Any:
        import yaml

        tree = None
        seen = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    self.refuse(event, "a second document", "one document")
                tree = self.node(next(self.events), "", 0)
        return tree

    def refuse(self, event: Any, what: str, wanted: str) -> None:
        raise PresetError(f"{self.label}:{event.start_mark.line + 1}: {what}; expected {wanted}")

    def node(self, event: Any, address: str, depth: int) -> Any:
        import yaml

        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.refuse(event, "an anchor or alias", "plain YAML data")
        if getattr(event, "tag", None):
            self.refuse(event, f"the tag {shown(event.tag)}", "plain YAML data")
        if depth > MOST_DEPTH:
            self.refuse(event, f"nested deeper than {MOST_DEPTH} levels", "a flat preset")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(address, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            found: list[Any] = []
            for item in self.events:
                if isinstance(item, yaml.SequenceEndEvent):
                    break
                here = f"{address}.{len(found)}"
                self.lines[here] = item.start_mark.line + 1
                found.append(self.node(item, here, depth + 1))
            return found
        return scalar(event.value, plain=event.implicit[0])

    def mapping(self, address: str, depth: int) -> dict[str, Any]:
        import yaml

        found: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
                self.refuse(event, "a key that is not plain text", "a name")
            key = event.value
            if key in found:
                self.refuse(event, f"the key {shown(key)} stands twice", "each key once")
            if not re.fullmatch(r"[A-Za-z0-9_\-]{1,100}", key):
                self.refuse(event, f"the key {shown(key)}", "letters, digits, dashes and underscores")
            here = f"{address}.{key}" if address else key
            self.lines[here] = event.start_mark.line + 1
            found[key] = self.node(next(self.events), here, depth + 1)
        return found


def scalar(text: str, *, plain: bool) -> Any:
    """A YAML scalar: numbers, true, false and null where it is unquoted and looks so; else text."""
    if not plain:
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "null", "~"):
        return None
    if re.fullmatch(_INT, text, re.ASCII):
        return int(text)
    if re.fullmatch(_FLOAT, text, re.ASCII):
        return float(text)
    return text


class Reader:
    """Walks the type hints of any record; collects evidence and faults by address."""

    def __init__(self, sources: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
        self.sources = sources  # key -> quality that numbers of that source have unless they say otherwise
        self.defaults = {key: defaults.get(key) for key in ("source", "quality", "where")}
        self.evidence: dict[str, Evidence] = {}
        self.faults: list[tuple[str, str]] = []
        self.blocked = 0
        self.described: dict[type[Record], tuple[dict[str, Any], dict[str, str]]] = {}

    def fault(self, address: str, message: str) -> None:
        """Note a fault that leaves a value to go on with, so that the checks behind it still run."""
        self.faults.append((address, message))

    def block(self, address: str, message: str) -> None:
        """Note a fault that leaves no value."""
        self.fault(address, message)
        self.blocked += 1

    def record(self, tree: Any, kind: type[T], address: str = "", skip: tuple[str, ...] = ()) -> T | None:
        """`tree` as a record of `kind`, or None with the faults noted."""
        if not isinstance(tree, dict):
            self.block(address, f"{shown(tree)} given; expected a mapping of keys to values")
            return None
        if kind not in self.described:
            self.described[kind] = _described(kind)
        hints, known = self.described[kind]
        told = {key: tree[key] for key in self.defaults if key in tree and key not in (*known, *skip)}
        if told and address:  # of all numbers inside
            outside = self.defaults
            self.defaults = (dict.fromkeys(outside) if "source" in told else outside) | told
            try:
                return self.record(tree, kind, address, (*skip, *told))
            finally:
                self.defaults = outside
        before = self.blocked
        for key in tree:
            if key not in known and key not in skip:
                here = f"{address}.{key}" if address else key
                self.fault(here, f"unknown key{did_you_mean(key, known) or '; expected ' + _listed(known)}")
        values: dict[str, Any] = {}
        for key, name in known.items():
            here = f"{address}.{key}" if address else key
            if key in tree:
                values[name] = self.value(tree[key], hints[name], name, here)
            elif is_required(kind, name):
                self.block(address, f"has no '{key}', and {kind.__name__} needs one")
        if self.blocked > before:
            return None
        try:
            return kind(**values)
        except NpuwattError as error:
            for message in error.faults:
                name, _, rest = message.partition(": ")
                inner = f"{address}.{name}".lstrip(".") if rest and units.key_of(name) in known else address
                self.block(inner, rest if inner != address else message)
            return None

    def value(self, tree: Any, hint: Any, name: str, address: str) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if isinstance(tree, dict) and "value" in tree and (origin is Literal or hint in (bool, str)):
            tree = tree["value"]
        if origin is Union or type(None) in arguments:
            inner = next(argument for argument in arguments if argument is not type(None))
            return None if tree is None else self.value(tree, inner, name, address)
        if origin is Literal:
            if tree not in arguments or isinstance(tree, bool):
                self.block(address, f"{shown(tree)} given; expected one of {', '.join(map(str, arguments))}")
            return tree
        if origin is tuple:
            if not isinstance(tree, list) or len(tree) > 10_000:
                self.block(address, f"{shown(tree)} given; expected a list")
                return None
            return tuple(
                self.value(item, arguments[0], name, f"{address}.{i}") for i, item in enumerate(tree)
            )
        if origin is not None:  # Mapping[str, X]
            if not isinstance(tree, dict) or not tree:
                self.block(address, f"{shown(tree)} given; expected a mapping with at least one entry")
                return None
            return {
                key: self.value(item, arguments[1], name, f"{address}.{key}") for key, item in tree.items()
            }
        if hint is bool or hint is str:
            if not isinstance(tree, hint):
                self.block(
                    address, f"{shown(tree)} given; expected {'true or false' if hint is bool else 'text'}"
                )
            return tree
        if hint is int or hint is float:
            return self.number(tree, hint, units.suffix_of(name), address)
        return self.record(tree, hint, address)

    def number(self, tree: Any, hint: type, suffix: str, address: str) -> Any:
        """One leaf: a quantity, or a mapping of value, range and source."""
        leaf = tree if isinstance(tree, dict) else {"value": tree}
        for key in leaf:
            if key not in _LEAF_KEYS:
                self.fault(
                    f"{address}.{key}",
                    f"unknown key{did_you_mean(key, _LEAF_KEYS) or '; expected ' + _listed(_LEAF_KEYS)}",
                )
        if "value" not in leaf:
            self.block(address, "has no 'value', and a number needs one")
            return None
        found: dict[str, float] = {}
        for key in ("value", "low", "high"):
            if key in leaf:
                try:
                    found[key] = _number(leaf[key], hint, suffix)
                except NpuwattError as error:
                    if key == "value":
                        self.block(address, str(error))
                    else:
                        self.fault(f"{address}.{key}", str(error))
        if "value" not in found:
            return None
        if suffix == "_fraction" and not 0 <= found["value"] <= 1:  # a record that takes no 0 says so
            self.block(address, f"{found['value']:g} given; expected a share from 0 to 1")
            return None
        self.note(leaf, found, suffix, address, exact=hint is int)
        return found["value"]

    def note(
        self, leaf: dict[str, Any], found: dict[str, float], suffix: str, address: str, *, exact: bool
    ) -> None:
        """File range, source and quality of one number; a number that has none is a fault."""
        own = "source" in leaf
        source = leaf.get("source", self.defaults["source"])
        quality = leaf.get("quality", None if own else self.defaults["quality"])
        where = leaf.get("where", "" if own else self.defaults["where"]) or ""
        if source is None:
            self.fault(address, "has no source; expected 'source: KEY' beside it or at the top of the file")
            return
        if not isinstance(source, str) or (source != "assumed" and source not in self.sources):
            close = did_you_mean(str(source), (*self.sources, "assumed"))
            self.fault(
                address,
                f"unknown source {shown(source)}{close or '; expected a key of sources.yaml, or assumed'}",
            )
            return
        quality = quality or ("assumed" if source == "assumed" else self.sources[source])
        if quality not in QUALITIES:
            self.fault(address, f"quality {shown(quality)} given; expected one of {', '.join(QUALITIES)}")
            return
        if source == "assumed" and not where:
            self.fault(address, "is assumed without a reason; expected 'where: WHY' beside it")
        value = found["value"]
        spread = 1.0 if exact else SPREAD[quality]
        low, high = sorted((value / spread, value * spread))
        if suffix == "_fraction":
            high = max(min(high, 1.0), value)
        low, high = found.get("low", low), found.get("high", high)
        if not low <= value <= high:
            self.fault(address, "value outside its range; expected low <= value <= high")
        self.evidence[address] = Evidence(
            value=value, low=low, high=high, source=source, quality=quality, where=str(where), suffix=suffix,
            stated_range="low" in found or "high" in found,
            is_celsius=suffix == "_k" and str(leaf["value"]).rstrip().endswith("degC"),
        )  # fmt: skip


def _described(kind: type[Record]) -> tuple[dict[str, Any], dict[str, str]]:
    """Type hints of a record's fields, with columns left out, and the fields by preset key."""
    hints = {name: _PLAIN.get(text) for name, text in kind.__annotations__.items()}
    if None in hints.values():  # more than plain kinds: worth what typing takes to resolve them
        hints = get_type_hints(kind, localns={"Real": float, "Array": float})
    return hints, {units.key_of(name): name for name in names_of(kind)}


def _listed(known: Any) -> str:
    return "one of " + ", ".join(known)


def _number(given: Any, hint: type, suffix: str) -> float:
    """One number of a leaf, in SI."""
    if hint is int:
        if isinstance(given, bool) or not isinstance(given, int):
            raise NpuwattError(f"{shown(given)} given; expected a whole number")
        return given
    if suffix:
        return units.parse(given, suffix)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise NpuwattError(f"{shown(given)} given; expected a plain number")
    return float(given)


def read_record(
    document: Document,
    kind: type[T],
    sources: Mapping[str, str],
    known_faults: Sequence[tuple[str, str]] = (),
) -> Loaded[T]:
    """A document as a record of `kind`; its header keys are the library's business and skipped here.

    Raises PresetError with every fault of the document, a line each; `known_faults` of its header first.
    """
    reader = Reader(sources, document.tree)
    reader.faults += known_faults
    record = reader.record(document.tree, kind, skip=HEADER_KEYS)
    if reader.faults or record is None:
        lines = [f"{document.at(address)}: {message}" for address, message in reader.faults[:MOST_FAULTS]]
        if len(reader.faults) > MOST_FAULTS:
            lines.append(f"{document.label}: and {len(reader.faults) - MOST_FAULTS} more faults")
        raise PresetError(*lines)
    return Loaded(record=record, evidence=reader.evidence)
