"""Sweeps over how many weights and activations are zero: points equal a loop, and what cannot be varied."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from npuwatt.errors import NpuwattError
from npuwatt.explore.sweep import sweep
from npuwatt.study.compare import compare

METRICS = ("ttft_s", "tpot_s", "power_w", "energy_per_output_token_j", "tokens_per_j")
DEVICES = ("sparse-npu", "a100-sxm-80gb", "pim")


def rows(*vary: str, devices: tuple[str, ...] = DEVICES, **options: Any) -> list[dict[str, Any]]:
    found = sweep(devices, vary=vary, **options)
    return [
        dict(zip(chunk, line, strict=True))
        for chunk in found.chunks()
        for line in zip(*chunk.values(), strict=True)
    ]


def alone(device: str, **options: Any) -> dict[str, float]:
    found = compare([device], **options).answers[0].result.metrics()
    return {name: found[name].item() for name in METRICS}


def density_file(folder: Path) -> str:
    tensor = {
        "name": "qkv.weight", "shape": [32, 4096, 6144], "dtype": "BF16", "input_axis": 1, "op": "qkv", "density": 0.3,
        "conformity": {}, "density_by_input": None,
    }  # fmt: skip
    path = folder / "densities.json"
    path.write_text(json.dumps({"schema": "npuwatt.densities/1", "npuwatt": "0", "tensors": [tensor]}))
    return str(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch": 8, "pattern": "block", "network": "mixtral-8x7b"},
        {"batch": 16, "stack": "vllm-0.11"},
        {"activation_density": 0.4, "weights": "int8", "activations": "int8"},
    ],
)
def test_densities_varied_together_equal_a_loop_over_them(options: dict[str, Any]) -> None:
    densities, inputs = (1e-6, 0.25, 1.0), (0.3, 1.0)
    found = rows(
        f"request.density={','.join(map(str, densities))}", "request.activation_density=30%,1", **options
    )
    loop = itertools.product(densities, inputs)
    assert len(found) == len(densities) * len(inputs) * len(DEVICES)
    for density, share in loop:
        for device in DEVICES:
            one = alone(device, **options | {"density": density, "activation_density": share})
            (row,) = (
                row for row in found
                if (row["request.density"], row["request.activation_density"], row["device"])
                == (density, share, device)
            )  # fmt: skip
            assert {name: row[name] for name in METRICS} == pytest.approx(one, rel=1e-12)
    on_sparse = {row["tpot_s"] for row in found if row["device"] == "sparse-npu"}
    assert len(on_sparse) > 1


@pytest.mark.parametrize("options", [{"pattern": "2:4", "density": 0.5}, {"density": 0.2}, {}])
def test_activations_alone_vary_beside_what_is_said_of_weights(options: dict[str, Any]) -> None:
    for row in rows("request.activation_density=0.2,0.9", devices=("sparse-npu",), **options):
        one = alone("sparse-npu", activation_density=row["request.activation_density"], **options)
        assert {name: row[name] for name in METRICS} == pytest.approx(one, rel=1e-12)


def test_activations_vary_beside_the_weights_of_a_file_and_weights_themselves_do_not(tmp_path: Path) -> None:
    path = density_file(tmp_path)
    found = rows("request.activation_density=0.2,0.9", devices=("sparse-npu",), densities=path)
    for row in found:
        one = alone("sparse-npu", densities=path, activation_density=row["request.activation_density"])
        assert {name: row[name] for name in METRICS} == pytest.approx(one, rel=1e-12)
    assert found[0]["ttft_s"] < found[1]["ttft_s"]
    with pytest.raises(NpuwattError, match=r"^--densities with --vary request\.density: the file tells it"):
        rows("request.density=0.2,0.9", densities=path)


@pytest.mark.parametrize(
    ("vary", "options", "words"),
    [
        ("request.density=0,0.5", {}, "--vary request.density: 0 given; expected the share that is not zero"),
        ("request.density=0.5..2:3", {}, "--vary request.density: 2 given; expected"),
        ("request.activation_density=101%", {}, "--vary request.activation_density: 1.01 given; expected"),
        ("request.density=0.5 W", {}, "--vary request.density: '0.5 W' is in W; expected"),
        ("request.density=0.2,0.7", {"pattern": "2:4"}, "0.7 given; expected at most 0.5, as 2:4 leaves"),
        ("request.density=0.2", {"pattern": "dense"}, "0.2 given; expected 1, or a pattern other than dense"),
        ("request.densities=0.2", {}, "'request.densities' is not a number to vary; did you mean 'density'?"),
    ],
)
def test_a_density_that_cannot_be_is_one_line(vary: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(NpuwattError) as fault:
        rows(vary, devices=("sparse-npu",), **options)
    assert words in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("style", ["table", "plain", "markdown", "csv", "json"])
def test_every_format_tells_that_densities_vary(quick: Any, style: str) -> None:
    varied = ("--vary", "request.density=0.2,1", "--vary", "request.activation_density=0.5,1")
    done = quick("sweep", "sparse-npu", *varied, "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "json":
        assert done.json()["request"]["pattern"] == "unstructured"
        assert [row["request.density"] for row in done.json()["results"]] == [0.2, 0.2, 1.0, 1.0]
    elif style != "csv":
        assert "unstructured weights full to varied shares, activations full to varied shares" in " ".join(
            done.out.split()
        )
