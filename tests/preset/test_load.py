"""Preset files to records: every fault at once with its place, and what would be accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuwatt.device.accelerator import Accelerator
from npuwatt.device.drift import Noise
from npuwatt.errors import NpuwattError, PresetError
from npuwatt.preset.load import Document, Loaded, parse_yaml, read_record, read_yaml, scalar
from npuwatt.preset.paths import changed, is_number_field, value_at, with_value
from npuwatt.workload.network import Transformer

SOURCES = {"paper": "measured", "sheet": "datasheet"}
CHIP = """\
kind: accelerator
name: Phone NPU
source: sheet
where: table 1
peak:
  int8: 45 TOPS
mac_energy:
  int8: {value: 0.2 pJ/MAC, low: 0.1 pJ/MAC, high: 0.4 pJ/MAC, source: paper, where: table 2}
levels:
  dram:
    bandwidth: 51.2 GB/s
    capacity: 8 GiB
    read_energy: {value: 4 pJ/bit, source: assumed, where: LPDDR5X without controller}
static_power: 50 mW
power_cap: 5 W
"""


def document(text: str = CHIP) -> Document:
    return parse_yaml(text.encode(), "chip.yaml")


def read(text: str = CHIP, *changes: str) -> Loaded[Accelerator]:
    return read_record(changed(document(text), changes, "devices.chip"), Accelerator, SOURCES)


def faults(text: str, *changes: str) -> list[str]:
    with pytest.raises(NpuwattError) as caught:
        read(text, *changes)
    return list(caught.value.faults)


def put(old: str, new: str, text: str = CHIP) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_group_may_tell_the_source_of_all_numbers_inside() -> None:
    inner = "    source: paper\n    where: figure 3\n    bandwidth: 51.2 GB/s\n"
    evidence = read(put("    bandwidth: 51.2 GB/s\n", inner)).evidence
    for key in ("bandwidth", "capacity"):
        item = evidence[f"levels.dram.{key}"]
        assert (item.source, item.quality, item.where) == ("paper", "measured", "figure 3")
    assert evidence["levels.dram.read_energy"].source == "assumed"  # it says so itself
    assert evidence["static_power"].source == "sheet"
    (fault,) = faults(put("    bandwidth: 51.2 GB/s\n", inner.replace("paper", "papre")))[:1]
    assert "unknown source 'papre'; did you mean 'paper'?" in fault


def test_a_file_becomes_a_record_in_si() -> None:
    chip = read().record
    assert chip.peak_macs_per_s == {"int8": 22.5e12}
    assert chip.memory.bandwidth_bytes_per_s == 51.2e9
    assert chip.memory.capacity_bytes == 8 * 2**30
    assert chip.memory.read_energy_j_per_byte == pytest.approx(32e-12)
    assert chip.static_power_w == pytest.approx(0.05)
    assert chip.link is None


def test_each_number_carries_its_source_range_and_place() -> None:
    evidence = read().evidence
    assert len(evidence) == 7
    mac = evidence["mac_energy.int8"]
    assert (mac.source, mac.quality, mac.where, mac.stated_range) == ("paper", "measured", "table 2", True)
    assert (mac.low, mac.high) == pytest.approx((0.1e-12, 0.4e-12))
    peak = evidence["peak.int8"]
    assert (peak.source, peak.quality, peak.where, peak.stated_range) == (
        "sheet",
        "datasheet",
        "table 1",
        False,
    )
    assert evidence["levels.dram.read_energy"].quality == "assumed"


@pytest.mark.parametrize(
    ("quality", "factor"),
    [
        ("measured", 1.1),
        ("calibrated", 1.15),
        ("datasheet", 1.05),
        ("derived", 1.25),
        ("simulated", 1.5),
        ("assumed", 2.0),
    ],
)
def test_a_number_without_a_range_gets_one_from_its_quality(quality: str, factor: float) -> None:
    leaf = f"static_power: {{value: 50 mW, source: sheet, quality: {quality}, where: here}}"
    found = read(put("static_power: 50 mW", leaf)).evidence["static_power"]
    assert found.quality == quality
    assert (found.low, found.high) == pytest.approx((0.05 / factor, 0.05 * factor))


def test_a_share_never_ranges_above_one() -> None:
    found = read(CHIP + "utilization: {value: 0.98, source: assumed, where: chosen}\n").evidence[
        "utilization"
    ]
    assert (found.low, found.high) == pytest.approx((0.49, 1.0))


def test_a_record_reads_the_same_whatever_the_text_of_its_numbers() -> None:
    other = put("51.2 GB/s", "0.0512 TB/s", put("45 TOPS", "22.5 TMAC/s", put("50 mW", "0.05 W")))
    assert read(other).record == read().record


def test_all_faults_of_a_file_come_at_once_with_their_lines() -> None:
    text = put("45 TOPS", "45 W", put("bandwidth:", "bandwith:", put("50 mW", "50")))
    assert faults(text) == [
        "chip.yaml:6: peak.int8: '45 W' is in W; expected a unit like TFLOPS",
        "chip.yaml:11: levels.dram.bandwith: unknown key; did you mean 'bandwidth'?",
        "chip.yaml:14: static_power: '50' has no unit; expected a unit like W",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("5 W", "5", "chip.yaml:15: power_cap: '5' has no unit"),
        ("5 W", "five W", "chip.yaml:15: power_cap: 'five W' is not a finite number"),
        ("5 W", ".nan", "chip.yaml:15: power_cap: '.nan'"),
        ("5 W", "[5 W]", "chip.yaml:15: power_cap"),
        ("5 W", "null", "chip.yaml:15: power_cap"),
        ("5 W", "true", "chip.yaml:15: power_cap"),
        ("5 W", "-5 W", "chip.yaml:15: power_cap: -5 given"),
        ("5 W", "50 mW", "chip.yaml:15: power_cap: headroom"),
        ("power_cap: 5 W\n", "", "has no 'power_cap'"),
        ("source: sheet\n", "", "has no source"),
        ("source: sheet\n", "source: sheat\n", "unknown source 'sheat'; did you mean 'sheet'?"),
        ("source: paper", "source: papre", "chip.yaml:8: mac_energy.int8: unknown source 'papre'"),
        (", where: LPDDR5X without controller", "", "is assumed without a reason; expected 'where: WHY'"),
        ("low: 0.1", "low: 0.3", "chip.yaml:8: mac_energy.int8: value outside its range"),
        ("high: 0.4", "high: 0.1", "value outside its range; expected low <= value <= high"),
        ("low: 0.1 pJ/MAC", "low: 0.1 W", "chip.yaml:8: mac_energy.int8.low: '0.1 W' is in W"),
        ("low: 0.1 pJ/MAC", "lwo: 0.1 pJ/MAC", "mac_energy.int8.lwo: unknown key; did you mean 'low'?"),
        ("value: 0.2 pJ/MAC, ", "", "has no 'value'"),
        ("where: table 2", "quality: good", "quality 'good' given; expected one of measured"),
        ("  int8: 45 TOPS", "  int9: 45 TOPS", "chip.yaml:5: peak: number type 'int9'"),
        ("peak:\n  int8: 45 TOPS", "peak: 45 TOPS", "peak: '45 TOPS' given; expected a mapping"),
        ("static_power: 50 mW", "static_power: 50 mW\nutilization: 1.5", "utilization: 1.5 given"),
        ("static_power: 50 mW", "static_power: 50 mW\nlink: fast", "link: 'fast' given; expected a mapping"),
    ],
)
def test_a_fault_says_where_it_is_and_what_would_do(old: str, new: str, told: str) -> None:
    found = faults(put(old, new))
    assert any(told in line for line in found), found
    assert all(line.startswith("chip.yaml") for line in found)
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: !!python/object/apply:os.system [ls]", ":1: the tag"),
        ("a: !!int 5", ":1: the tag"),
        ("!!map {a: 1}", ":1: the tag"),
        ("a: &x 1\nb: *x", ":1: an anchor"),
        ("a: 1\nb: *x", ":2: an anchor or alias"),
        ("&x {a: 1}", ":1: an anchor"),
        ("a: 1\nb: 2\na: 3", ":3: the key 'a' stands twice"),
        ("a: {b: 1, b: 2}", ":1: the key 'b' stands twice"),
        ("a: 1\n---\nb: 2", ":2: a second document"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper"),
        ("a: " + "{b: " * 100 + "1" + "}" * 100, "nested deeper"),
        ("[" * 100_000, "nest"),  # some parsers stop on their own account
        ("? [a]\n: 1", "a key that is not plain text"),
        ("a b: 1", "the key 'a b'"),
        ("<<: {a: 1}", "the key '<<'"),
        ("- 1\n- 2", "expected a mapping"),
        ("just text", "expected a mapping"),
        ("", "holds nothing; expected a mapping"),
        ("# only a comment", "holds nothing"),
        ("a: [1, 2", "expected a YAML mapping"),
        ("a: 1\n\tb: 2", "expected a YAML mapping"),
        ("a: \x00", "expected a YAML mapping"),
    ],
)
def test_what_yaml_can_do_beyond_plain_data_is_refused(text: str, told: str) -> None:
    with pytest.raises(PresetError) as caught:
        document(text)
    (line,) = caught.value.faults
    assert line.startswith("chip.yaml")
    assert told in line
    assert len(line) < 200


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(PresetError, match="not UTF-8"):
        parse_yaml(b"\x89PNG\r\n\x1a\n\xff\xfe", "chip.yaml")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with large.open("wb") as stream:
        stream.truncate(100_000_000)
    for path, told in (
        (large, "is 100 MB; expected at most 1 MB"),
        (tmp_path, "is a directory"),
        (tmp_path / "none.yaml", "no such file"),
        (Path("/dev/zero"), "not a plain file"),
    ):
        with pytest.raises(PresetError, match=told):
            read_yaml(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("8.03e9", 8.03e9),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("0x10", "0x10"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
        ("9" * 40, "9" * 40),
    ],
)
def test_unquoted_text_is_a_number_only_where_it_looks_like_one(text: str, expected: object) -> None:
    found = scalar(text, plain=True)
    assert found == expected
    assert type(found) is type(expected)
    assert scalar(text, plain=False) == text


def test_whole_numbers_of_a_network_take_no_fractions() -> None:
    text = (
        "source: sheet\nhidden: {}\nvocab: 10\nattention: {{layers: 1, heads: 2, kv_heads: 1, head_dim: 4}}\n"
    )
    for given in ("4.5", "'4'", "true", "4 GiB"):
        with pytest.raises(PresetError, match=r"chip.yaml:2: hidden: .*expected a whole number"):
            read_record(document(text.format(given)), Transformer, SOURCES)
    loaded = read_record(document(text.format(4)), Transformer, SOURCES)
    assert loaded.record.hidden == 4
    assert (loaded.evidence["hidden"].low, loaded.evidence["hidden"].high) == (4, 4)


def test_a_change_is_read_as_the_file_would_be_and_names_who_made_it() -> None:
    loaded = read(
        CHIP,
        "power_cap=9 W",
        "levels.dram.bandwidth=100 GB/s",
        "link.bandwidth=1 GB/s",
        "link.energy=1 pJ/bit",
    )
    assert loaded.record.power_cap_w == 9
    assert loaded.record.memory.bandwidth_bytes_per_s == 100e9
    assert loaded.record.link is not None
    assert (loaded.evidence["power_cap"].source, loaded.evidence["power_cap"].where) == (
        "assumed",
        "set by the user",
    )
    assert read().record.power_cap_w == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("power_cap=9", "--set devices.chip.power_cap: power_cap: '9' has no unit"),
        ("power_cap=9 J", "'9 J' is in J"),
        ("power_cap=-9 W", "-9 given"),
        ("power_cpa=9 W", "did you mean 'power_cap'"),
        ("levels.dram.bandwith=9 GB/s", "did you mean 'bandwidth'"),
        ("levels.dram=9 GB/s", "names a group; expected one of bandwidth"),
        ("power_cap.high=9 W", "is inside a single value"),
        ("peak.int9=9 TOPS", "number type 'int9'"),
        ("utilization=1.5", "1.5 given"),
    ],
)
def test_a_change_passes_the_same_checks_and_its_faults_carry_its_label(change: str, told: str) -> None:
    found = faults(CHIP, change)
    address = change.partition("=")[0]
    assert any(told.removeprefix(f"--set devices.chip.{address}: ") in line for line in found), found
    assert all("devices.chip." in line and "chip.yaml:15" not in line for line in found), found


def test_a_value_is_found_and_replaced_at_its_address() -> None:
    chip = read().record
    keys = ["levels", "dram", "read_energy"]
    assert value_at(chip, keys, "x") == (pytest.approx(32e-12), "_j_per_byte")
    assert value_at(chip, ["peak", "int8"], "x") == (22.5e12, "_macs_per_s")
    other = with_value(chip, keys, 1e-12)
    assert other.memory.read_energy_j_per_byte == 1e-12
    assert chip.memory.read_energy_j_per_byte == pytest.approx(32e-12)
    assert with_value(other, keys, chip.memory.read_energy_j_per_byte) == chip
    assert is_number_field(chip, keys)
    assert is_number_field(chip, ["peak", "int8"])
    assert not is_number_field(chip, ["levels"])
    assert not is_number_field(chip, ["link"])
    with pytest.raises(NpuwattError, match="did you mean 'read_energy'"):
        value_at(chip, ["levels", "dram", "read_enrgy"], "x")
    with pytest.raises(NpuwattError, match="power_cap"):
        with_value(chip, ["power_cap"], 0.0)


def test_an_entry_of_a_list_has_an_address() -> None:
    noise = parse_yaml(
        b"scale: 1 uS\nprogramming: [1 uS, {value: 2 uS, low: 1 uS, high: 3 uS}]\nsource: sheet\nwhere: here\n",
        "n.yaml",
    )
    after = read_record(changed(noise, ["programming.1=5 uS"], "n"), Noise, SOURCES)
    assert after.record.programming_siemens == pytest.approx((1e-6, 5e-6))
    assert after.evidence["programming.1"].where == "set by the user"
    for change, told in (
        ("programming.2=5 uS", "names no entry; expected one of 0, 1"),
        ("programming=5 uS", "names a list; expected one of 0, 1"),
    ):
        with pytest.raises(NpuwattError, match=told):
            changed(noise, [change], "n")
    assert with_value(after.record, ["programming", "0"], 9e-6).programming_siemens == pytest.approx(
        (9e-6, 5e-6)
    )
    assert value_at(after.record, ["programming", "0"], "n.programming.0") == (
        pytest.approx(1e-6),
        "_siemens",
    )
    assert is_number_field(after.record, ["programming", "0"])
