"""What ships in presets: each number traced to a source, names that agree, archetypes that stand for something real."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from npuwatt.datacenter.carbon import Embodied
from npuwatt.datacenter.cooling import Cooling
from npuwatt.datacenter.planning import Planning
from npuwatt.datacenter.tco import Money, Prices
from npuwatt.device.macro import MacroConstants
from npuwatt.handset.network import Decoding
from npuwatt.preset import library
from npuwatt.preset.evidence import QUALITIES, SPREAD
from npuwatt.preset.load import read_yaml
from npuwatt.report.presets import show_record, show_report
from npuwatt.study.article import Constants
from npuwatt.study.confidence import NeverMeasured
from npuwatt.study.presets import check_presets, show_preset
from npuwatt.study.pruning import ActivationSparsity, PrunedAccuracy, load_measured
from npuwatt.study.scenario import (
    Chosen,
    implausible,
    load_constants,
    load_datacenter,
    load_device,
    load_grids,
    load_handset,
    load_network,
    load_profile,
    load_stack,
)
from npuwatt.study.sparse_software import SparseSoftware

ROOT = Path(library.presets_root())
INDEX = library.index()
SOURCES = library.sources()
PRESETS = [(folder, name) for folder, entries in INDEX.items() for name in entries]
DEVICES = sorted(INDEX["devices"])
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.yaml"))

# Words that only make sense to whoever wrote the file: where numbers were copied from, machines, task lists.
PRIVATE = re.compile(
    r"\.\./|\bshared/|\bnotes/|\bfacts\b|\.csv\b|\.md\b|\bissues? (#|show|\d/)|(?<![\w.:])/(work|home|tmp|root|Users)/"
    r"|\bTODO\b|\bFIXME\b",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True, scope="module")
def one_reading() -> Any:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "index", lambda: INDEX)
        patch.setattr(library, "sources", lambda: dict(SOURCES))
        yield


@cache
def loaded(folder: str, name: str) -> Chosen[Any]:
    if folder == "constants":
        kinds = {
            "never-measured": NeverMeasured,
            "cim-chips": MacroConstants,
            "cooling": Cooling,
            "money": Money,
            "prices": Prices,
            "embodied": Embodied,
            "planning": Planning,
            "phone-decoding": Decoding,
        }
        return load_constants(name, kinds.get(name, Constants))
    if folder == "stacks":
        return load_stack(name)
    if folder == "datacenters":
        return load_datacenter(name)
    if folder == "handsets":
        return load_handset(name)
    if folder == "profiles":
        return load_profile(name)
    if folder == "grids":
        return load_grids(name)
    return load_device(name) if folder == "devices" else load_network(name)


@pytest.mark.parametrize(("folder", "name"), PRESETS)
def test_every_number_has_a_unit_a_source_and_a_quality(folder: str, name: str) -> None:
    chosen = loaded(folder, name)
    assert chosen.evidence
    for address, item in chosen.evidence.items():
        assert item.suffix or folder == "networks" or address.endswith("_bits"), f"{address} has no unit"
        assert item.source == "assumed" or item.source in SOURCES, address
        assert item.quality in QUALITIES, address
        assert item.where.strip(), (
            f"{address} does not say where in its source it stands, or why it is assumed"
        )
        assert item.low <= item.value <= item.high, address


@pytest.mark.parametrize(("folder", "name"), PRESETS)
def test_what_is_assumed_never_claims_to_be_more(folder: str, name: str) -> None:
    for address, item in loaded(folder, name).evidence.items():
        if item.source == "assumed":
            assert item.quality == "assumed", address


@pytest.mark.parametrize(("folder", "name"), PRESETS)
def test_a_preset_says_what_it_is_in_its_header(folder: str, name: str) -> None:
    tree = loaded(folder, name).preset.document.tree
    assert tree["name"].strip()
    assert 10 < len(tree["about"]) < 200
    kinds = {
        "devices": ("accelerator", "near-bank-pim", "crossbar"),
        "networks": ("transformer", "convnet"),
        "stacks": ("stack",),
        "datacenters": ("datacenter",),
        "handsets": ("handset",),
        "profiles": ("profile",),
        "grids": ("grids",),
        "constants": (
            "constants",
            "interval",
            "cim-chips",
            "cooling",
            "money",
            "prices",
            "embodied",
            "planning",
            "phone-decoding",
        ),
    }
    assert tree["kind"] in kinds[folder]
    if folder == "devices":
        assert tree["evidence"] in library.EVIDENCE_CLASSES
        assert tree["class"].strip()


@pytest.mark.parametrize("name", DEVICES)
def test_only_what_was_fitted_on_measurements_is_called_calibrated(name: str) -> None:
    chosen = loaded("devices", name)
    qualities = {
        item.quality for address, item in chosen.evidence.items() if "energy" in address or "power" in address
    }
    if chosen.preset.header("evidence") == "calibrated":
        assert qualities & {"calibrated", "measured"}
        assert chosen.record.movement_overhead_ratio == 0, "board-level energies hold the overhead already"
        assert chosen.record.regulator_efficiency_fraction == 1


@pytest.mark.parametrize("name", DEVICES)
def test_overheads_are_there_where_board_energies_are_not(name: str) -> None:
    chosen = loaded("devices", name)
    host = chosen.record if chosen.record.kind == "accelerator" else chosen.record.host
    if chosen.preset.header("evidence") == "projected":
        assert host.movement_overhead_ratio > 0
        assert host.regulator_efficiency_fraction < 1
        assert host.static_power_w > 0


@pytest.mark.parametrize("key", sorted(SOURCES))
def test_every_source_has_a_citation_and_a_quality(key: str) -> None:
    entry = SOURCES[key]
    assert set(entry) == {"cite", "quality"}
    assert len(entry["cite"]) > 20
    assert entry["quality"] in SPREAD
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)


def test_every_source_is_used() -> None:
    used = {item.source for folder, name in PRESETS for item in loaded(folder, name).evidence.values()}
    for name, kind in (("pruned-accuracy", PrunedAccuracy), ("activation-sparsity", ActivationSparsity)):
        used |= {item.source for item in load_measured(name, kind).evidence.values()}
    used |= {path.source for path in load_measured("sparse-software", SparseSoftware).record.paths.values()}
    assert sorted(set(SOURCES) - used) == []


def test_citations_are_told_apart() -> None:
    citations = [entry["cite"] for entry in SOURCES.values()]
    assert len(set(citations)) == len(citations)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_are_lower_case_with_dashes_and_speak_to_their_reader(path: Path) -> None:
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", path.stem)
    text = (ROOT / path).read_text(encoding="utf-8")
    assert PRIVATE.findall(text) == []
    assert "\t" not in text
    assert max(map(len, text.splitlines())) <= (200 if path.name == "sources.yaml" else 130)


@pytest.mark.parametrize("folder", ["devices", "networks", "stacks", "datacenters", "handsets", "profiles"])
def test_names_and_aliases_mean_one_preset_each(folder: str) -> None:
    means: dict[str, str] = {}
    for name, entry in INDEX[folder].items():
        for word in (name, *entry["aliases"]):
            assert word == word.lower()
            assert means.setdefault(word, name) == name, f"{word} means {means[word]} and {name}"
            assert library.resolve(folder, word, INDEX[folder]) == name
    if folder in ("devices", "networks", "stacks", "datacenters"):
        assert len(means) > len(INDEX[folder])


# What each archetype of the comparison stands for.
@pytest.mark.parametrize(
    ("alias", "name", "part"),
    [
        ("gpu", "h100-sxm", "Hopper"),
        ("npu", "furiosa-rngd", "RNGD|Furiosa|Tensor Contraction"),
        ("pim", "samsung-hbm2-pim", "Aquabolt-XL"),
        ("crossbar", "isaac-rram", "ISAAC"),
    ],
)
def test_an_archetype_stands_for_a_real_part_or_paper(alias: str, name: str, part: str) -> None:
    chosen = loaded("devices", alias)
    assert chosen.preset.name == name
    assert re.search(part, f"{chosen.preset.header('name')} {chosen.preset.header('about')}")
    assert chosen.citations


@pytest.mark.parametrize(("alias", "parts"), [("pim", "banks.parts"), ("crossbar", "arrays.parts")])
def test_an_archetype_of_many_parts_is_a_whole_board_and_says_how_many_it_holds(
    alias: str, parts: str
) -> None:
    chosen = loaded("devices", alias)
    count = chosen.evidence[parts].value
    assert count > 1
    assert f"{count:.0f} " in chosen.preset.header("about")
    assert "host" in chosen.preset.document.tree


CLASSES = {
    "data-centre GPU": 8,
    "data-centre NPU": 8,
    "edge NPU|mobile NPU|client NPU|edge GPU": 5,
    "DRAM PIM": 3,
    "analog CIM": 1,
}


def is_seen(name: str) -> bool:
    """Whether a peak and a bandwidth of a device, or the counterparts of its arrays, were read in a source."""
    evidence = loaded("devices", name).evidence
    seen = {
        address
        for address, item in evidence.items()
        if item.quality in ("datasheet", "measured", "simulated")
    }

    def some(pattern: str) -> bool:
        return any(re.fullmatch(pattern, address) for address in seen)

    kind = loaded("devices", name).record.kind
    if kind == "crossbar":
        return some(r"arrays\.(rows|columns|arrays)") and some(r"arrays\.(settle_time|adc_.*|cell_.*)")
    if kind == "near-bank-pim":
        return some(r"banks\.peak\..*|banks\.parallelism") and some(r"host\.levels\.dram\..*|banks\..*")
    return some(r"peak\..*") and some(r"levels\.[a-z0-9_]+\.(bandwidth|capacity)")


def test_at_least_25_real_devices_have_specs_that_were_seen() -> None:
    assert len([name for name in DEVICES if is_seen(name)]) >= 25


@pytest.mark.parametrize(("family", "least"), CLASSES.items())
def test_every_family_of_devices_has_some_with_specs_that_were_seen(family: str, least: int) -> None:
    of_family = [name for name in DEVICES if re.fullmatch(family, INDEX["devices"][name]["class"])]
    assert len([name for name in of_family if is_seen(name)]) >= least


def test_the_products_own_check_of_all_presets_finds_no_fault() -> None:
    checks = check_presets()
    assert len(checks) == len(PRESETS)
    assert [(one.name, fault) for one in checks for fault in one.faults] == []
    assert all(one.numbers == sum(one.qualities.values()) > 0 for one in checks)


def test_every_file_of_the_folder_is_a_preset_or_the_list_of_sources() -> None:
    listed = {Path(folder, f"{name}.yaml") for folder, name in PRESETS}
    measured = {
        Path("measured", f"{name}.yaml")
        for name in ("anchors", "pruned-accuracy", "activation-sparsity", "sparse-software")
    }
    assert set(FILES) == listed | measured | {Path("sources.yaml")}
    assert read_yaml(ROOT / "sources.yaml").tree.keys() == SOURCES.keys()


def test_temperatures_are_shown_as_their_file_writes_them_and_differences_in_kelvin() -> None:
    shown = {row[0]: row[1:3] for row in show_report(show_record(show_preset("cooling"))).tables[0].rows}
    assert shown["rungs.direct-to-chip.usual_coolant"] == ("40 degC", "32 degC .. 45 degC")
    assert shown["climate_spread"] == ("4.4 K", "2 K .. 8 K")
    found = {number["address"]: number for number in show_record(show_preset("cooling"))["numbers"]}
    assert found["rungs.direct-to-chip.usual_coolant"]["value"] == pytest.approx(313.15)  # for machines in SI
    assert found["rungs.direct-to-chip.usual_coolant"]["is_celsius"]
    assert not found["climate_spread"]["is_celsius"]


def test_a_change_outside_a_range_is_told_in_degrees_too() -> None:
    change = ["rungs.immersion.most_coolant=60degC"]
    chosen = load_constants("cooling", Cooling, changes=change)
    assert implausible(chosen, change, "cooling") == [
        "cooling.rungs.immersion.most_coolant: 60 degC is outside 40 degC .. 55 degC (assumed, assumed)"
    ]
