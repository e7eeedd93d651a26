"""Names on a command line become records with their evidence; the one table of which record has which folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from npuwatt import units
from npuwatt.device.evaluate import KINDS, Device, device_type
from npuwatt.errors import NpuwattError, PresetError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.preset.evidence import Evidence
from npuwatt.preset.load import Document, Loaded, read_record
from npuwatt.preset.paths import changed
from npuwatt.record import Record
from npuwatt.workload.network import Network, Transformer

if TYPE_CHECKING:
    from npuwatt.datacenter.carbon import Embodied, Grid, Grids
    from npuwatt.datacenter.cooling import Cooling
    from npuwatt.datacenter.facility import Facility
    from npuwatt.datacenter.tco import Money, Prices
    from npuwatt.device.stack import Stack
    from npuwatt.handset.duty import Profile
    from npuwatt.handset.network import Handset

T = TypeVar("T", bound=Record)


class Chosen(Record, Generic[T]):
    """A record by the name it was asked for, the preset behind it, and what is known of its numbers."""

    typed: str
    preset: library.Preset
    record: T
    evidence: dict[str, Evidence]
    citations: dict[str, str]
    is_changed: bool = False  # by --set or other constants: then it is no longer the device that was measured

    @property
    def trust(self) -> str:
        """calibrated, datasheet or projected; a changed device is a projection whatever its preset was."""
        return "projected" if self.is_changed else self.preset.header("evidence")


def _sources_for(document: Document) -> dict[str, dict[str, str]]:
    """Built-in citations, and those that a user's preset brings along under `sources:`."""
    own = document.tree.get("sources", {})
    known = dict(library.sources())
    if not isinstance(own, dict):
        raise PresetError(
            f"{document.at('sources')}: {shown(own)} given; expected a mapping of keys to citations"
        )
    for key, entry in own.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("cite"), str):
            raise PresetError(
                f"{document.at(f'sources.{key}')}: {shown(entry)} given; expected {{cite: TEXT}}"
            )
        known[key] = {"quality": "assumed"} | {name: str(text) for name, text in entry.items()}
    return known


def _choose(
    typed: str,
    preset: library.Preset,
    kind: type[T],
    document: Document,
    faults: Sequence[tuple[str, str]] = (),
) -> Chosen[T]:
    known = _sources_for(document)
    qualities = {key: entry["quality"] for key, entry in known.items()}
    loaded: Loaded[T] = read_record(document, kind, qualities, faults)
    used = {item.source for item in loaded.evidence.values()}
    return Chosen(
        typed=typed,
        preset=preset,
        record=loaded.record,
        evidence=loaded.evidence,
        citations={key: known[key]["cite"] for key in sorted(used) if key in known},
        is_changed=document is not preset.document,
    )


def load_device(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Device]:
    """A device by name or path; `changes` are `ADDRESS=VALUE` edits of its own addresses."""
    preset = library.find("devices", typed, folders)
    kind = preset.header("kind")
    record = device_type(kind)
    if record is None:
        close = did_you_mean(kind, KINDS) or f"; expected one of {', '.join(KINDS)}"
        raise PresetError(f"{preset.document.at('kind')}: {shown(kind)} given{close}")
    faults = []
    if preset.header("evidence") not in library.EVIDENCE_CLASSES:
        given, expected = shown(preset.header("evidence")), ", ".join(library.EVIDENCE_CLASSES)
        faults.append(("evidence", f"{given} given; expected one of {expected}"))
    return _choose(typed, preset, record, changed(preset.document, changes, f"devices.{typed}"), faults)


def implausible(chosen: Chosen[T], changes: Sequence[str], owner: str) -> list[str]:
    """Changes whose value lies outside the range that the preset gives for that number, with its source.

    `owner` is what its addresses start with: devices.gpu, stack.
    """
    if not changes:
        return []
    before = read_record(
        chosen.preset.document, type(chosen.record), _qualities(chosen.preset.document)
    ).evidence
    found = []
    for address in (change.partition("=")[0] for change in changes):
        known, now = (
            before.get(address),
            chosen.evidence[address].value if address in chosen.evidence else None,
        )
        if known and now is not None and not known.low <= now <= known.high:
            given, low, high = (
                units.show_usual(value, units.si_unit(known.suffix), is_celsius=known.is_celsius)
                for value in (now, known.low, known.high)
            )
            found.append(
                f"{owner}.{address}: {given} is outside {low} .. {high} ({known.quality}, {known.source})"
            )
    return found


def _qualities(document: Document) -> dict[str, str]:
    return {key: entry["quality"] for key, entry in _sources_for(document).items()}


def load_network(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Network]:
    """A network by short name, Hugging Face id, preset path or path of a config.json."""
    preset = _config_preset(typed) if typed.endswith(".json") else library.find("networks", typed, folders)
    kind = preset.header("kind")
    record: Any = Transformer
    if kind == "convnet":
        from npuwatt.workload.convnet import ConvNet

        record = ConvNet
    elif kind != "transformer":
        expected = "; expected transformer or convnet"
        raise PresetError(f"{preset.document.at('kind')}: {shown(kind)} given{expected}")
    return _choose(typed, preset, record, changed(preset.document, changes, "network"))


def _config_preset(path: str) -> library.Preset:
    """A Hugging Face config.json as the preset that an import of it would write."""
    import os

    from npuwatt.preset.load import parse_yaml, read_bytes
    from npuwatt.workload.huggingface import imported

    content = read_bytes(os.path.expanduser(path))
    document = parse_yaml(imported(content, path).encode(), path)
    return library.Preset(
        name=str(document.tree.get("name", path)),
        folder="networks",
        document=document,
        origin=path,
        sha256=library.content_hash(content),
    )


def _of_kind(
    kind: Any, typed: str, preset: library.Preset, owner: str, changes: Sequence[str]
) -> Chosen[Any]:
    """A preset of a folder that holds one kind of record."""
    given = preset.header("kind")
    if given != kind.kind:
        raise PresetError(f"{preset.document.at('kind')}: {shown(given)} given; expected {kind.kind}")
    return _choose(typed, preset, kind, changed(preset.document, changes, owner))


def load_stack(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Stack]:
    """Serving software by name or path; `changes` are `ADDRESS=VALUE` edits of its own addresses."""
    from npuwatt.device.stack import Stack

    return _of_kind(Stack, typed, library.find("stacks", typed, folders), "stack", changes)


def load_datacenter(
    typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()
) -> Chosen[Facility]:
    """A hall by name or path; `changes` are `ADDRESS=VALUE` edits of its own addresses."""
    from npuwatt.datacenter.facility import Facility

    return _of_kind(Facility, typed, library.find("datacenters", typed, folders), "datacenter", changes)


def load_handset(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Handset]:
    """A phone or its like by name or path; `changes` are `ADDRESS=VALUE` edits of its own addresses."""
    from npuwatt.handset.network import Handset

    return _of_kind(Handset, typed, library.find("handsets", typed, folders), "handset", changes)


def load_profile(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Profile]:
    """What is noticed and answered all day, by name or path; `changes` are `ADDRESS=VALUE` edits of its addresses."""
    from npuwatt.handset.duty import Profile

    return _of_kind(Profile, typed, library.find("profiles", typed, folders), "profile", changes)


def load_cooling() -> Chosen[Cooling]:
    """What halls have to choose from: rungs of cooling, climates, uses of water."""
    from npuwatt.datacenter.cooling import Cooling

    return load_constants("cooling", Cooling)


def load_money() -> Chosen[Money]:
    """What capital, halls, people and energy cost where a question does not say."""
    from npuwatt.datacenter.tco import Money

    return load_constants("money", Money)


def load_prices() -> Chosen[Prices]:
    """What devices are sold and rented for, by name of their presets."""
    from npuwatt.datacenter.tco import Prices

    return load_constants("prices", Prices)


def load_embodied() -> Chosen[Embodied]:
    """Carbon of making accelerators, servers, dies and memory."""
    from npuwatt.datacenter.carbon import Embodied

    return load_constants("embodied", Embodied)


def load_grids(typed: str, *, folders: Iterable[str] = ()) -> Chosen[Grids]:
    """A whole table of regions by name or path."""
    from npuwatt.datacenter.carbon import Grids

    return _of_kind(Grids, typed, library.find("grids", typed, folders), "grid", ())


def load_grid(typed: str, *, changes: Sequence[str] = (), folders: Iterable[str] = ()) -> Chosen[Grid]:
    """A region by name, code or path of a preset of its own; `changes` are `ADDRESS=VALUE` edits of its addresses.

    A state or a cloud region takes the tariff and the water of its country.
    """
    from npuwatt.datacenter.carbon import Grid
    from npuwatt.preset.regions import find_region

    return _of_kind(Grid, typed, find_region(typed, folders), "grid", changes)


def load_constants(name: str, kind: type[T], *, changes: Sequence[str] = ()) -> Chosen[T]:
    """A set of numbers that belong to no device; `changes` are `ADDRESS=VALUE` edits of its addresses."""
    preset = library.find("constants", name)
    return _choose(name, preset, kind, changed(preset.document, changes, name))


def changes_by_owner(
    changes: Sequence[str], devices: Sequence[str], *, has_stack: bool = False
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """`--set ADDRESS=VALUE` texts without their owner: those of each device, of the network, and of the stack."""
    by_device: dict[str, list[str]] = {name: [] for name in devices}
    of_network: list[str] = []
    of_stack: list[str] = []
    for change in changes:
        address, equals, value = change.partition("=")
        if not equals or not value:
            raise NpuwattError(
                f"--set {shown(change)}: expected ADDRESS=VALUE, as in devices.gpu.power_cap=500W"
            )
        owner, path = split_address(address.strip(), devices, has_stack=has_stack)
        if address.strip().startswith("devices."):  # whatever its name is, so even one called 'stack'
            by_device[owner].append(f"{path}={value}")
        else:
            (of_network if owner == "network" else of_stack).append(f"{path}={value}")
    return by_device, of_network, of_stack


def split_address(address: str, devices: Sequence[str], *, has_stack: bool = False) -> tuple[str, str]:
    """`devices.gpu.levels.dram.bandwidth` -> ('gpu', 'levels.dram.bandwidth'); network addresses likewise, and
    `stack.step_time` -> ('stack', 'step_time') where a stack was chosen."""
    for owner in ("network", "stack") if has_stack else ("network",):
        if address.startswith(f"{owner}."):
            return owner, address.removeprefix(f"{owner}.")
    for name in sorted(set(devices), key=len, reverse=True):
        if address.startswith(f"devices.{name}."):
            return name, address.removeprefix(f"devices.{name}.")
    known = [*(f"devices.{name}" for name in devices), *(("stack",) if has_stack else ())]
    near = did_you_mean(".".join(address.split(".")[:2]), known, cutoff=0.8)
    if address.startswith("stack.") and not has_stack:
        near = f"; expected one under {', '.join(known)}, or --serving, which has a stack"
    raise NpuwattError(
        f"unknown address {shown(address)}{near or '; expected one under ' + ', '.join(known)}"
    )
