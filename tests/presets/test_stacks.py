"""Serving software as presets: what ships, faults of a file, and the `stack.` addresses of --set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from npuwatt.device.stack import IDEAL, Stack
from npuwatt.errors import NpuwattError, PresetError
from npuwatt.preset import library
from npuwatt.record import names_of
from npuwatt.study.presets import check_presets, show_preset
from npuwatt.study.scenario import changes_by_owner, load_stack, split_address
from npuwatt.units import key_of

if TYPE_CHECKING:
    from conftest import Quick

ROOT = Path(library.presets_root()) / "stacks"
NAMES = sorted(path.stem for path in ROOT.glob("*.yaml"))
MINE = """\
kind: stack
name: A server of this test
about: made up, for a test of its numbers
source: assumed
where: made up for a test

step_time: 3 ms
unoverlapped: {value: 0.5, low: 0.4, high: 0.6}
expert_block:
  bf16: 64
chunk: 2048
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "mine.yaml"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ideal", "ideal"),
        ("none", "ideal"),
        ("vllm", "vllm-0.11"),
        ("vllm-0.11", "vllm-0.11"),
        ("vllm-0.11.1", "vllm-0.11"),
        ("vLLM-0.5", "vllm-0.5"),
        ("vllm-0.5.4", "vllm-0.5"),
    ],
)
def test_a_stack_is_found_by_its_name_and_its_aliases(typed: str, name: str) -> None:
    chosen = load_stack(typed)
    assert chosen.preset.name == name
    assert chosen.preset.folder == "stacks"
    assert isinstance(chosen.record, Stack)
    assert not chosen.is_changed


def test_no_stack_is_called_like_another_preset() -> None:
    def words(folder: str) -> set[str]:
        entries = library.index()[folder]
        return {*entries, *(alias for entry in entries.values() for alias in entry["aliases"])}

    for folder in library.FOLDERS:
        assert folder == "stacks" or not words("stacks") & words(folder)


def test_ideal_adds_nothing_to_the_hardware() -> None:
    chosen = load_stack("ideal")
    assert chosen.record == IDEAL
    assert {item.value for address, item in chosen.evidence.items() if address != "chunk"} == {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_stack_stands_in_its_file(name: str) -> None:
    chosen = load_stack(str(ROOT / f"{name}.yaml"))
    told = {address.partition(".")[0] for address in chosen.evidence}
    needed = {
        key_of(field) for field in names_of(Stack) if getattr(chosen.record, field) != getattr(IDEAL, field)
    }  # what is as on the ideal stack may be left out
    assert needed <= told


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("vllm")])
def test_what_was_fitted_is_called_calibrated_and_what_was_recalled_assumed(name: str) -> None:
    evidence = load_stack(str(ROOT / f"{name}.yaml")).evidence
    for address, item in evidence.items():
        if "block." in address:
            assert (item.source, item.quality, item.stated_range) == ("assumed", "assumed", True)
        elif address != "chunk":
            assert item.quality == "calibrated"
            assert item.source.startswith("ml-energy")


def test_a_stack_in_a_folder_of_the_user_is_shown_and_checked(mine: Path) -> None:
    folders = [str(mine.parent.parent)]
    assert load_stack("mine", folders=folders).record == load_stack(str(mine)).record
    shown = show_preset("mine", presets=folders)
    assert shown.record == Stack(
        step_time_s=0.003, unoverlapped_fraction=0.5, expert_block_count={"bf16": 64.0}, chunk_count=2048.0
    )
    (check,) = check_presets([str(mine)])
    assert (check.name, check.folder, check.numbers, check.faults) == ("mine", "stacks", 4, ())


def test_all_faults_of_a_stack_come_at_once_with_their_lines(quick: Quick, mine: Path) -> None:
    broken = (
        MINE.replace("step_time: 3 ms", "step_tim: 3 ms")
        .replace("value: 0.5", "value: 50")
        .replace("bf16: 64", "bf16: 64 us")
        .replace("chunk: 2048", "chunk: {value: 2048, source: hearsay}")
    )
    mine.write_text(broken)
    expected = [
        f"{mine}:7: step_tim: unknown key; did you mean 'step_time'?",
        f"{mine}:8: unoverlapped: 50 given; expected a share from 0 to 1",
        f"{mine}:10: expert_block.bf16: '64 us' is in us; expected a unit like 8",
        f"{mine}:11: chunk: unknown source 'hearsay'; expected a key of sources.yaml, or assumed",
    ]
    with pytest.raises(PresetError) as caught:
        load_stack(str(mine))
    assert list(caught.value.faults) == expected
    for command in ("check", "show"):
        done = quick("presets", command, str(mine))
        assert (done.code, done.out) == (2, "")
        assert [line.removeprefix("npuwatt: ") for line in done.err.splitlines()] == expected


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("3 ms", "-3 ms", "mine.yaml:7: step_time: -0.003 given; expected a finite number, 0 or more"),
        ("chunk: 2048", "chunk: 0", "mine.yaml:11: chunk: 0 given; expected a finite number above 0"),
        ("bf16: 64", "bf61: 64", "mine.yaml:9: expert_block: number type 'bf61'"),
        ("bf16: 64", "bf16: 0", "mine.yaml:9: expert_block: 0 given"),
        ("source: assumed\n", "", "mine.yaml:6: step_time: has no source"),
        ("low: 0.4", "low: 0.55", "mine.yaml:8: unoverlapped: value outside its range"),
        ("kind: stack", "kind: accelerator", "mine.yaml:1: kind: 'accelerator' given; expected stack"),
    ],
)
def test_a_fault_of_a_stack_says_where_it_is(mine: Path, old: str, new: str, told: str) -> None:
    assert old in MINE
    mine.write_text(MINE.replace(old, new))
    with pytest.raises(PresetError) as caught:
        load_stack(str(mine))
    assert any(told in fault for fault in caught.value.faults), caught.value.faults


def test_an_unknown_stack_names_the_nearest() -> None:
    with pytest.raises(PresetError, match=r"unknown stack 'vllm-0\.12'; did you mean 'vllm-0\.11"):
        load_stack("vllm-0.12")


def test_a_changed_number_replaces_the_one_of_the_file() -> None:
    chosen = load_stack("vllm", changes=["step_time=1ms", "unoverlapped=0", "expert_block.fp8=32"])
    assert chosen.is_changed
    assert (chosen.record.step_time_s, chosen.record.unoverlapped_fraction) == (0.001, 0.0)
    assert chosen.record.expert_block_count["fp8"] == 32
    assert chosen.record.sequence_time_s == load_stack("vllm").record.sequence_time_s
    assert chosen.evidence["step_time"].where == "set by the user"
    block = load_stack("ideal", changes=["expert_block.bf16=16"]).record.expert_block_count
    assert block == {"bf16": 16.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("step_tim=3ms", "--set stack.step_tim: unknown key; did you mean 'step_time'?"),
        ("step_time=3", "--set stack.step_time: '3' has no unit; expected a unit like ms"),
        ("unoverlapped=1.5", "--set stack.unoverlapped: 1.5 given; expected a share from 0 to 1"),
        ("expert_block=64", "names a group; expected one of bf16, fp8"),
        ("kind=other", "--set stack.kind: describes the preset"),
    ],
)
def test_a_change_of_a_stack_passes_the_checks_of_a_file(change: str, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        load_stack("vllm", changes=[change])
    (fault,) = caught.value.faults
    assert told in fault


def test_changes_go_to_the_device_the_network_or_the_stack_they_name() -> None:
    texts = ["stack.step_time=3ms", "devices.stack.power_cap=5W", "network.layers=3", "devices.gpu.peak.bf16=1 TOPS"]  # fmt: skip
    by_device, of_network, of_stack = changes_by_owner(texts, ["gpu", "stack"], has_stack=True)
    assert by_device == {"gpu": ["peak.bf16=1 TOPS"], "stack": ["power_cap=5W"]}
    assert of_network == ["layers=3"]
    assert of_stack == ["step_time=3ms"]
    assert changes_by_owner(texts[1:], ["gpu", "stack"]) == (by_device, of_network, [])
    assert split_address("stack.expert_block.bf16", ["gpu"], has_stack=True) == ("stack", "expert_block.bf16")


def test_a_stack_that_was_not_chosen_has_no_addresses() -> None:
    with pytest.raises(NpuwattError, match=r"unknown address 'stack\.step_time'; expected one under devices\.gpu"):  # fmt: skip
        changes_by_owner(["stack.step_time=3ms"], ["gpu"])
    with pytest.raises(NpuwattError, match=r"expected one under devices\.gpu, stack"):
        changes_by_owner(["rack.height=3"], ["gpu"], has_stack=True)
    with pytest.raises(NpuwattError, match="expected ADDRESS=VALUE"):
        changes_by_owner(["stack.step_time="], ["gpu"])
