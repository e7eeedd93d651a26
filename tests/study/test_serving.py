"""A full server against its limits: no software is the step mode, parts sum, more software never helps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import Array, column
from npuwatt.device.evaluate import Device
from npuwatt.device.parallel import ALONE, Sharing
from npuwatt.device.stack import IDEAL, Stack
from npuwatt.errors import NpuwattError, RequestError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.compare import compare
from npuwatt.study.estimate import estimate
from npuwatt.study.inference import inference
from npuwatt.study.scenario import load_device, load_network, load_stack
from npuwatt.study.serving import Serving, serving, serving_work
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.request import Request

FIXED = settings(derandomize=True, deadline=None)
ROOT = Path(library.presets_root())
INDEX = library.index()
DEVICES = ("h100-sxm", "furiosa-rngd", "samsung-hbm2-pim", "isaac-rram")
NETWORKS = ("smollm2-135m", "llama-3.1-8b", "gemma-3-4b", "qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3", "llama-4-scout",
            "nemotron-nano-9b-v2", "nemotron-3-nano-30b-a3b")  # fmt: skip
MORE: dict[str, Any] = {
    "step_time_s": 1e-3, "layer_time_s": 20e-6, "collective_time_s": 10e-6, "expert_layer_time_s": 30e-6,
    "sequence_time_s": 20e-6, "unoverlapped_fraction": 0.5, "expert_block_count": {"bf16": 64.0},
    "expert_small_block_count": {"bf16": 16.0},
}  # fmt: skip
CASES = [
    ("gpu", "llama-3.1-8b", {}),
    ("gpu", "qwen3-30b-a3b", {"devices": 4}),
    ("gpu", "qwen3-30b-a3b", {"devices": 8, "data_parallel": 2, "expert_parallel": True}),
    ("npu", "llama-3.1-8b", {"prefill": False}),
    ("pim", "llama-3.1-8b", {"devices": 2}),
    ("crossbar", "llama-3.1-8b", {"stack": "vllm-0.5"}),
    ("gpu", "nemotron-nano-9b-v2", {"input_len": 9000}),
    ("gpu", "llama-3.1-8b", {"changes": ["devices.gpu.power_cap=300W"]}),
]


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


@cache
def device(name: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml")).record


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


@cache
def stack(name: str = "vllm-0.11") -> Stack:
    return load_stack(str(ROOT / "stacks" / f"{name}.yaml")).record


def read_only(values: list[float]) -> Array:
    made = column(values)
    made.flags.writeable = False
    return made


def total(parts: dict[str, Array]) -> float:
    return float(sum(np.sum(part) for part in parts.values()))


def moe(name: str) -> bool:
    record = network(name)
    return isinstance(record, Transformer) and record.experts is not None


@pytest.mark.parametrize("count", [1.0, 8.0])
@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("name", DEVICES)
def test_without_software_and_prompts_a_server_is_the_decode_of_the_step_mode(
    name: str, shape: str, count: float
) -> None:
    request = Request(batch=8, input_len=700, output_len=300)
    ways = [ALONE]
    if count == 8:
        ways.append(Sharing(data_parallel_count=2.0))
        ways += [Sharing(data_parallel_count=4.0, expert_parallel=True)] if moe(shape) else []
    for sharing in ways:
        step = inference(network(shape), request, device(name), count, sharing=sharing)
        served = serving(
            network(shape), request, device(name), count,
            stack=IDEAL, sharing=sharing, prefills_per_output_token=0.0,
        )  # fmt: skip
        assert step.decode is not None
        assert served.decode is not None
        np.testing.assert_array_equal(served.fits, step.fits)
        np.testing.assert_allclose(served.tpot_s, step.tpot_s, rtol=1e-12)
        np.testing.assert_allclose(served.decode.time_s, step.decode.time_s, rtol=1e-12)
        assert served.decode.energy_j.keys() == step.decode.energy_j.keys()
        for part, joules in step.decode.energy_j.items():
            np.testing.assert_allclose(served.decode.energy_j[part], joules, rtol=1e-12, err_msg=part)
        assert np.isnan(served.ttft_s).all()
        np.testing.assert_allclose(served.itl_s, served.tpot_s, rtol=1e-12)


@pytest.mark.parametrize("shape", ["llama-3.1-8b", "mixtral-8x7b"])
@pytest.mark.parametrize("name", DEVICES)
def test_times_and_energies_of_a_server_are_the_sum_of_their_parts(name: str, shape: str) -> None:
    request = Request(batch=32)
    found = serving(network(shape), request, device(name), 8.0, stack=stack())
    assert found.decode is not None
    metrics = {key: value.item() for key, value in found.metrics().items()}
    for phase in (found.prefill, found.decode):
        assert total(phase.limit_s) == pytest.approx(phase.time_s.item(), rel=1e-12)
    if not found.fits.item():
        return
    assert total(found.limit_s) == pytest.approx(found.request_s.item(), rel=1e-12)
    assert metrics["tokens_per_s"] == pytest.approx(32 / metrics["tpot_s"], rel=1e-12)
    assert total(found.decode.energy_j) / 32 == pytest.approx(metrics["energy_per_output_token_j"], rel=1e-12)
    assert metrics["power_w"] == pytest.approx(
        total(found.decode.energy_j) / found.decode.time_s.item(), rel=1e-12
    )
    share = found.mixed_fraction.item()
    assert 0 < share < 1
    plain_s = (found.decode.time_s.item() - share * found.prefill.time_s.item()) / (1 - share)
    assert found.itl_s.item() == pytest.approx(
        plain_s if share < 0.5 else found.prefill.time_s.item(), rel=1e-9
    )


@pytest.mark.parametrize("count", [1.0, 8.0])
@pytest.mark.parametrize("shape", ["llama-3.1-8b", "qwen3-30b-a3b", "nemotron-3-nano-30b-a3b"])
@pytest.mark.parametrize("name", DEVICES)
def test_more_software_never_makes_a_token_cheaper_or_earlier(name: str, shape: str, count: float) -> None:
    request = Request(batch=read_only([1.0, 16.0, 300.0]), input_len=900.0)
    before = serving(network(shape), request, device(name), count, stack=IDEAL)
    changes: dict[str, Any] = {}
    for field, value in MORE.items():
        changes[field] = value
        after = serving(network(shape), request, device(name), count, stack=Stack(**changes))
        for metric in ("tpot_s", "energy_per_output_token_j", "ttft_s"):
            less, more = before.metrics()[metric], after.metrics()[metric]
            known = np.isfinite(less)
            assert (more[known] >= less[known] * (1 - 1e-12)).all(), (field, metric)
        before = after


@given(
    name=st.sampled_from(DEVICES),
    shape=st.sampled_from(NETWORKS),
    software=st.sampled_from(["ideal", "vllm-0.11", "vllm-0.5"]),
    batch=st.integers(1, 500),
    input_len=st.integers(1, 20_000),
    output_len=st.integers(2, 5_000),
    prefill=st.booleans(),
)
@settings(FIXED, max_examples=60)
def test_a_server_gives_no_more_tokens_a_second_than_decode_alone(
    name: str, shape: str, software: str, batch: int, input_len: int, output_len: int, prefill: bool
) -> None:
    request = Request(batch=batch, input_len=input_len, output_len=output_len)
    step = inference(network(shape), request, device(name), 8.0)
    served = serving(
        network(shape), request, device(name), 8.0,
        stack=stack(software), prefills_per_output_token=None if prefill else 0.0,
    )  # fmt: skip
    assert served.fits.item() == step.fits.item()
    if step.fits.item():
        rate = batch / step.tpot_s.item()
        assert served.metrics()["tokens_per_s"].item() <= rate * (1 + 1e-12)


@pytest.mark.parametrize("sharing", [ALONE, Sharing(data_parallel_count=4.0, expert_parallel=True)])
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("shape", ["llama-3.1-8b", "qwen3-30b-a3b", "nemotron-3-nano-30b-a3b"])
def test_columns_of_request_and_stack_equal_a_loop_over_them(name: str, shape: str, sharing: Sharing) -> None:
    batches, lengths = [4.0, 64.0, 500.0, 3000.0], [10.0, 700.0, 9000.0, 300.0]
    outputs, steps = [1.0, 256.0, 5000.0, 30.0], [0.0, 1e-3, 2e-3, 5e-3]
    if sharing.expert_parallel and not moe(shape):
        sharing = replace(sharing, expert_parallel=False)

    def served(batch: Any, input_len: Any, output_len: Any, step_s: Any) -> Serving:
        request = Request(batch=batch, input_len=input_len, output_len=output_len)
        software = replace(stack(), step_time_s=step_s, sequence_time_s=step_s / 100)
        return serving(network(shape), request, device(name), 8.0, stack=software, sharing=sharing)

    together = served(*map(read_only, (batches, lengths, outputs, steps)))
    alone = [served(*point) for point in zip(batches, lengths, outputs, steps, strict=True)]
    for metric in (*together.metrics(), "itl_s", "mixed_fraction"):
        values = [getattr(one, metric) if metric in one.__dict__ else one.metrics()[metric] for one in alone]
        found = together.__dict__[metric] if metric in together.__dict__ else together.metrics()[metric]
        np.testing.assert_allclose(
            np.broadcast_to(found, (4, 1))[:, 0],
            [value.item() for value in values],
            rtol=1e-12,
            err_msg=metric,
        )
    places = np.broadcast_to(together.bound_by(), (4, 1))[:, 0]
    assert places.tolist() == [one.bound_by().item() for one in alone]


@pytest.mark.parametrize(("name", "shape", "options"), CASES)
def test_ops_and_software_sum_to_their_step(name: str, shape: str, options: dict[str, Any]) -> None:
    found = estimate(name, network=shape, batch=24, mode="serving", **options)
    names = [phase.name for phase in found.phases]
    assert names == (["decode"] if options.get("prefill") is False else ["decode", "mixed"])
    mean_s = mean_j = 0.0
    for phase in found.phases:
        assert phase.software_time_s is not None
        assert phase.software_energy_j is not None
        assert phase.steps_fraction is not None
        time_s = np.sum(phase.time_s) + phase.software_time_s.item()
        energy_j = np.sum(phase.energy_j) + phase.software_energy_j.item()
        assert time_s == pytest.approx(phase.costs.time_s.item(), rel=1e-9)
        assert energy_j == pytest.approx(total(phase.costs.energy_j), rel=1e-9)
        assert phase.software_time_s.item() > 0
        levels, parts = total(phase.level_energy_j), phase.costs.energy_j
        expected = np.sum(parts.get("dram", 0.0)) + np.sum(parts.get("on_chip", 0.0))
        assert levels == pytest.approx(float(expected), rel=1e-9)
        mean_s += phase.steps_fraction.item() * time_s
        mean_j += phase.steps_fraction.item() * energy_j
    metrics = found.answer.result.metrics()
    assert mean_s == pytest.approx(metrics["tpot_s"].item(), rel=1e-9)
    assert mean_j / 24 == pytest.approx(metrics["energy_per_output_token_j"].item(), rel=1e-9)


def test_a_request_that_does_not_fit_is_taken_apart_on_one_device() -> None:
    found = estimate("gpu", network="llama-3.1-405b", devices=2, data_parallel=2, batch=4, mode="serving")
    assert not found.answer.result.fits.item()
    assert all("all_reduce" not in phase.ops.names for phase in found.phases)


def test_the_share_of_software_is_against_the_same_steps_without_it() -> None:
    options: dict[str, Any] = {"network": "qwen3-30b-a3b", "batch": 64, "devices": 2}
    (with_it,), (without,) = (
        compare(["gpu"], stack=name, **options).answers for name in ("vllm-0.11", "ideal")
    )
    result, bare = with_it.result, without.result
    assert isinstance(result, Serving)
    assert isinstance(bare, Serving)
    assert result.software_time_fraction is not None
    assert result.software_energy_fraction is not None
    assert result.software_time_fraction.item() == pytest.approx(1 - (bare.tpot_s / result.tpot_s).item())
    assert result.software_energy_fraction.item() == pytest.approx(1 - (bare.total_j / result.total_j).item())
    assert bare.software_time_fraction == bare.software_energy_fraction == 0


def test_a_server_that_reads_no_prompts_is_never_dearer() -> None:
    for name in DEVICES:
        with_it, without = (
            compare([name], batch=16, mode="serving", prefill=prefill).answers[0].result.metrics()
            for prefill in (True, False)
        )
        assert without["energy_per_output_token_j"] < with_it["energy_per_output_token_j"]
        assert without["tpot_s"] < with_it["tpot_s"]


def test_every_group_reads_the_weights_for_itself() -> None:
    request = Request(batch=8)
    record = network("llama-3.1-8b")
    assert isinstance(record, Transformer)
    one, two = (
        serving_work(record, request, devices=8.0, sharing=sharing, prefills_per_output_token=0.0).plain
        for sharing in (ALONE, Sharing(data_parallel_count=2.0))
    )
    assert two.weight_bytes.sum() == pytest.approx(2 * one.weight_bytes.sum(), rel=1e-3)  # one embedding
    np.testing.assert_array_equal(two.macs, one.macs)


def test_a_board_of_cells_holds_the_weights_of_each_group() -> None:
    net, board = network("llama-3.1-405b"), device("isaac-rram")
    alone = inference(net, Request(batch=2), board)
    paired = inference(net, Request(batch=2), board, 100.0, sharing=Sharing(data_parallel_count=2.0))
    assert alone.devices_needed.item() > 1
    assert paired.devices_needed.item() == 2 * alone.devices_needed.item()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "steps"}, "--mode: 'steps' given; expected one of step, serving"),
        ({"mode": "step", "stack": "vllm"}, "--mode step with --stack 'vllm'"),
        ({"prefill": False}, "--no-prefill: step mode"),
        ({"mode": "step", "prefill": True}, "--prefill: step mode"),
        ({"stack": "vlm"}, "unknown stack 'vlm'; did you mean 'vllm'"),
        ({"mode": "serving", "network": "resnet-50"}, "'resnet-50' answers in one pass"),
        ({"mode": "serving", "network": "bert-base"}, "'bert-base' answers in one pass"),
        ({"expert_parallel": True}, "--expert-parallel: this network has no experts"),
        ({"expert_parallel": True, "network": "resnet-50"}, "--expert-parallel: this network has no experts"),
        ({"data_parallel": 0}, "--data-parallel: '0' given; expected a whole number"),
        ({"data_parallel": 2}, "expected --devices with it, a multiple of 2"),
        ({"data_parallel": 3, "devices": 8, "batch": 9}, "expected a divisor of the 8 devices"),
        ({"data_parallel": 4, "devices": 8, "batch": 3}, "expected at most 3, a sequence"),
        ({"changes": ["stack.step_time=1ms"]}, "unknown address 'stack.step_time'.*--serving"),
        ({"mode": "serving", "changes": ["stack.step_tim=1ms"]}, "did you mean 'step_time'"),
        ({"mode": "serving", "changes": ["stack.unoverlapped=1.5"]}, "unoverlapped: 1.5 given"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError, match=told) as caught:
        compare(["gpu"], **options)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("name", ["resnet-50", "bert-base", "vit-b-16"])
def test_a_network_in_one_pass_has_no_running_batch(name: str) -> None:
    with pytest.raises(RequestError, match="one pass"):
        serving(network(name), Request(), device("h100-sxm"), stack=IDEAL)


def test_a_stack_selects_serving_and_serving_has_a_usual_stack() -> None:
    first, second = (
        compare(["gpu"], **options).question  # type: ignore[arg-type] # each value suits its name
        for options in ({"stack": "vllm"}, {"mode": "serving"})
    )
    assert first.mode == second.mode == "serving"
    assert first.stack is not None
    assert second.stack is not None
    assert first.stack.preset.name == second.stack.preset.name == "vllm-0.11"
    assert compare(["gpu"]).question.mode == "step"


def test_changed_numbers_of_a_stack_are_noted_and_odd_ones_warned_of() -> None:
    asked = compare(["gpu"], stack="vllm", changes=["stack.step_time=1s"]).question
    assert "numbers of the stack vllm-0.11 were changed" in asked.notes
    assert any(line.startswith("stack.step_time: 1 s is outside") for line in asked.warnings)


def test_a_batch_that_cannot_be_kept_running_is_noted() -> None:
    full = compare(["gpu"], mode="serving", batch=512, input_len=8000, output_len=100).question.notes
    assert any("fewer sequences than asked would run" in note for note in full)
    for options in ({"output_len": 8000}, {"output_len": 100, "prefill": False}):
        notes = compare(["gpu"], mode="serving", batch=512, input_len=8000, **options).question.notes  # type: ignore[arg-type] # as above
        assert not any("fewer sequences" in note for note in notes)
