"""JSON for machines: valid by its schema, defined as it says, the same from run to quick, never NaN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped] # no stubs are needed for three calls

if TYPE_CHECKING:
    from conftest import Quick, Run

NAMES = ("compare", "estimate", "sweep", "sweep-count", "presets-list", "presets-show", "presets-check", "presets-path",
         "model-import")  # fmt: skip
METRICS = ("ttft_s", "tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j", "energy_per_total_token_j",
           "energy_per_request_j", "tokens_per_j")  # fmt: skip
RESULT = {"device", "preset", "kind", "evidence", *METRICS, "energy_by_component_j", "bound_by", "fits", "devices",
          "devices_needed", "phases", "notes"}  # fmt: skip
REQUEST = {"network", "batch", "input_len", "output_len", "weights", "activations", "kv_cache", "devices"}
OP = {
    "name",
    "kind",
    "count",
    "macs",
    "weight_bytes",
    "activation_bytes",
    "kv_bytes",
    "time_s",
    "energy_j",
    "bound_by",
}
VARY = ("--vary", "request.batch=1,4096")
TOO_BIG = ("--network", "llama-3.1-405b", "--devices", "1")
GROUPS = (
    "--network",
    "qwen3-30b-a3b",
    "--devices",
    "8",
    "--data-parallel",
    "4",
    "--expert-parallel",
    "--batch",
    "16",
)
BY_SCHEMA = {
    "compare": ("compare", "gpu", "npu", "pim", "crossbar"),
    "compare article": ("compare", "gpu", "npu", "pim", "--constants", "article"),
    "compare too big": ("compare", "gpu", "pim", *TOO_BIG),
    "compare one pass": ("compare", "gpu", "--network", "resnet-50"),
    "estimate": ("estimate", "pim"),
    "estimate sharded": ("estimate", "gpu", "--network", "deepseek-v3", "--output-len", "1"),
    "compare serving": ("compare", "gpu", "npu", "pim", "crossbar", "--serving", "--batch", "8"),
    "compare serving too big": ("compare", "gpu", "pim", "--serving", *TOO_BIG),
    "compare serving groups": ("compare", "gpu", "--stack", "vllm-0.5", "--no-prefill", *GROUPS),
    "compare groups": ("compare", "gpu", *GROUPS),
    "estimate serving": ("estimate", "pim", "--serving", "--batch", "300"),
    "estimate serving groups": ("estimate", "gpu", "--serving", *GROUPS),
    "estimate serving too big": ("estimate", "gpu", "--serving", *TOO_BIG),
    "sweep serving": ("sweep", "gpu", "pim", *VARY, "--devices", "1", "--serving"),
    "estimate too big": ("estimate", "gpu", *TOO_BIG),
    "sweep": ("sweep", "gpu", "pim", *VARY, "--devices", "1"),
    "sweep-count": ("sweep", "gpu", *VARY, "--dry-run"),
    "presets-list": ("presets", "list"),
    "presets-list stacks": ("presets", "list", "stacks"),
    "presets-show": ("presets", "show", "h100-sxm"),
    "presets-show network": ("presets", "show", "deepseek-v3"),
    "presets-show stack": ("presets", "show", "vllm-0.11"),
    "presets-show constants": ("presets", "show", "article"),
    "presets-check": ("presets", "check", "h100-sxm", "llama-3.1-8b"),
    "presets-check stacks": ("presets", "check", "ideal", "vllm-0.11", "vllm-0.5"),
    "presets-path": ("presets", "path"),
}
COMPARED = {
    "chat": ("compare", "gpu", "npu", "pim", "crossbar"),
    "many at once": (
        "compare",
        "gpu",
        "pim",
        "--batch",
        "32",
        "--network",
        "Qwen/Qwen3-32B",
        "--weights",
        "fp8",
    ),
    "one token": ("compare", "gpu", "npu", "--output-len", "1", "--batch", "7"),
    "several devices": ("compare", "gpu", "npu", "--network", "deepseek-v3", "--devices", "32"),
    "article": ("compare", "gpu", "npu", "pim", "--constants", "article"),
    "one pass": ("compare", "gpu", "npu", "--network", "bert-base", "--batch", "8"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_a_valid_schema_of_2020_12(quick: Quick, name: str) -> None:
    schema = quick("schema", name).json()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", BY_SCHEMA)
def test_every_document_passes_the_schema_it_names(quick: Quick, name: str) -> None:
    done = quick(*BY_SCHEMA[name], "--format", "json")
    assert (done.code, done.err) == (0, "")
    validate(quick, done.json(), name.split()[0])


def test_an_import_passes_the_schema_it_names(quick: Quick, config: Path) -> None:
    validate(quick, quick("model", "import", str(config), "--json").json(), "model-import")


@pytest.mark.parametrize("name", ["compare", "estimate", "sweep"])
def test_a_schema_refuses_a_document_without_its_results(quick: Quick, name: str) -> None:
    document = quick(*BY_SCHEMA[name], "--format", "json").json()
    del document["phases" if name == "estimate" else "results"]
    with pytest.raises(ValidationError):
        validate(quick, document, name)


def test_a_comparison_has_the_promised_fields(quick: Quick) -> None:
    document = quick(*BY_SCHEMA["compare"], "--format", "json").json()
    assert document["schema"] == "npuwatt.compare/1"
    assert f"npuwatt {document['npuwatt']}\n" == quick("--version").out
    assert document["request"].keys() >= REQUEST
    assert [result["device"] for result in document["results"]] == ["gpu", "npu", "pim", "crossbar"]
    assert all(result.keys() >= RESULT for result in document["results"])
    assert document["sources"]


def test_an_estimate_has_the_promised_fields(quick: Quick) -> None:
    document = quick(*BY_SCHEMA["estimate"], "--format", "json").json()
    assert document["schema"] == "npuwatt.estimate/1"
    assert [phase["phase"] for phase in document["phases"]] == ["prefill", "decode"]
    assert all(op.keys() >= OP for phase in document["phases"] for op in phase["ops"])


def test_a_row_of_a_sweep_has_the_names_of_a_comparison(quick: Quick) -> None:
    row = quick(*BY_SCHEMA["sweep"], "--format", "json").json()["results"][0]
    assert row.keys() - {"request.batch"} <= RESULT - {"phases"}
    assert row.keys() >= {
        "request.batch",
        "device",
        *METRICS,
        "bound_by",
        "fits",
        "devices",
        "devices_needed",
    }


@pytest.mark.parametrize("name", COMPARED)
def test_parts_sum_to_the_energy_of_a_token(quick: Quick, name: str) -> None:
    for _, result in compared(quick, name):
        assert sum(result["energy_by_component_j"].values()) == pytest.approx(
            result["energy_per_output_token_j"], rel=1e-9
        )


@pytest.mark.parametrize("name", COMPARED)
def test_metrics_mean_what_they_are_defined_as(quick: Quick, name: str) -> None:
    for request, result in compared(quick, name):
        batch, tokens_in, tokens_out = (request[key] for key in ("batch", "input_len", "output_len"))
        request_j = result["energy_per_request_j"]
        seconds = result["ttft_s"] + (result["tpot_s"] or 0.0) * (tokens_out - 1)
        assert request_j > 0
        assert seconds > 0
        assert result["energy_per_output_token_j"] == pytest.approx(request_j / tokens_out, rel=1e-9)
        assert result["energy_per_total_token_j"] == pytest.approx(
            request_j / (tokens_in + tokens_out), rel=1e-9
        )
        assert result["tokens_per_j"] == pytest.approx(tokens_out / request_j, rel=1e-9)
        assert result["tokens_per_s"] == pytest.approx(batch * tokens_out / seconds, rel=1e-9)
        assert result["power_w"] == pytest.approx(batch * request_j / seconds, rel=1e-9)


@pytest.mark.parametrize("network", ["llama-3.1-8b", "deepseek-v3"])
@pytest.mark.parametrize("device", ["gpu", "npu", "pim"])
def test_ops_of_a_phase_sum_to_the_phase(quick: Quick, device: str, network: str) -> None:
    document = quick("estimate", device, "--network", network, "--json").json()
    assert document["fits"]
    for phase in document["phases"]:
        for field in ("time_s", "energy_j"):
            assert sum(op[field] for op in phase["ops"]) == pytest.approx(phase[field], rel=1e-9)
        assert sum(phase["energy_by_component_j"].values()) == pytest.approx(phase["energy_j"], rel=1e-9)
    prefill, decode = document["phases"]
    assert document["ttft_s"] == pytest.approx(prefill["time_s"], rel=1e-9)
    assert document["tpot_s"] == pytest.approx(
        decode["time_s"], rel=0.05
    )  # the mean step against the middle one


@pytest.mark.parametrize(
    "name", [name for name in BY_SCHEMA if name.startswith("compare") and "too big" not in name]
)
def test_kinds_of_a_phase_sum_to_the_phase(quick: Quick, name: str) -> None:
    document = quick(*BY_SCHEMA[name], "--json").json()
    for phase in (phase for result in document["results"] for phase in result["phases"]):
        for field in ("time_s", "energy_j"):
            assert sum(kind[field] for kind in phase["kinds"]) == pytest.approx(phase[field], rel=1e-9)
        for part, joules in phase["energy_by_component_j"].items():
            of_kinds = sum(kind["energy_by_component_j"][part] for kind in phase["kinds"])
            assert of_kinds == pytest.approx(joules, rel=1e-9, abs=1e-9 * phase["energy_j"])
        for one in (phase, *phase["kinds"]):
            assert sum(one["energy_by_component_j"].values()) == pytest.approx(one["energy_j"], rel=1e-9)


@pytest.mark.parametrize("more", [(), ("--serving", "--batch", "8"), ("--network", "resnet-50")])
def test_the_phases_of_a_comparison_are_those_of_an_estimate(quick: Quick, more: tuple[str, ...]) -> None:
    (result,) = quick("compare", "gpu", *more, "--json").json()["results"]
    phases = quick("estimate", "gpu", *more, "--json").json()["phases"]
    names = ("phase", "steps_fraction", "context_tokens", "time_s", "energy_j", "energy_by_component_j")
    for own, other in zip(result["phases"], phases, strict=True):
        assert {name: own[name] for name in names} == {name: other[name] for name in names}
        for kind in own["kinds"]:
            ops = [op for op in other["ops"] if op["kind"] == kind["kind"]]
            for field in ("time_s", "energy_j"):
                assert kind[field] == pytest.approx(sum(op[field] for op in ops), rel=1e-9)
            assert kind["bound_by"] in {op["bound_by"] for op in ops}


def test_the_phases_of_a_request_that_does_not_fit_have_no_numbers(quick: Quick) -> None:
    document = quick(*BY_SCHEMA["compare too big"], "--json").json()
    assert document["winners"] == []
    for phase in (phase for result in document["results"] for phase in result["phases"]):
        for one in (phase, *phase["kinds"]):
            assert not any(
                one[name] for name in ("time_s", "energy_j", "energy_by_component_j", "bound_by", "where")
            )


def test_decode_is_a_step_in_the_middle_of_the_answer(quick: Quick) -> None:
    for lengths, context in ((("512", "256"), 640), (("100", "1"), 100), (("7", "9"), 11)):
        asked = ("estimate", "gpu", "--input-len", lengths[0], "--output-len", lengths[1], "--json")
        assert quick(*asked).json()["phases"][1]["context_tokens"] == context


def test_an_estimate_has_the_metrics_of_a_comparison(quick: Quick) -> None:
    (result,) = quick("compare", "gpu", "--json").json()["results"]
    estimate = quick("estimate", "gpu", "--json").json()
    assert {name: estimate[name] for name in METRICS} == {name: result[name] for name in METRICS}


@pytest.mark.parametrize("style", ["json", "jsonl", "csv", "plain", "table", "markdown"])
def test_a_request_that_does_not_fit_is_an_answer_without_numbers(quick: Quick, style: str) -> None:
    done = quick("compare", "gpu", *TOO_BIG, "--format", style)
    assert (done.code, done.err) == (0, "")
    assert "nan" not in done.out.lower().split()
    if style == "json":
        (result,) = done.json()["results"]
        assert result["fits"] is False
        assert all(result[name] is None for name in (*METRICS, "energy_by_component_j", "bound_by"))
        assert result["devices"] == 1 < result["devices_needed"]
        assert result["notes"]


def test_the_devices_needed_are_the_fewest_that_fit(quick: Quick) -> None:
    network = TOO_BIG[:2]
    (result,) = quick("compare", "gpu", *TOO_BIG, "--json").json()["results"]
    needed = result["devices_needed"]
    fits = [
        quick("compare", "gpu", *network, "--devices", str(n), "--json").json()["results"][0]
        for n in (needed - 1, needed)
    ]
    assert [one["fits"] for one in fits] == [False, True]
    (chosen,) = quick("compare", "gpu", *network, "--json").json()["results"]
    assert chosen["devices"] == needed
    assert any(str(needed) in note for note in chosen["notes"])


def test_one_device_that_does_not_fit_leaves_the_others_their_numbers(quick: Quick) -> None:
    results = quick(
        "compare", "h100-sxm", "b200-sxm", "--network", "llama-3.1-70b", "--devices", "1", "--json"
    ).json()["results"]
    assert [result["fits"] for result in results] == [False, True]
    assert results[1]["energy_per_output_token_j"] > 0


@pytest.mark.parametrize(
    "name", ["compare article", "estimate", "sweep", "presets-list", "presets-show", "presets-check"]
)
def test_output_is_the_same_byte_for_byte_under_any_hash_seed(run: Run, name: str) -> None:
    first, second = (
        run(*BY_SCHEMA[name], "--json", env={"PYTHONHASHSEED": seed}).out for seed in ("1", "4242")
    )
    assert first == second


def compared(quick: Quick, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    document = quick(*COMPARED[name], "--format", "json").json()
    assert all(result["fits"] for result in document["results"])
    return [(document["request"], result) for result in document["results"]]


def validate(quick: Quick, document: Any, name: str) -> None:
    assert document["schema"] == f"npuwatt.{name}/1"
    Draft202012Validator(quick("schema", name).json()).validate(document)
