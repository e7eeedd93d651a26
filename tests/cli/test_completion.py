"""The shell completes commands, options, and the names of devices, networks and presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run


def completed(run: Run, words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    done = run(
        env={
            "_NPUWATT_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
    )
    assert (done.code, done.err) == (0, "")
    return done.out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("npuwatt comp", "compare"),
        ("npuwatt presets ch", "check"),
        ("npuwatt compare --inp", "--input-len"),
        ("npuwatt compare h100-s", "h100-sxm"),
        ("npuwatt compare gpu np", "npu"),
        ("npuwatt estimate mi30", "mi300x"),
        ("npuwatt sweep gpu b20", "b200-sxm"),
        ("npuwatt compare gpu --network llama-3.1-", "llama-3.1-8b"),
        ("npuwatt compare gpu -n qwen3-", "qwen3-32b"),
        ("npuwatt estimate gpu --network deepseek-v", "deepseek-v3"),
        ("npuwatt presets show deepseek-v", "deepseek-v3"),
        ("npuwatt presets show h100-s", "h100-sxm"),
        ("npuwatt presets show vllm-0.1", "vllm-0.11"),
        ("npuwatt compare gpu --format js", "jsonl"),
        ("npuwatt compare gpu --mode s", "serving"),
        ("npuwatt sweep gpu --stack vllm-0.", "vllm-0.11"),
        ("npuwatt estimate gpu --stack i", "ideal"),
    ],
)
def test_bash_is_offered(run: Run, words: str, offered: str) -> None:
    found = completed(run, words)
    assert offered in found
    last = words.split(" ")[-1]
    assert all(name.startswith(last) for name in found)


def test_bash_is_offered_every_device_and_no_network(run: Run) -> None:
    presets = run("presets", "list", "--format", "json").json()["presets"]
    offered = set(completed(run, "npuwatt compare "))
    names = {
        folder: {preset["name"] for preset in presets if preset["folder"] == folder}
        for folder in ("devices", "networks")
    }
    assert offered >= names["devices"]
    assert not offered & names["networks"]


def test_what_is_unknown_completes_to_nothing(run: Run) -> None:
    assert completed(run, "npuwatt compare zzz") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_npuwatt_back(run: Run, shell: str) -> None:
    done = run(env={"_NPUWATT_COMPLETE": f"source_{shell}"})
    assert done.code == 0
    assert "_NPUWATT_COMPLETE" in done.out
