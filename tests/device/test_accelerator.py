"""GPU and NPU boards: energies measured on an A100, and laws of time and energy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.accelerator import (
    Accelerator,
    Link,
    MemoryLevel,
    accelerator_costs,
    dtype_for,
    level_bytes,
)
from npuwatt.device.costs import OpCosts
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.scenario import load_device
from npuwatt.workload.ops import Op, OpTable, table

FIXED = settings(derandomize=True, deadline=None)

CHIP = Accelerator(
    peak_macs_per_s={"bf16": 100e12, "int8": 200e12},
    mac_energy_j_per_mac={"bf16": 1e-12, "int8": 0.3e-12},
    levels={
        "dram": MemoryLevel(
            bandwidth_bytes_per_s=1e12, read_energy_j_per_byte=32e-12, capacity_bytes=2.0**36
        ),
        "buffer": MemoryLevel(read_energy_j_per_byte=8e-12, bandwidth_bytes_per_s=4e12),
        "registers": MemoryLevel(read_energy_j_per_byte=2e-12, tile_count=64),
    },
    static_power_w=50.0,
    power_cap_w=500.0,
    utilization_fraction=0.8,
    movement_overhead_ratio=0.5,
    regulator_efficiency_fraction=0.9,
    link=Link(bandwidth_bytes_per_s=50e9, energy_j_per_byte=40e-12, latency_s=1e-6),
)
STREAM = Op("stream", "matmul", "bf16", macs=1.0, weight_bytes=1e9, operand_bytes=2.0, k=1, n=1)
amounts = st.floats(min_value=1.0, max_value=1e15)
gains = st.floats(min_value=1.0, max_value=1e3)


@cache
def board(name: str) -> Accelerator:
    found = load_device(str(Path(library.presets_root(), "devices", f"{name}.yaml"))).record
    assert isinstance(found, Accelerator)
    return found


def ops(*rows: Op) -> OpTable:
    made = table(rows)
    for value in made.__dict__.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return made


def energy_j(costs: OpCosts) -> float:
    return sum(float(part.sum()) for part in costs.energy_j.values())


# Antepara et al., SC'25: energy of each level of the A100's memory hierarchy, measured at the board's input above
# constant power, in pJ/bit: L1 1.59, L2 4.71, HBM 13.11. A byte from HBM passes all three.
@pytest.mark.parametrize(("level", "picojoules"), [("l1", 1.59), ("l2", 4.71), ("dram", 13.1)])
def test_a100_level_energies_are_those_measured(level: str, picojoules: float) -> None:
    each = board("a100-sxm-80gb").levels[level].read_energy_j_per_byte
    assert each / 8 * 1e12 == pytest.approx(picojoules, rel=1e-3)


def test_a_byte_streamed_from_hbm_on_an_a100_takes_the_sum_of_its_levels() -> None:
    costs = accelerator_costs(board("a100-sxm-80gb"), ops(STREAM._replace(macs=0.0)))
    assert energy_j(costs) / 8e9 * 1e12 == pytest.approx(13.11 + 4.71 + 1.59, rel=1e-9)  # 19.4 pJ/bit
    assert energy_j(costs) / 8e9 * 1e12 == pytest.approx(19.4, rel=1e-3)


def test_overheads_bring_bare_parts_to_the_board_by_hand() -> None:
    one = Op("one", "matmul", "bf16", macs=1e12, weight_bytes=1e9, operand_bytes=2.0)
    costs = accelerator_costs(CHIP, ops(one))
    arithmetic, dram, buffer = 1.0, 32e-3, 8e-3
    registers = 2 * 1e12 * 2 / 64 * 2e-12  # two operands of 2 B for each MAC, each serving 64
    movement = dram + buffer + registers
    overhead = movement * (1.5 / 0.9 - 1) + arithmetic * (1 / 0.9 - 1)
    found = {name: float(part.sum()) for name, part in costs.energy_j.items()}
    assert found == pytest.approx(
        {"arithmetic": 1.0, "dram": dram, "on_chip": buffer + registers, "overhead": overhead, "links": 0.0}
    )


@FIXED
@given(macs=amounts, weights=amounts, inputs=amounts, devices=st.integers(1, 64))
def test_no_op_beats_the_peak_or_the_memory(macs: float, weights: float, inputs: float, devices: int) -> None:
    one = Op("one", "matmul", "bf16", macs=macs, weight_bytes=weights, activation_bytes=inputs)
    time_s = float(accelerator_costs(CHIP, ops(one), float(devices)).time_s.item())
    assert time_s >= macs / (devices * 80e12) * (1 - 1e-12)
    assert time_s >= (weights + inputs) / (devices * 1e12) * (1 - 1e-12)


@given(macs=amounts, weights=amounts, gain=gains, part=st.sampled_from(["peak", "dram", "buffer"]))
@FIXED
def test_a_faster_part_is_never_slower_and_spends_no_more(
    macs: float, weights: float, gain: float, part: str
) -> None:
    one = ops(Op("one", "matmul", "bf16", macs=macs, weight_bytes=weights, operand_bytes=2.0))
    if part == "peak":
        faster = replace(CHIP, peak_macs_per_s={"bf16": 100e12 * gain, "int8": 200e12})
    else:
        level = CHIP.levels[part]
        rate = level.bandwidth_bytes_per_s * gain
        faster = replace(CHIP, levels={**CHIP.levels, part: replace(level, bandwidth_bytes_per_s=rate)})
    before, after = accelerator_costs(CHIP, one), accelerator_costs(faster, one)
    assert after.time_s <= before.time_s
    assert energy_j(after) == energy_j(before)


@FIXED
@given(macs=amounts, moved=amounts)
def test_no_level_moves_less_than_main_memory(macs: float, moved: float) -> None:
    found = level_bytes(CHIP.levels, np.array([[moved]]), np.array([[macs]]), np.array([[2.0]]))
    assert all(float(value.item()) >= moved for value in found.values())


def test_levels_sum_to_the_components_that_hold_them() -> None:
    costs = accelerator_costs(CHIP, ops(STREAM, STREAM._replace(macs=1e13)))
    levels = sum(costs.level_energy_j.values(), start=np.zeros((1, 2)))
    np.testing.assert_allclose(levels, costs.energy_j["dram"] + costs.energy_j["on_chip"], rtol=1e-12)


def test_a_message_takes_its_bytes_over_the_links_and_its_hops() -> None:
    message = Op("sum", "all-reduce", "", link_bytes=1e9, link_steps=6.0)
    costs = accelerator_costs(CHIP, ops(message), 4.0)
    assert costs.time_s.item() == pytest.approx(1e9 / (4 * 50e9) + 6e-6)
    assert costs.energy_j["links"].item() == pytest.approx(1e9 * 40e-12)


def test_devices_that_share_an_op_divide_its_time_and_not_its_energy() -> None:
    one, four = (accelerator_costs(CHIP, ops(STREAM), n) for n in (1.0, 4.0))
    assert four.time_s.item() == pytest.approx(one.time_s.item() / 4)
    assert energy_j(four) == energy_j(one)


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("bf16", "bf16"),
        ("fp16", "bf16"),  # as many bits
        ("int8", "int8"),
        ("int4", "int8"),  # the next wider
        ("fp8", "bf16"),
    ],
)
def test_a_device_computes_in_the_nearest_type_it_has(asked: str, used: str) -> None:
    assert dtype_for(CHIP.peak_macs_per_s, asked) == used


def test_a_type_wider_than_all_a_device_has_is_refused_with_what_to_do() -> None:
    with pytest.raises(NpuwattError, match=r"computes in bf16, int8.*needs fp32.*--weights"):
        dtype_for(CHIP.peak_macs_per_s, "fp32")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peak_macs_per_s": {"bf15": 1.0}}, "number type 'bf15'"),
        ({"peak_macs_per_s": {"bf16": 0.0}}, "peak"),
        ({"peak_macs_per_s": {"fp8": 1e12}}, "mac_energy: has no 'fp8'"),
        ({"mac_energy_j_per_mac": {"bf16": -1.0, "int8": 1.0}}, "mac_energy"),
        ({"static_power_w": 500.0}, "headroom"),
        ({"static_power_w": -1.0}, "static_power"),
        ({"power_cap_w": float("nan")}, "power_cap"),
        ({"utilization_fraction": 1.2}, "utilization"),
        ({"regulator_efficiency_fraction": 0.0}, "regulator_efficiency"),
        ({"levels": {"dram": MemoryLevel(read_energy_j_per_byte=1.0)}}, "bandwidth of the first level"),
    ],
)
def test_a_board_that_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError, match=told):
        replace(CHIP, **change)
