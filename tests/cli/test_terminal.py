"""On a terminal: tables in its width and colours, a hint, a progress bar; never a number cut short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Run, Screen

STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOR = re.compile(r"\x1b\[(\d+;)*(3|4|9|10)\d[;m]")  # bold and dim are allowed under NO_COLOR
ASKED = ("compare", "gpu", "npu", "pim")
LONG = ("sweep", "gpu", "--vary", "request.batch=1..1000000:1000000", "--vary", "request.input_len=1,2",
        "--best", "energy_per_output_token_j")  # fmt: skip
WIDE = {
    "compare": ASKED,
    "compare serving": (*ASKED, "crossbar", "--serving"),
    "estimate": ("estimate", "pim", "--network", "deepseek-v3"),
    "sweep": ("sweep", "gpu", "npu", "--vary", "request.batch=1,64"),
    "show": ("presets", "show", "h100-sxm"),
    "list": ("presets", "list", "devices"),
}


@pytest.mark.parametrize(
    ("env", "more", "colored"),
    [
        ({}, (), True),
        ({"NO_COLOR": "1"}, (), False),
        ({"NO_COLOR": ""}, (), True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, (), False),
        ({"FORCE_COLOR": "1"}, (), True),
        ({"TERM": "dumb"}, (), False),
        ({}, ("--no-color",), False),
        ({"FORCE_COLOR": "1"}, ("--no-color",), False),
    ],
)
def test_no_color_beats_force_color_beats_the_terminal(
    screen: Screen, env: dict[str, str], more: tuple[str, ...], colored: bool
) -> None:
    done = screen("compare", "gpu", *more, env=env)
    assert done.code == 0
    assert bool(STYLE.search(done.out)) == colored


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": ""}, False),
    ],
)
def test_force_color_reaches_a_pipe_unless_no_color_forbids(
    run: Run, env: dict[str, str], colored: bool
) -> None:
    assert bool(STYLE.search(run("compare", "gpu", env=env).out)) == colored


@pytest.mark.parametrize("style", ["json", "jsonl", "csv", "markdown", "plain"])
def test_formats_for_machines_and_files_are_never_colored(screen: Screen, run: Run, style: str) -> None:
    done = screen("compare", "gpu", "--format", style, env={"FORCE_COLOR": "1"})
    assert done.out == run("compare", "gpu", "--format", style).out


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_help_and_errors_keep_to_no_color_too(screen: Screen, env: dict[str, str]) -> None:
    assert not COLOR.search(screen("compare", "-h", env=env).out)
    assert not COLOR.search(screen("compare", "gpux", env=env).err)


def test_a_terminal_gets_a_table_and_a_pipe_does_not(screen: Screen, run: Run, plain_text: Any) -> None:
    assert "───" in plain_text(screen(*ASKED).out)
    assert "───" not in run(*ASKED).out


@pytest.mark.parametrize(
    ("name", "width"),
    [("compare", width) for width in (30, 40, 60, 80, 160, 200)]
    + [(name, width) for name in WIDE if name != "compare" for width in (30, 60, 120)],
)
def test_no_number_is_cut_and_no_line_too_wide(run: Run, screen: Screen, name: str, width: int) -> None:
    cells = cells_of(run(*WIDE[name], "--format", "plain").out)
    numbers = [
        cell for cell in cells if re.match(r"[-+]?\d", cell) and not cell.endswith("%")
    ]  # shares may be left out
    assert len(numbers) > 3
    shown = screen(*WIDE[name], "--format", "table", width=width, env={"NO_COLOR": "1"})
    assert shown.code == 0
    assert "…" not in shown.out
    assert not [
        number for number in numbers if not re.search(rf"(?<![\w.]){re.escape(number)}(?![\w.])", shown.out)
    ]
    lines = [line.strip() for line in shown.out.splitlines() if len(line.rstrip()) > width]
    assert not [line for line in lines if line not in cells]  # wider than the terminal: a single cell at most


def test_columns_sets_the_width_of_a_table_in_a_pipe(run: Run) -> None:
    texts = {width: run(*ASKED, "--format", "table", env={"COLUMNS": str(width)}).out for width in (60, 200)}
    widths = {width: max(map(len, text.splitlines())) for width, text in texts.items()}
    assert widths[60] <= 60 < widths[200] <= 200


def test_a_terminal_gets_a_next_step_on_standard_error(screen: Screen, run: Run) -> None:
    hint = screen("compare", "gpu").err
    command = re.search(r"npuwatt ([a-z]+) (\S+)", hint)
    assert command
    assert len(hint.splitlines()) == 1
    assert run(command[1], command[2]).code == 0


def test_no_next_step_when_the_result_goes_to_a_pipe(screen: Screen) -> None:
    assert screen("compare", "gpu", piped=True).err == ""


def test_a_long_sweep_shows_progress_on_a_terminal(screen: Screen) -> None:
    done = screen(*LONG, piped=True)
    assert done.code == 0
    assert done.err.count("\r") >= 2
    assert "100 %" in done.err
    assert "\r" not in done.out


@pytest.mark.parametrize(("more", "env"), [(("-q",), {}), ((), {"CI": "true"})])
def test_progress_is_off_when_quiet_or_in_ci(
    screen: Screen, more: tuple[str, ...], env: dict[str, str]
) -> None:
    assert screen(*LONG, *more, env=env, piped=True).err == ""


def test_progress_is_off_in_a_pipe_and_in_short_sweeps(run: Run, screen: Screen) -> None:
    assert run(*LONG).err == ""
    assert screen("sweep", "gpu", "--vary", "request.batch=1,2", piped=True).err == ""


def cells_of(plain: str) -> list[str]:
    """Every cell of the tables of a plain text: lines that hold two or more columns."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in plain.splitlines()]
    return [cell for row in rows if len(row) > 1 for cell in row]
