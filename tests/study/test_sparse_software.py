"""Which software still runs pruned weights, on which devices, and since when it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from npuwatt.errors import NpuwattError, PresetError, RequestError
from npuwatt.preset import library
from npuwatt.preset.load import parse_yaml, read_record
from npuwatt.study.pruning import load_measured
from npuwatt.study.sparse_software import SparseSoftware, software_sentences, software_status


def statuses(device: str, pattern: str, weights: str) -> dict[str, str]:
    return {one.path.software: one.path.status for one in software_status(device, pattern, weights)}


def has_path(device: str, pattern: str, weights: str) -> bool:
    return any(one.runs for one in software_status(device, pattern, weights))


def test_every_status_has_a_source_and_a_date_or_a_version() -> None:
    paths = load_measured("sparse-software", SparseSoftware).record.paths
    assert len(paths) >= 12
    for name, path in paths.items():
        assert path.source in library.sources(), name
        assert path.status != "dropped" or re.fullmatch(r"20\d\d(-\d\d){0,2}", path.as_of), name
        assert path.as_of or path.version, name


def test_servers_dropped_2_of_4_on_gpus_and_say_when() -> None:
    # vLLM pull request 36799 (2026-03), pytorch/ao 1132dd3 (2026-08-11), compressed-tensors 927f6d5f (2026-03-17)
    found = {one.path.software: one.path for one in software_status("h100-sxm", "2:4", "bf16")}
    assert (found["vLLM"].status, found["vLLM"].as_of) == ("dropped", "2026-03")
    assert (found["torchao.sparsity"].status, found["torchao.sparsity"].as_of) == ("dropped", "2026-08-11")
    assert found["compressed-tensors"].as_of == "2026-03-17"
    assert found["torch.sparse"].status == "supported"


@pytest.mark.parametrize(
    ("device", "pattern", "weights", "runs"),
    [
        ("h100-sxm", "2:4", "bf16", True),
        ("h100-sxm", "2:4", "fp8", True),
        ("a100-sxm-80gb", "2:4", "fp8", False),
        ("a100-sxm-80gb", "2:4", "int4", True),
        ("h100-sxm", "2:4", "int4", False),
        ("h100-sxm", "1:2", "fp32", True),
        ("h100-sxm", "1:2", "bf16", False),
        ("h100-sxm", "unstructured", "bf16", False),
        ("v100-sxm2-32gb", "2:4", "fp16", False),
        ("t4", "2:4", "int8", False),
        ("mi300x", "2:4", "fp16", False),
        ("ascend-910b", "2:4", "int8", True),
        ("ascend-910c", "2:4", "int8", True),
        ("furiosa-rngd", "2:4", "int8", False),
        ("pim", "2:4", "fp16", False),
    ],
)
def test_a_path_exists_where_a_source_says_so(device: str, pattern: str, weights: str, runs: bool) -> None:
    assert has_path(device, pattern, weights) is runs


def test_a_pattern_found_without_a_supported_path_is_an_answer() -> None:
    found = software_status("gpu", "2:4", "int4")
    told = software_sentences(found, "gpu", "2:4")
    assert told[0] == "2:4 on gpu: no supported path"
    assert (
        "vLLM (runs it): dropped 2026-03 (0.19.1); refuses a 2:4 checkpoint with NotImplementedError" in told
    )


def test_a_device_that_nobody_writes_about_has_no_known_path() -> None:
    found = software_status("furiosa-rngd", "2:4", "int8")
    assert software_sentences(found, "furiosa-rngd", "2:4") == ["2:4 on furiosa-rngd: no path known"]


def test_what_is_supported_stands_first() -> None:
    found = [one.path.status for one in software_status("h100-sxm", "2:4", "bf16")]
    assert found == sorted(found, key=["supported", "dropped", "never"].index)
    assert "dropped" in found


def test_software_that_only_prunes_is_no_path() -> None:
    found = software_status("gpu", "2:4", "int4")
    assert any(one.path.role == "prunes" and one.path.status == "supported" for one in found)
    assert not any(one.runs for one in found)


def test_an_alias_and_a_class_mean_what_a_device_means() -> None:
    assert statuses("gpu", "2:4", "fp8") == statuses("h100-sxm", "2:4", "fp8")
    assert statuses("data-centre GPU", "2:4", "fp8") == statuses("h100-sxm", "2:4", "fp8")
    assert statuses("CPU", "unstructured", "int8") == {"DeepSparse and SparseML": "dropped"}


def test_a_device_of_ones_own_is_known_by_its_header(tmp_path: Path) -> None:
    text = Path(library.presets_root(), "devices", "h100-sxm.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    assert statuses(str(own), "2:4", "bf16") == statuses("h100-sxm", "2:4", "bf16")
    own.write_text(text.replace("name: NVIDIA H100", "name: Own H100"), encoding="utf-8")
    assert statuses(str(own), "2:4", "bf16") == {}


def test_every_group_but_those_without_presets_names_a_device_that_ships() -> None:
    groups = load_measured("sparse-software", SparseSoftware).record.devices
    headers = [(entry["name"], entry["class"]) for entry in library.index()["devices"].values()]
    held = {
        key
        for key, group in groups.items()
        if any(kin in group.classes and name.startswith(group.names or "") for name, kin in headers)
    }
    assert set(groups) - held == {"cpu", "atlas-other"}


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(RequestError, match="pattern: '3:4' given"):
        software_status("gpu", "3:4", "bf16")
    with pytest.raises(RequestError, match="weights: 'int5' given; expected one of fp32"):
        software_status("gpu", "2:4", "int5")
    with pytest.raises(PresetError, match="unknown device 'h1000'"):
        software_status("h1000", "2:4", "bf16")


PATH = 'paths: {p: {software: S, role: runs, patterns: ["2:4"], devices: %s, status: %s, source: x%s}}'


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("gpus", "dropped", ', as_of: "2026"'), "'gpus' given; did you mean 'gpu'"),
        (("gpu", "dropped", ""), "no date given; expected one for what is dropped"),
        (("gpu", "dropped", ', as_of: "May 2026"'), "'May 2026' given; expected a date like"),
        (("gpu", "never", ", version: v1"), "no date given; expected one for what is never"),
    ],
)
def test_a_status_without_a_date_or_a_device_is_refused(fields: tuple[str, str, str], told: str) -> None:
    content = "devices: {gpu: {classes: [GPU]}}\n" + PATH % fields
    with pytest.raises(NpuwattError, match=told):
        read_record(parse_yaml(content.encode(), "own.yaml"), SparseSoftware, {})
