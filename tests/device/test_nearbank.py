"""Boards whose memory computes: what runs beside the banks, and that it pays."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.accelerator import accelerator_costs
from npuwatt.device.evaluate import static_power_w
from npuwatt.device.nearbank import NearBankPim, nearbank_costs
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.ops import Kind, Op, OpTable, table
from npuwatt.workload.request import Request

FIXED = settings(derandomize=True, deadline=None)

ROOT = Path(library.presets_root())
BOARDS = sorted(
    path.stem for path in (ROOT / "devices").glob("*.yaml") if "kind: near-bank-pim" in path.read_text()
)
GEMV = Op(
    "gemv", "matmul", "fp16",
    layers=2.0, tokens=1.0, macs=2e9, weight_bytes=4e9, activation_bytes=1e6, operand_bytes=2.0, k=1e5, n=1e4,
)  # fmt: skip


@cache
def board(name: str) -> NearBankPim:
    found = load_device(str(ROOT / "devices" / f"{name}.yaml")).record
    assert isinstance(found, NearBankPim)
    return found


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


def ops(name: str, phase: str, batch: float = 1.0, width: str = "bf16") -> OpTable:
    asked = replace(Request(batch=batch), weights=width, activations=width, kv_cache=width)
    made = table(phase_ops(network(name), asked, phase))
    for value in made.__dict__.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return made


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("batch", [1.0, 16.0, 300.0])
@pytest.mark.parametrize("shape", ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v3"])
def test_no_op_is_slower_than_on_the_host_alone(name: str, phase: str, batch: float, shape: str) -> None:
    work = ops(shape, phase, batch, "int8")
    with_banks, alone = nearbank_costs(board(name), work), accelerator_costs(board(name).host, work)
    assert (with_banks.time_s <= alone.time_s * (1 + 1e-12)).all()


def test_banks_read_an_operand_for_each_mac_and_gain_nothing_from_a_batch() -> None:
    pim = board("samsung-hbm2-pim")
    for batch in (1.0, 2.0):
        work = ops("llama-3.1-8b", "decode", batch)
        costs = nearbank_costs(pim, work)
        here = costs.level_bytes["banks"] > 0
        assert here.any()
        np.testing.assert_array_equal(
            costs.level_bytes["banks"][here], (work.macs * work.operand_bytes)[here]
        )


def test_the_host_sees_only_what_crosses_the_interface_of_an_op_beside_the_banks() -> None:
    costs = nearbank_costs(board("samsung-hbm2-pim"), table([GEMV]))
    assert costs.level_bytes["banks"].item() == 4e9
    assert costs.level_bytes["dram"].item() == 1e6


def test_time_and_energy_of_a_product_beside_the_banks_by_hand() -> None:
    pim = board("samsung-hbm2-pim")
    costs = nearbank_costs(pim, table([GEMV]))
    # 4 stacks of 1230 GB/s at 0.62, then 1 MB over 1228 GB/s at 0.87 and 1 us of switching for each of 2 layers.
    expected_s = 4e9 / (4 * 1230e9 * 0.62) + 1e6 / (1228e9 * 0.87) + 2e-6
    assert costs.time_s.item() == pytest.approx(expected_s)
    # 0.75 pJ/bit inside, 4.77 through the interface; 1.5 for commands, 0.9 of the regulators.
    inside, outside = 4e9 * 8 * 0.75e-12, 1e6 * 8 * 4.77e-12
    assert costs.energy_j["dram"].item() == pytest.approx(inside + outside)
    assert costs.energy_j["arithmetic"].item() == pytest.approx(2e9 * 0.32e-12)
    through = 1e6 * 8 * (4.77e-12 + 1e-12 + 0.249e-12)
    overhead = (inside + through) * (1.5 / 0.9 - 1) + 2e9 * 0.32e-12 * (1 / 0.9 - 1)
    assert costs.energy_j["overhead"].item() == pytest.approx(overhead)


def test_prefill_goes_to_the_host() -> None:
    work = ops("llama-3.1-8b", "prefill")
    costs = nearbank_costs(board("samsung-hbm2-pim"), work)
    on_banks = {name for name, moved in zip(work.names, costs.level_bytes["banks"][0], strict=True) if moved}
    assert on_banks <= {"lm_head"}  # one position a sequence: the only product of a prompt that is a GEMV
    share = costs.level_bytes["banks"].sum() / (work.macs * work.operand_bytes).sum()
    assert share < 0.01


@pytest.mark.parametrize(("kind", "dtype"), [("scan", "fp16"), ("embedding", ""), ("matmul", "int8")])
def test_what_the_units_cannot_compute_runs_on_the_host(kind: Kind, dtype: str) -> None:
    pim = board("samsung-hbm2-pim")
    fp16_alone = replace(pim, banks=replace(pim.banks, peak_macs_per_s={"fp16": 0.6e12}))
    one = table([GEMV._replace(kind=kind, dtype=dtype)])
    costs = nearbank_costs(fp16_alone, one)
    assert costs.level_bytes["banks"].item() == 0
    assert costs.time_s == accelerator_costs(pim.host, one).time_s


@given(batch=st.integers(1, 10_000), more=st.integers(0, 10_000), devices=st.integers(1, 16))
@settings(FIXED, max_examples=40)
def test_a_larger_batch_never_makes_an_op_of_a_step_faster(batch: int, more: int, devices: int) -> None:
    pim = board("samsung-hbm2-pim")
    few, many = (ops("llama-3.1-8b", "decode", float(b)) for b in (batch, batch + more))
    after, before = (nearbank_costs(pim, work, float(devices)).time_s for work in (many, few))
    assert (after >= before * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", BOARDS)
def test_energy_by_level_sums_to_dram_and_on_chip(name: str) -> None:
    for phase in ("prefill", "decode"):
        costs = nearbank_costs(board(name), ops("llama-3.1-8b", phase, width="int8"))
        levels = sum(costs.level_energy_j.values(), start=np.zeros((1, 1)))
        by_component = costs.energy_j["dram"] + costs.energy_j.get("on_chip", np.zeros((1, 1)))
        np.testing.assert_allclose(levels, by_component, rtol=1e-12)


@pytest.mark.parametrize("name", BOARDS)
def test_standby_of_every_part_adds_to_the_static_power_of_the_host(name: str) -> None:
    pim = board(name)
    parts = pim.banks.parts_count * pim.banks.standby_power_w
    assert static_power_w(pim) == pytest.approx(pim.host.static_power_w + parts)
    assert static_power_w(pim) < pim.host.power_cap_w


def test_a_cap_that_the_parts_draw_at_rest_is_refused() -> None:
    pim = board("samsung-hbm2-pim")
    tight = replace(pim.host, power_cap_w=(pim.host.static_power_w + static_power_w(pim)) / 2)
    with pytest.raises(NpuwattError, match="power_cap"):
        replace(pim, host=tight)
