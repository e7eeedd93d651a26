"""Zeros through a whole answer: what PyTorch measured on an A100, capacity, and boards that can and cannot use them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import column, total
from npuwatt.device.evaluate import Device
from npuwatt.device.stack import Stack, as_stored
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.study.inference import devices_needed, inference, phase_ops, shared_ops, stored_ratio
from npuwatt.study.scenario import load_device, load_network, load_stack
from npuwatt.study.serving import serving, serving_work
from npuwatt.workload.density import Zeros
from npuwatt.workload.network import Transformer
from npuwatt.workload.ops import STORED, table
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())
HALF = Zeros(pattern="2:4", weight_density=0.5)
# pytorch/ao, README of torchao/sparsity: batch-1 decode of Llama-3-8B on an A100 with 80 GB, tokens/s.
DECODE = {
    "bf16": ("bf16", None, 95.64),
    "int8": ("int8", None, 153.03),
    "int4": ("int4", None, 180.80),
    "int4 and 2:4": ("int4", HALF, 226.02),
}


@cache
def device(name: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml")).record


@cache
def network(name: str) -> Transformer:
    found = load_network(str(ROOT / "networks" / f"{name}.yaml")).record
    assert isinstance(found, Transformer)
    return found


@cache
def torchao() -> Stack:
    return load_stack("torchao").record


@cache
def decoded_per_s(case: str) -> float:
    weights, zeros, _ = DECODE[case]
    request = Request(weights=weights, input_len=128, output_len=200, zeros=zeros)  # type: ignore[arg-type] # checked when made
    found = serving(
        network("llama-3-8b"),
        request,
        device("a100-sxm-80gb"),
        1.0,
        stack=torchao(),
        prefills_per_output_token=0.0,
    )
    return 1 / found.tpot_s.item()


@pytest.mark.parametrize("case", DECODE)
def test_llama_3_8b_decodes_on_an_a100_as_fast_as_pytorch_measured(case: str) -> None:
    measured = DECODE[case][2]
    found = decoded_per_s(case)
    print(f"{case}: {found:.1f} tokens/s, measured {measured}")
    assert found == pytest.approx(measured, rel=0.15)
    assert found / decoded_per_s("bf16") == pytest.approx(measured / DECODE["bf16"][2], rel=0.10)


def test_kernels_take_weights_in_no_faster_than_memory_gives_them() -> None:
    assert all(0 < share <= 1 for share in torchao().weights_efficiency_fraction.values())
    assert set(torchao().weights_efficiency_fraction) == {"bf16", "int8", "int4", "int4-2-of-4"}


@pytest.mark.parametrize(("weights", "gigabytes"), [("bf16", 15.01), ("int8", 7.52), ("int4", 4.22)])
def test_llama_3_8b_is_as_large_as_torchao_prints(weights: Any, gigabytes: float) -> None:
    ops = table(phase_ops(network("llama-3-8b"), Request(weights=weights), "decode"))
    read = as_stored(torchao(), ops).weight_bytes
    stored = np.array([[kind in STORED for kind in ops.kinds]])
    assert total(read * stored).item() / 1e9 == pytest.approx(gigabytes, rel=0.005)


def test_int4_in_2_of_4_takes_3_25_bits_a_weight() -> None:
    request = Request(weights="int4", zeros=HALF)
    ratio = stored_ratio(network("llama-3-8b"), request, device("a100-sxm-80gb"), torchao()).item()
    assert ratio * 4.125 == pytest.approx(3.25, rel=1e-12)  # 4.125 bits are the usual int4
    unable = stored_ratio(network("llama-3-8b"), request, device("mi300x"), torchao()).item()
    assert unable * 4.125 == pytest.approx(4.25, rel=1e-12)


@pytest.mark.parametrize("name", ["llama-3.1-70b", "mixtral-8x22b", "deepseek-v3"])
def test_weights_stored_without_zeros_fit_on_fewer_devices_where_the_format_is_known(name: str) -> None:
    def needed(device_name: str, zeros: Zeros | None) -> float:
        request = Request(zeros=zeros, input_len=16, output_len=16)
        return devices_needed(network(name), request, device(device_name)).item()

    for zeros, ratio in ((None, 1.0), (HALF, 0.5625)):
        request = Request(zeros=zeros)
        assert stored_ratio(network(name), request, device("a100-sxm-80gb")).item() == pytest.approx(
            ratio, rel=1e-4
        )  # a router of few experts stays dense
    assert needed("a100-sxm-80gb", HALF) < needed("a100-sxm-80gb", None)
    assert needed("a100-sxm-80gb", HALF) >= 0.5625 * (needed("a100-sxm-80gb", None) - 1)
    assert needed("mi300x", HALF) == needed("mi300x", None)


def test_a_board_whose_memory_computes_stores_blocks_alone_without_zeros() -> None:
    for zeros, ratio in ((HALF, 1.0), (Zeros(pattern="block", weight_density=0.4), 0.4)):
        found = stored_ratio(network("llama-3.1-8b"), Request(zeros=zeros), device("hbm3-pim-bank")).item()
        assert found == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("context_tokens", [None, 700.0])
def test_a_server_knows_the_zeros_of_its_requests(context_tokens: float | None) -> None:
    asked = Request(batch=8, zeros=HALF)
    work = serving_work(network("llama-3.1-8b"), asked, context_tokens=context_tokens)
    for ops in (work.plain, work.mixed):
        assert ops is not None
        for kind, pattern in zip(ops.kinds, ops.patterns, strict=True):
            assert pattern == ("2:4" if kind in STORED else "dense")


def test_a_density_of_each_op_weighs_by_its_weights() -> None:
    zeros = Zeros(by_op={"ffn_up": HALF, "ffn_down": HALF})
    network_ = network("llama-3.1-8b")
    part = network_.feed_forward
    assert part is not None
    pruned = part.layers * 3 * network_.hidden * part.width
    ops = [op for op in phase_ops(network_, Request(), "prefill") if op.kind in STORED]
    whole = sum(float(op.layers) * op.k * op.n for op in ops)
    found = stored_ratio(network_, Request(zeros=zeros), device("h100-sxm")).item()
    assert found == pytest.approx(1 - pruned / whole * (1 - 0.5625), rel=1e-12)


def answer(name: str, zeros: Zeros | None, **given: Any) -> tuple[float, float]:
    request = Request(zeros=zeros, **{"input_len": 2048, "output_len": 64, **given})
    found = inference(network("llama-3.1-8b"), request, device(name))
    return found.request_s.item(), found.total_j.item()


@pytest.mark.parametrize(
    "zeros", [HALF, Zeros(pattern="unstructured", weight_density=0.3, activation_density=0.5)]
)
@pytest.mark.parametrize("name", ["mi300x", "furiosa-rngd", "samsung-hbm2-pim", "tpu-v5e", "isaac-rram"])
def test_a_device_that_cannot_use_zeros_answers_as_without_them(name: str, zeros: Zeros) -> None:
    assert answer(name, zeros) == answer(name, None)


def test_an_npu_that_skips_gains_time_and_energy_from_scattered_zeros() -> None:
    dense = answer("zero-skipping-npu", None)
    assert dense == answer("furiosa-rngd", None)  # the chip it is made from
    sparse = answer("zero-skipping-npu", Zeros(pattern="unstructured", weight_density=0.3))
    assert sparse[0] < dense[0]
    assert sparse[1] < dense[1]


def test_2_of_4_makes_a_gpu_slower_at_a_few_tokens_and_faster_at_many() -> None:
    few: dict[str, Any] = {"batch": 1, "input_len": 16, "output_len": 1}
    many: dict[str, Any] = {"batch": 16, "input_len": 4096, "output_len": 1}
    assert answer("a100-sxm-80gb", HALF, **few)[0] > answer("a100-sxm-80gb", None, **few)[0]
    assert answer("a100-sxm-80gb", HALF, **many)[0] < answer("a100-sxm-80gb", None, **many)[0]


def test_ops_of_several_devices_hold_words_and_numbers_in_their_places() -> None:
    network_ = network("mixtral-8x7b")
    for op in shared_ops(phase_ops(network_, Request(), "decode"), network_, Request(), 4.0):
        assert op.stored == ("bf16" if op.kind in STORED else "")
        assert op.pattern == "dense"
        assert np.min(op.layers) >= 1
        if op.kind == "all-reduce":
            assert op.layers == 64  # one sum after attention and one after the experts in each of 32 layers


def test_columns_of_densities_equal_a_loop() -> None:
    densities = [0.2, 0.5, 0.8]
    chip = device("zero-skipping-npu")
    together = inference(
        network("llama-3.1-8b"),
        Request(
            zeros=Zeros(pattern="unstructured", weight_density=column(densities), activation_density=0.9)
        ),
        chip,
    )
    for place, density in enumerate(densities):
        zeros = Zeros(pattern="unstructured", weight_density=density, activation_density=0.9)
        alone = inference(network("llama-3.1-8b"), Request(zeros=zeros), chip)
        assert together.request_s[place, 0] == pytest.approx(alone.request_s.item(), rel=1e-12)
        assert together.total_j[place, 0] == pytest.approx(alone.total_j.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"stored_bytes": {"int5": 1.0}},
            "stored: format 'int5'; expected one like int8, int4 or int4-2-of-4",
        ),
        ({"stored_bytes": {"int4": 0.0}}, "stored.int4: 0 given; expected a finite number above 0"),
        (
            {"weights_efficiency_fraction": {"int4-3-of-4": 0.5}},
            "weights_efficiency: format 'int4-3-of-4'; expected",
        ),
        (
            {"weights_efficiency_fraction": {"int4": 1.2}},
            "weights_efficiency.int4: 1.2 given; expected a share",
        ),
    ],
)
def test_a_fault_of_how_a_stack_stores_weights_says_what_would_do(given: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        Stack(**given)
    assert caught.value.faults[0].startswith(told)
