"""Arguments that cannot be used: exit 2, one to three lines that tell what would do, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Quick, Run

CAP = "compare gpu --set devices.gpu.power_cap="
BANDWIDTH = "sweep gpu --vary devices.gpu.levels.dram.bandwidth="
BATCH = "sweep gpu --vary request.batch="
NUMBERS = ("0", "-1", "1.5", "1e3", "nan", "inf", "-inf", "", " ", "x", "1000000000000", "9" * 400)

UNUSABLE = {
    "nothing to compare": "compare",
    "no command": "compute",
    "no such device": "compare toaster",
    "one good device and a bad one": "compare gpu toaster",
    "two devices for one": "estimate gpu npu",
    "no such network": "compare gpu --network llama-9",
    "a distilled network of another shape": "compare gpu --network deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "another shape of a known name": "compare gpu --network mistralai/Mistral-7B-v0.2",
    "no such width": "compare gpu --weights int7",
    "no such constants": "compare gpu --constants none",
    "no such format": "compare gpu --format github",
    "two formats": "compare gpu --json --format csv",
    "an option without its value": "compare gpu --batch",
    "an unknown option": "compare gpu --turbo",
    "a folder of presets that is not there": "compare gpu --presets nowhere",
    "a preset that is not there": "compare ./nowhere.yaml",
    "a config that is not there": "compare gpu --network ./nowhere.json",
    "set without a value": "compare gpu --set devices.gpu.power_cap",
    "set to nothing": CAP,
    "set without a unit": CAP + "500",
    "set with a unit of another kind": CAP + "500GB",
    "set with an unknown unit": CAP + "500Q",
    "set to a negative": CAP + "-500W",
    "set to zero": CAP + "0W",
    "set to no number": CAP + "nan",
    "set to no number of watts": CAP + "nanW",
    "set to infinity": CAP + "infW",
    "set beyond any number": CAP + "1e400W",
    "set beyond any number by its unit": CAP + "1e305PW",
    "set beyond any number by its digits": CAP + "9" * 400 + "W",
    "set to a text": CAP + "much",
    "set an unknown address": "compare gpu --set devices.gpu.warp=1W",
    "set a device that is not asked about": "compare gpu --set devices.npu.power_cap=50W",
    "set no address": "compare gpu --set power_cap=50W",
    "set a group": "compare gpu --set devices.gpu.levels.dram=1",
    "set inside a number": "compare gpu --set devices.gpu.power_cap.value=1W",
    "set a share above one": "compare gpu --set devices.gpu.levels.dram.utilization=1.5",
    "set a part of a network to a half": "compare gpu --set network.layers=0.5",
    "vary nothing": "sweep gpu",
    "vary without values": BANDWIDTH,
    "vary without a unit": BANDWIDTH + "1,2",
    "vary with a unit of another kind": BANDWIDTH + "1W,2W",
    "vary with one value without a unit": BANDWIDTH + "1TB/s,2",
    "vary through a negative": BANDWIDTH + "-1TB/s..1TB/s:3",
    "vary to zero": BANDWIDTH + "0TB/s,1TB/s",
    "vary to infinity": BANDWIDTH + "1TB/s..infTB/s:3",
    "vary to no number": BANDWIDTH + "nanTB/s,1TB/s",
    "vary beyond any number": BANDWIDTH + "1TB/s..1e400TB/s:3",
    "vary a log range from zero": BANDWIDTH + "0TB/s..1TB/s:3log",
    "vary over one point of a range": BANDWIDTH + "1TB/s..2TB/s:1",
    "vary over no point": BANDWIDTH + "1TB/s..2TB/s:0",
    "vary over a range without a count": BANDWIDTH + "1TB/s..2TB/s",
    "vary over too many points": BANDWIDTH + "1TB/s..2TB/s:99999999999999",
    "vary over too many pairs": BATCH + "1..1000000:1000000 --vary request.input_len=1..1000000:1000001",
    "vary over an empty value": BANDWIDTH + "1TB/s,,2TB/s",
    "vary over half a sequence": BATCH + "1,1.5",
    "vary over no sequence": BATCH + "0,1",
    "vary over huge batches": BATCH + "1..1e30:3",
    "vary over batches with a unit": BATCH + "1W,2W",
    "vary an unknown length": "sweep gpu --vary request.width=1,2",
    "vary an unknown address": "sweep gpu --vary devices.gpu.warp=1W,2W",
    "vary a device that is not asked about": "sweep gpu --vary devices.npu.power_cap=50W,60W",
    "vary an address with its unit": "sweep gpu --vary devices.gpu.power_cap_w=50W,60W",
    "vary an address twice": BATCH + "1,2 --vary request.batch=3,4",
    "vary which device": "sweep gpu --vary devices=gpu,npu",
    "vary which network": "sweep gpu --vary network=llama-3.1-8b,qwen3-8b",
    "vary a shape of the network": "sweep gpu --vary network.layers=16,32",
    "vary a width": "sweep gpu --vary request.weights=int8,fp8",
    "vary the kind of a device": "sweep gpu --vary devices.gpu.kind=accelerator,crossbar",
    "vary a group": "sweep gpu --vary devices.gpu.levels.dram=1,2",
    "vary inside a number": "sweep gpu --vary devices.gpu.power_cap.value=1W,2W",
    "zip unequal lengths": BATCH + "1,2,3 --vary request.input_len=1,2 --zip",
    "best of no metric": BATCH + "1,2 --best speed",
    "best of what is no number": BATCH + "1,2 --best bound_by",
    "best of no points": BATCH + "1,2 --best power_w --top 0",
    "best of a negative count": BATCH + "1,2 --best power_w --top -3",
    "best of too many": BATCH + "1,2 --best power_w --top 1000000000",
    "a table of too many rows": BATCH + "1..100000:100000 --format table",
    "no such preset": "presets show toaster",
    "no such folder of presets": "presets list chips",
    "no such schema": "schema budget",
    "no such help": "help compute",
    "import of nothing": "model import",
    "import of what is not there": "model import nowhere.json",
    "an answer of a network that has one token": "compare gpu --network resnet-50 --output-len 5",
    "a prompt of a network that reads images": "compare gpu --network vit-b-16 --input-len 5",
}  # fmt: skip


def check_refused(quick: Quick, folder: Path, *asked: str) -> str:
    (folder / "here.txt").write_text("kept")
    done = quick(*asked, cwd=folder)
    assert (done.code, done.out) == (2, ""), done.err
    assert 1 <= len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err
    assert max(map(len, done.err.splitlines())) < 400
    assert all(line.isprintable() for line in done.err.splitlines())
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"here.txt": "kept"}
    return done.err


@pytest.mark.parametrize("asked", UNUSABLE.values(), ids=UNUSABLE)
def test_it_is_refused_in_a_line(quick: Quick, tmp_path: Path, asked: str) -> None:
    check_refused(quick, tmp_path, *asked.split())


@pytest.mark.parametrize("option", ["--batch", "--devices", "--input-len", "--output-len"])
def test_a_count_is_a_whole_number_within_reason(quick: Quick, tmp_path: Path, option: str) -> None:
    for value in NUMBERS if option == "--batch" else NUMBERS[:3]:
        told = check_refused(quick, tmp_path, "compare", "gpu", f"{option}={value}")
        assert option in told


@pytest.mark.parametrize(
    "text", ["", "\x1b[31mred", "a\nb", "x" * 5000, "../../etc/passwd", "gpu\u202e", "🔥"]
)
def test_odd_names_are_refused_in_printable_lines(quick: Quick, tmp_path: Path, text: str) -> None:
    check_refused(quick, tmp_path, "compare", "--", text)


@pytest.mark.parametrize(
    "text", ["=", "=1W", "devices.gpu.=1W", "devices..power_cap=1W", "devices.gpu.power_cap==1W", "\x07=1"]
)
@pytest.mark.parametrize("option", ["--set", "--vary"])
def test_odd_addresses_are_refused_in_printable_lines(
    quick: Quick, tmp_path: Path, option: str, text: str
) -> None:
    command = "sweep" if option == "--vary" else "compare"
    check_refused(quick, tmp_path, command, "gpu", option, text)


@pytest.mark.parametrize("value", ["1e300W", "1e-300W", "1aW"])
def test_a_cap_without_sense_is_refused_or_answered_in_strict_json(quick: Quick, value: str) -> None:
    done = quick(*(CAP + value).split(), "--json")
    assert done.code in (0, 2)
    assert "Warning" not in done.err
    if done.code == 0:
        assert done.json()["results"]


@pytest.mark.parametrize(
    "asked",
    [
        "compare gpu --batch 1000000 --input-len 100000000",
        "compare gpu --devices 1000000",
        "compare gpu --output-len 100000000",
    ],
)
def test_the_largest_request_is_answered_in_strict_json(quick: Quick, asked: str) -> None:
    done = quick(*asked.split(), "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json()["results"]


def test_a_missing_unit_gets_an_example_of_one(quick: Quick, tmp_path: Path) -> None:
    told = check_refused(quick, tmp_path, *(CAP + "500").split())
    assert "devices.gpu.power_cap" in told
    assert "'500'" in told
    assert "unit like W" in told


ODD = "a\x1b[31m\tb\u202e"


@pytest.mark.parametrize(
    "asked",
    [
        ("compare", f"./{ODD}.yaml"),
        ("compare", "gpu", "--network", f"{ODD}.json"),
        ("compare", "gpu", "--presets", ODD),
        ("model", "import", f"{ODD}.json"),
        ("model", "scan", f"{ODD}.safetensors"),
        ("validate", f"{ODD}.csv"),
        ("sparsity", "gpu", "--densities", f"{ODD}.json"),
        ("fleet", "gpu", "--site", f"{ODD}.yaml"),
        ("compare", "gpu", "-o", f"{ODD}/x/y"),
    ],
)
def test_no_character_of_a_path_moves_the_cursor_of_who_reads_the_fault(
    run: Run, asked: tuple[str, ...]
) -> None:
    done = run(*asked)
    assert (done.code, done.out) == (2, "")
    assert done.err.rstrip("\n").isprintable()
    assert "a?[31m?b?" in done.err


def test_a_fault_inside_a_file_of_an_odd_name_is_printable_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / f"{ODD}.yaml").write_text("kind: accelerator\n")
    done = run("compare", f"./{ODD}.yaml", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert all(line.isprintable() for line in done.err.splitlines())
