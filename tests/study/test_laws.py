"""Laws that hold for every device that ships: roofs, compulsory traffic, monotony, conservation, caps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import Array, column
from npuwatt.device.accelerator import Accelerator
from npuwatt.device.costs import PhaseCosts
from npuwatt.device.evaluate import Device, host_of, rest_power_w
from npuwatt.device.nearbank import inside_bandwidth_bytes_per_s
from npuwatt.preset import library
from npuwatt.preset.paths import with_value
from npuwatt.study.inference import Inference, inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.ops import table
from npuwatt.workload.parameters import active_parameter_count, parameter_count, stored_weights
from npuwatt.workload.request import Request, width_bytes
from npuwatt.workload.transformer import cache_bytes_per_token, prefill_ops

FIXED = settings(derandomize=True, deadline=None)

ROOT = Path(library.presets_root())
DEVICES = sorted(path.stem for path in (ROOT / "devices").glob("*.yaml"))
NETWORKS = ("smollm2-135m", "llama-3.1-8b", "mixtral-8x7b", "deepseek-v3")  # no windows
SAMPLE = ("h100-sxm", "a100-sxm-80gb", "furiosa-rngd", "tpu-v5e", "samsung-hbm2-pim", "isaac-rram")


@cache
def device(name: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml")).record


@cache
def network(name: str) -> Transformer:
    found: Network = load_network(str(ROOT / "networks" / f"{name}.yaml")).record
    assert isinstance(found, Transformer)
    return found


def asked(chip: Device, **lengths: Any) -> Request:
    """A request in a type that the device computes."""
    peaks = host_of(chip).peak_macs_per_s
    width: Any = next(name for name in ("bf16", "int8", "fp8", "fp16") if name in peaks)
    return Request(weights=width, activations=width, kv_cache=width, **lengths)


def phases(found: Inference) -> list[PhaseCosts]:
    return [found.prefill] + ([found.decode] if found.decode else [])


def joules(phase: PhaseCosts) -> Array:
    return sum(phase.energy_j.values(), start=np.zeros(phase.time_s.shape))


def fastest_bytes_per_s(chip: Device) -> float:
    """The quickest way out of main memory that a board has, achieved share left out."""
    outside = float(np.max(host_of(chip).memory.bandwidth_bytes_per_s))
    if chip.kind != "near-bank-pim":
        return outside
    return max(outside, float(chip.banks.parts_count * inside_bandwidth_bytes_per_s(chip)))


@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("name", DEVICES)
def test_no_step_is_faster_than_its_bytes_over_the_bandwidth(name: str, shape: str) -> None:
    chip, net = device(name), network(shape)
    request = asked(chip, input_len=300, output_len=10)
    found = inference(net, request, chip)
    count = float(found.devices.item()) if found.fits.item() else 1.0
    left_out = parameter_count(net) - active_parameter_count(net)  # experts that one token does not meet
    weight_bytes = (stored_weights(net).matrix - left_out) * width_bytes(request.weights)
    moved = 301 * cache_bytes_per_token(net, request.kv_cache)
    if chip.kind != "crossbar":  # whose weights stay in their cells
        moved += weight_bytes
    assert found.decode is not None
    assert found.decode.time_s.item() * fastest_bytes_per_s(chip) * count >= moved


@pytest.mark.parametrize("name", [name for name in DEVICES if isinstance(device(name), Accelerator)])
def test_no_prompt_is_read_faster_than_the_peak_allows(name: str) -> None:
    chip = device(name)
    request = asked(chip, input_len=3000, batch=8)
    for shape in NETWORKS:
        found = inference(network(shape), request, chip)
        count = float(found.devices.item()) if found.fits.item() else 1.0
        peak = float(host_of(chip).peak_macs_per_s[request.weights])
        macs = float(table(prefill_ops(network(shape), request)).macs.sum())
        assert found.prefill.time_s.item() * peak * count >= macs


@pytest.mark.parametrize("name", DEVICES)
def test_mean_power_of_a_phase_never_exceeds_the_cap_of_each_device(name: str) -> None:
    chip = device(name)
    for count in (None, 1.0, 8.0):
        batches = asked(chip, batch=column([1.0, 8.0, 64.0, 512.0]), input_len=1000.0)
        found = inference(network("llama-3.1-8b"), batches, chip, count)
        used = np.where(found.fits, found.devices, 1.0)
        for phase in phases(found):
            assert (joules(phase) / phase.time_s <= used * host_of(chip).power_cap_w * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("shape", ["llama-3.1-8b", "mixtral-8x7b"])
def test_a_larger_batch_never_lowers_the_time_of_a_step(name: str, shape: str) -> None:
    chip = device(name)
    batches = np.unique(np.rint(np.geomspace(1, 4096, 60)))
    found = inference(network(shape), asked(chip, batch=column(batches)), chip, 1.0)
    for phase in phases(found):
        assert (np.diff(phase.time_s[:, 0]) >= -1e-12 * phase.time_s[1:, 0]).all()


@pytest.mark.parametrize("name", [name for name in DEVICES if device(name).kind != "near-bank-pim"])
def test_a_longer_context_never_lowers_the_time_of_a_step_before_the_power_cap(name: str) -> None:
    # Boards whose banks compute choose by the time under the cap: test_nearbank holds each of their ops to this.
    chip = device(name)
    lengths = column(np.unique(np.rint(np.geomspace(1, 10**6, 60))))
    for shape in ("llama-3.1-8b", "gemma-3-4b", "llama-4-scout"):
        found = inference(network(shape), asked(chip, input_len=lengths, output_len=1.0), chip, 1.0)
        for phase in phases(found):
            if phase is found.decode and shape == "llama-4-scout":
                continue  # a chunked window empties as a new chunk begins
            time_s = (phase.time_s / phase.stretch_ratio)[:, 0]
            assert (np.diff(time_s) >= -1e-9 * time_s[1:]).all()


@given(
    name=st.sampled_from([name for name in SAMPLE if isinstance(device(name), Accelerator)]),
    part=st.sampled_from(["dram", "peak"]),
    gain=st.floats(1, 50),
    batch=st.integers(1, 600),
)
@settings(FIXED, max_examples=60)
def test_more_bandwidth_or_peak_is_never_slower_and_never_spends_more_when_idle(
    name: str, part: str, gain: float, batch: int
) -> None:
    chip = device(name)
    path = ["levels", "dram", "bandwidth"] if part == "dram" else ["peak", "bf16"]
    host = host_of(chip)
    now = host.memory.bandwidth_bytes_per_s if part == "dram" else host.peak_macs_per_s["bf16"]
    faster = with_value(chip, path, now * gain)
    request = asked(chip, batch=batch)
    before, after = (inference(network("llama-3.1-8b"), request, one, 1.0) for one in (chip, faster))
    for slow, quick in zip(phases(before), phases(after), strict=True):
        assert quick.time_s <= slow.time_s
        assert quick.energy_j["static"] <= slow.energy_j["static"]
        for component in set(slow.energy_j) - {"static"}:
            assert quick.energy_j[component] == slow.energy_j[component]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_lower_power_cap_only_stretches_time(name: str) -> None:
    chip = device(name)
    path = ["power_cap"] if isinstance(chip, Accelerator) else ["host", "power_cap"]
    rest = rest_power_w(chip)
    room = np.geomspace(0.02, 20, 12) * (host_of(chip).power_cap_w - rest)
    capped = with_value(chip, path, column(rest + room))
    by_time = {"static", "on_chip"} if host_of(chip).clocks_power_w else {"static"}
    found = inference(network("llama-3.1-8b"), asked(chip, batch=32), capped, 1.0)
    for phase in phases(found):
        assert (np.diff(phase.time_s[:, 0]) <= 0).all()
        assert phase.time_s[0] > phase.time_s[-1]
        dynamic_j = {name: value for name, value in phase.energy_j.items() if name not in by_time}
        if chip.kind == "near-bank-pim":  # or it moves ops to where they need less
            assert (
                np.diff(sum(dynamic_j.values(), start=np.zeros((1, 1)))[:, 0])
                >= -1e-12 * dynamic_j["dram"][0]
            ).all()
            continue
        for value in dynamic_j.values():
            np.testing.assert_array_equal(value, value[-1:])


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("count", [None, 1.0, 8.0])
def test_parts_sum_to_totals(name: str, count: float | None) -> None:
    chip = device(name)
    found = inference(
        network("smollm2-135m"), asked(chip, batch=4, input_len=100, output_len=31), chip, count
    )
    if count == 8 and host_of(chip).link is None:
        assert not found.fits.item()
    if not found.fits.item():
        assert all(np.isnan(value).all() for value in found.metrics().values())
        return
    metrics = {key: float(value.item()) for key, value in found.metrics().items()}
    assert found.decode is not None
    total_j = float(joules(found.prefill).item() + 30 * joules(found.decode).item())
    per_token = {key: float(value.item()) / (4 * 31) for key, value in found.energy_j.items()}
    assert sum(per_token.values()) == pytest.approx(metrics["energy_per_output_token_j"], rel=1e-9)
    assert metrics["energy_per_output_token_j"] * 4 * 31 == pytest.approx(total_j, rel=1e-9)
    assert metrics["energy_per_request_j"] * 4 == pytest.approx(total_j, rel=1e-9)
    assert metrics["energy_per_total_token_j"] * 4 * 131 == pytest.approx(total_j, rel=1e-9)
    assert metrics["tokens_per_j"] * total_j == pytest.approx(4 * 31, rel=1e-9)
    seconds = metrics["ttft_s"] + 30 * metrics["tpot_s"]
    assert metrics["tokens_per_s"] * seconds == pytest.approx(4 * 31, rel=1e-9)
    assert metrics["power_w"] * seconds == pytest.approx(total_j, rel=1e-9)
    assert sum(float(value.item()) for value in found.limit_s.values()) == pytest.approx(seconds, rel=1e-9)
    assert all(value >= 0 for value in per_token.values())
