"""Devices of the edge: one chip's three processors share its memory, rates are those of that memory, cells are a projection."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of
from npuwatt.device.accelerator import Accelerator
from npuwatt.device.crossbar import Crossbar
from npuwatt.device.evaluate import Device, host_of
from npuwatt.device.per_macro import chip_area_m2, per_macro
from npuwatt.preset import library
from npuwatt.study.inference import Inference, inference
from npuwatt.study.scenario import Chosen, load_device, load_network
from npuwatt.workload.request import Request

if TYPE_CHECKING:
    from conftest import Quick, Run

CHIP = "snapdragon-8-elite"
DIGITAL = (
    CHIP,
    f"{CHIP}-cpu",
    f"{CHIP}-gpu",
    "apple-a17-pro-ane",
    "apple-a18-pro-ane",
    "exynos-2400",
    "rk3588-npu",
    "samsung-lpddr5-pim",
    "snapdragon-8-gen-3",
    "tensor-g4",
)
S25_GPU_TOKENS_PER_S = 48.8  # hedone21/llm_rs2 on a Galaxy S25, llama-3.2-1b, 128 tokens, cold
S25_CPU_TOKENS_PER_S = 7.2  # the same, 2048 tokens
# Llama 3.2 1B (config.json): what each step reads, its tied output layer of 128,256 x 2,048 included.
WEIGHTS = 16 * (2048 * (2048 + 2 * 512 + 2048) + 3 * 2048 * 8192) + 128256 * 2048
INT4_BYTES = 0.5 + 2 / 128  # a scale of two bytes for 128 weights


@cache
def chosen(name: str) -> Chosen[Device]:
    return load_device(name)


def answer(name: str, shape: str = "llama-3.2-1b", **asked: Any) -> Inference:
    request = {"weights": "int4", "activations": "int8", "kv_cache": "int8"} | asked
    found = inference(load_network(shape).record, Request(**request), chosen(name).record)
    assert isinstance(found, Inference)
    return found


def arrays_of(name: str) -> Any:
    record = chosen(name).record
    assert isinstance(record, Crossbar)
    return record.arrays


@pytest.mark.parametrize("name", DIGITAL)
def test_a_token_takes_the_time_of_its_bytes_or_of_its_energy_under_the_cap(name: str) -> None:
    # 512 tokens in and half of 256 out are cached: keys and values of 8 heads of 64 in 16 layers, a byte each.
    host = host_of(chosen(name).record)
    cached_bytes = 640 * 16 * 2 * 8 * 64
    bytes_per_s = float(host.memory.bandwidth_bytes_per_s * host.memory.utilization_fraction)
    memory_s = (WEIGHTS * INT4_BYTES + cached_bytes) / bytes_per_s
    found = answer(name, input_len=512, output_len=256)
    tpot_s, power_w = found.tpot_s.item(), found.metrics()["power_w"].item()
    is_held = tpot_s > 1.01 * memory_s
    assert tpot_s >= 0.999 * memory_s
    assert is_held == (name in ("rk3588-npu", "snapdragon-8-gen-3"))
    if is_held:
        assert power_w == pytest.approx(float(host.power_cap_w), rel=0.03)


def test_three_processors_of_one_chip_share_its_memory_and_its_package() -> None:
    whole = chosen(CHIP).evidence
    shared = [
        address
        for address in whole
        if address in ("static_power", "power_cap", "movement_overhead", "regulator_efficiency")
        or (address.startswith("levels.dram.") and not address.endswith("utilization"))
    ]
    assert len(shared) == 7
    for part in ("cpu", "gpu"):
        own = chosen(f"{CHIP}-{part}").evidence
        for address in shared:
            mine, theirs = own[address], whole[address]
            assert (mine.value, mine.low, mine.high) == (theirs.value, theirs.low, theirs.high), address


def test_a_more_general_processor_multiplies_slower_and_dearer() -> None:
    npu, gpu, cpu = (chosen(name).record for name in (CHIP, f"{CHIP}-gpu", f"{CHIP}-cpu"))
    assert isinstance(npu, Accelerator) and isinstance(gpu, Accelerator) and isinstance(cpu, Accelerator)
    peaks = [float(one.peak_macs_per_s["int8"]) for one in (npu, gpu, cpu)]
    energies = [float(one.mac_energy_j_per_mac["int8"]) for one in (npu, gpu, cpu)]
    assert peaks == sorted(peaks, reverse=True)
    assert energies == sorted(energies)


def test_a_published_rate_of_a_phones_gpu_lies_between_what_its_memory_brings_in_16_bits_and_in_4() -> None:
    # The run does not tell its number types; the most that the preset's range of bandwidths allows does.
    memory = chosen(f"{CHIP}-gpu").evidence["levels.dram.bandwidth"]
    fp16_per_s, int4_per_s = memory.high / (WEIGHTS * 2), memory.low / (WEIGHTS * INT4_BYTES)
    assert fp16_per_s < S25_GPU_TOKENS_PER_S < int4_per_s, (fp16_per_s, int4_per_s)


@pytest.mark.parametrize(
    ("part", "published", "output_len"),
    [("gpu", S25_GPU_TOKENS_PER_S, 128), ("cpu", S25_CPU_TOKENS_PER_S, 2048)],
)
def test_published_rates_of_a_phone_lie_below_the_limit_of_its_hardware(
    part: str, published: float, output_len: int
) -> None:
    # Nothing was fitted to them: the GPU's is about half of its limit, the CPU's a tenth.
    asked: dict[str, Any] = {"activations": "fp16", "kv_cache": "fp16"}
    asked |= {"input_len": 32, "output_len": output_len}
    limit_per_s = answer(f"{CHIP}-{part}", **asked).metrics()["tokens_per_s"].item()
    assert published < limit_per_s


@pytest.mark.parametrize(
    ("published_fj", "within"),
    [
        (48.3, 1.25),  # Correll, VLSI 2022, 65 nm: 20.7 TOPS/W of 8-bit inputs and 4-bit weights
        (
            2e3 / 1382.4 * 32,
            1.25,
        ),  # Hung, ISSCC 2022, 22 nm: 1382 TOPS/W of one-bit products, 32 of them in a MAC
        (2e3 / 762.24 * 32, 2.2),  # Xue, ISSCC 2021, 22 nm, the same
    ],
)
def test_a_handsets_cells_spend_what_published_macros_do(published_fj: float, within: float) -> None:
    found = float(per_macro(arrays_of("edge-rram")).total_j_per_mac) / 1e-15
    assert 1 / within < found / published_fj < within


def test_a_handsets_crossbar_takes_a_little_more_than_its_host_spends_on_the_cache() -> None:
    # 5 + 1 + 0.249 pJ a bit, half as much again for control, a tenth lost in regulators.
    cached_bytes = 640 * 16 * 2 * 8 * 64
    floor_j = cached_bytes * 8 * 6.249e-12 * 1.5 / 0.9
    found = answer("edge-rram", input_len=512, output_len=256).metrics()["energy_per_output_token_j"].item()
    assert floor_j < found < 2 * floor_j
    # A chip that reads its weights for each token spends at least what bringing them from memory takes.
    assert found < WEIGHTS * INT4_BYTES * 8 * 5e-12 / 10


@pytest.mark.parametrize(
    ("shape", "fits"), [("llama-3.2-1b", True), ("llama-3.2-3b", True), ("qwen3-4b", False)]
)
def test_a_handsets_crossbar_holds_three_billion_weights(shape: str, fits: bool) -> None:
    assert answer("edge-rram", shape).fits.item() == fits


def test_a_die_of_the_handsets_crossbar_is_as_large_as_its_preset_says() -> None:
    text = Path(library.presets_root(), "devices", "edge-rram.yaml").read_text(encoding="utf-8")
    assert "each takes some 125 mm2" in text
    assert float(chip_area_m2(arrays_of("edge-rram"))) == pytest.approx(125e-6, rel=0.03)


@pytest.mark.parametrize("name", ["phone-cpu", "phone-gpu", "edge-rram", "a18-pro", "tensor-g4", "rk3588"])
def test_a_handset_takes_each_of_them(quick: Quick, name: str) -> None:
    done = quick("phone", name, "--json")
    assert done.code == 0
    Draft202012Validator(schema_of("phone")).validate(done.json())
    assert done.json()["results"][0]["steady_tokens_per_s"] > 0


def test_a_network_beyond_its_cells_is_refused_in_one_line(quick: Quick) -> None:
    done = quick("phone", "edge-rram", "--network", "qwen3-4b")
    assert done.code == 2
    assert done.err.strip().count("\n") == 0
    assert "does not fit" in done.err


def test_products_of_large_matrices_in_cells_move_nothing_and_warn_of_nothing(run: Run) -> None:
    # 512 tokens by 537e6 weights, and no byte over the pins: MACs a byte are not told.
    widths = ("--weights", "int4", "--activations", "int8", "--kv-cache", "int8")
    done = run("estimate", "edge-rram", "--network", "llama-3.2-1b", *widths, "--json")
    assert (done.code, done.err) == (0, "")
    (product,) = (one for one in done.json()["phases"][0]["ops"] if one["name"] == "ffn_up")
    assert product["macs"] == 512 * 16 * 2 * 2048 * 8192
    assert product["moved_bytes"] == 0
    assert product["intensity_macs_per_byte"] is None
