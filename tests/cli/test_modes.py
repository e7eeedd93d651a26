"""Serving from outside: what is typed, in every format, and what it costs a step-mode command to know of it."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Quick, Run

ITL, SHARES = "median_itl_s", ("software_time_fraction", "software_energy_fraction")
MOE = (
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
FORMATS = ("table", "plain", "json", "jsonl", "csv", "markdown")
COMMANDS = {
    "compare": ("compare", "gpu", "npu", "pim", "crossbar", "--serving", "--batch", "32"),
    "estimate": ("estimate", "gpu", "--stack", "vllm", "--batch", "32"),
    "sweep": ("sweep", "gpu", "pim", "--serving", "--vary", "stack.sequence_time=0us..60us:3"),
}  # fmt: skip
Row = dict[str, Any]


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_format_answers(quick: Quick, name: str, style: str) -> None:
    done = quick(*COMMANDS[name], "--format", style)
    assert (done.code, done.err) == (0, "")
    assert "nan" not in done.out.lower().split()
    if style in ("table", "plain", "markdown"):
        batch = 1 if name == "sweep" else 32
        heading = " ".join(done.out.replace("\\_", "_").split())
        assert f"serving on vllm-0.11, batch {batch} running, 512 tokens in, 256 out" in heading


def test_the_mode_the_stack_and_the_flag_are_three_ways_to_the_same(quick: Quick) -> None:
    texts = {
        quick("compare", "gpu", *words, "--json").out
        for words in (
            ("--serving",), ("--mode", "serving"), ("--stack", "vllm-0.11"), ("--stack", "vllm"), ("--serving", "--prefill"),
            ("--mode", "serving", "--serving", "--stack", "vllm-0.11.1"),
        )
    }  # fmt: skip
    assert len(texts) == 1


def test_the_record_says_how_it_was_run(quick: Quick) -> None:
    step = quick("compare", "gpu", "--json").json()
    served = quick("compare", "gpu", *MOE, "--serving", "--no-prefill", "--json").json()
    names = ("mode", "stack", "prefill", "expert_parallel", "data_parallel")
    assert [step["request"][name] for name in names] == ["step", None, None, False, 1]
    assert [served["request"][name] for name in names] == ["serving", "vllm-0.11", False, True, 4]
    assert [step["results"][0][name] for name in (ITL, *SHARES)] == [None, None, None]
    (result,) = served["results"]
    assert result[ITL] == pytest.approx(result["tpot_s"], rel=1e-12)
    assert all(0 < result[name] < 1 for name in SHARES)
    assert result["ttft_s"] is None


def test_the_stack_is_among_the_presets_and_its_sources_are_cited(quick: Quick) -> None:
    (stack,) = (
        preset
        for preset in quick("compare", "gpu", "--serving", "--json").json()["presets"]
        if preset["folder"] == "stacks"
    )
    shown = quick("presets", "show", "vllm-0.11", "--json").json()
    assert (stack["name"], stack["sha256"]) == ("vllm-0.11", shown["sha256"])
    keys = {source["key"] for source in quick("compare", "npu", "--serving", "--json").json()["sources"]}
    assert {source["key"] for source in shown["sources"]} <= keys
    assert not [
        preset
        for preset in quick("compare", "gpu", "--json").json()["presets"]
        if preset["folder"] == "stacks"
    ]


def test_each_device_is_told_what_part_of_a_token_is_software(quick: Quick) -> None:
    asked = COMMANDS["compare"]
    text = quick(*asked).out
    for result in quick(*asked, "--json").json()["results"]:
        time, energy = (f"{100 * result[name]:.0f} %" for name in SHARES)
        told = next(
            line for line in text.splitlines() if re.search(f"{result['device']}!?: software \\(", line)
        )
        assert told.endswith(
            f"is {time} of the time and {energy} of the energy of a token, against the ideal stack"
        )
    assert "software (" not in quick("compare", "gpu").out


def test_a_server_bound_by_its_software_says_so(quick: Quick) -> None:
    asked = ("compare", "gpu", "--serving", "--set", "stack.step_time=5.6ms")
    assert quick(*asked, "--json").json()["results"][0]["bound_by"] == "software"
    assert "  software  " in quick(*asked).out


def test_the_tables_of_an_estimate_add_up(quick: Quick) -> None:
    for more in ((), ("--no-prefill",), MOE):
        document = quick(*COMMANDS["estimate"], *more, "--json").json()
        assert [phase["phase"] for phase in document["phases"]] == ["decode", "mixed"][
            : 1 if "--no-prefill" in more else 2
        ]
        assert sum(phase["steps_fraction"] for phase in document["phases"]) == pytest.approx(1)
        for phase in document["phases"]:
            assert phase["ops"][-1]["name"] == phase["ops"][-1]["bound_by"] == "software"
            for field in ("time_s", "energy_j"):
                assert sum(op[field] for op in phase["ops"]) == pytest.approx(phase[field], rel=1e-9)
        mean_s = sum(phase["steps_fraction"] * phase["time_s"] for phase in document["phases"])
        assert mean_s == pytest.approx(document["tpot_s"], rel=1e-9)
    text = quick(*COMMANDS["estimate"]).out
    assert "a step without prompts (88 % of all) at 640 tokens of context" in text
    assert "a step that takes prompts along (12 % of all)" in text


def test_a_sweep_has_the_median_gap_in_serving_alone(quick: Quick) -> None:
    served = list(csv.DictReader(io.StringIO(quick(*COMMANDS["sweep"]).out)))
    assert len(served) == 6
    assert all(float(row[ITL]) > 0 for row in served)
    assert not [name for name in served[0] if "software" in name]
    step = quick("sweep", "gpu", "--vary", "request.batch=1,2").out
    assert ITL not in step.splitlines()[0]


def test_whole_experts_and_copies_of_the_weights_work_in_step_mode_too(quick: Quick) -> None:
    cut, whole, copied = (
        quick("compare", "gpu", *MOE[:4], "--batch", "16", *more, "--json").json()["results"][0]
        for more in ((), ("--expert-parallel",), ("--data-parallel", "4"))
    )
    assert len({result["energy_per_output_token_j"] for result in (cut, whole, copied)}) == 3
    assert (
        copied["energy_per_output_token_j"] > cut["energy_per_output_token_j"]
    )  # weights are read four times
    line = quick("compare", "gpu", *MOE).out.splitlines()[0]
    assert line.endswith("all bf16, 8 devices in 4 groups, whole experts on devices")


@pytest.mark.parametrize("command", ["compare", "estimate", "sweep"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--mode step --serving", "--mode step with --serving: one contradicts the other; expected one of the two"),
        ("--mode step --stack vllm", "--mode step with --stack 'vllm': a stack is what serving runs on; expected one of the two"),
        ("--mode dance", "--mode: 'dance' given; expected one of step, serving"),
        ("--mode dance --serving", "--mode: 'dance' given; expected one of step, serving"),
        ("--no-prefill", "--no-prefill: step mode reads the prompts of its batch; expected --serving with it"),
        ("--stack vlm", "unknown stack 'vlm'; did you mean 'vllm'?"),
        ("--stack ", "unknown stack"),
        ("--mode serving --network resnet-50", "--mode serving: 'resnet-50' answers in one pass; expected a network that generates"),
        ("--serving --network bert-base", "--mode serving: 'bert-base' answers in one pass"),
        ("--expert-parallel", "--expert-parallel: this network has no experts; expected one that has"),
        ("--data-parallel 2", "--data-parallel: 2 given; expected --devices with it, a multiple of 2"),
        ("--data-parallel 3 --devices 4 --batch 8", "--data-parallel: 3 given; expected a divisor of the 4 devices"),
        ("--data-parallel 0", "--data-parallel: '0' given; expected a whole number from 1 to 1000000"),
        ("--set stack.step_time=1ms", "unknown address 'stack.step_time'; expected one under devices.gpu, or --serving"),
        ("--serving --set stack.step_time=1", "--set stack.step_time: '1' has no unit; expected a unit like ms"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(
    quick: Quick, command: str, words: str, told: str
) -> None:
    vary = ("--vary", "request.batch=64") if command == "sweep" else ()
    given = words.split(" ")
    done = quick(command, "gpu", *given, *vary)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"npuwatt: {told}")


@pytest.mark.parametrize(
    ("variable", "value", "field", "read"),
    [
        ("NPUWATT_MODE", "serving", "mode", "serving"),
        ("NPUWATT_STACK", "vllm-0.5", "stack", "vllm-0.5"),
        ("NPUWATT_PREFILL", "0", "prefill", False),
        ("NPUWATT_EXPERT_PARALLEL", "1", "expert_parallel", True),
        ("NPUWATT_DATA_PARALLEL", "2", "data_parallel", 2),
    ],
)
def test_each_option_may_come_from_the_environment(
    run: Run, variable: str, value: str, field: str, read: Any
) -> None:
    asked = ("compare", "gpu", *MOE[:4], "--batch", "8", *(("--serving",) if field == "prefill" else ()))
    assert run(*asked, "--json", env={variable: value}).json()["request"][field] == read
    assert run(*asked, "--json").json()["request"][field] != read


def test_the_step_mode_never_loads_the_serving_mode(run: Run) -> None:
    serving = {"npuwatt.study.serving", "npuwatt.device.stack"}
    for asked in (("compare", "gpu", "pim"), ("sweep", "gpu", "--vary", "request.batch=1,2")):
        for more, expected in (((), set()), (("--serving",), serving)):
            done = run(*asked, *more, python=("-X", "importtime"))
            assert done.code == 0
            loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
            assert "npuwatt.study.inference" in loaded
            assert loaded & serving == expected
