"""What presets hold: every number of one traced to its source, and the checks that all of them pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npuwatt import units
from npuwatt.datacenter.carbon import Embodied
from npuwatt.datacenter.cooling import Cooling
from npuwatt.datacenter.facility import hall_faults
from npuwatt.datacenter.planning import Planning
from npuwatt.datacenter.tco import Money, Prices
from npuwatt.device.macro import MacroConstants
from npuwatt.errors import NpuwattError, PresetError, did_you_mean
from npuwatt.handset.network import Decoding
from npuwatt.preset import library
from npuwatt.preset.evidence import Evidence
from npuwatt.preset.regions import find_region
from npuwatt.record import Record
from npuwatt.study.article import Constants
from npuwatt.study.confidence import NeverMeasured
from npuwatt.study.scenario import (
    Chosen,
    load_constants,
    load_cooling,
    load_datacenter,
    load_device,
    load_grid,
    load_grids,
    load_handset,
    load_network,
    load_profile,
    load_stack,
)
from npuwatt.workload.network import Network
from npuwatt.workload.parameters import parameter_count

PARAMETERS_WITHIN = 0.01
_CONSTANTS: dict[str, type[Record]] = {
    "interval": NeverMeasured,
    "cim-chips": MacroConstants,
    "cooling": Cooling,
    "money": Money,
    "prices": Prices,
    "embodied": Embodied,
    "planning": Planning,
    "phone-decoding": Decoding,
}
_FOLDER_OF = {
    "transformer": "networks",
    "convnet": "networks",
    "stack": "stacks",
    "constants": "constants",
    "datacenter": "datacenters",
    "handset": "handsets",
    "profile": "profiles",
    "interval": "constants",
    "cooling": "constants",
    "money": "constants",
    "prices": "constants",
    "embodied": "constants",
    "planning": "constants",
    "phone-decoding": "constants",
    "grid": "grids",
    "grids": "grids",
    "cim-chips": "constants",
}


class Check(Record):
    """One preset held against the rules; `faults` is empty where all hold."""

    name: str
    folder: str
    numbers: int
    qualities: dict[str, int]
    faults: tuple[str, ...]


def show_preset(name: str, *, presets: Sequence[str] = ()) -> Chosen[Any]:
    """A device, network, stack or set of constants by name or path, with the evidence of each number.

    Raises
    ------
    PresetError
        No preset has this name; its text names the nearest.
    """
    return _loaded(_folder_of(name, presets), name, presets)


def _loaded(folder: str, name: str, presets: Sequence[str] = ()) -> Chosen[Any]:
    if folder == "networks":
        return load_network(name, folders=presets)
    if folder == "stacks":
        return load_stack(name, folders=presets)
    if folder == "datacenters":
        return load_datacenter(name, folders=presets)
    if folder == "handsets":
        return load_handset(name, folders=presets)
    if folder == "profiles":
        return load_profile(name, folders=presets)
    if folder == "grids":
        load = load_grids if _found(folder, name, presets).header("kind") == "grids" else load_grid
        return load(name, folders=presets)
    if folder == "constants":
        kind = library.find("constants", name, presets).header("kind")
        return load_constants(name, _CONSTANTS.get(kind, Constants))
    return load_device(name, folders=presets)


def _folder_of(name: str, presets: Sequence[str]) -> str:
    """The folder a name belongs to; a path says it by its `kind:`."""
    if name.endswith(".json"):
        return "networks"
    faults = []
    for folder in library.FOLDERS:
        try:
            preset = _found(folder, name, presets)
        except PresetError as error:
            faults.append(error)
            if library.is_path(name):
                raise
            continue
        return _FOLDER_OF.get(preset.header("kind"), "devices")
    told = [fault for error in faults for fault in error.faults if "did you mean" in fault]
    close = did_you_mean(name, [fault.split("'")[-2] for fault in told], cutoff=0.0)  # of all folders
    raise PresetError(next((fault for fault in told if fault.endswith(close)), faults[0].faults[0]))


def _found(folder: str, name: str, presets: Sequence[str]) -> library.Preset:
    if folder == "grids" and name not in library.index()["grids"]:
        return find_region(name, presets)
    return library.find(folder, name, presets)


def check_presets(paths: Sequence[str] = (), *, presets: Sequence[str] = ()) -> list[Check]:
    """Read every preset given, or every built-in one and those of the user's folders.

    A preset is sound if each number has a unit, a source that exists and a quality, lies within
    its range, and, for a network, its parameters come to the published total within 1 % or within
    the stated bounds of a rounded one; a hall asks for a rung, a climate, a use of water and a coolant
    that the table of cooling has.

    Raises
    ------
    PresetError
        A preset cannot be read at all, with every fault of it.
    """
    if paths:
        return [_checked(show_preset(path, presets=presets)) for path in paths]
    checks = []
    for folder, entries in library.index().items():
        for name in entries:
            checks.append(_checked(_loaded(folder, name)))
    for base in presets:
        for path in sorted(
            one for one in Path(base).rglob("*.yaml") if one.is_file() and one.name != "sources.yaml"
        ):
            checks.append(_checked(show_preset(str(path.absolute()), presets=presets)))
    return checks


def _checked(chosen: Chosen[Any]) -> Check:
    faults: list[str] = []
    qualities: dict[str, int] = {}
    for item in chosen.evidence.values():
        qualities[item.quality] = qualities.get(item.quality, 0) + 1
    if chosen.record.kind in ("transformer", "convnet"):
        faults += _parameter_faults(chosen)
    if chosen.record.kind == "datacenter":
        for fault in hall_faults(chosen.record, load_cooling().record):
            address, _, rest = fault.partition(": ")
            faults.append(f"{chosen.preset.document.at(address)}: {rest}")
    faults += _copied_faults(chosen)
    aliases = chosen.preset.document.tree.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        faults.append(f"{chosen.preset.document.at('aliases')}: expected a list of names in quotes")
    return Check(
        name=chosen.preset.name,
        folder=chosen.preset.folder,
        numbers=len(chosen.evidence),
        qualities=dict(sorted(qualities.items())),
        faults=tuple(faults),
    )


def _copied_faults(chosen: Chosen[Any]) -> list[str]:
    """Numbers that were changed in a copy of a built-in preset and still stand under its sources.

    A user's file is a copy of the built-in preset that more than half of its sourced numbers are in, each under the
    same source and place in it.
    """
    own = chosen.evidence
    if chosen.preset.origin == "built-in" or chosen.preset.folder not in library.index():
        return []
    kept: dict[str, float] = {}
    name, most = "", sum(item.source != "assumed" for item in own.values()) / 2
    for known in library.index()[chosen.preset.folder]:
        other = _loaded(chosen.preset.folder, known).evidence
        cited = {
            address: other[address].value
            for address, item in own.items()
            if _is_cited(item, other.get(address))
        }
        same = sum(value == own[address].value for address, value in cited.items())
        if same > most:
            name, most, kept = known, same, cited
    return [
        f"{chosen.preset.document.at(address)}: {_shown(own[address].value, own[address])} given under "
        f"'source: {own[address].source}', where {name} has {_shown(value, own[address])}; expected the source of this "
        "number, or assumed"
        for address, value in kept.items()
        if value != own[address].value
    ]


def _is_cited(item: Evidence, other: Evidence | None) -> bool:
    """Whether two numbers say that they come from the same place."""
    return (
        other is not None
        and item.source != "assumed"
        and (item.source, item.where) == (other.source, other.where)
    )


def _shown(value: float, item: Evidence) -> str:
    return units.show_usual(value, units.si_unit(item.suffix), is_celsius=item.is_celsius)


def _parameter_faults(chosen: Chosen[Network]) -> list[str]:
    published = chosen.evidence.get("published_params")
    if published is None:
        return []
    counted = parameter_count(chosen.record)
    low, high = published.value * (1 - PARAMETERS_WITHIN), published.value * (1 + PARAMETERS_WITHIN)
    if published.stated_range:
        low, high = min(low, published.low), max(high, published.high)
    if low <= counted <= high:
        return []
    off = counted / published.value - 1
    return [
        f"{chosen.preset.document.at('published_params')}: shapes make {counted:.4g}, {off:+.1%} from the published total"
    ]


def expect_parameters(network: Network, expected: float) -> None:
    """Raise NpuwattError unless a network has the parameters its reader expects, within 1 %."""
    counted = parameter_count(network)
    if abs(counted / expected - 1) > PARAMETERS_WITHIN:
        raise NpuwattError(
            f"--expect-params: {counted:,.0f} parameters counted; expected {expected:,.0f} within {PARAMETERS_WITHIN:.0%}"
        )
