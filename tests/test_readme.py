"""Everything the README shows is true: its commands run, its output is the real one, its preset loads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
CONFIG = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = [line.strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("pip ")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, packed: Any) -> Path:
    """A model of which half the weights of one layer are zero, in the pattern 2:4, and what a scan says of it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) * (np.arange(64) % 4 < 2)
    (folder / "model.safetensors").write_bytes(
        packed({"model.layers.0.mlp.down_proj.weight": ("F32", weights)})
    )
    assert run("npuwatt model scan model.safetensors --densities densities.json", folder).returncode == 0
    densities = json.loads((folder / "densities.json").read_text())
    densities["tensors"][0]["shape"] = [32, 4096, 14336]  # of the network that README asks about
    (folder / "densities.json").write_text(json.dumps(densities))
    return folder


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    for name in ("model.safetensors", "densities.json"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    (tmp_path / "mychips" / "devices").mkdir(parents=True)
    (tmp_path / "mychips" / "devices" / "my-npu.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    (tmp_path / "runs.csv").write_text(blocks("csv")[0], encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A README line in bash, with this interpreter's npuwatt and python3."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith("NPUWATT_")}
    script = f'npuwatt() {{ "{sys.executable}" -m npuwatt "$@"; }}\npython3() {{ "{sys.executable}" "$@"; }}\n{line}\n'
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=bare, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )  # fmt: skip


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_runs(line: str, folder: Path) -> None:
    done = run(line, folder)
    assert done.returncode == 0, done.stderr
    assert all(said.startswith(("wrote ", "warning: ")) for said in done.stderr.splitlines())


def test_the_readme_shows_the_real_answer(folder: Path) -> None:
    assert run("npuwatt compare gpu npu pim", folder).stdout == blocks("text")[0]


def test_the_preset_of_the_readme_is_a_sound_device_found_by_name(folder: Path) -> None:
    assert run("npuwatt presets check mychips/devices/my-npu.yaml", folder).returncode == 0
    assert "my-npu" in run("npuwatt compare my-npu --presets mychips", folder).stdout


def test_the_library_example_of_the_readme_runs(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_readme_names_what_ci_runs() -> None:
    script = (Path(__file__).parent.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install '.[dev]' && pytest" in blocks("sh")[1]
    assert script.rstrip().endswith(blocks("sh")[1].strip())
