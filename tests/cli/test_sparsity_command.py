"""`npuwatt sparsity` and zeros in other commands, from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt.preset import library
from npuwatt.study.compare import compare

if TYPE_CHECKING:
    from conftest import Quick, Screen

SKIPS, CANNOT = "sparse-npu", "npu"
METRICS = (
    "ttft_s",
    "tpot_s",
    "tokens_per_s",
    "power_w",
    "energy_per_output_token_j",
    "energy_by_component_j",
)


def said(quick: Quick, *words: str) -> Any:
    done = quick(*words, "--json")
    assert (done.code, done.err) == (0, "")
    return done.json()


@pytest.fixture
def densities(quick: Quick, tmp_path: Path, packed: Any) -> str:
    """The density file of a scanned checkpoint with Llama's names: one projection in 2:4, one a quarter full, one dense."""
    full = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32)
    half, quarter = full.copy(), full.copy()
    half[:, ::2] = 0
    quarter[16:] = 0
    layers = {
        "self_attn.o_proj": half,
        "mlp.up_proj": quarter,
        "mlp.gate_proj": quarter,
        "mlp.down_proj": full,
    }
    model = tmp_path / "model.safetensors"
    model.write_bytes(
        packed({f"model.layers.0.{name}.weight": ("F32", values) for name, values in layers.items()})
    )
    path = tmp_path / "densities.json"
    assert quick("model", "scan", str(model), "--densities", str(path)).code == 0
    document = json.loads(path.read_text())
    for tensor in document["tensors"]:  # as large as those of the network that is asked about
        tensor["shape"] = [32, 4096, 4096 if "o_proj" in tensor["name"] else 14336]
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        ("gpu", "npu", "--pattern", "2:4"),
        ("sparse-npu", "pim", "crossbar", "--density", "0.5", "--activation-density", "0.5"),
        ("gpu", "--pattern", "2:4", "--ideal", "--batch", "64"),
        ("gpu", "sparse-npu", "--serving", "--batch", "16"),
        ("gpu", "--network", "llama-3.1-405b", "--devices", "1"),
        ("sparse-npu", "--network", "resnet-50"),
        ("sparse-npu", "--network", "mixtral-8x7b", "--pattern", "block"),
        ("gpu", "--pattern", "dense"),
        ("gpu", "--constants", "article"),
        ("gpu", "--output-len", "1"),
    ],
)
def test_json_passes_its_schema(quick: Quick, words: tuple[str, ...]) -> None:
    schema = quick("schema", "sparsity").json()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(said(quick, "sparsity", *words))


def test_a_scanned_file_changes_a_device_that_skips_and_nothing_of_one_that_cannot(
    quick: Quick, densities: str
) -> None:
    words = ("compare", CANNOT, SKIPS)
    before = said(quick, *words)["results"]
    record = said(quick, *words, "--densities", densities)
    same, differs = record["results"]
    for name in METRICS:
        assert same[name] == before[0][name]
        assert name == "power_w" or differs[name] != before[1][name]
    assert differs["energy_per_output_token_j"] < before[1]["energy_per_output_token_j"]
    assert (
        "zeros change nothing: its preset states nothing that this device could do with them" in same["notes"]
    )
    assert any(note.startswith("leaves out work in which a weight") for note in differs["notes"])
    doubt = "how sure this is was measured on servers with dense weights; zeros make it less so"
    assert [doubt in one["notes"] for one in (same, differs)] == [False, True]
    assert record["request"]["densities"] == densities
    assert any("does not tell of qkv, lm_head: counted as dense" in note for note in record["notes"])


@pytest.mark.parametrize("command", ["compare", "estimate", "sweep"])
@pytest.mark.parametrize("words", [("--pattern", "2:4"), ("--density", "0.5", "--activation-density", "0.5")])
def test_zeros_change_every_command_on_a_device_that_skips_and_none_on_one_that_cannot(
    quick: Quick, command: str, words: tuple[str, ...]
) -> None:
    vary = ("--vary", "request.batch=1,64") if command == "sweep" else ()
    for device, same in ((CANNOT, True), ("crossbar", True), (SKIPS, False)):
        both = [said(quick, command, device, *vary, *more) for more in ((), words)]
        rows = [record if command == "estimate" else record["results"] for record in both]
        spent = [
            [row["energy_per_output_token_j"] for row in (part if isinstance(part, list) else [part])]
            for part in rows
        ]
        assert (spent[0] == spent[1]) == same


def test_one_screen_tells_whether_the_claim_holds_and_under_which_condition(
    screen: Screen, plain_text: Any
) -> None:
    done = screen("sparsity", "gpu", "npu", "--pattern", "2:4", width=80)
    text = plain_text(done.out)
    assert done.code == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 45
    words = " ".join(text.split())
    for device in ("gpu", "npu"):
        assert re.search(rf'{device}: "30 to 50 % without loss" (fails|holds|open)', words)
    assert "without retraining: 44.1 % of MMLU recovered (65.1 -> 28.7)" in words
    assert "with 13 B tokens of retraining: OpenLLM v1 1.6 % down on Llama-3.1-8B" in words
    assert "no supported path for 2:4" in words
    assert "2:4 is run by torch.sparse (torch 2.13)" in words
    assert "accuracy as measured by vuiseng9, Meta-Llama-3.1-8B-wanda-2of4" in words


def test_every_device_has_a_verdict_on_each_part_of_the_claim(screen: Screen, plain_text: Any) -> None:
    text = plain_text(screen("sparsity", "gpu", "npu", "--pattern", "2:4", width=80).out)
    assert 'is "30 to 50 % without loss" so, on 1 device' in text
    assert re.search(r"gpu +-218 % \(-\d+ to \d+\) +fails +holds +holds +fails", text)
    assert re.search(r"npu +- +open +open +holds +open", text)
    words = " ".join(text.split())
    assert "up to 3 % lost, npuwatt's own" in words
    assert "but otherwise retrained: MMLU 66.7 -> 60.4 (secondary)" in words
    assert "0.11x (0.05 to 0.9; assumed)" in words
    assert "columns: metadata: " in words
    several = plain_text(screen("sparsity", "gpu", "--network", "llama-3.1-70b", width=80).out)
    assert re.search(r"gpu +2 +-", several)


def test_a_device_that_states_nothing_has_no_figures_and_an_open_verdict(quick: Quick) -> None:
    (found,) = said(quick, "sparsity", CANNOT, "--pattern", "2:4")["results"]
    assert found["zeros_stated"] is False
    for name in ("saved_fraction", "saved_low_fraction", "saved_high_fraction", "speedup_ratio"):
        assert found[name] is None
    assert all(phase["dense"] == phase["sparse"] for phase in found["phases"])
    assert found["judgement"]["verdict"] == "open"
    assert found["judgement"]["parts"][0]["reason"] == "its preset states nothing"
    text = quick("sparsity", CANNOT, "--pattern", "2:4").out
    assert "Zeros change nothing here" in text
    assert "each phase" not in text


def test_json_has_the_range_of_the_saving_and_the_loss_that_is_tolerated(quick: Quick) -> None:
    record = said(quick, "sparsity", "gpu")
    (found,) = record["results"]
    assert found["saved_low_fraction"] < found["saved_fraction"] < found["saved_high_fraction"]
    assert record["tolerated_loss_fraction"] == 0.03


def test_pruning_together_with_narrow_weights_is_open(quick: Quick) -> None:
    words = ("sparsity", "a100-sxm-80gb", "--weights", "int4")
    parts = said(quick, *words)["results"][0]["judgement"]["parts"]
    assert parts[2] == {
        "about": "accuracy", "verdict": "open", "reason": "pruning and int4 together were not measured",
    }  # fmt: skip
    text = quick(*words, "--stack", "torchao").out
    assert "Sparse-Marlin (commit c2ffa23; a kernel by itself, not a server; batches up to 32)" in text
    assert "torchao.sparsity 2026-08-11 (this stack is older)" in text


def test_ideal_skipping_would_hold_and_is_run_by_nothing(quick: Quick) -> None:
    text = quick("sparsity", "a100-sxm-80gb", "--ideal", "--batch", "16").out
    assert '"30 to 50 % without loss" would hold if ideal' in text
    assert "run by" not in text


def test_shares_may_be_in_percent_and_help_says_which_default_holds(quick: Quick) -> None:
    one, other = (quick("sparsity", SKIPS, "--density", share, "--json").json() for share in ("0.5", "50%"))
    assert one == other
    text = " ".join(quick("sparsity", "-h").out.split())
    assert "default: (2:4 where nothing is said of zeros)" in text
    assert "Up to 3 % of accuracy lost counts" in text


def test_a_wide_screen_shows_both_sides_of_each_number(screen: Screen, plain_text: Any) -> None:
    text = plain_text(screen("sparsity", "gpu", "npu", "--pattern", "2:4", width=160).out)
    assert max(map(len, text.splitlines())) <= 160
    assert re.search(r"gpu +decode +\S+ +15\.1 GB to 8\.53 GB", text)


@pytest.mark.parametrize("style", ["table", "plain", "markdown", "csv", "jsonl"])
def test_every_format_names_each_device_and_phase(quick: Quick, style: str) -> None:
    done = quick("sparsity", "gpu", SKIPS, "--format", style)
    assert (done.code, done.err) == (0, "")
    for word in ("gpu", SKIPS, "prefill", "decode"):
        assert word in done.out
    if style == "jsonl":
        assert [(row["device"], row["phase"]) for row in done.lines()] == [
            (device, phase) for device in ("gpu", SKIPS) for phase in ("prefill", "decode")
        ]


def test_accuracy_is_told_for_the_size_of_the_network(quick: Quick) -> None:
    short = [
        said(quick, "sparsity", CANNOT, "--network", name)["evidence"]["in_short"][0]
        for name in ("llama-2-7b", "llama-2-70b")
    ]
    assert "5.12 -> 10.17 to 11.02 on Llama-2-7B" in short[0]
    assert "3.12 -> 5.16 to 5.4 on Llama-2-70B" in short[1]


def test_gating_saves_energy_and_no_time(quick: Quick, tmp_path: Path) -> None:
    built_in = (Path(library.presets_root()) / "devices" / "furiosa-rngd.yaml").read_text()
    folder = tmp_path / "mine" / "devices"
    folder.mkdir(parents=True)
    for name, mechanism in (("gates", "gate"), ("skips", "skip-both")):
        text = re.sub(r"(?m)^aliases: .*$", "aliases: []", built_in)
        (folder / f"{name}.yaml").write_text(f"{text}\nsparsity:\n  mechanism: {mechanism}\n")
    found = said(
        quick,
        "sparsity",
        "gates",
        "skips",
        "--presets",
        str(folder.parent),
        "--density",
        "0.5",
        "--batch",
        "256",
    )
    gates, skips = found["results"]
    assert gates["saved_fraction"] > 0
    assert all(phase["dense"]["time_s"] == phase["sparse"]["time_s"] for phase in gates["phases"])
    assert gates["split_j"]["static"] == pytest.approx(0, abs=1e-9)
    assert gates["saved_fraction"] < skips["saved_fraction"]
    assert skips["speedup_ratio"] > 1
    assert "which saves no time" in gates["notes"][0]


def test_ideal_is_labelled_wherever_it_is_shown(quick: Quick) -> None:
    record = said(quick, "sparsity", "gpu", "--ideal", "--batch", "64")
    assert record["request"]["ideal"] is True
    assert record["results"][0]["notes"][0].startswith("ideally ")
    text = quick("sparsity", "gpu", "--ideal", "--batch", "64").out
    assert "ideal skipping" in text.splitlines()[0]
    assert "gpu (ideal): " in text
    assert "note: ideal: nothing was ever measured" in text


@pytest.mark.parametrize(
    ("zeros", "ends"),
    [
        (("--pattern", "dense"), "all bf16, ideal skipping"),
        (("--activation-density", "0.5"), "all bf16, activations 50 % full, ideal skipping"),
        (("--pattern", "2:4"), "all bf16, 2:4 weights 50 % full, ideal skipping"),
    ],
)
def test_the_heading_names_what_is_zero_and_nothing_else(
    quick: Quick, zeros: tuple[str, ...], ends: str
) -> None:
    assert quick("sparsity", SKIPS, "--ideal", *zeros).out.splitlines()[0].endswith(f" out, {ends}")


def test_the_saving_of_skipped_bytes_shrinks_with_the_batch(quick: Quick) -> None:
    batches = said(quick, "sparsity", SKIPS, "--density", "0.5")["results"][0]["batches"]
    assert [one["batch"] for one in batches] == [2**power for power in range(10)]
    saved = [one["saved_fraction"] for one in batches]
    assert saved == sorted(saved, reverse=True)
    assert saved[-1] < saved[0] / 2


def test_near_zero_weights_are_told_in_sigmas_and_in_what_they_carry(quick: Quick) -> None:
    text = quick("sparsity", CANNOT, "--pattern", "unstructured", "--density", "0.5").out
    assert "drop those below 0.61 to 0.67 sigma, which carry 5.5 to 7.1 % of the squared norm" in text


def test_a_pattern_that_was_found_and_that_nothing_runs_is_an_answer(quick: Quick, tmp_path: Path) -> None:
    tensor = {
        "name": "q", "shape": [8, 8], "dtype": "BF16", "input_axis": 1, "density": 0.5, "conformity": {"2:4": 1},
        "density_by_input": None,
    }  # fmt: skip
    path = tmp_path / "d.json"
    ops = ("qkv", "attention_out", "ffn_up", "ffn_down", "lm_head")
    sizes = ([32, 4096, 6144], [32, 4096, 4096], [32, 4096, 28672], [32, 4096, 14336], [4096, 128256])
    tensors = [tensor | {"name": op, "op": op, "shape": shape} for op, shape in zip(ops, sizes, strict=True)]
    path.write_text(json.dumps({"schema": "npuwatt.densities/1", "npuwatt": "0", "tensors": tensors}))
    done = quick("sparsity", CANNOT, "--densities", str(path))
    assert done.code == 0
    assert "npu: pattern found, no supported path: no software is known to run it" in done.out
    assert "weights 50 % full by " in done.out


def test_a_comparison_with_zeros_says_where_they_are_judged(quick: Quick) -> None:
    asked = ("compare", "gpu", "npu")
    assert "npuwatt sparsity" not in quick(*asked).out
    for zeros in (("--pattern", "2:4"), ("--activation-density", "0.5")):
        assert "note: zeros: 'npuwatt sparsity' sets them against dense weights" in quick(*asked, *zeros).out


@pytest.mark.parametrize("more", [(), ("--stack", "torchao"), ("--batch", "512")])
def test_a_comparison_names_sparse_kernels_where_their_measured_speed_binds(
    quick: Quick, more: tuple[str, ...]
) -> None:
    words = (*more, "--network", "llama-3.1-8b")
    (found,) = quick("compare", "a100", "--pattern", "2:4", *words, "--json").json()["results"]
    assert found["bound_by"] == "kernels"
    assert "sparse kernels" in quick("compare", "a100", "--pattern", "2:4", *words).out
    # Nor zeros that no kernel takes, nor a device that has no such kernels.
    assert "sparse kernels" not in quick("compare", "a100", "--pattern", "unstructured", *words).out
    assert "sparse kernels" not in quick("compare", "pim", "--pattern", "2:4", *words).out


def test_the_time_of_a_phase_is_all_set_by_something_where_kernels_bind() -> None:
    found = compare(["a100"], pattern="2:4", batch=64).answers[0].result
    assert {"kernels", "power"} <= {name for name, times_s in found.limit_s.items() if times_s.item() > 0}
    set_s = sum(times_s.item() for times_s in found.limit_s.values())
    assert set_s == pytest.approx(found.request_s.item(), rel=1e-12)


def test_more_groups_of_devices_than_the_sweep_has_sequences_is_one_batch(quick: Quick) -> None:
    asked = ("sparsity", "gpu", "--devices", "1024", "--data-parallel", "1024", "--batch", "1024")
    (result,) = said(quick, *asked)["results"]
    assert [one["batch"] for one in result["batches"]] == [1024]
    assert quick(*asked).code == 0


def test_kernels_as_measured_hold_for_groups_of_devices_too(quick: Quick) -> None:
    asked = ("compare", "gpu", "--pattern", "2:4", "--batch", "2", "--devices", "2", "--data-parallel", "2")
    (result,) = said(quick, *asked)["results"]
    assert result["energy_per_output_token_j"] > 0


def test_points_that_do_not_fit_have_no_part_in_a_break_even(quick: Quick) -> None:
    asked = (
        "sparsity",
        "sparse-npu",
        "-n",
        "mixtral-8x7b",
        "--batch",
        "64",
        "--density",
        ".5",
        "--activation-density",
        ".5",
    )
    (result,) = said(quick, *asked)["results"]
    assert result["break_even_density"] is None or 0 < result["break_even_density"] <= 1
