"""Files that cannot be used: exit 2, at most three lines that name the file, and never a hang."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Quick, Run

DEVICE = """\
kind: accelerator
name: A board of this test
evidence: projected
source: assumed
where: made up for a test
peak: {int8: 100 TOPS, bf16: 50 TFLOPS}
mac_energy: {int8: 0.2 pJ/MAC, bf16: 0.4 pJ/MAC}
static_power: 5 W
power_cap: 75 W
levels:
  dram: {bandwidth: 200 GB/s, read_energy: 5 pJ/bit, capacity: 32 GiB}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_YAML: dict[str, str | bytes] = {
    "a tag": DEVICE.replace("75 W", "!!python/object/apply:os.system ['touch here']"),
    "a harmless tag": DEVICE.replace("name: A", "name: !!str A"),
    "an anchor": DEVICE.replace("75 W", "&cap 75 W"),
    "an alias": DEVICE.replace("75 W", "*cap"),
    "an anchor bomb": BOMB,
    "a merge key": DEVICE + "<<: {power_cap: 5 W}\n",
    "a key twice": DEVICE + "power_cap: 80 W\n",
    "an inner key twice": DEVICE.replace("bandwidth:", "capacity: 16 GiB, bandwidth:"),
    "a list for a number": DEVICE.replace("75 W", "[75 W]"),
    "a number for a group": DEVICE.replace("{int8: 100 TOPS, bf16: 50 TFLOPS}", "100 TOPS"),
    "a text for a number": DEVICE.replace("75 W", "plenty"),
    "true for a number": DEVICE.replace("75 W", "true"),
    "a date for a number": DEVICE.replace("75 W", "2024-01-01"),
    "nothing for a number": DEVICE.replace("75 W", ""),
    "a negative number": DEVICE.replace("75 W", "-75 W"),
    "zero": DEVICE.replace("200 GB/s", "0 GB/s"),
    "not a number": DEVICE.replace("75 W", ".nan"),
    "infinity": DEVICE.replace("75 W", ".inf"),
    "a number too big": DEVICE.replace("75 W", "1e999 W"),
    "a range that leaves its value out": DEVICE.replace("75 W", "{value: 75 W, low: 80 W}"),
    "an unknown source": DEVICE.replace("75 W", "{value: 75 W, source: hearsay}"),
    "an unknown key": DEVICE + "turbo: 9 W\n",
    "a missing key": DEVICE.replace("levels:", "layers:"),
    "an unknown kind": DEVICE.replace("kind: accelerator", "kind: abacus"),
    "no kind": DEVICE.replace("kind: accelerator\n", ""),
    "a list": "- kind\n- accelerator\n",
    "a text": "accelerator\n",
    "a number": "75\n",
    "nothing": "",
    "blanks and remarks": "\n\n# no preset\n",
    "two documents": DEVICE + "---\n" + DEVICE,
    "broken YAML": DEVICE + "levels: {dram: [\n",
    "tabs": DEVICE.replace("  dram", "\tdram"),
    "deep nesting": "a: " + "{a: " * 5000 + "1" + "}" * 5000,
    "a very long key": "k" * 5000 + ": 1\n",
    "binary": bytes(range(256)) * 16,
    "zeros": b"\0" * 100,
    "UTF-16": DEVICE.encode("utf-16"),
    "control characters": DEVICE.replace("A board", '"\\e[31m\\a"'),
    "another encoding": DEVICE.replace("A board", "Br\xe4tt").encode("latin-1"),
}
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
}  # TinyLlama/TinyLlama-1.1B-Chat-v1.0
BAD_CONFIG: dict[str, Any] = {
    "an unknown architecture": LLAMA | {"architectures": ["OracleForCausalLM"], "model_type": "oracle"},
    "no architecture": {
        key: value for key, value in LLAMA.items() if key not in ("architectures", "model_type")
    },
    "no layers": {key: value for key, value in LLAMA.items() if key != "num_hidden_layers"},
    "zero layers": LLAMA | {"num_hidden_layers": 0},
    "a negative width": LLAMA | {"hidden_size": -2048},
    "half a head": LLAMA | {"num_attention_heads": 1.5},
    "a text for a number": LLAMA | {"hidden_size": "2048"},
    "true for a number": LLAMA | {"hidden_size": True},
    "a list for a number": LLAMA | {"hidden_size": [2048]},
    "absurdly many layers": LLAMA | {"num_hidden_layers": 10**12},
    "an absurd vocabulary": LLAMA | {"vocab_size": 10**30},
    "heads that do not share": LLAMA | {"num_key_value_heads": 5},
    "a list": [LLAMA],
    "nothing inside": {},
    "a number": 7,
}


def check_refused(run: Quick | Run, path: Path, *asked: str, **how: Any) -> str:
    before = sorted(path.parent.iterdir())
    done = run(*asked, cwd=path.parent, **how)
    assert (done.code, done.out) == (2, ""), done.err
    assert 1 <= len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err
    assert path.name in done.err
    assert max(map(len, done.err.splitlines())) < 500
    assert all(line.isprintable() for line in done.err.splitlines())
    assert sorted(path.parent.iterdir()) == before
    return done.err


def test_the_device_and_the_config_that_are_broken_below_are_sound(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(DEVICE)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    done = quick("compare", "./board.yaml", "--network", "./config.json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_a_preset_is_refused(quick: Quick, tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "board.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    check_refused(quick, path, "compare", "./board.yaml")


@pytest.mark.parametrize("content", BAD_CONFIG.values(), ids=BAD_CONFIG)
def test_a_config_is_refused(quick: Quick, tmp_path: Path, content: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    check_refused(quick, path, "model", "import", "config.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", '{"a": NaN}', "[" * 100_000, "\0", '{"hidden_size": ' + "9" * 5000 + "}", "kind: x"],
)
def test_what_is_no_json_is_refused(quick: Quick, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    check_refused(quick, path, "compare", "gpu", "--network", "./config.json")


@pytest.mark.parametrize("name", ["board.yaml", "config.json"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "huge", "looped", "unreadable", "device", "forbidden"])
def test_what_is_no_readable_plain_file_is_refused_at_once(
    run: Run, tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 100_000_000)
    elif kind == "looped":
        path.symlink_to(path)
    elif kind == "unreadable":  # opens, but cannot be read, even by root
        path.symlink_to("/proc/self/mem")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch(mode=0)
        if os.access(path, os.R_OK):
            path.unlink()  # root may read it: a path through a file stands in for it
            path = tmp_path / "here.txt" / name
            (tmp_path / "here.txt").touch()
    asked = ("compare", str(path)) if name == "board.yaml" else ("compare", "gpu", "--network", str(path))
    half_a_gigabyte = 512 * 2**20
    check_refused(
        run, path if path.parent == tmp_path else path.parent, *asked,
        env={"OPENBLAS_NUM_THREADS": "1"},
        limits=lambda: resource.setrlimit(resource.RLIMIT_AS, (half_a_gigabyte, half_a_gigabyte)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        "presets show ./board.yaml",
        "presets check ./board.yaml",
        "estimate ./board.yaml",
        "sweep ./board.yaml --vary request.batch=1,2",
    ],
)
def test_every_command_refuses_the_same_file(quick: Quick, tmp_path: Path, asked: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(DEVICE.replace("75 W", "75"))
    assert "board.yaml:9: power_cap" in check_refused(quick, path, *asked.split())


def test_a_broken_file_in_a_folder_of_presets_is_named(quick: Quick, tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(DEVICE.replace("75 W", "75"))
    assert "board.yaml:9: power_cap" in check_refused(quick, path, "compare", "board", "--presets", ".")


def test_the_users_presets_come_before_the_built_in_ones(run: Run, tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "gpu.yaml").write_text(DEVICE)
    (flagged,) = run("compare", "gpu", "--presets", str(tmp_path), "--json").json()["results"]
    (by_environment,) = run("compare", "gpu", "--json", env={"NPUWATT_PRESETS": str(tmp_path)}).json()[
        "results"
    ]
    assert flagged == by_environment
    assert flagged["preset"] == "gpu"
    assert flagged["power_w"] < 80


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "a\nb.yaml"),
        ("compare", "gpu", "--network", "a\nb.json"),
        ("model", "scan", "a\nb\r\x1b[2J.safetensors"),
        ("model", "import", "a\u2028b.json"),
    ],
)
def test_a_path_of_several_lines_is_told_in_one(quick: Quick, words: tuple[str, ...]) -> None:
    done = quick(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("npuwatt: a?b")
    assert done.err.removesuffix("\n").isprintable()
