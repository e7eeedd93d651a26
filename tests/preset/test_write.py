"""Presets written again with other numbers: what was said stays, what was changed is in its old unit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.accelerator import Accelerator
from npuwatt.preset.load import Document, parse_yaml, read_record
from npuwatt.preset.write import rewritten

FIXED = settings(derandomize=True, deadline=None)
BOARD = """\
kind: accelerator
name: "A board: of this test"
about: it's made up, 100 % of it
evidence: projected
aliases: ["4090", "yes", board]
source: assumed
where: made up
peak: {bf16: 400 TFLOPS}
utilization: 0.7
mac_energy: {bf16: {value: 1 pJ/MAC, low: 0.5 pJ/MAC, high: 2 pJ/MAC, source: assumed, where: "a: b # c"}}
levels:
  dram: {capacity: 80 GiB, bandwidth: 2 TB/s, utilization: 80 %, read_energy: 12 pJ/bit}
  buffer: {read_energy: 8e-13 J/byte, tile: 128}
static_power: 5e1 W
clocks_power: {value: 40 W, low: 0 W, high: 120 W}
power_cap: 0.6 kW
"""
CHANGED = {
    "utilization": (0.65, "_fraction"),
    "mac_energy.bf16": (1.25e-12, "_j_per_mac"),
    "levels.dram.utilization": (0.9, "_fraction"),
    "levels.dram.read_energy": (8e-11, "_j_per_byte"),
    "levels.buffer.read_energy": (1e-12, "_j_per_byte"),
    "static_power": (55.5, "_w"),
    "clocks_power": (0.0, "_w"),
    "power_cap": (650.0, "_w"),
}


def document(text: str = BOARD) -> Document:
    return parse_yaml(text.encode(), "board.yaml")


def written(numbers: dict[str, tuple[float, str]], **header: Any) -> str:
    texts = {address: (*one, "assumed", "fitted: 5 % of it") for address, one in numbers.items()}
    return rewritten(document(), texts, header, "# made by a test\n")


def values(text: str) -> dict[str, float]:
    evidence = read_record(document(text), Accelerator, {"assumed": "assumed"}).evidence
    return {address: item.value for address, item in evidence.items()}


def test_what_is_not_changed_stays_as_it_was_read() -> None:
    again = document(written({})).tree
    assert again == document().tree
    assert list(again) == list(document().tree)


def test_changed_numbers_are_read_back_and_no_others_change() -> None:
    before, after = values(BOARD), values(written(CHANGED))
    assert after == pytest.approx(
        before | {address: value for address, (value, _) in CHANGED.items()}, rel=1e-8
    )


def test_a_changed_number_keeps_its_unit_and_its_range_and_tells_its_source() -> None:
    tree = document(written(CHANGED)).tree
    fitted = {"source": "assumed", "quality": "calibrated", "where": "fitted: 5 % of it"}
    assert tree["levels"]["dram"]["read_energy"] == {"value": "10 pJ/bit"} | fitted
    assert tree["levels"]["dram"]["utilization"] == {"value": "90 %"} | fitted
    assert tree["levels"]["buffer"]["read_energy"] == {"value": "1e-12 J/byte"} | fitted
    assert tree["power_cap"] == {"value": "0.65 kW"} | fitted
    assert tree["utilization"] == {"value": 0.65} | fitted
    assert tree["clocks_power"] == {"value": "0 W", "low": "0 W", "high": "120 W"} | fitted
    assert (
        tree["mac_energy"]["bf16"]
        == {"value": "1.25 pJ/MAC", "low": "0.5 pJ/MAC", "high": "2 pJ/MAC"} | fitted
    )
    assert tree["aliases"] == ["4090", "yes", "board"]


def test_the_preset_that_was_read_is_not_written_into() -> None:
    given_document = document()
    before = repr(given_document.tree)
    numbers = {address: (*one, "assumed", "") for address, one in CHANGED.items()}
    rewritten(given_document, numbers, {"sources": {"a": {"cite": "b"}}}, "")
    assert repr(given_document.tree) == before


def test_comments_come_first_and_headers_are_set_or_added() -> None:
    text = written({}, evidence="calibrated", calibration=[{"stack": "s", "known": {"one": [0.5, 2.0]}}])
    assert text.startswith("# made by a test\nkind: accelerator\n")
    tree = document(text).tree
    assert tree["evidence"] == "calibrated"
    assert tree["calibration"] == [{"stack": "s", "known": {"one": [0.5, 2.0]}}]
    assert list(tree)[-1] == "calibration"


def test_what_stands_twice_in_a_header_is_written_twice() -> None:
    """A reader of presets takes no anchors, which YAML would write for it."""
    pair = [0.5, 2.0]
    text = written({}, calibration=[{"one": pair, "other": pair}])
    assert "&" not in text
    assert document(text).tree["calibration"] == [{"one": pair, "other": pair}]


def test_writing_twice_is_writing_once() -> None:
    once = written(CHANGED)
    texts = {address: (*one, "assumed", "fitted: 5 % of it") for address, one in CHANGED.items()}
    assert rewritten(document(once), texts, {}, "# made by a test\n") == once


@FIXED
@given(power=st.floats(1e-9, 1e9), share=st.floats(1e-6, 1), energy=st.floats(1e-18, 1e-6))
def test_a_number_comes_back_to_nine_digits(power: float, share: float, energy: float) -> None:
    numbers = {
        "clocks_power": (power, "_w"),
        "levels.dram.utilization": (share, "_fraction"),
        "levels.dram.read_energy": (energy, "_j_per_byte"),
    }
    text = written(numbers).replace("low: 0 W", "low: 0 MW").replace("high: 120 W", "high: 1 PW")
    text = text.replace("power_cap: 0.6 kW", "power_cap: 2 GW")
    found = values(text)
    for address, (value, _) in numbers.items():
        assert found[address] == pytest.approx(value, rel=1e-8)
