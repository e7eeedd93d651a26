"""One network on several devices: how many it needs, how much faster they are, what their links cost."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.device.crossbar import Crossbar, weights_held_count
from npuwatt.device.evaluate import Device, host_of
from npuwatt.preset import library
from npuwatt.preset.paths import with_value
from npuwatt.study.inference import devices_needed, inference, phase_ops, shared_ops
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Transformer
from npuwatt.workload.ops import Op
from npuwatt.workload.parameters import parameter_count, stored_weights
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())
FREE = ("link.bandwidth=1 EB/s", "link.latency=0 s", "link.energy=0 pJ/bit", "link.utilization=1")


@cache
def device(name: str, *changes: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml"), changes=changes).record


@cache
def network(name: str) -> Transformer:
    found = load_network(str(ROOT / "networks" / f"{name}.yaml")).record
    assert isinstance(found, Transformer)
    return found


def first_that_holds(weight_bytes: float, cache_bytes: float, capacity_bytes: float, shards: int) -> int:
    for count in range(1, 5000):
        if weight_bytes / count + cache_bytes / min(count, shards) <= capacity_bytes:
            return count
    raise AssertionError("none holds it")


# Cache heads: Llama 3.1 has 8 of 128 in 80 or 126 layers; DeepSeek-V3 one latent vector of 576 in 61 (config.json).
@pytest.mark.parametrize("batch", [1, 40, 100, 150])
@pytest.mark.parametrize(
    ("name", "shards", "bytes_per_token"),
    [
        ("llama-3.1-70b", 8, 80 * 2 * 8 * 128 * 2),
        ("llama-3.1-405b", 8, 126 * 2 * 8 * 128 * 2),
        ("deepseek-v3", 1, 70_272),
    ],
)
def test_the_fewest_devices_are_the_first_that_hold_weights_and_cache(
    name: str, shards: int, bytes_per_token: int, batch: int
) -> None:
    net, chip = network(name), device("h100-sxm")
    request = Request(batch=batch, input_len=6000, output_len=2000)
    expected = first_that_holds(parameter_count(net) * 2, batch * 8000 * bytes_per_token, 80 * 2**30, shards)
    assert float(devices_needed(net, request, chip).item()) == expected
    assert float(inference(net, request, chip).devices.item()) == expected
    assert not inference(net, request, chip, expected - 1).fits.item()


def test_a_cache_that_no_device_can_hold_its_share_of_fits_nowhere() -> None:
    found = inference(network("llama-3.1-70b"), Request(batch=10**6, input_len=10**5), device("h100-sxm"))
    assert math.isinf(found.devices_needed.item())
    assert not found.fits.item()
    assert all(np.isnan(value).all() for value in found.metrics().values())


def test_a_crossbar_board_needs_cells_for_every_matrix() -> None:
    board, net = device("isaac-rram"), network("llama-3.1-405b")
    assert isinstance(board, Crossbar)
    expected = math.ceil(stored_weights(net).matrix / float(weights_held_count(board.arrays)))
    assert expected > 1
    assert float(devices_needed(net, Request(), board).item()) == expected


@pytest.mark.parametrize("count", [2, 4, 8])
def test_devices_with_free_links_divide_the_time_of_a_step_that_streams_weights(count: int) -> None:
    chip = device("h100-sxm", *FREE)
    alone, together = (inference(network("llama-3.1-8b"), Request(), chip, n) for n in (1, count))
    assert together.tpot_s.item() == pytest.approx(alone.tpot_s.item() / count, rel=1e-6)
    assert together.ttft_s.item() == pytest.approx(alone.ttft_s.item() / count, rel=1e-6)


def test_devices_with_free_links_spend_the_same_dynamic_energy() -> None:
    chip = device("h100-sxm", *FREE)
    alone, together = (inference(network("llama-3.1-8b"), Request(), chip, n) for n in (1, 8))
    for part in ("arithmetic", "dram", "on_chip"):
        tolerance = (
            1e-6 if part == "on_chip" else 1e-12
        )  # clocks run as long as the step, which sums lengthen
        assert together.energy_j[part].item() == pytest.approx(alone.energy_j[part].item(), rel=tolerance)
    assert together.energy_j["static"].item() == pytest.approx(alone.energy_j["static"].item(), rel=1e-6)


@pytest.mark.parametrize("name", ["h100-sxm", "furiosa-rngd", "samsung-hbm2-pim", "isaac-rram"])
def test_devices_that_share_work_spend_energy_on_links_and_one_does_not(name: str) -> None:
    alone, together = (inference(network("smollm2-135m"), Request(), device(name), n) for n in (1, 4))
    assert alone.energy_j["links"].item() == 0
    assert together.energy_j["links"].item() > 0
    assert together.limit_s["link"].item() > 0


def test_the_energy_of_links_is_what_all_reduces_send_by_hand() -> None:
    # Llama-3.1-8B sums 4096 bf16 values after attention and after the feed-forward of each of 32 layers; each of 4
    # devices sends 2 x 3/4 of them. 512 prompt tokens and 255 steps of one, at 5 pJ/bit.
    found = inference(network("llama-3.1-8b"), Request(), device("h100-sxm"), 4)
    tokens = 512 + 255
    sent = 4 * (2 * 3 / 4) * 64 * 4096 * 2 * tokens
    assert found.energy_j["links"].item() == pytest.approx(sent * 8 * 5e-12, rel=1e-12)


def test_slower_links_never_make_a_step_faster() -> None:
    times = [
        inference(
            network("llama-3.1-8b"), Request(batch=64), device("h100-sxm", f"link.bandwidth={rate} GB/s"), 8
        ).tpot_s.item()
        for rate in (0.1, 1, 10, 100, 1000)
    ]
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


@pytest.mark.parametrize(("count", "copies"), [(1, 1), (8, 1), (16, 2), (32, 4)])
def test_devices_beyond_the_cache_heads_read_copies_of_the_cache(count: int, copies: int) -> None:
    net, request = network("llama-3.1-8b"), Request(batch=4)
    alone = phase_ops(net, request, "decode")
    shared = shared_ops(alone, net, request, float(count))

    def moved(ops: list[Op]) -> float:
        return sum(float(op.kv_read_bytes) + float(op.kv_written_bytes) for op in ops)

    assert moved(shared) == pytest.approx(copies * moved(alone), rel=1e-12)


def test_a_device_without_a_link_cannot_share_work() -> None:
    chip: Any = device("h100-sxm")
    lonely = with_value(chip, ["link"], None)
    assert host_of(lonely).link is None
    found = inference(network("llama-3.1-70b"), Request(), lonely)
    assert found.devices_needed.item() == 2
    assert not found.fits.item()
