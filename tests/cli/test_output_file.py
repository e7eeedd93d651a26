"""--output: the file is whole or as it was before, whatever happens meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run

LONG = (
    "sweep",
    "gpu",
    "--vary",
    "request.batch=1..1000000:1000000",
    "--vary",
    "request.input_len=1..1000:1000",
)
OLD = "old\n"


def file_limit() -> None:
    """As on a disk with room for 4 kB: what is written beyond fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@contextmanager
def half_written(environment: dict[str, str], path: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep that has begun to write beside `path`, and would take very long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "npuwatt", *LONG, "--output", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=path.parent,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (no thread runs here)
    )
    try:
        end = time.monotonic() + 120
        while not any(other.stat().st_size for other in path.parent.iterdir() if other != path):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("style", ["plain", "json", "jsonl", "csv", "markdown"])
def test_a_file_holds_what_standard_output_would(run: Run, tmp_path: Path, style: str) -> None:
    done = run("compare", "gpu", "npu", "pim", "--format", style, "--output", "out", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "out").read_text() == run("compare", "gpu", "npu", "pim", "--format", style).out
    assert len(done.err.splitlines()) == 1
    assert "out" in done.err
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "asked",
    ["estimate gpu", "sweep gpu --vary request.batch=1,2", "presets list", "presets show gpu", "presets check gpu", "presets path",
     "schema compare"],
)  # fmt: skip
def test_every_command_writes_files(run: Run, tmp_path: Path, asked: str) -> None:
    done = run(*asked.split(), "-o", "out", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "out").read_text() == run(*asked.split()).out


def test_an_imported_network_can_be_used_from_its_file(run: Run, config: Path) -> None:
    folder = config.parent
    done = run("model", "import", "config.json", "-o", "mine.yaml", cwd=folder)
    assert (done.code, done.out) == (0, "")
    assert "494,0" in done.err
    by_preset = run("compare", "gpu", "--network", "mine.yaml", "--json", cwd=folder).json()["results"]
    by_config = run("compare", "gpu", "--network", "./config.json", "--json", cwd=folder).json()["results"]
    assert by_preset == by_config


def test_a_dash_is_standard_output(run: Run) -> None:
    assert run("compare", "gpu", "-o", "-") == run("compare", "gpu")


def test_a_file_of_a_pipe_is_plain_and_never_colored(run: Run, tmp_path: Path) -> None:
    done = run("compare", "gpu", "-o", "out", cwd=tmp_path)
    assert done.code == 0
    assert "\x1b" not in (tmp_path / "out").read_text()


def test_an_old_file_is_replaced_and_keeps_its_mode_and_its_links(run: Run, tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_text(OLD * 10_000)
    path.chmod(0o640)
    link.symlink_to(path)
    assert run("compare", "gpu", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert path.read_text() == run("compare", "gpu").out
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_gets_the_usual_mode(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert run("compare", "gpu", "-o", str(path), limits=lambda: os.umask(0o027)).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("place", ["folder", "folder/", "missing/out", "file/out", ""])
def test_a_place_without_a_file_is_refused_before_any_work(run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text(OLD)
    for asked in (("compare", "gpu"), ("schema", "compare")):
        done = run(*asked, "--output", place, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert len(done.err.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == OLD


def test_a_place_where_no_file_can_be_made_is_one_line(run: Run) -> None:
    done = run("compare", "gpu", "--output", "/proc/npuwatt.json")
    assert done.code in (2, 74)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "asked",
    [
        ("compare", "toaster"),
        ("presets", "show", "toaster"),
        ("sweep", "gpu", "--vary", "request.batch=0,1"),
        ("schema", "budget"),
    ],
)
def test_an_error_leaves_an_old_file_as_it_is_and_makes_no_new_one(
    run: Run, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    path = tmp_path / "out"
    path.write_text(OLD)
    assert run(*asked, "-o", "out", cwd=tmp_path).code == 2
    assert run(*asked, "-o", "new", cwd=tmp_path).code == 2
    assert path.read_text() == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_an_import_of_another_size_leaves_an_old_file_as_it_is(run: Run, config: Path) -> None:
    path = config.with_name("mine.yaml")
    path.write_text(OLD)
    assert run("model", "import", str(config), "--expect-params", "8B", "-o", str(path)).code == 1
    assert path.read_text() == OLD


@pytest.mark.parametrize(
    "asked", [("presets", "list"), ("sweep", "gpu", "--vary", "request.batch=1..5000:5000")]
)
def test_a_full_disk_leaves_an_old_file_as_it_is(run: Run, tmp_path: Path, asked: tuple[str, ...]) -> None:
    path = tmp_path / "out"
    path.write_text(OLD)
    done = run(*asked, "--output", "out", cwd=tmp_path, limits=file_limit)
    assert (done.code, done.out) == (74, "")
    assert len(done.err.splitlines()) == 1
    assert path.read_text() == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_device_is_one_line_and_74(run: Run) -> None:
    done = run("presets", "list", "--output", "/dev/full")
    assert (done.code, done.out) == (74, "")
    assert len(done.err.splitlines()) == 1
    assert Path("/dev/full").is_char_device()


def test_a_kill_in_mid_write_leaves_an_old_file_as_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(OLD)
    with half_written(environment, path) as process:
        process.kill()
        process.wait(120)
    assert path.read_text() == OLD


def test_ctrl_c_in_mid_write_leaves_an_old_file_as_it_is_and_nothing_beside_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_text(OLD)
    with half_written(environment, path) as process:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert process.returncode == 130
    assert path.read_text() == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_two_runs_into_one_file_leave_one_whole_result(
    environment: dict[str, str], run: Run, tmp_path: Path
) -> None:
    asked = [
        sys.executable,
        "-m",
        "npuwatt",
        "sweep",
        "gpu",
        "--vary",
        "request.batch=1..20000:20000",
        "-o",
        "out",
    ]
    both = [
        subprocess.Popen(asked, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [one.wait(120) for one in both] == [0, 0]
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text().count("\n") == 20_001


READ = {
    "my.yaml": (
        ["compare", "./my.yaml", "-o", "my.yaml"],
        ["presets", "show", "my.yaml", "--output=./my.yaml"],
        ["sweep", "my.yaml", "--vary", "request.batch=1,2", "-o", "link.yaml"],
        ["fleet", "gpu", "--site", "my.yaml", "-o", "my.yaml"],
    ),
    "folder/devices/mine.yaml": (
        ["compare", "mine", "--presets", "folder", "-o", "folder/devices/mine.yaml"],
        ["presets", "check", "--presets", "folder", "-o", "folder/devices/mine.yaml"],
    ),
    "config.json": (
        ["compare", "gpu", "--network", "config.json", "-o", "config.json"],
        ["model", "import", "config.json", "-o", "config.json"],
    ),
    "runs.csv": (["validate", "runs.csv", "-o", "runs.csv"],),
    "d.json": (["sparsity", "gpu", "--densities", "d.json", "-o", "d.json"],),
}


@pytest.mark.parametrize(
    ("name", "asked"), [(name, asked) for name, lines in READ.items() for asked in lines], ids=str
)
def test_a_file_that_a_command_reads_is_not_written_onto(
    run: Run, tmp_path: Path, name: str, asked: list[str]
) -> None:
    (tmp_path / "folder" / "devices").mkdir(parents=True)
    (tmp_path / name).write_text(OLD)
    (tmp_path / "link.yaml").symlink_to("my.yaml")
    done = run(*asked, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    target = asked[-1].removeprefix("--output=")
    assert done.err == f"npuwatt: --output '{target}': is a file that this command reads; expected another\n"
    assert (tmp_path / name).read_text() == OLD


def test_a_file_that_the_environment_names_is_not_written_onto(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(OLD)
    done = run("compare", "gpu", "-o", "config.json", cwd=tmp_path, env={"NPUWATT_NETWORK": "config.json"})
    assert (done.code, (tmp_path / "config.json").read_text()) == (2, OLD)


def test_a_file_with_the_name_of_a_device_is_none_that_is_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gpu").write_text(OLD)
    assert run("compare", "gpu", "-o", "gpu", cwd=tmp_path).code == 0
    assert (tmp_path / "gpu").read_text() != OLD


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_leaves_everything_as_it_was(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "out.csv"
    path.write_text(OLD)
    with half_written(environment, path) as process:
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert (path.read_text(), os.listdir(tmp_path)) == (OLD, ["out.csv"])
