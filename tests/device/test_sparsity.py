"""Zeros on a device: laws that hold for every mechanism, and the split of what is saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.accelerator import Accelerator, MemoryLevel, accelerator_costs
from npuwatt.device.costs import OpCosts
from npuwatt.device.evaluate import device_costs
from npuwatt.device.imbalance import imbalance_ratio
from npuwatt.device.savings import ideal, split
from npuwatt.device.sparsity import Mechanism, PackedWeights, ZeroSkipping, waste_bound_w
from npuwatt.record import replace
from npuwatt.workload.density import Zeros, with_zeros
from npuwatt.workload.ops import Op, OpTable, table

FIXED = settings(derandomize=True, deadline=None)
MECHANISMS: tuple[Mechanism, ...] = ("none", "gate", "skip-weights", "skip-activations", "skip-both", "n-m")
SKIPPERS: tuple[Mechanism, ...] = ("skip-weights", "skip-activations", "skip-both")
CHIP = Accelerator(
    peak_macs_per_s={"bf16": 100e12, "int8": 200e12},
    mac_energy_j_per_mac={"bf16": 1e-12, "int8": 0.3e-12},
    levels={
        "dram": MemoryLevel(
            bandwidth_bytes_per_s=1e12, read_energy_j_per_byte=32e-12, capacity_bytes=2.0**36
        ),
        "registers": MemoryLevel(read_energy_j_per_byte=2e-12, tile_count=64),
    },
    static_power_w=50.0,
    power_cap_w=500.0,
    movement_overhead_ratio=0.5,
    regulator_efficiency_fraction=0.9,
)
densities = st.floats(0.01, 1)
tokens = st.sampled_from([1.0, 30.0, 4096.0])


def chip(mechanism: Mechanism, **more: Any) -> Accelerator:
    patterns: dict[str, Any] = {"patterns": ("2:4", "4:8", "1:2")} if mechanism == "n-m" else {}
    return replace(CHIP, sparsity=ZeroSkipping(mechanism=mechanism, **patterns, **more))


def matmul(rows: float, zeros: Zeros | None = None, *, stored: str = "bf16", size: float = 2.0) -> OpTable:
    """One product of `rows` tokens with 4096 x 4096 weights, in arrays that cannot be written."""
    side = 4096.0
    op = Op(
        "one", "matmul", "bf16", stored=stored, tokens=rows, macs=side * side * rows,
        weight_bytes=side * side * size, activation_bytes=2 * side * 2 * rows, operand_bytes=size, k=side, n=side,
    )  # fmt: skip
    made = table(with_zeros([op], zeros))
    for value in made.__dict__.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return made


def anywhere(weights: Any, activations: Any = 1.0) -> Zeros:
    return Zeros(pattern="unstructured", weight_density=weights, activation_density=activations)


HALF = Zeros(pattern="2:4", weight_density=0.5)


def energy_j(costs: OpCosts) -> float:
    return sum(float(part.sum()) for part in costs.energy_j.values())


def whole_j(costs: OpCosts) -> float:
    return energy_j(costs) + 50.0 * costs.time_s.item()


def assert_same(one: OpCosts, other: OpCosts) -> None:
    assert one.time_s.tobytes() == other.time_s.tobytes()
    for name in one.energy_j:
        np.testing.assert_array_equal(one.energy_j[name], other.energy_j[name])


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rows", [1.0, 4096.0])
def test_without_a_word_of_zeros_every_device_is_the_dense_one_to_the_bit(
    mechanism: Mechanism, rows: float
) -> None:
    other = chip(
        mechanism, toggle_fraction=0.3, gated_ratio=0.1, skip_efficiency_fraction=0.5, lanes_count=64.0
    )
    assert_same(accelerator_costs(other, matmul(rows)), accelerator_costs(CHIP, matmul(rows)))


@pytest.mark.parametrize("zeros", [anywhere(0.3, 0.4), HALF])
def test_a_device_that_says_nothing_of_zeros_takes_them_as_numbers(zeros: Zeros) -> None:
    assert_same(accelerator_costs(CHIP, matmul(30.0, zeros)), accelerator_costs(CHIP, matmul(30.0)))


@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "n-m"])
@pytest.mark.parametrize("rows", [1.0, 4096.0])
def test_density_1_in_dense_storage_equals_dense(mechanism: Mechanism, rows: float) -> None:
    other = chip(
        mechanism, toggle_fraction=0.3, gated_ratio=0.1, skip_efficiency_fraction=0.5, lanes_count=64.0,
        window_count=64.0,
    )  # fmt: skip
    found, dense = (
        accelerator_costs(other, matmul(rows, anywhere(1.0))),
        accelerator_costs(CHIP, matmul(rows)),
    )
    assert found.time_s.item() == pytest.approx(dense.time_s.item(), rel=1e-14)
    assert energy_j(found) == pytest.approx(energy_j(dense), rel=1e-14)


def test_a_compressed_format_or_a_search_costs_more_at_density_1_and_says_where() -> None:
    dense = accelerator_costs(CHIP, matmul(1.0))
    masked = accelerator_costs(chip("skip-weights", format="bitmask"), matmul(1.0, anywhere(1.0)))
    assert masked.time_s.item() > dense.time_s.item()
    assert energy_j(masked) > energy_j(dense)
    lost = split(dense, masked, rest_power_w=50.0, regulator_efficiency_fraction=0.9)
    assert lost.metadata_j.item() == pytest.approx(lost.saved_j.item(), rel=1e-6)
    assert lost.metadata_j.item() < 0
    searching = chip("skip-both", intersection_energy_j_per_mac=1e-12)
    found = accelerator_costs(searching, matmul(4096.0, anywhere(1.0)))
    dense = accelerator_costs(CHIP, matmul(4096.0))
    assert found.time_s.item() == dense.time_s.item()
    search_j = 4096.0**3 * 1e-12 / 0.9
    assert energy_j(found) == pytest.approx(energy_j(dense) + search_j, rel=1e-12)
    parts = split(dense, found, rest_power_w=50.0, regulator_efficiency_fraction=0.9)
    assert parts.metadata_j.item() == pytest.approx(-search_j, rel=1e-12)
    assert parts.traffic_j.item() == pytest.approx(0, abs=1e-12 * search_j)
    idle = chip(
        "skip-activations", intersection_energy_j_per_mac=1e-12
    )  # no activation is zero: nothing to search
    assert_same(accelerator_costs(idle, matmul(4096.0, anywhere(0.5))), dense)


@FIXED
@given(weights=densities, activations=densities, rows=tokens, g=st.floats(0, 1))
def test_gating_never_changes_time_and_spares_the_energy_of_zeros(
    weights: float, activations: float, rows: float, g: float
) -> None:
    ops = matmul(rows, anywhere(weights, activations))
    dense, gated = accelerator_costs(CHIP, ops), accelerator_costs(chip("gate", gated_ratio=g), ops)
    assert gated.time_s.tobytes() == dense.time_s.tobytes()
    d = weights * activations
    share = gated.energy_j["arithmetic"].item() / dense.energy_j["arithmetic"].item()
    assert share == pytest.approx(d + g * (1 - d), rel=1e-12)


@FIXED
@given(weights=densities, activations=densities, rows=tokens, k0=st.floats(0, 0.4))
def test_zeros_that_nothing_is_done_about_spare_toggling_alone(
    weights: float, activations: float, rows: float, k0: float
) -> None:
    ops = matmul(rows, anywhere(weights, activations))
    dense, found = accelerator_costs(CHIP, ops), accelerator_costs(chip("none", toggle_fraction=k0), ops)
    assert found.time_s.tobytes() == dense.time_s.tobytes()
    share = found.energy_j["arithmetic"].item() / dense.energy_j["arithmetic"].item()
    assert share == pytest.approx(1 - k0 * (1 - weights * activations), rel=1e-12)


@pytest.mark.parametrize(
    ("mechanism", "share"), [("skip-weights", 0.3), ("skip-activations", 0.6), ("skip-both", 0.18)]
)
def test_skipping_leaves_out_the_work_of_its_side(mechanism: Mechanism, share: float) -> None:
    ops = matmul(65536.0, anywhere(0.3, 0.6))  # bound by arithmetic
    dense = accelerator_costs(CHIP, ops)
    perfect = accelerator_costs(chip(mechanism), ops)
    assert perfect.limits_s["compute"].item() / dense.limits_s["compute"].item() == pytest.approx(share)
    assert perfect.energy_j["arithmetic"].item() / dense.energy_j["arithmetic"].item() == pytest.approx(share)
    real = accelerator_costs(
        chip(mechanism, skip_efficiency_fraction=0.8, lanes_count=16.0, window_count=64.0), ops
    )
    waiting = share * imbalance_ratio(share, lanes_count=16.0, window_count=64.0).item()
    ratio = real.limits_s["compute"].item() / dense.limits_s["compute"].item()
    assert ratio == pytest.approx(0.2 + 0.8 * waiting)  # t / t_dense = (1 - eta) + eta lambda d


@FIXED
@given(
    low=densities, gain=st.floats(1, 100), activations=densities, rows=tokens,
    mechanism=st.sampled_from(SKIPPERS), eta=st.floats(0.1, 1), layout=st.sampled_from(["dense", "bitmask", "coordinate"]),
)  # fmt: skip
def test_what_skipping_saves_grows_as_density_falls_and_never_passes_the_ideal(
    low: float, gain: float, activations: float, rows: float, mechanism: Mechanism, eta: float, layout: Any
) -> None:
    real = chip(
        mechanism, skip_efficiency_fraction=eta, lanes_count=16.0, window_count=64.0, format=layout,
        index_bits=8.0, intersection_energy_j_per_mac=0.2e-12,
    )  # fmt: skip
    sparser, denser = (
        accelerator_costs(real, matmul(rows, anywhere(d, activations))) for d in (low, min(1.0, low * gain))
    )
    assert sparser.time_s.item() <= denser.time_s.item() * (1 + 1e-9)
    assert energy_j(sparser) <= energy_j(denser) * (1 + 1e-9)
    perfect = ideal(real)
    assert isinstance(perfect, Accelerator)
    bound = accelerator_costs(perfect, matmul(rows, anywhere(low, activations)))
    assert bound.time_s.item() <= sparser.time_s.item() * (1 + 1e-9)
    assert energy_j(bound) <= energy_j(sparser) * (1 + 1e-9)


@FIXED
@given(weights=densities, activations=densities, rows=tokens, mechanism=st.sampled_from(SKIPPERS))
def test_skipping_in_dense_storage_is_never_slower_than_dense(
    weights: float, activations: float, rows: float, mechanism: Mechanism
) -> None:
    ops = matmul(rows, anywhere(weights, activations))
    found = accelerator_costs(chip(mechanism, lanes_count=256.0, window_count=16.0), ops)
    assert found.time_s.item() <= accelerator_costs(CHIP, ops).time_s.item() * (1 + 1e-12)


# 1/2 + 1/b of the bytes, and half the cycles (Sparseloop artifact, fig. 15: 73728 of 147456, 65536 of 131072).
@pytest.mark.parametrize(("size", "ratio"), [(2.0, 0.5625), (1.0, 0.625), (0.5, 0.75)])
def test_2_of_4_halves_the_cycles_and_brings_the_bytes_of_its_format(size: float, ratio: float) -> None:
    ops, dense = matmul(4096.0, HALF, size=size), matmul(4096.0, size=size)
    kernels = chip("n-m", format="n-m", packed=PackedWeights(weights=("bf16",), most_tokens_count=1e9))
    found, before = accelerator_costs(kernels, ops), accelerator_costs(CHIP, dense)
    if size == 2.0:
        assert found.limits_s["compute"].item() == 0.5 * before.limits_s["compute"].item()
    activations = dense.activation_bytes.item()
    kept = (found.level_bytes["dram"].item() - activations) / dense.weight_bytes.item()
    assert kept == pytest.approx(ratio, rel=1e-14)


def test_scales_of_quantised_groups_stay_whole() -> None:
    stored = 4.25 / 8  # 4 bits, and a scale of 16 bits for each 64
    kernels = chip("n-m", format="n-m", packed=PackedWeights(weights=("int4",), most_tokens_count=32.0))
    ops = matmul(1.0, HALF, stored="int4", size=stored)
    found = accelerator_costs(kernels, ops)
    kept = (found.level_bytes["dram"].item() - ops.activation_bytes.item()) / (4096.0**2)
    assert kept * 8 == pytest.approx(3.25, rel=1e-12)


def test_an_n_m_pattern_gives_each_lane_the_same_work_and_an_uneven_op_loses_more() -> None:
    waiting = chip("skip-weights", lanes_count=64.0, window_count=16.0)
    even = accelerator_costs(waiting, matmul(65536.0, HALF))
    assert even.limits_s["compute"].item() == pytest.approx(65536 * 4096.0**2 / 100e12 / 2)
    assert even.lost_s["imbalance"].item() == 0
    ops = matmul(65536.0, anywhere(0.5))
    one, two = (device_costs(waiting, replace(ops, uneven=share * ops.uneven)) for share in (1.0, 2.0))
    assert two.lost_s["imbalance"].item() == 2 * one.lost_s["imbalance"].item() > 0
    assert two.time_s.item() == 2 * one.time_s.item()


SPEEDUP = {"1": 0.11, "64": 0.59, "4096": 1.11, "16384": 1.6}
GPU = chip("n-m", format="n-m", speedup_ratio=SPEEDUP)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1.0, 0.11), (8.0, 0.35), (64.0, 0.59), (512.0, 0.85), (4096.0, 1.11), (16384.0, 1.6), (1e6, 1.6)],
)
def test_measured_kernels_take_the_time_they_took_whatever_bounds_the_dense_one(
    rows: float, expected: float
) -> None:
    dense, found = accelerator_costs(CHIP, matmul(rows)), accelerator_costs(GPU, matmul(rows, HALF))
    held = np.maximum(dense.time_s, sum(dense.energy_j.values()) / 450.0)  # 450 W are left under the cap
    assert held.item() / found.time_s.item() == pytest.approx(expected, rel=1e-9)
    assert max(seconds.item() for seconds in found.limits_s.values()) == pytest.approx(found.time_s.item())


@pytest.mark.parametrize("rows", [1.0, 64.0, 16384.0])
def test_kernels_as_slow_as_measured_are_named_as_what_binds(rows: float) -> None:
    found = accelerator_costs(GPU, matmul(rows, HALF))
    assert list(found.limits_s)[int(found.owners().item())] == "kernels"
    assert "kernels" not in accelerator_costs(CHIP, matmul(rows, HALF)).limits_s


def test_only_what_qualifies_runs_in_n_m_kernels() -> None:
    dense = accelerator_costs(CHIP, matmul(16384.0))
    for other, zeros in (
        (GPU, anywhere(0.5)),
        (chip("n-m", dtypes=("int8",)), HALF),
        (chip("n-m", least_k_count=4097.0), HALF),
        (chip("n-m", least_n_count=4097.0), HALF),
    ):
        assert_same(accelerator_costs(other, matmul(16384.0, zeros)), dense)
    assert accelerator_costs(GPU, matmul(16384.0, HALF)).time_s.item() < dense.time_s.item()
    narrow = matmul(16384.0, HALF, stored="int8", size=1.0)  # bf16 kernels do not unpack int8
    assert_same(accelerator_costs(GPU, narrow), accelerator_costs(CHIP, narrow))


def test_kernels_that_unpack_save_bytes_while_there_are_few_tokens() -> None:
    gpu = chip(
        "n-m",
        format="n-m",
        speedup_ratio=SPEEDUP,
        packed=PackedWeights(weights=("int4",), most_tokens_count=32.0),
    )
    for rows, saves in ((1.0, True), (32.0, True), (33.0, False)):
        ops = matmul(rows, HALF, stored="int4", size=0.5)
        found, dense = accelerator_costs(gpu, ops), accelerator_costs(CHIP, ops)
        assert found.limits_s["compute"].item() == dense.limits_s["compute"].item()
        memory = found.limits_s["memory"].item() / dense.limits_s["memory"].item()
        assert memory < 0.8 if saves and rows == 1 else (memory < 1) == saves


def test_channels_that_no_token_uses_are_not_read_and_a_batch_uses_them_all() -> None:
    other = chip("none", skips_channels=True)
    ops = {rows: matmul(rows, Zeros(activation_density=0.5)) for rows in (1.0, 2.0, 64.0)}
    kept = [
        (accelerator_costs(other, one).level_bytes["dram"].item() - one.activation_bytes.item())
        / one.weight_bytes.item()
        for one in ops.values()
    ]
    assert kept == pytest.approx([0.5, 0.75, 1.0], rel=1e-9)


@FIXED
@given(
    weights=densities, activations=densities, rows=tokens, mechanism=st.sampled_from(MECHANISMS),
    layout=st.sampled_from(["dense", "bitmask", "coordinate", "run-length", "ideal"]), eta=st.floats(0.1, 1),
)  # fmt: skip
def test_the_parts_of_a_saving_add_up_to_it(
    weights: float, activations: float, rows: float, mechanism: Mechanism, layout: Any, eta: float
) -> None:
    real = chip(
        mechanism, format=layout, index_bits=8.0, skip_efficiency_fraction=eta, lanes_count=16.0, window_count=32.0,
        intersection_energy_j_per_mac=0.3e-12, decode_energy_j_per_byte=1e-12, toggle_fraction=0.2, gated_ratio=0.05,
    )  # fmt: skip
    dense = accelerator_costs(CHIP, matmul(rows))
    found = accelerator_costs(real, matmul(rows, anywhere(weights, activations)))
    parts = split(dense, found, rest_power_w=50.0, regulator_efficiency_fraction=0.9)
    saved = whole_j(dense) - whole_j(found)
    assert parts.saved_j.item() == pytest.approx(saved, rel=1e-9, abs=1e-12 * whole_j(dense))
    for lost in (parts.metadata_j, parts.imbalance_j, parts.kernels_j):
        assert lost.item() <= 1e-12 * whole_j(dense)
    for won in (parts.arithmetic_j, parts.static_j):
        assert won.item() >= -1e-9 * whole_j(dense)


def test_a_split_says_what_makes_zeros_lose() -> None:
    zeros, dense = anywhere(0.9), accelerator_costs(CHIP, matmul(1.0))

    def lost(**given: Any) -> dict[str, float]:
        found = accelerator_costs(chip("skip-weights", **given), matmul(1.0, zeros))
        parts = split(dense, found, rest_power_w=50.0, regulator_efficiency_fraction=0.9)
        return {name: value.item() for name, value in parts.__dict__.items()} | {
            "saved": parts.saved_j.item()
        }

    coordinates = lost(format="coordinate", index_bits=16.0)
    assert coordinates["saved"] < 0
    assert min(coordinates, key=coordinates.__getitem__) == "metadata_j"
    ample = matmul(65536.0, anywhere(0.9))
    before = accelerator_costs(CHIP, matmul(65536.0))
    waiting = accelerator_costs(chip("skip-weights", lanes_count=256.0, window_count=16.0), ample)
    parts = split(before, waiting, rest_power_w=50.0)
    assert parts.imbalance_j.item() == pytest.approx(
        -parts.static_j.item(), rel=1e-3
    )  # no time is saved at all
    slow = split(dense, accelerator_costs(GPU, matmul(1.0, HALF)), rest_power_w=50.0)
    assert slow.kernels_j.item() < 0
    assert slow.saved_j.item() < 0


def test_waste_is_a_bound_that_no_mechanism_passes() -> None:
    dense = accelerator_costs(CHIP, matmul(65536.0))
    bound_w = waste_bound_w(0.25, dense.energy_j["arithmetic"].item() / dense.time_s.item())
    for mechanism in ("gate", "skip-weights"):
        found = accelerator_costs(
            chip(mechanism, gated_ratio=0.05, skip_efficiency_fraction=0.8), matmul(65536.0, anywhere(0.25))
        )
        spared_j = dense.energy_j["arithmetic"].item() - found.energy_j["arithmetic"].item()
        assert spared_j / dense.time_s.item() <= bound_w * (1 + 1e-12)
    assert waste_bound_w(1.0, 100.0) == 0


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_columns_of_densities_and_of_the_devices_numbers_equal_a_loop(mechanism: Mechanism) -> None:
    weights, lanes, rows = column([0.1, 0.3, 0.5]), column([4.0, 16.0, 64.0]), 512.0
    eta = column([0.5, 0.8, 1.0])
    grouped = mechanism == "n-m"

    def zeros(density: Any) -> Zeros:
        pattern: Any = "2:4" if grouped else "unstructured"
        return Zeros(pattern=pattern, weight_density=density, activation_density=0.7)

    def device(p: Any, e: Any) -> Accelerator:
        more = {"speedup_ratio": {"1": e, "4096": 1.2}} if grouped else {}
        return chip(
            mechanism, lanes_count=p, window_count=32.0, skip_efficiency_fraction=e, toggle_fraction=0.1,
            format="n-m" if grouped else "bitmask", **more,
        )  # fmt: skip

    together = accelerator_costs(device(lanes, eta), matmul(rows, zeros(weights)))
    for i in range(3):
        alone = accelerator_costs(
            device(lanes[i, 0].item(), eta[i, 0].item()), matmul(rows, zeros(weights[i, 0].item()))
        )
        np.testing.assert_allclose(together.time_s[i % together.time_s.shape[0]], alone.time_s[0], rtol=1e-12)
        for name, joules in together.energy_j.items():
            np.testing.assert_allclose(joules[i % joules.shape[0]], alone.energy_j[name][0], rtol=1e-12)
