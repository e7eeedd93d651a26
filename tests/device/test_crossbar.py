"""Analog products: conversions and steps by hand, and what stays on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.accelerator import accelerator_costs
from npuwatt.device.crossbar import (
    Arrays,
    Crossbar,
    columns_per_weight,
    crossbar_costs,
    uses_of_a_cell,
    weights_held_count,
)
from npuwatt.device.evaluate import static_power_w, weights_in_cells_count
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.ops import STORED, Op, table
from npuwatt.workload.request import Request

FIXED = settings(derandomize=True, deadline=None)

ROOT = Path(library.presets_root())
_LOADED = load_device(str(ROOT / "devices" / "isaac-rram.yaml")).record
assert isinstance(_LOADED, Crossbar)
ISAAC: Crossbar = _LOADED
NETWORK = load_network(str(ROOT / "networks" / "llama-3.1-8b.yaml")).record

ARRAYS = Arrays(
    parts_count=2.0, arrays_count=10.0, rows_count=128.0, columns_count=128.0,
    cell_bits=2.0, weight_bits=8.0, input_bits=8.0, dac_bits=1.0, columns_per_adc_count=128.0,
    settle_time_s=100e-9, adc_time_s=1e-9, adc_energy_j=2e-12, dac_energy_j=0.4e-12, cell_energy_j=5e-15,
    shift_add_energy_j=0.02e-12, buffer_energy_j_per_byte=8e-12, static_power_w=0.3,
)  # fmt: skip
BOARD = replace(ISAAC, arrays=ARRAYS)


def product(k: float, n: float, tokens: float, layers: float = 1.0) -> Op:
    return Op(
        "one", "matmul", "bf16",
        layers=layers, tokens=tokens, macs=layers * tokens * k * n, weight_bytes=layers * k * n,
        activation_bytes=layers * tokens * (k + n), operand_bytes=1.0, k=k, n=n,
    )  # fmt: skip


def test_conversions_steps_and_cells_of_a_small_matrix_by_hand() -> None:
    # A 200 x 50 matrix in each of 2 layers, 3 tokens: 6 uses. 8-bit weights in 2-bit cells: 4 columns each. 8-bit
    # inputs through 1-bit drivers: 8 steps. 200 rows take ceil(200 / 128) = 2 arrays, 50 x 4 columns take 2.
    conversions = 6 * 8 * (50 * 4) * 2  # uses, steps, columns, arrays one above the other
    drives = 6 * 8 * 200 * 2  # uses, steps, rows, arrays side by side
    cells = 6 * 8 * 200 * (50 * 4)
    costs = crossbar_costs(BOARD, table([product(200, 50, tokens=3, layers=2)]))
    assert costs.energy_j["conversion"].item() == pytest.approx(conversions * 2.02e-12 + drives * 0.4e-12)
    assert costs.energy_j["arithmetic"].item() == pytest.approx(cells * 5e-15)
    assert costs.level_bytes["buffers"].item() == 6 * 250
    assert costs.level_energy_j["buffers"].item() == pytest.approx(6 * 250 * 8e-12)
    # One converter reads 128 columns at 1 ns each, longer than the 100 ns an array settles; 6 uses of 8 steps.
    assert costs.time_s.item() == pytest.approx(6 * 8 * 128e-9)
    assert costs.limits_s["conversion"] == costs.time_s


@pytest.mark.parametrize(
    ("columns_per_adc", "step_s"),
    [(8.0, 100e-9), (128.0, 128e-9)],
)
def test_a_step_takes_the_longer_of_settling_and_converting(columns_per_adc: float, step_s: float) -> None:
    board = replace(BOARD, arrays=replace(ARRAYS, columns_per_adc_count=columns_per_adc))
    costs = crossbar_costs(board, table([product(64, 64, tokens=1)]))
    assert costs.time_s.item() == pytest.approx(8 * step_s)


@given(
    k=st.integers(1, 20_000), n=st.integers(1, 20_000), tokens=st.integers(1, 500), devices=st.integers(1, 9)
)
@FIXED
def test_time_depends_on_tokens_and_not_on_the_size_of_the_matrix(
    k: int, n: int, tokens: int, devices: int
) -> None:
    some = crossbar_costs(BOARD, table([product(k, n, tokens)]), float(devices)).time_s
    assert some == crossbar_costs(BOARD, table([product(1, 1, tokens)])).time_s
    assert crossbar_costs(BOARD, table([product(k, n, 2 * tokens)])).time_s == pytest.approx(2 * some)


def test_weights_never_leave_their_cells_and_attention_stays_on_the_host() -> None:
    for phase in ("prefill", "decode"):
        work = table(phase_ops(NETWORK, Request(batch=4.0), phase))
        costs, alone = crossbar_costs(ISAAC, work), accelerator_costs(ISAAC.host, work)
        stored = np.array([kind in STORED for kind in work.kinds])
        assert (costs.level_bytes["dram"][0, stored] == 0).all()
        np.testing.assert_array_equal(costs.time_s[0, ~stored], alone.time_s[0, ~stored])
        for name, joules in alone.energy_j.items():
            np.testing.assert_array_equal(costs.energy_j[name][0, ~stored], joules[0, ~stored])
        assert {"attention", "embedding"} <= {
            kind for kind, is_stored in zip(work.kinds, stored, strict=True) if not is_stored
        }
        assert (costs.energy_j["conversion"][0, ~stored] == 0).all()
        kv_bytes = costs.level_bytes["dram"][0, list(work.kinds).index("attention")]
        assert kv_bytes >= work.kv_bytes[0, list(work.kinds).index("attention")]


def test_capacity_counts_cells() -> None:
    # 2 chips x 10 arrays x 128 x 128 cells, 4 cells a weight
    assert columns_per_weight(ARRAYS) == 4
    assert weights_held_count(ARRAYS) == 2 * 10 * 128 * 128 / 4
    assert weights_in_cells_count(BOARD) == weights_held_count(ARRAYS)
    pairs = replace(ARRAYS, cells_per_bit_count=2.0)
    assert weights_held_count(pairs) == weights_held_count(ARRAYS) / 2
    assert uses_of_a_cell(pairs) == 8 * 8


@FIXED
@given(cell_bits=st.integers(1, 8), weight_bits=st.integers(1, 16))
def test_a_weight_takes_as_many_slices_as_cover_its_bits(cell_bits: int, weight_bits: int) -> None:
    slices = columns_per_weight(replace(ARRAYS, cell_bits=float(cell_bits), weight_bits=float(weight_bits)))
    assert slices * cell_bits >= weight_bits > (slices - 1) * cell_bits


@given(gain=st.floats(1, 100), field=st.sampled_from(["adc_energy_j", "dac_energy_j", "cell_energy_j"]))
@FIXED
def test_dearer_parts_never_cost_less(gain: float, field: str) -> None:
    work = table([product(300, 300, tokens=2)])
    dearer = replace(BOARD, arrays=replace(ARRAYS, **{field: getattr(ARRAYS, field) * gain}))
    before, after = (
        sum(float(part.sum()) for part in crossbar_costs(board, work).energy_j.values())
        for board in (BOARD, dearer)
    )
    assert after >= before * (1 - 1e-12)


def test_every_chip_draws_its_static_power_beside_the_host() -> None:
    assert static_power_w(BOARD) == pytest.approx(ISAAC.host.static_power_w + 2 * 0.3)


@pytest.mark.parametrize("field", ["rows_count", "cell_bits", "parts_count", "dac_bits"])
def test_arrays_of_nothing_are_refused(field: str) -> None:
    with pytest.raises(NpuwattError, match=field.removesuffix("_count")):
        replace(ARRAYS, **{field: 0.0})


def test_a_cap_that_the_chips_draw_at_rest_is_refused() -> None:
    tight = replace(ISAAC.host, power_cap_w=(ISAAC.host.static_power_w + static_power_w(ISAAC)) / 2)
    with pytest.raises(NpuwattError, match="power_cap"):
        replace(ISAAC, host=tight)
