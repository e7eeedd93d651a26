"""How a command ends where its streams end first, and where its output goes to odd places."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f'"{sys.executable}" -m npuwatt'
GPU = "devices.gpu"


def ends(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A bash line, with the exit codes of its pipeline as the last line of its output."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith(("NPUWATT_", "PYTHON"))}
    script = f"{line.replace('npuwatt', COMMAND, 1)}; echo ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=bare | env, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("asked", ["-h", "compare gpu", "sweep gpu --vary request.batch=1..9000:9000"])
def test_a_closed_pipe_is_no_failed_check(asked: str, unbuffered: str, tmp_path: Path) -> None:
    done = ends(f"npuwatt {asked} | true", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_user_fault_exits_2_even_if_nobody_hears_of_it(unbuffered: str, tmp_path: Path) -> None:
    for line in ("npuwatt compare nosuch 2>/dev/full", "npuwatt compare nosuch 2>&1 >/dev/null | true"):
        assert ends(line, tmp_path, PYTHONUNBUFFERED=unbuffered).stdout == "2\n"


def test_output_may_be_a_pipe_by_name(tmp_path: Path) -> None:
    done = ends("npuwatt compare gpu --json -o /dev/stdout | cat", tmp_path)
    assert done.stdout.startswith("{") and done.stdout.endswith("}\n0\n")


def test_a_folder_that_is_not_there_is_no_file_name(tmp_path: Path) -> None:
    assert ends("npuwatt compare gpu -o none/", tmp_path).stdout == "2\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["kind=crossbar", "evidence=calibrated", "name=x", "source=assumed"])
def test_what_describes_a_preset_cannot_be_set(key: str, tmp_path: Path) -> None:
    done = ends(f"npuwatt compare gpu --set {GPU}.{key}", tmp_path)
    assert done.stdout == "2\n"
    assert done.stderr.count("\n") == 1


def test_a_home_that_does_not_exist_is_a_missing_file(tmp_path: Path) -> None:
    done = ends("npuwatt compare '~nosuchuser/x.yaml'", tmp_path)
    assert done.stdout == "2\n"
    assert "no such file" in done.stderr


def test_two_files_of_one_name_stay_two_devices(tmp_path: Path) -> None:
    for folder, cap in (("a", "75 W"), ("b", "70 W")):
        (tmp_path / folder).mkdir()
        text = (
            "kind: accelerator\nevidence: projected\nsource: assumed\nwhere: a test\npeak: {bf16: 9 TFLOPS}\n"
        )
        text += f"mac_energy: {{bf16: 1 pJ/MAC}}\nstatic_power: 9 W\npower_cap: {cap}\n"
        text += "levels: {dram: {bandwidth: 500 GB/s, read_energy: 5 pJ/bit, capacity: 32 GiB}}\n"
        (tmp_path / folder / "x.yaml").write_text(text, encoding="utf-8")
    shown = ends("npuwatt compare a/x.yaml b/x.yaml", tmp_path).stdout
    assert [line.split()[0] for line in shown.splitlines()[3:5]] == ["a/x.yaml", "b/x.yaml"]
    assert ends("npuwatt compare a/x.yaml b/x.yaml --json", tmp_path).stdout.count('"sha256"') == 3
