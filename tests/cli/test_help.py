"""Help is where people look for it, opens with examples that run, and tells each default."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from npuwatt.preset import library

if TYPE_CHECKING:
    from conftest import Quick, Run, Screen

COMMANDS = ("", "compare", "estimate", "accuracy", "sparsity", "fleet", "phone", "always-on", "sweep", "schema", "presets", "presets list", "presets show", "presets check",
            "presets path", "model", "model import", "model scan", "validate", "calibrate")  # fmt: skip
SHARED = ("--network", "--input-len", "--output-len", "--batch", "--devices", "--weights", "--activations", "--kv-cache",
          "--mode", "--serving", "--stack", "--prefill", "--expert-parallel", "--data-parallel", "--constants", "--set",
          "--presets", "--format", "--json", "--output", "--no-color", "--debug")  # fmt: skip
# https://huggingface.co/meta-llama/Llama-3.1-8B/blob/main/config.json: the network of the examples, 8.03 billion parameters.
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
every_command = pytest.mark.parametrize("command", COMMANDS)


@every_command
def test_help_is_the_same_by_every_way_to_it(quick: Quick, command: str) -> None:
    short = quick(*command.split(), "-h")
    assert (short.code, short.err) == (0, "")
    assert short.out.startswith("Usage: npuwatt")
    assert quick(*command.split(), "--help") == short
    assert quick("help", *command.split()) == short


@pytest.mark.parametrize("command", ["", "presets", "model"])
def test_no_arguments_show_the_help(run: Run, command: str) -> None:
    bare, asked = run(*command.split()), run(*command.split(), "-h")
    assert (bare.code, bare.err) == (0, "")
    assert bare.out.split() == asked.out.split()


def test_the_commands_are_those_that_help_lists(quick: Quick) -> None:
    listed = {""}
    for group in ("", "presets", "model"):
        section = quick(*group.split(), "-h").out.partition("Commands:\n")[2]
        listed |= {f"{group} {name}".strip() for name in re.findall(r"^  (\S+)", section, re.MULTILINE)}
    assert listed == {*COMMANDS, "help"}


@every_command
def test_help_opens_with_an_example(run: Run, command: str) -> None:
    text = run(*command.split(), "-h").out
    first = text.find(f"\n    npuwatt {command}")
    assert 0 < first < (text.find("Options:") if "Arguments:" not in text else text.find("Arguments:"))


@every_command
def test_every_example_of_a_help_runs(quick: Quick, tmp_path: Path, packed: Any, command: str) -> None:
    ones = np.ones((8, 8), np.float32)
    (tmp_path / "model.safetensors").write_bytes(packed({"fc1.weight": ("F32", ones)}))
    tensor = {
        "name": "q",
        "shape": [32 * 6144, 4096],
        "dtype": "F32",
        "input_axis": 1,
        "op": "qkv",
        "density": 0.5,
        "conformity": {},
    }
    (tmp_path / "densities.json").write_text(
        json.dumps({"schema": "npuwatt.densities/1", "tensors": [tensor]})
    )
    (tmp_path / "presets" / "networks").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "runs.csv").write_bytes(
        (Path(library.presets_root()) / "measured" / "ml-energy-v3.csv").read_bytes()
    )
    examples = re.findall(r"^    (npuwatt .*)$", quick(*command.split(), "-h").out, re.MULTILINE)
    for example in examples:
        done = quick(*shlex.split(example)[1:], cwd=tmp_path)
        assert done.code == 0, f"{example}: {done.err}"
        assert done.out or "--output" in example


@every_command
def test_every_option_with_a_value_tells_its_default(run: Run, command: str) -> None:
    for option, (metavar, text) in options_of(run(*command.split(), "-h").out).items():
        if metavar:
            assert re.search(r"default: \S|\[required\]", text), option


@pytest.mark.parametrize("command", ["compare", "estimate", "sweep"])
def test_options_that_commands_share_have_one_name_and_one_text(run: Run, command: str) -> None:
    own, compares = (options_of(run(name, "-h").out) for name in (command, "compare"))
    assert {name: own[name] for name in SHARED} == {name: compares[name] for name in SHARED}


@pytest.mark.parametrize("command", ["accuracy", "fleet"])
def test_options_that_others_have_are_theirs(run: Run, command: str) -> None:
    own, compares = (options_of(run(name, "-h").out) for name in (command, "compare"))
    shared = own.keys() & compares.keys()
    assert {"--network", "--set", "--presets", "--format", "--output"} <= shared
    assert {name: own[name] for name in shared} == {name: compares[name] for name in shared}


def test_defaults_told_are_the_defaults_used(run: Run) -> None:
    request = run("compare", "gpu", "npu", "pim", "crossbar", "--format", "json").json()["request"]
    options = options_of(run("compare", "-h").out)
    for option in (
        "--network",
        "--input-len",
        "--output-len",
        "--batch",
        "--weights",
        "--activations",
        "--kv-cache",
        "--constants",
    ):
        told = re.search(r"default: \(?([\w.-]+)", options[option][1])
        assert told
        assert told[1] == str(request[option[2:].replace("-", "_")])


def test_help_on_a_terminal_keeps_to_its_width(screen: Screen) -> None:
    for width in (60, 80):
        shown = screen("compare", "-h", width=width, env={"NO_COLOR": "1"})
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown.out)
        assert shown.code == 0
        assert "npuwatt compare gpu npu pim" in text
        assert max(map(len, text.splitlines())) <= width


def options_of(text: str) -> dict[str, tuple[str, str]]:
    """Long option -> its metavar ('' of a flag) and its text, out of a help page."""
    section = text.partition("Options:\n")[2].partition("\nCommands:")[0]
    entries = re.split(r"\n(?=  -)", "\n" + section)[1:]
    found = {}
    for entry in entries:
        names, _, rest = (
            entry.strip().partition("  ")
            if "  " in entry.strip().splitlines()[0]
            else entry.strip().partition("\n")
        )
        option = re.search(r"--[\w-]+", names)
        assert option, entry
        metavar = re.search(r" ([A-Z][A-Z=]*)$", names)
        found[option[0]] = (metavar[1] if metavar else "", " ".join(rest.split()))
    assert "--help" in found
    return found
