"""Boards whose memory computes: what runs beside the banks, and that it pays."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.accelerator import accelerator_costs
from npuwatt.device.costs import OpCosts
from npuwatt.device.evaluate import static_power_w
from npuwatt.device.nearbank import (
    NearBankPim,
    banks_costs,
    inside_bandwidth_bytes_per_s,
    inside_energy_j_per_byte,
    nearbank_costs,
    outside_host,
    paced_time_s,
)
from npuwatt.errors import NpuwattError, PresetError
from npuwatt.preset import library
from npuwatt.preset.paths import with_value
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


def joules(costs: OpCosts) -> float:
    return sum(float(part.sum()) for part in costs.energy_j.values())


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
    # 4 stacks of 4 x 307 GB/s at 0.62, then 1 MB over 1228 GB/s at 0.87 and 1 us of switching for each of 2 layers.
    expected_s = 4e9 / (4 * 1228e9 * 0.62) + 1e6 / (1228e9 * 0.87) + 2e-6
    assert costs.time_s.item() == pytest.approx(expected_s)
    # 0.75 pJ/bit inside; 3.79 to the pins and 0.8 from there to the host; 1.5 for commands, 0.9 of the regulators.
    inside, outside = 4e9 * 8 * 0.75e-12, 1e6 * 8 * (3.79e-12 + 0.8e-12)
    assert costs.energy_j["dram"].item() == pytest.approx(inside + outside)
    assert costs.energy_j["arithmetic"].item() == pytest.approx(2e9 * 0.32e-12)
    through = outside + 1e6 * 8 * (1e-12 + 0.249e-12)
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


# Who may use the memory when.


@given(overlap=st.floats(0, 1), less=st.floats(0, 1), batch=st.floats(0.01, 1000))
@settings(FIXED, max_examples=60)
def test_a_second_row_buffer_is_never_slower(overlap: float, less: float, batch: float) -> None:
    work = gemv(batch, "bf16", 2.0, side=256.0)
    quick, slow = (
        banks_costs(with_value(board("cent"), ["banks", "overlap"], share), work)
        for share in (overlap, overlap * less)
    )
    assert quick.time_s <= slow.time_s
    assert joules(quick) == joules(slow)


def test_transfers_wait_for_the_units_unless_there_is_a_second_row_buffer() -> None:
    work = table([GEMV._replace(activation_bytes=1e9)])
    alone, shared = (
        banks_costs(with_value(board("samsung-hbm2-pim"), ["banks", "overlap"], share), work).time_s.item()
        for share in (0.0, 1.0)
    )
    inside, outside, switching = 4e9 / (4 * 1228e9 * 0.62), 1e9 / (1228e9 * 0.87), 2e-6
    assert alone == pytest.approx(inside + outside + switching)
    assert shared == pytest.approx(max(inside, outside) + switching)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("batch", [1.0, 30.0])
def test_each_op_costs_what_it_costs_where_it_is_faster_under_the_power_limit(
    name: str, batch: float
) -> None:
    work = ops("mixtral-8x7b", "decode", batch, "int8" if name == "upmem-dimm" else "bf16")
    chosen = nearbank_costs(board(name), work)
    near, alone = banks_costs(board(name), work), accelerator_costs(outside_host(board(name)), work)
    paced = [paced_time_s(board(name), costs, 1.0) for costs in (near, alone)]
    here = paced[0] < paced[1]
    np.testing.assert_array_equal(chosen.time_s, np.where(here, near.time_s, alone.time_s))
    np.testing.assert_array_equal(paced_time_s(board(name), chosen, 1.0), np.minimum(*paced))
    np.testing.assert_array_equal(chosen.level_bytes["banks"] > 0, here)
    for component, value in chosen.energy_j.items():
        np.testing.assert_array_equal(
            value, np.where(here, near.energy_j[component], alone.energy_j[component])
        )
    unable = [kind in ("embedding", "scan") for kind in work.kinds]
    np.testing.assert_array_equal(np.isinf(near.time_s[0]), unable)


def test_at_the_power_limit_the_banks_keep_what_they_do_for_less() -> None:
    # 200 W leave 130 W to work with. A product of 12 sequences takes the banks longer than the host could, but the host
    # would need more than its share of them.
    pim = board("hbm3-pim-bank")
    tight = replace(pim, host=replace(pim.host, power_cap_w=200.0))
    work = ops("llama-3.1-8b", "decode", 12.0)
    place = list(work.names).index("ffn_up")
    near, alone = banks_costs(tight, work), accelerator_costs(outside_host(tight), work)
    assert near.time_s[0, place] > alone.time_s[0, place]
    assert nearbank_costs(tight, work).level_bytes["banks"][0, place] > 0
    assert (
        nearbank_costs(replace(pim, host=replace(pim.host, power_cap_w=2000.0)), work).level_bytes["banks"][
            0, place
        ]
        == 0
    )


@pytest.mark.parametrize("name", BOARDS)
def test_a_longer_context_never_lowers_the_time_of_an_op_under_the_power_limit(name: str) -> None:
    pim, width = board(name), "int8" if name == "upmem-dimm" else "bf16"
    request = replace(Request(), weights=width, activations=width, kv_cache=width, output_len=1.0)
    lengths = np.unique(np.rint(np.geomspace(1, 10**6, 40)))
    work = table(phase_ops(network("llama-3.1-8b"), replace(request, input_len=column(lengths)), "decode"))
    time_s = np.broadcast_to(
        paced_time_s(pim, nearbank_costs(pim, work), 1.0), (len(lengths), len(work.names))
    )
    assert (np.diff(time_s, axis=0) >= -1e-12 * time_s[1:]).all()


@pytest.mark.parametrize(
    ("name", "address", "values"),
    [
        ("hbm3-pim-bank", "path.activation", [0.0, 1e-12, 9e-12, 90e-12]),
        ("hbm3-pim-bank-group", "path.group", [0.0, 1e-12, 9e-12, 90e-12]),
        ("samsung-hbm2-pim", "path.io", [0.0, 1e-12, 9e-12, 90e-12]),
        ("hbm3-pim-bank", "banks.parallelism", [0.5, 2.0, 9.0, 40.0]),
        ("hbm3-pim-bank", "banks.power_budget", [0.0, 1.0, 25.0, 900.0]),
        ("hbm3-pim-bank", "banks.overlap", [0.0, 0.3, 0.9, 1.0]),
        ("skhynix-gddr6-aim", "banks.pins_bandwidth", [0.0, 1e9, 16e9, 640e9]),
        ("samsung-hbm2-pim", "banks.command_overhead", [0.0, 0.3, 1.0, 4.0]),
    ],
)
def test_a_column_of_a_number_equals_a_loop_over_it(name: str, address: str, values: list[float]) -> None:
    work, keys, points = ops("llama-3.1-8b", "decode", 4.0), address.split("."), column(values)
    points.flags.writeable = False
    together = nearbank_costs(with_value(board(name), keys, points), work)
    alone = [nearbank_costs(with_value(board(name), keys, value), work) for value in values]
    np.testing.assert_allclose(
        np.broadcast_to(together.time_s, (4, len(work.names))), np.concatenate([one.time_s for one in alone])
    )
    for component, found in together.energy_j.items():
        expected = np.concatenate([one.energy_j[component] for one in alone])
        np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected)


# Boards and their limits.


def test_upmem_multiplies_int8_and_its_small_processors_set_the_time() -> None:
    # UPMEM at Hot Chips 31: 128 processors a DIMM, about 1 GB/s each from their own banks.
    pim = board("upmem-dimm")
    assert 0.5 <= inside_bandwidth_bytes_per_s(pim) / 128e9 <= 1.0
    work = ops("llama-3.1-8b", "decode", width="int8")
    costs = nearbank_costs(pim, work)
    products = np.array([kind == "matmul" for kind in work.kinds])
    assert (costs.level_bytes["banks"][0, products] > 0).all()
    assert costs.limits_s["compute"][0, products].sum() > costs.limits_s["memory"][0, products].sum()
    assert np.isinf(banks_costs(pim, gemv(1.0, "bf16", 2.0)).time_s).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("banks.unit=rank", "expected one of bank, bank-group, buffer"),
        ("banks.parallelism=0", "banks.parallelism: 0 given; expected a finite number above 0"),
        ("banks.power_budget=-1 W", "banks.power_budget: -1 given; expected a finite number, 0 or more"),
        ("banks.overlap=1.5", "banks.overlap: 1.5 given; expected a share from 0 to 1"),
        ("path.global=-1 pJ/bit", "path.global: -8e-12 given; expected a finite number, 0 or more"),
        ("path.tsv=4 W", "path.tsv: '4 W' is in W; expected a unit like pJ/bit"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_address(change: str, text: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_device("pim", changes=[change])
    assert any(text in fault for fault in caught.value.faults), caught.value.faults


def test_a_number_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NpuwattError, match="number type 'int9'; expected some of"):
        replace(board("cent").banks, peak_macs_per_s={"int9": 1e9})


def test_a_unit_can_be_moved_by_its_address() -> None:
    moved = load_device("hbm3-pim-bank", changes=["banks.unit=buffer"]).record
    assert isinstance(moved, NearBankPim)
    assert inside_energy_j_per_byte(moved) == pytest.approx(3.29 * 8e-12)
