"""The way of a byte out of a memory that computes: what its stretches cost, how fast it goes, when it pays."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.accelerator import accelerator_costs
from npuwatt.device.costs import OpCosts
from npuwatt.device.nearbank import (
    NearBankPim,
    banks_costs,
    flip_batch,
    inside_bandwidth_bytes_per_s,
    inside_energy_j_per_byte,
    nearbank_costs,
    outside_bandwidth_bytes_per_s,
    outside_energy_j_per_byte,
    outside_host,
)
from npuwatt.preset import library
from npuwatt.preset.paths import value_at, with_value
from npuwatt.record import replace
from npuwatt.study.inference import inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.ops import Op, OpTable, table
from npuwatt.workload.request import Request

FIXED = settings(derandomize=True, deadline=None)

ROOT = Path(library.presets_root())
BOARDS = sorted(
    path.stem for path in (ROOT / "devices").glob("*.yaml") if "kind: near-bank-pim" in path.read_text()
)


@cache
def board(name: str) -> NearBankPim:
    found = load_device(str(ROOT / "devices" / f"{name}.yaml")).record
    assert isinstance(found, NearBankPim)
    return found


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


def gemv(batch: float, dtype: str, width: float, *, side: float = 4096.0) -> OpTable:
    """`batch` vectors times one square matrix."""
    weights, ends = side * side, 2 * side * width * batch
    return table(
        [
            Op(
                "gemv", "matmul", dtype, tokens=batch, macs=weights * batch, weight_bytes=weights * width,
                activation_bytes=ends, operand_bytes=width, k=side, n=side,
            )
        ]
    )  # fmt: skip


def only_moving(pim: NearBankPim) -> NearBankPim:
    """The board if nothing but the way out of the memory took energy."""
    levels = {name: replace(level, read_energy_j_per_byte=0.0) for name, level in pim.host.levels.items()}
    host = replace(
        pim.host,
        levels=levels,
        mac_energy_j_per_mac=dict.fromkeys(pim.host.mac_energy_j_per_mac, 0.0),
        movement_overhead_ratio=0.0,
        regulator_efficiency_fraction=1.0,
    )
    banks = replace(pim.banks, mac_energy_j_per_mac=0.0, command_overhead_ratio=0.0)
    return replace(pim, host=host, banks=banks)


def joules(costs: OpCosts) -> float:
    return sum(float(part.sum()) for part in costs.energy_j.values())


@pytest.mark.parametrize(
    ("name", "inside", "flip"),
    [("hbm3-pim-bank", 0.55, 6.5), ("hbm3-pim-bank-group", 1.56, 2.3), ("hbm3-pim-buffer", 3.29, 1.09)],
)
def test_a_bit_of_hbm_costs_what_the_stretches_of_its_way_sum_to(
    name: str, inside: float, flip: float
) -> None:
    # AttAcc's simulator (src/config.py, after O'Connor et al., MICRO 2017), pJ/bit: 3.59 off chip.
    pim = board(name)
    assert inside_energy_j_per_byte(pim) == pytest.approx(inside * 8e-12, rel=1e-9)
    assert outside_energy_j_per_byte(pim) == pytest.approx(3.59 * 8e-12, rel=1e-9)
    assert flip_batch(pim) == pytest.approx(flip, rel=0.01)


@pytest.mark.parametrize(
    ("name", "unlimited", "limited"),
    [("hbm3-pim-bank", 16, 9), ("hbm3-pim-bank-group", 8, 3), ("hbm3-pim-buffer", 1, 1)],
)
def test_one_power_budget_gives_the_published_gains_in_bandwidth(
    name: str, unlimited: float, limited: float
) -> None:
    # AttAcc's simulator: 670.4 GB/s a stack, times 16, 8, 1 without and 9, 3, 1 with a power limit.
    pim = board(name)
    assert outside_bandwidth_bytes_per_s(pim) == pytest.approx(670.4e9)
    assert inside_bandwidth_bytes_per_s(pim) == pytest.approx(limited * 670.4e9, rel=0.03)
    free = with_value(pim, ["banks", "power_budget"], 0.0)
    assert inside_bandwidth_bytes_per_s(free) == pytest.approx(unlimited * 670.4e9)
    budgets = {board(f"hbm3-pim-{where}").banks.power_budget_w for where in ("bank", "bank-group", "buffer")}
    assert len(budgets) == 1


def test_a_gemv_on_hbm_pim_gains_what_samsungs_simulator_gives_it() -> None:
    # PIMSimulator, 64 channels at 2 Gb/s a pin, fp16 4096 x 4096: 36,082 -> 13,166 cycles of 1 ns. From outside it
    # reaches 930 of 1,024 GB/s, inside 0.62 of 4.10 TB/s, all that switching takes included.
    pim = board("samsung-hbm2-pim")
    for address, value in {
        "host.levels.dram.bandwidth": 1024e9,
        "host.levels.dram.utilization": 930 / 1024,
        "banks.utilization": 0.62,
        "banks.switch_time": 0.0,
    }.items():
        pim = with_value(pim, address.split("."), value)
    assert pim.banks.parts_count * inside_bandwidth_bytes_per_s(pim) == pytest.approx(4.10e12, rel=2e-3)
    work = gemv(1.0, "fp16", 2.0)
    gain = accelerator_costs(outside_host(pim), work).time_s / nearbank_costs(pim, work).time_s
    assert gain.item() == pytest.approx(2.74, rel=0.01)
    assert nearbank_costs(pim, work).time_s.item() == pytest.approx(13.166e-6, rel=0.01)


@pytest.mark.parametrize("name", BOARDS)
def test_moving_weights_costs_the_same_on_both_sides_at_the_flip_batch(name: str) -> None:
    pim = only_moving(board(name))
    dtype = next(iter(pim.banks.peak_macs_per_s))
    width = 1.0 if dtype == "int8" else 2.0
    flip = float(flip_batch(pim))
    for batch, above in ((0.999 * flip, -1), (flip, 0), (1.001 * flip, 1)):
        work = gemv(batch, dtype, width)
        inside_j, outside_j = (
            joules(banks_costs(pim, work)),
            joules(accelerator_costs(outside_host(pim), work)),
        )
        assert (inside_j > outside_j * (1 + 1e-9)) - (inside_j < outside_j * (1 - 1e-9)) == above


@pytest.mark.parametrize("name", BOARDS)
def test_the_further_the_unit_from_the_cells_the_dearer_a_byte(name: str) -> None:
    pim = replace(board(name), path=board("hbm3-pim-bank").path)
    energies = [
        inside_energy_j_per_byte(replace(pim, banks=replace(pim.banks, unit=unit)))
        for unit in ("bank", "bank-group", "buffer")
    ]
    assert energies == sorted(set(energies))
    assert energies[-1] < outside_energy_j_per_byte(pim)


def test_the_host_pays_for_the_whole_way_and_its_own_side() -> None:
    pim = board("skhynix-gddr6-aim")
    own = pim.host.memory.read_energy_j_per_byte
    assert outside_host(pim).memory.read_energy_j_per_byte == pytest.approx(
        own + outside_energy_j_per_byte(pim)
    )
    # CENT's power model: column read 2.14 + activation 0.18 + DQ 5.5 pJ/bit; Micron names 7.5 for the device.
    assert outside_energy_j_per_byte(pim) == pytest.approx(7.8 * 8e-12, rel=0.01)
    work = replace(gemv(1.0, "bf16", 2.0), kinds=("scan",))
    costs = nearbank_costs(pim, work)
    assert costs.energy_j["dram"] == accelerator_costs(outside_host(pim), work).energy_j["dram"]


PIECES = ("activation", "column", "group", "global", "tsv", "io")
picojoules = st.floats(0, 50).map(lambda value: value * 8e-12)


@given(name=st.sampled_from(BOARDS), piece=st.sampled_from(PIECES), more=picojoules)
@settings(FIXED, max_examples=60)
def test_a_dearer_stretch_never_shortens_a_token(name: str, piece: str, more: float) -> None:
    width = "int8" if "int8" in board(name).banks.peak_macs_per_s else "bf16"
    asked = replace(Request(input_len=20, output_len=4), weights=width, activations=width, kv_cache=width)
    now, _ = value_at(board(name), ["path", piece], piece)
    dearer = with_value(board(name), ["path", piece], now + more)
    before, after = (inference(network("smollm2-135m"), asked, one) for one in (board(name), dearer))
    assert after.request_s >= before.request_s * (1 - 1e-12)


@given(name=st.sampled_from(BOARDS), piece=st.sampled_from(PIECES), more=picojoules, batch=st.floats(1, 64))
@settings(FIXED, max_examples=60)
def test_a_dearer_stretch_never_lowers_the_energy_of_work_that_stays_where_it_was(
    name: str, piece: str, more: float, batch: float
) -> None:
    width = "int8" if "int8" in board(name).banks.peak_macs_per_s else "bf16"
    now, _ = value_at(board(name), ["path", piece], piece)
    dearer = with_value(board(name), ["path", piece], now + more)
    ops = gemv(batch, width, 1.0 if width == "int8" else 2.0)
    before, after = (nearbank_costs(one, ops) for one in (board(name), dearer))
    if before.level_bytes["banks"] == after.level_bytes["banks"]:  # it goes where it is done sooner
        assert sum(after.energy_j.values()) >= sum(before.energy_j.values()) * (1 - 1e-12)


@given(
    parallelism=st.floats(0.1, 1000), budget=st.floats(0, 1000), activation=picojoules, column_j=picojoules
)
@settings(FIXED, max_examples=100)
def test_bandwidth_inside_keeps_to_the_banks_and_to_the_power(
    parallelism: float, budget: float, activation: float, column_j: float
) -> None:
    pim = board("hbm3-pim-bank")
    path = replace(pim.path, activation_j_per_byte=activation, column_j_per_byte=column_j)
    banks = replace(pim.banks, parallelism_ratio=parallelism, power_budget_w=budget)
    pim = replace(pim, path=path, banks=banks)
    inside = float(inside_bandwidth_bytes_per_s(pim))
    at_once = parallelism * float(outside_bandwidth_bytes_per_s(pim))
    drawn_w = inside * float(inside_energy_j_per_byte(pim))
    assert inside <= at_once
    assert budget == 0 or drawn_w <= budget * (1 + 1e-12)
    assert inside == at_once or drawn_w == pytest.approx(budget)
