"""Every end has its exit code, whatever the format; an error is a line that says what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Done, Quick, Run

every_format = pytest.mark.parametrize("style", ["plain", "table", "json", "jsonl", "csv", "markdown"])
UNSOUND = """\
kind: accelerator
name: Board with aliases that are no texts
evidence: projected
source: assumed
where: made up for a test
aliases: [4090]
peak: {int8: 100 TOPS}
mac_energy: {int8: 0.2 pJ/MAC}
static_power: 5 W
power_cap: 75 W
levels:
  dram: {bandwidth: 200 GB/s, read_energy: 5 pJ/bit, capacity: 32 GiB}
"""


@pytest.fixture
def bug(tmp_path: Path) -> dict[str, str]:
    """An environment in which comparing, and nothing else, fails by a bug."""
    (tmp_path / "sitecustomize.py").write_text(
        "import npuwatt.study.compare as compare\n"
        "def broken(*names, **options):\n"
        "    raise ZeroDivisionError('the bug of this test')\n"
        "compare.compare = broken\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


@every_format
def test_a_preset_that_breaks_a_rule_exits_1(quick: Quick, tmp_path: Path, style: str) -> None:
    path = tmp_path / "unsound.yaml"
    path.write_text(UNSOUND)
    done = quick("presets", "check", str(path), "--format", style)
    assert done.code == 1
    assert done.out
    if style == "json":
        assert done.json()["sound"] is False
        (preset,) = done.json()["presets"]
        assert "aliases" in preset["faults"][0]


@every_format
def test_an_import_of_another_size_than_expected_exits_1(quick: Quick, config: Path, style: str) -> None:
    done = quick("model", "import", str(config), "--expect-params", "8.03B", "--format", style)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "494,0" in done.err
    assert "8,030,000,000" in done.err


@pytest.mark.parametrize("count", ["0.494B", "494M", "4.94e8", "494032768"])
def test_an_import_of_the_expected_size_exits_0(quick: Quick, config: Path, count: str) -> None:
    assert quick("model", "import", str(config), "--expect-params", count).code == 0


@every_format
@pytest.mark.parametrize("asked", ["compare h100-sxn", "presets check nowhere.yaml"])
def test_what_cannot_be_used_exits_2(quick: Quick, asked: str, style: str) -> None:
    refused(quick(*asked.split(), "--format", style))


@every_format
def test_a_bug_exits_70_and_says_how_to_report_it(run: Run, bug: dict[str, str], style: str) -> None:
    done = run("compare", "gpu", "--format", style, env=bug)
    assert (done.code, done.out) == (70, "")
    assert 1 <= len(done.err.splitlines()) <= 2
    version = run("--version").out.split()[1]
    for text in (version, "ZeroDivisionError", "report", "--debug"):
        assert text in done.err
    assert "Traceback" not in done.err


def test_debug_shows_where_a_bug_happened_and_still_exits_70(run: Run, bug: dict[str, str]) -> None:
    done = run("compare", "gpu", "--debug", env=bug)
    assert "Traceback (most recent call last)" in done.err
    assert "in broken" in done.err
    assert done.code == 70


@every_format
def test_a_full_disk_exits_74(quick: Quick, style: str) -> None:
    done = quick("compare", "gpu", "--format", style, "--output", "/dev/full")
    assert (done.code, done.out) == (74, "")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "asked",
    ["compare h100-sxn", "compare gpu --batch 0", "compare gpu --set devices.gpu.power_cap=500", "compare"],
)
def test_debug_adds_nothing_to_an_error_of_the_user(quick: Quick, asked: str) -> None:
    refused(quick(*asked.split(), "--debug"))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("compair gpu", "compare"),
        ("presets lst", "list"),
        ("compare gpu --formt json", "--format"),
        ("compare gpu --batches 2", "--batch"),
        ("compare h100-sxn", "h100-sxm"),
        ("compare gpu npuu", "npu"),
        ("compare gpu --network llama-3.1-8c", "llama-3.1-8b"),
        ("compare gpu --network deepseek-ai/DeepSeek-V4", "deepseek-v3"),
        ("compare gpu --format jsn", "json"),
        ("compare gpu --set devices.gpu.power_capp=500W", "power_cap"),
        ("compare gpu --set devices.gpu.levels.dram.bandwith=4TB/s", "bandwidth"),
        ("compare gpu --set devices.gpuu.power_cap=500W", "devices.gpu"),
        ("sweep gpu --vary devices.gpu.levels.drm.bandwidth=1TB/s,2TB/s", "dram"),
        ("sweep gpu --vary request.bach=1,2", "batch"),
        ("sweep gpu --vary request.batch=1,2 --best energy_per_output_tokens_j", "energy_per_output_token_j"),
        ("presets show h100-sxn", "h100-sxm"),
        ("presets show vllm-0.12", "vllm-0.11"),
        ("presets list device", "devices"),
        ("schema comparee", "compare"),
    ],
)  # fmt: skip
def test_a_slip_gets_the_name_that_was_meant(quick: Quick, asked: str, meant: str) -> None:
    done = refused(quick(*asked.split()))
    suggested = re.search("(did you mean|possible options:)(.*)", done.err.lower())
    assert suggested
    assert meant in suggested[2]


def test_a_slip_in_a_preset_gets_its_line_and_the_key_that_was_meant(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        UNSOUND.replace("bandwidth:", "bandwith:").replace("static_power: 5 W", "static_power: 5")
    )
    done = run("compare", str(path))
    assert (done.code, done.out) == (2, "")
    assert f"{path}:9: static_power" in done.err
    assert f"{path}:12: levels.dram.bandwith" in done.err
    assert "did you mean 'bandwidth'" in done.err
    assert "Traceback" not in done.err


def test_all_faults_of_a_preset_are_told_at_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = UNSOUND.replace("75 W", "75 V").replace("5 pJ/bit", "-5 pJ/bit").replace("100 TOPS", "fast")
    path.write_text(text)
    lines = run("presets", "check", str(path)).err.splitlines()
    told = {line for line in (7, 10, 12) for text in lines if f"{path}:{line}:" in text}
    assert told == {7, 10, 12}


@pytest.mark.parametrize("value", ["1000000TB/s", "1kB/s"])
def test_a_value_far_outside_the_known_range_is_said_to_be(run: Run, value: str) -> None:
    done = run("compare", "gpu", "--set", f"devices.gpu.levels.dram.bandwidth={value}", "--json")
    assert done.code == 0
    (result,) = done.json()["results"]
    told = [
        note
        for note in (*result["notes"], *done.json()["notes"], *done.err.splitlines())
        if "bandwidth" in note
    ]
    assert told
    assert "3.19 TB/s" in told[0]
    assert "3.518 TB/s" in told[0]


@pytest.mark.parametrize("style", ["json", "jsonl", "csv"])
def test_ctrl_c_exits_130_without_a_traceback(environment: dict[str, str], empty: Path, style: str) -> None:
    import signal

    asked = (
        "sweep",
        "gpu",
        "--vary",
        "request.batch=1..1000000:1000000",
        "--vary",
        "request.input_len=1..1000:1000",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "npuwatt", *asked, "--format", style],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=empty,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (no thread runs here)
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)  # it has begun to write
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(err.splitlines()) <= 1
    assert b"Traceback" not in err


def refused(done: Done) -> Done:
    """Holds an error to its form: exit 2, one to three lines of what to do, no result."""
    assert (done.code, done.out) == (2, "")
    assert 1 <= len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err
    assert done.err.isprintable() or all(line.isprintable() for line in done.err.splitlines())
    return done
