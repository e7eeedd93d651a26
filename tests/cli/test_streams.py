"""Standard output is the result and nothing else; pipes, other encodings and full disks are no surprise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run

QUESTIONS = {
    "compare": ("compare", "gpu", "npu", "pim"),
    "estimate": ("estimate", "pim"),
    "sweep": ("sweep", "gpu", "--vary", "request.batch=1,2"),
    "list": ("presets", "list", "devices"),
    "show": ("presets", "show", "h100-sxm"),
    "check": ("presets", "check", "h100-sxm", "llama-3.1-8b"),
    "path": ("presets", "path"),
    "schema": ("schema", "compare"),
    "version": ("--version",),
    "help": ("compare", "-h"),
}
every_question = pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)


def shell(text: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A bash line in which $npuwatt is the command."""
    return subprocess.run(
        ["bash", "-c", text],
        capture_output=True,
        check=False,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env=environment | {"npuwatt": f"{sys.executable} -m npuwatt"},
        cwd=cwd,
        timeout=120,
    )


@every_question
def test_success_says_nothing_on_standard_error(run: Run, asked: tuple[str, ...]) -> None:
    done = run(*asked)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")


@every_question
def test_a_pipe_gets_no_escapes_even_under_github_actions(run: Run, asked: tuple[str, ...]) -> None:
    done = run(*asked, env={"GITHUB_ACTIONS": "true", "PY_COLORS": "1"})
    assert done.code == 0
    assert "\x1b" not in done.out + done.err


def test_a_pipe_gets_one_record_a_line_without_boxes_however_narrow(run: Run) -> None:
    done = run("compare", "gpu", "npu", "pim", env={"COLUMNS": "30", "GITHUB_ACTIONS": "true"})
    starts = [line.split()[0] for line in done.out.splitlines() if line]
    table = starts[starts.index("device") :]
    assert table[:4] == ["device", "gpu", "npu", "pim"]
    assert not set(done.out) & set("│┃─━┏┓╭╮|")


@pytest.mark.parametrize(
    "line", ["$npuwatt compare gpu npu pim", "$npuwatt presets list", "$npuwatt estimate gpu --format json"]
)
def test_a_pipe_that_closes_early_ends_a_command_silently(
    environment: dict[str, str], empty: Path, line: str
) -> None:
    done = shell(f"{line} | head -n 1", environment, empty)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_pipe_that_closes_early_ends_a_long_sweep_silently(
    environment: dict[str, str], empty: Path
) -> None:
    line = "$npuwatt sweep gpu --vary request.batch=1..1000000:1000000 --format jsonl | head -n 1"
    done = shell(line, environment, empty)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    "asked",
    [
        "compare gpu",
        "compare gpu --json",
        "--version",
        "-h",
        "presets list",
        "schema compare",
        "sweep gpu --vary request.batch=1..5000:5000",
    ],
)
def test_a_full_disk_is_one_line_and_74(environment: dict[str, str], empty: Path, asked: str) -> None:
    done = shell(f"$npuwatt {asked} > /dev/full", environment, empty)
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1
    assert "no space left" in done.stderr.lower()


def test_standard_input_is_left_to_the_loop_around(environment: dict[str, str], empty: Path) -> None:
    loop = r"printf 'gpu\nnpu\npim\n' | while read -r d; do $npuwatt compare $d --format jsonl; done"
    done = shell(loop, environment, empty)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 3


def test_a_closed_standard_output_is_no_traceback(environment: dict[str, str], empty: Path) -> None:
    done = shell("$npuwatt compare gpu >&-", environment, empty)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize("style", ["plain", "table", "markdown"])
@pytest.mark.parametrize(
    "asked", [("compare", "gpu", "npu", "pim"), ("presets", "show", "crossbar")], ids=" ".join
)
def test_an_ascii_locale_gets_ascii(
    environment: dict[str, str], empty: Path, asked: tuple[str, ...], style: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npuwatt", *asked, "--format", style],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        cwd=empty,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
