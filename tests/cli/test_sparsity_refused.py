"""Questions about zeros that have no answer: one line each, from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from npuwatt.preset import library

if TYPE_CHECKING:
    from conftest import Quick, Run


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--pattern", "2:5"), "--pattern: '2:5' given; did you mean '2:4'?"),
        (("--pattern", "checkered"), "--pattern: 'checkered' given; expected one of dense, unstructured, 1:2, 2:4, 4:8, block"),
        (("--density", "0"), "--density: 0 given; expected the share that is not zero, from 1e-06 to 1"),
        (("--density", "nan"), "--density: nan given; expected the share that is not zero, from 1e-06 to 1"),
        (("--activation-density", "1.5"), "--activation-density: 1.5 given; expected the share that is not zero, from 1e-06 to 1"),
        (("--pattern", "dense", "--density", "0.5"), "--pattern dense with --density 0.5: dense weights hold no zeros; expected another pattern"),
        (("--pattern", "2:4", "--density", "0.6"), "--pattern 2:4 with --density 0.6: 2:4 leaves 0.5 at most; expected a density up to that"),
        (("--densities", "d.json", "--pattern", "2:4"), "--densities with --pattern: the file tells it of each op; expected one of the two"),
        (("--densities", "d.json", "--density", "0.5"), "--densities with --density: the file tells it of each op; expected one of the two"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["sparsity", "compare", "estimate", "sweep"])
def test_what_makes_no_sense_is_one_line_everywhere(
    quick: Quick, command: str, words: tuple[str, ...], line: str
) -> None:
    vary = ("--vary", "request.batch=1,2") if command == "sweep" else ()
    done = quick(command, "gpu", *vary, *words)
    assert (done.code, done.out, done.err) == (2, "", f"npuwatt: {line}\n")


def test_a_file_that_is_not_there_or_no_density_file_is_one_line(run: Run, tmp_path: Path) -> None:
    for path in ("d.json", "two\nlines.json"):
        (tmp_path / path).write_text('{"schema": "npuwatt.scan/1"}')
    for path in ("d.json", "nowhere.json", "two\nlines.json", "clear\x1b[2J.json"):
        done = run("compare", "gpu", "--densities", path, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("npuwatt: ") and done.err.count("\n") == 1
        assert path.replace("\n", "?").replace("\x1b", "?") in done.err


def test_a_file_of_another_network_is_one_short_line(quick: Quick, tmp_path: Path) -> None:
    tensor: dict[str, Any] = {
        "shape": [8, 8],
        "dtype": "BF16",
        "input_axis": 1,
        "density": 0.5,
        "conformity": {},
    }
    tensors = [tensor | {"name": f"{i}.weight", "op": f"op number {i}"} for i in range(500)]
    (tmp_path / "d.json").write_text(json.dumps({"schema": "npuwatt.densities/1", "tensors": tensors}))
    done = quick("compare", "gpu", "--densities", str(tmp_path / "d.json"))
    assert (done.code, done.out) == (2, "")
    assert "tells of 'op number 0, op number 1, " in done.err
    assert done.err.endswith("…'; expected some of qkv, attention_out, ffn_up, ffn_down, lm_head\n")
    assert len(done.err) < 500


def test_ideal_skipping_needs_something_to_skip() -> None:
    import npuwatt

    with pytest.raises(npuwatt.NpuwattError, match="--ideal: nothing is said to be zero; expected --pattern"):
        npuwatt.compare(["gpu"], ideal=True)


def test_a_density_or_a_kernel_that_cannot_be_is_one_line(quick: Quick) -> None:
    for asked, told in (
        (("--density", "1e-17"), "--density: 1e-17 given"),
        (("--set", "devices.gpu.sparsity.speedup.1=1e-308"), "expected a number from 0.001"),
    ):
        done = quick(
            "sparsity", "gpu", "--pattern", "unstructured" if asked[0] == "--density" else "2:4", *asked
        )
        assert (done.code, done.out) == (2, "")
        assert told in done.err


@pytest.mark.parametrize("key", ["intersection_energy", "decode_energy"])
def test_energies_that_no_number_can_sum_are_one_line(run: Run, tmp_path: Path, key: str) -> None:
    preset = (Path(library.presets_root()) / "devices" / "zero-skipping-npu.yaml").read_text()
    unreal = re.sub(
        rf"{key}: {{value: [^,]*, low: [^,]*, high: [^,]*",
        f"{key}: {{value: 1e300 J/{'MAC' if key[0] == 'i' else 'byte'}",
        preset,
    )
    (tmp_path / "unreal.yaml").write_text(unreal)
    for command in ("compare", "estimate", "sparsity"):
        done = run(command, "./unreal.yaml", "--density", "0.5", cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            "npuwatt: device './unreal.yaml' has no finite answer; expected numbers nearer to those of a real device\n"
        )
    swept = run(
        "sweep", "./unreal.yaml", "--density", "0.5", "--vary", "request.batch=1,2", "--json", cwd=tmp_path
    )
    assert (swept.code, swept.err) == (0, "")
    assert [row["energy_per_output_token_j"] for row in swept.json()["results"]] == [None, None]
