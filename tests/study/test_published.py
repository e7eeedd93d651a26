"""Answers to whole questions against figures that others published or measured."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from npuwatt.device.costs import PhaseCosts
from npuwatt.device.evaluate import Device
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.inference import Inference, inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.parameters import stored_weights
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())


@cache
def device(name: str, *changes: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml"), changes=changes).record


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


def energy_j(phase: PhaseCosts | None) -> float:
    assert phase is not None
    return sum(float(part.item()) for part in phase.energy_j.values())


# One H100 SXM at its data sheet's 989 TFLOPS bf16 and 3.35 TB/s, both fully reached, no power cap. The figures are an
# independent per-op roofline of Llama-3.1-8B in bf16; AIConfigurator's "speed of light" mode gives 4.56, 5.81 and
# 9.80 ms for the three decode steps.
IDEAL = ("utilization=1", "levels.dram.utilization=1", "power_cap=1 MW")


@pytest.mark.parametrize(("batch", "milliseconds"), [(1, 4.56), (16, 5.78), (64, 9.69)])
def test_an_ideal_h100_decodes_llama_3_1_8b_as_fast_as_an_independent_roofline(
    batch: int, milliseconds: float
) -> None:
    # one step, at a context of 2048 with the new token
    asked = Request(batch=batch, input_len=2047, output_len=2)
    found = inference(network("llama-3.1-8b"), asked, device("h100-sxm", *IDEAL), 1)
    assert found.tpot_s.item() * 1e3 == pytest.approx(milliseconds, rel=0.01)


def test_an_ideal_h100_reads_a_prompt_as_fast_as_an_independent_roofline() -> None:
    found = inference(network("llama-3.1-8b"), Request(input_len=2048), device("h100-sxm", *IDEAL), 1)
    assert found.ttft_s.item() * 1e3 == pytest.approx(30.3, rel=0.01)


def test_the_step_of_a_real_h100_is_slower_than_the_ideal_one() -> None:
    asked = Request(input_len=2047, output_len=2)
    real, ideal = (
        inference(network("llama-3.1-8b"), asked, device("h100-sxm", *changes), 1) for changes in ((), IDEAL)
    )
    assert real.tpot_s > ideal.tpot_s
    # AIConfigurator with measured kernels (vLLM 0.24): 6.24 ms, launches and gaps between kernels included.
    assert real.tpot_s.item() < 6.24e-3


@pytest.mark.parametrize("context", [200, 1000])
def test_an_h100_summed_from_its_parts_spends_per_weight_bit_what_the_meter_says(context: int) -> None:
    # ML.ENERGY v3 (arXiv 2505.06371), Qwen3 8B, 14B and 32B in bf16 on the H100 at batch 8: mean power times the gap
    # between tokens over the bits of all weights comes to 23.5 to 26.7 pJ/bit. The band allows what parts leave out.
    qwen = network("qwen3-8b")
    found = inference(qwen, Request(batch=8, input_len=context), device("h100-sxm-parts"), 1)
    bits = sum(stored_weights(qwen)) * 16
    assert 17 <= energy_j(found.decode) / bits * 1e12 <= 33


@pytest.fixture(scope="module")
def usual() -> dict[str, Inference]:
    """The question that `npuwatt compare gpu pim` asks."""
    return {
        name: inference(network("llama-3.1-8b"), Request(), load_device(name).record)
        for name in ("gpu", "pim")
    }


def test_pim_reads_a_prompt_slower_than_a_gpu(usual: dict[str, Inference]) -> None:
    # CENT (arXiv 2502.07578), Llama2-7B: prefill on PIM at 0.33 of the GPU's rate.
    assert usual["pim"].ttft_s > usual["gpu"].ttft_s


def test_pim_gains_energy_per_decoded_token_as_published_systems_do(usual: dict[str, Inference]) -> None:
    # Published gains of whole products are 2 to 7 (HBM-PIM 60-70 % less energy and 2.67-3x, AiM 80 % less, CENT 4.2
    # in decode); 1.5 leaves room for hosts that they do not count.
    gain = energy_j(usual["gpu"].decode) / energy_j(usual["pim"].decode)
    assert 1.5 <= gain <= 7


def test_a_dense_step_spends_little_on_arithmetic_and_most_on_moving_data() -> None:
    # ML.ENERGY v3, Qwen3 on the H100 at batch 8: arithmetic 2-3 % of the board's energy, idle 13-21 %, the path from
    # memory 73-84 %. Ends widened by the uncertainty of the static power (72 to 320 W).
    found = inference(network("qwen3-8b"), Request(batch=8, input_len=500), device("h100-sxm"), 1).decode
    assert found is not None
    share = {name: float(part.item()) / energy_j(found) for name, part in found.energy_j.items()}
    assert 0.01 <= share["arithmetic"] <= 0.05
    assert 0.10 <= share["static"] <= 0.40
    assert 0.55 <= share["dram"] + share["on_chip"] <= 0.88


def test_a_decode_step_of_the_h100_draws_the_power_that_was_measured() -> None:
    # ML.ENERGY v3, batch 8, bf16, Qwen3 8B to 32B: 427 to 538 W on the H100, with gaps between kernels, which lower it.
    found = inference(network("qwen3-8b"), Request(batch=8, input_len=500), device("h100-sxm"), 1).decode
    assert found is not None
    assert 427 <= energy_j(found) / found.time_s.item() <= 1.15 * 538


def test_a_network_in_one_pass_costs_its_single_pass() -> None:
    found = inference(network("resnet-50"), Request(batch=64, output_len=9), device("h100-sxm"), 1)
    assert found.decode is None
    assert found.request_s == found.ttft_s
    assert found.output_tokens.item() == 64
    # torchvision, ResNet50_Weights: 4.089 GMAC an image; the data sheet's 989 TFLOPS bound the rate.
    assert found.metrics()["tokens_per_s"].item() <= 989e12 / 2 / 4.089e9


def test_weights_that_two_networks_share_cost_the_same() -> None:
    llama = network("llama-3.1-8b")
    assert isinstance(llama, Transformer)
    tied = inference(replace(llama, tied_embeddings=True), Request(), device("h100-sxm"), 1)
    assert tied.tpot_s == inference(llama, Request(), device("h100-sxm"), 1).tpot_s
