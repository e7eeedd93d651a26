"""A command loads little, writes nothing and speaks to no one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import npuwatt

if TYPE_CHECKING:
    from conftest import Run

HEAVY = ("numpy", "rich", "pydantic", "importlib.metadata", "importlib.resources")
COMPLETION = {"_NPUWATT_COMPLETE": "complete_bash", "COMP_WORDS": "npuwatt compare h1", "COMP_CWORD": "2"}
IS_WHEEL = "site-packages" in Path(npuwatt.__file__).parts
LIGHT = {
    "-h": (("-h",), {}),
    "compare -h": (("compare", "-h"), {}),
    "--version": (("--version",), {}),
    "presets list": (("presets", "list"), {}),
    "completion": ((), COMPLETION),
}
# Ends a process that opens a socket or opens any file for writing, whatever library does it.
GUARD = """\
import os, sys
def guard(event, arguments):
    if event.startswith("socket."):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(98)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)
    if event in ("os.mkdir", "os.rename", "os.remove", "subprocess.Popen", "os.system", "os.posix_spawn"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(97)
sys.addaudithook(guard)
"""


@pytest.mark.skipif("CI" not in os.environ, reason="a checkout is tested in place")
def test_ci_tests_the_installed_wheel() -> None:
    assert "site-packages" in Path(npuwatt.__file__).parts


@pytest.mark.parametrize("name", LIGHT)
def test_light_commands_load_no_heavy_module(run: Run, name: str) -> None:
    asked, env = LIGHT[name]
    done = run(*asked, env=env, python=("-X", "importtime"))
    assert done.code == 0
    loaded = {
        line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")
    }
    assert "npuwatt" in loaded
    heavy = HEAVY + (("yaml",) if IS_WHEEL else ())
    assert not loaded & set(heavy)


def test_importing_the_library_changes_nothing_and_loads_nothing_heavy(
    environment: dict[str, str], empty: Path
) -> None:
    program = (
        "import gc, json, os, sys\n"
        "before = dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()\n"
        "import npuwatt\n"
        "after = dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()\n"
        "print(json.dumps([before == after, sorted(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=empty,
    )
    unchanged, modules = json.loads(done.stdout)
    assert unchanged
    assert not {"numpy", "typer", "rich", "yaml"} & set(modules)
    assert not [module for module in modules if module.startswith("npuwatt.cli")]


@pytest.mark.parametrize(
    "asked",
    ["compare gpu npu pim", "estimate pim --format table", "sweep gpu --vary request.batch=1,2", "presets list", "presets show gpu",
     "presets check gpu llama-3.1-8b", "model import config.json", "schema compare", "--version", "sweep -h", "compare toaster"],
)  # fmt: skip
def test_no_command_writes_a_file_or_opens_a_socket(
    run: Run, config: Path, tmp_path: Path, asked: str
) -> None:
    home, site = tmp_path / "home", tmp_path / "site"
    home.mkdir(mode=0o500)
    site.mkdir()
    (site / "sitecustomize.py").write_text(GUARD)
    before = sorted(tmp_path.rglob("*"))
    env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(home)}
    done = run(
        *asked.split(), cwd=config.parent, env=env | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.code == (2 if "toaster" in asked else 0), done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_guard_of_the_test_above_catches_writes_and_sockets(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    programs = {"open('x', 'w')": 99, "import socket; socket.socket()": 98, "import os; os.mkdir('x')": 97}
    for program, code in programs.items():
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code


def test_the_command_and_the_module_are_the_same(run: Run, environment: dict[str, str], empty: Path) -> None:
    command = Path(sys.executable).with_name("npuwatt")
    done = subprocess.run(
        [command, "compare", "gpu"], check=False, capture_output=True, text=True, env=environment, cwd=empty
    )
    assert (done.returncode, done.stdout) == (0, run("compare", "gpu").out)
