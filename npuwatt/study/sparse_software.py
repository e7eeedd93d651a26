"""Which software turns pruned weights into time on a device, and since when it no longer does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.record import Record
from npuwatt.study.pruning import Pattern, check_pattern, load_measured
from npuwatt.workload.request import WIDTHS, Width

_ORDER = ("supported", "dropped", "never")
_DATE = re.compile(r"20\d\d(-[01]\d(-[0-3]\d)?)?", re.ASCII)


class DeviceGroup(Record):
    """Devices by the class in their presets and by how their names there start."""

    classes: tuple[str, ...]
    names: tuple[str, ...] = ()  # none: all of these classes
    but_not: tuple[str, ...] = ()  # starts of words in the names of devices that cannot


class SoftwarePath(Record):
    """A piece of software that prunes, stores or runs weights with zeros, and how it stands."""

    software: str
    role: Literal["prunes", "stores", "runs"]
    patterns: tuple[Pattern, ...]
    devices: str  # a name of the groups
    status: Literal["supported", "dropped", "never"]
    source: str
    as_of: str = ""  # dropped then, or last seen then
    version: str = ""
    weights: tuple[Width, ...] = ()  # none: its source names none
    note: str = ""

    def __post_init__(self) -> None:
        if self.as_of and not _DATE.fullmatch(self.as_of):
            raise NpuwattError(f"as_of: {shown(self.as_of)} given; expected a date like 2026-03-17 or 2026")
        if not (self.as_of or (self.version and self.status == "supported")):
            raise NpuwattError(f"as_of: no date given; expected one for what is {self.status}")


class SparseSoftware(Record):
    """All that is known of software for pruned weights."""

    devices: Mapping[str, DeviceGroup]
    paths: Mapping[str, SoftwarePath]

    kind: ClassVar[Literal["sparse-software"]] = "sparse-software"

    def __post_init__(self) -> None:
        for name, path in self.paths.items():
            if path.devices not in self.devices:
                close = did_you_mean(path.devices, self.devices)
                expected = close or f"; expected one of {', '.join(self.devices)}"
                raise NpuwattError(f"paths: {name}: devices: {shown(path.devices)} given{expected}")


class SoftwareStatus(Record):
    """How one piece of software stands on a device, for a pattern and a type of weights."""

    path: SoftwarePath
    cite: str

    @property
    def runs(self) -> bool:
        """Whether it turns zeros into time today."""
        return self.path.role == "runs" and self.path.status == "supported"


def software_status(
    device: str, pattern: str, weights: str, *, folders: Sequence[str] = ()
) -> list[SoftwareStatus]:
    """Software known for a device, a pattern and a type of weights: what is supported first.

    `device` is a class of devices as presets name it, or a device. Nothing for a device means that nobody states
    anything; what software there is for others is not guessed to run on it.

    Raises
    ------
    RequestError
        An unknown pattern or type of weights.
    PresetError
        An unknown device.
    """
    check_pattern(pattern)
    if weights not in WIDTHS:
        raise RequestError(f"weights: {shown(weights)} given; expected one of {', '.join(WIDTHS)}")
    book = load_measured("sparse-software", SparseSoftware).record
    name, kin = _described(device, book, folders)
    sources = library.sources()
    found = [
        SoftwareStatus(path=path, cite=sources[path.source]["cite"])
        for path in book.paths.values()
        if pattern in path.patterns
        and (not path.weights or weights in path.weights)
        and _is_in(book.devices[path.devices], name, kin)
    ]
    return sorted(found, key=lambda one: (_ORDER.index(one.path.status), one.path.role != "runs"))


def software_sentences(statuses: Sequence[SoftwareStatus], device: str, pattern: str) -> list[str]:
    """Whether there is a way to run a pattern on a device, then a line for each piece of software."""
    if any(one.runs for one in statuses):
        first = f"{pattern} on {device}: a supported path exists"
    elif any(one.path.role == "runs" for one in statuses):
        first = f"{pattern} on {device}: no supported path"
    else:
        first = f"{pattern} on {device}: no path known"
    return [first, *(_sentence(one.path) for one in statuses)]


def _sentence(path: SoftwarePath) -> str:
    does = {"prunes": "prunes", "stores": "stores", "runs": "runs it"}[path.role]
    version = f" ({path.version})" if path.version else ""
    status = {
        "supported": f"supported{f' as of {path.as_of}' if path.as_of else ''}",
        "dropped": f"dropped {path.as_of}",
        "never": f"not supported as of {path.as_of}",
    }[path.status]
    return f"{path.software} ({does}): {status}{version}{f'; {path.note}' if path.note else ''}"


def _described(device: str, book: SparseSoftware, folders: Sequence[str]) -> tuple[str, str]:
    """Name and class of a device; a class alone has no name."""
    classes = {entry.get("class", "") for entry in library.index()["devices"].values()}
    classes.update(kin for group in book.devices.values() for kin in group.classes)
    if device in classes:
        return "", device
    preset = library.find("devices", device, folders)
    return preset.header("name"), preset.header("class")


def _is_in(group: DeviceGroup, name: str, kin: str) -> bool:
    """Whether a device belongs to a group; a class without a name, whether some device of it does."""
    if kin not in group.classes:
        return False
    if not name or not group.names:
        return True
    return name.startswith(group.names) and not any(f" {word}" in f" {name}" for word in group.but_not)
