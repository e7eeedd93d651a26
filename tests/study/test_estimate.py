"""One device taken apart: ops sum to phases, phases agree with the comparison, levels with components."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.preset import library
from npuwatt.study.compare import compare
from npuwatt.study.estimate import Estimate, estimate

INDEX = library.index()
CASES = [
    ("gpu", "llama-3.1-8b", None),
    ("gpu", "llama-3.1-70b", None),  # takes two
    ("gpu", "mixtral-8x7b", 4),
    ("npu", "llama-3.1-8b", None),
    ("pim", "llama-3.1-8b", 2),
    ("crossbar", "llama-3.1-8b", None),
    ("h100-sxm-parts", "deepseek-v3", 16),
    ("gpu", "nemotron-nano-9b-v2", None),
]


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def total(values: object) -> float:
    return float(np.sum(np.asarray(values)))


@pytest.mark.parametrize(("name", "network", "devices"), CASES)
def test_ops_sum_to_their_phase(name: str, network: str, devices: int | None) -> None:
    for phase in estimate(name, network=network, devices=devices, batch=5).phases:
        energy_j = sum(total(part) for part in phase.costs.energy_j.values())
        assert total(phase.energy_j) == pytest.approx(energy_j, rel=1e-9)
        assert total(phase.time_s) == pytest.approx(total(phase.costs.time_s), rel=1e-9)
        assert len(phase.ops.names) == phase.time_s.shape[-1] == len(phase.bound_by)
        assert (phase.time_s >= 0).all()


@pytest.mark.parametrize(("name", "network", "devices"), CASES)
def test_levels_sum_to_the_components_that_hold_them(name: str, network: str, devices: int | None) -> None:
    for phase in estimate(name, network=network, devices=devices, batch=5).phases:
        levels = sum(total(part) for part in phase.level_energy_j.values())
        parts = phase.costs.energy_j
        assert levels == pytest.approx(total(parts.get("dram", 0)) + total(parts.get("on_chip", 0)), rel=1e-9)


@pytest.mark.parametrize(("name", "network", "devices"), CASES)
@pytest.mark.parametrize("output_len", [2, 256, 1000])
def test_the_step_at_the_middle_of_an_answer_is_the_mean_step(
    name: str, network: str, devices: int | None, output_len: int
) -> None:
    options = {"network": network, "devices": devices, "batch": 5, "output_len": output_len}
    found: Estimate = estimate(name, **options)  # type: ignore[arg-type] # each value suits its name
    step = next(phase for phase in found.phases if phase.name == "decode")
    assert step.context_tokens == 512 + output_len // 2
    mean_s = compare([name], **options).answers[0].result.tpot_s.item()  # type: ignore[arg-type] # as above
    assert total(step.time_s) == pytest.approx(mean_s, rel=1e-9)


@pytest.mark.parametrize("output_len", [1, 2, 3])
def test_decode_is_there_whatever_the_length_of_the_answer(output_len: int) -> None:
    names = [phase.name for phase in estimate("gpu", output_len=output_len).phases]
    assert names == ["prefill", "decode"]


def test_the_prompt_takes_the_time_to_the_first_token() -> None:
    found = estimate("gpu", batch=3)
    assert total(found.phases[0].time_s) == pytest.approx(found.answer.result.ttft_s.item(), rel=1e-12)


def test_a_network_in_one_pass_has_one_phase() -> None:
    assert [phase.name for phase in estimate("gpu", network="resnet-50").phases] == ["prefill"]


def test_the_ridge_point_is_that_of_the_data_sheet() -> None:
    # TPU v1 (Jouppi et al., ISCA 2017): 92 TOPS int8 over 34 GB/s, 1350 MACs per byte.
    found = estimate("tpu-v1", weights="int8", activations="int8", kv_cache="int8")
    assert found.phases[0].ridge_macs_per_byte == pytest.approx(1350, rel=0.01)


@pytest.mark.parametrize("devices", [1, 3])
def test_a_request_that_does_not_fit_is_still_taken_apart_on_one_device(devices: int) -> None:
    found = estimate("gpu", network="llama-3.1-405b", devices=devices)
    assert not found.answer.result.fits.item()
    assert np.isnan(found.answer.result.ttft_s).all()
    assert all("all_reduce" not in phase.ops.names for phase in found.phases)
