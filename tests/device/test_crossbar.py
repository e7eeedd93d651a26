"""Products in memory cells: conversions, steps and energies by hand, what stays on the host, and what weights cost to bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.accelerator import accelerator_costs
from npuwatt.device.converters import Adc, survey_energy_j
from npuwatt.device.crossbar import (
    Arrays,
    Crossbar,
    ResistiveCell,
    Writing,
    cell_energy_j,
    columns_per_weight,
    conversion_energy_j,
    crossbar_costs,
    mapped,
    step_time_s,
    vector_energy_j,
    weights_held_count,
    write_energy_j,
    write_time_s,
)
from npuwatt.device.evaluate import static_power_w, weights_in_cells_count
from npuwatt.device.gates import Gates, adder_count
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

CELL = ResistiveCell(g_max_siemens=20e-6, g_min_siemens=1e-6, read_v=0.2, pulse_s=10e-9)
ADC = Adc(form="survey", bits_count=8.0, columns_count=128.0, rate_hz=1e9)
ARRAYS = Arrays(
    parts_count=2.0, arrays_count=10.0, rows_count=128.0, columns_count=128.0, node_m=32e-9, supply_v=1.0,
    cell_bits=2.0, weight_bits=8.0, input_bits=8.0, dac_bits=1.0, settle_time_s=100e-9, cell=CELL, adc=ADC,
    driver_energy_j=0.4e-12, sample_hold_energy_j=1e-15, shift_add_energy_j=0.02e-12,
    buffer_energy_j_per_byte=8e-12, static_power_w=0.3,
    write=Writing(voltage_v=2.0, conductance_siemens=20e-6, pulse_s=100e-9, pulses_count=8.0, endurance_count=1e6),
)  # fmt: skip
BOARD = replace(ISAAC, arrays=ARRAYS)
DIGITAL = replace(
    ARRAYS, cell=None, adc=None, gates=Gates(columns_count=1.0), cell_bits=1.0, node_m=28e-9, supply_v=0.9
)
STREAMED = replace(ARRAYS, is_streamed=True)


def product(k: float, n: float, tokens: float, layers: float = 1.0) -> Op:
    return Op(
        "one", "matmul", "bf16",
        layers=layers, tokens=tokens, macs=layers * tokens * k * n, weight_bytes=layers * k * n,
        activation_bytes=layers * tokens * (k + n), operand_bytes=1.0, k=k, n=n,
    )  # fmt: skip


def test_adc_share_of_a_256_array_by_the_published_case() -> None:
    # CiMLoop/AccelForge, basic_analog at 65 nm: 8b/8b, 2-bit cells, 1-bit DAC: 8 x 4 / 256 x 6.494 pJ = 811.8 fJ a MAC.
    arrays = replace(
        ARRAYS, rows_count=256.0, columns_count=256.0, node_m=65e-9, sample_hold_energy_j=0.0,
        shift_add_energy_j=0.0, adc=replace(ADC, rate_hz=1e8),
    )  # fmt: skip
    spent = vector_energy_j(arrays, 256.0, 64.0)["converter"] / (256 * 64)
    assert spent / 1e-15 == pytest.approx(811.8, abs=0.05)


def test_cell_of_isaac_by_the_published_case() -> None:
    # 1333 and 20000 ohm behind 640 ohm, 0.2 V, 1 ns, half of the inputs on: 5.6 fJ (NeuroSim prints 5.82).
    isaac = replace(
        ARRAYS,
        cell=ResistiveCell(
            g_max_siemens=1 / 1333, g_min_siemens=1 / 20000, read_v=0.2, pulse_s=1e-9, series_ohm=640.0
        ),
    )
    assert cell_energy_j(isaac) / 1e-15 == pytest.approx(5.6, abs=0.06)


@pytest.mark.parametrize(("rows", "expected_fj"), [(128.0, 174.6), (256.0, 88.1)])
def test_converters_of_an_sram_macro_by_the_published_case(rows: float, expected_fj: float) -> None:
    # ZigZag, aimc 28 nm 0.9 V, 8b/8b in 2-bit steps: 207.9 and 113.0 fJ a MAC, 84 % and 78 % of it in converters.
    arrays = replace(
        ARRAYS, rows_count=rows, columns_count=rows, node_m=28e-9, supply_v=0.9, cell_bits=1.0, dac_bits=2.0, cell=None,
        sample_hold_energy_j=0.0, shift_add_energy_j=0.0, adc=Adc(form="sram", bits_count=8.0, columns_count=1.0),
    )  # fmt: skip
    outputs = rows / 8
    spent = vector_energy_j(arrays, rows, outputs)["converter"] / (rows * outputs)
    assert spent / 1e-15 == pytest.approx(expected_fj, rel=0.01)


@pytest.mark.parametrize(("rows", "expected_fj"), [(128.0, 267.0), (256.0, 265.1)])
def test_a_digital_macro_by_the_published_case(rows: float, expected_fj: float) -> None:
    # ZigZag, dimc 28 nm 0.9 V, 8b/8b: 267.0 and 265.1 fJ a MAC, 90 to 92 % of it in adder trees.
    arrays = replace(DIGITAL, rows_count=rows, columns_count=rows)
    outputs = rows / 8
    spent = vector_energy_j(arrays, rows, outputs)["gates"] / (rows * outputs)
    assert spent / 1e-15 == pytest.approx(expected_fj, rel=0.03)


def test_adders_of_a_tree_by_hand() -> None:
    # Four numbers of 3 bits: two sums of 3 bits, one of 4: 10 full adders, of which each sum's last bit is a half one.
    assert adder_count(4.0, 3.0) == 4 * 4 - (3 + 2 + 1)


def test_conversions_steps_and_cells_of_a_small_matrix_by_hand() -> None:
    # A 200 x 50 matrix in each of 2 layers, 3 tokens: 6 uses. 8-bit weights in 2-bit cells: 4 columns each. 8-bit
    # inputs through 1-bit drivers: 8 steps. 200 rows take ceil(200 / 128) = 2 arrays, 50 x 4 columns take 2.
    conversions = 6 * 8 * (50 * 4) * 2  # uses, steps, columns, arrays one above the other
    drives = 6 * 8 * 200 * 2  # uses, steps, rows, arrays side by side
    cells = 6 * 8 * 200 * (50 * 4)
    costs = crossbar_costs(BOARD, table([product(200, 50, tokens=3, layers=2)]))
    each_j = float(survey_energy_j(8.0, node_m=32e-9, rate_hz=1e9)) + 0.021e-12
    assert costs.energy_j["conversion"].item() == pytest.approx(conversions * each_j + drives * 0.4e-12)
    # V2 G t with half of the inputs on: 0.04 V2 x (20 + 1) / 2 uS x 10 ns / 2
    assert cell_energy_j(ARRAYS) == pytest.approx(0.04 * 10.5e-6 * 10e-9 / 2)
    assert costs.energy_j["arithmetic"].item() == pytest.approx(cells * cell_energy_j(ARRAYS))
    assert costs.level_bytes["buffers"].item() == 6 * 250
    assert costs.level_energy_j["buffers"].item() == pytest.approx(6 * 250 * 8e-12)
    # One converter reads 128 columns at 1 ns each, longer than the 100 ns an array settles; 6 uses of 8 steps.
    assert costs.time_s.item() == pytest.approx(6 * 8 * 128e-9)
    assert costs.limits_s["conversion"] == costs.time_s
    tiles = mapped(ARRAYS, 200.0, 50.0)
    assert tiles.arrays_count == 4
    assert tiles.utilization_fraction == pytest.approx(200 * 200 / (4 * 128 * 128))


def test_rows_read_in_groups_take_steps_and_conversions_of_their_own() -> None:
    few = replace(ARRAYS, active_rows_count=32.0)
    whole, parts = mapped(ARRAYS, 128.0, 32.0), mapped(few, 128.0, 32.0)
    assert parts.time_s == pytest.approx(4 * whole.time_s)
    assert parts.conversions_count == 4 * whole.conversions_count
    assert parts.cells_count == whole.cells_count


def test_pairs_subtracted_behind_the_converters_take_twice_the_conversions() -> None:
    pairs = replace(ARRAYS, cells_per_bit_count=2.0)
    late = replace(pairs, conversions_per_pair_count=2.0)
    assert mapped(pairs, 100.0, 10.0).conversions_count == mapped(ARRAYS, 100.0, 10.0).conversions_count
    assert mapped(late, 100.0, 10.0).conversions_count == 2 * mapped(pairs, 100.0, 10.0).conversions_count
    assert mapped(pairs, 100.0, 10.0).cells_count == 2 * mapped(ARRAYS, 100.0, 10.0).cells_count


@pytest.mark.parametrize(("columns_per_adc", "step_s"), [(8.0, 100e-9), (128.0, 128e-9)])
def test_a_step_takes_the_longer_of_settling_and_converting(columns_per_adc: float, step_s: float) -> None:
    board = replace(BOARD, arrays=replace(ARRAYS, adc=replace(ADC, columns_count=columns_per_adc)))
    costs = crossbar_costs(board, table([product(64, 64, tokens=1)]))
    assert costs.time_s.item() == pytest.approx(8 * step_s)


def test_every_op_of_every_layer_waits_for_its_vector() -> None:
    far = replace(BOARD, arrays=replace(ARRAYS, transfer_time_s=1e-6))
    work = table([product(64, 64, tokens=10, layers=4)])
    waited = crossbar_costs(far, work).time_s - crossbar_costs(BOARD, work).time_s
    assert waited.item() == pytest.approx(4e-6)  # tokens follow one another and wait once


def test_copies_share_tokens_and_pipelined_layers_overlap() -> None:
    work = table([product(64, 64, tokens=10, layers=4)])
    alone = crossbar_costs(BOARD, work).time_s.item()
    copied = replace(BOARD, arrays=replace(ARRAYS, copies_count=2.0))
    assert crossbar_costs(copied, work).time_s.item() == pytest.approx(alone / 2)
    assert weights_held_count(copied.arrays) == weights_held_count(ARRAYS) / 2
    piped = replace(BOARD, arrays=replace(ARRAYS, pipelined_layers_count=100.0))
    # 10 tokens follow one another through 4 layers: 13 uses of a layer instead of 40
    assert crossbar_costs(piped, work).time_s.item() == pytest.approx(alone * 13 / 40)
    one = table([product(64, 64, tokens=1, layers=4)])
    assert crossbar_costs(piped, one).time_s == crossbar_costs(BOARD, one).time_s


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


designs = st.fixed_dictionaries(
    {
        "rows_count": st.integers(1, 2048).map(float),
        "columns_count": st.integers(128, 2048).map(float),
        "cell_bits": st.integers(1, 8).map(float),
        "weight_bits": st.integers(1, 16).map(float),
        "input_bits": st.integers(1, 16).map(float),
        "dac_bits": st.integers(1, 8).map(float),
        "cells_per_bit_count": st.sampled_from([1.0, 2.0]),
        "active_rows_count": st.integers(0, 3000).map(float),
    }
)


@FIXED
@given(design=designs, k=st.integers(1, 30_000), n=st.integers(1, 30_000))
def test_a_matrix_fills_its_arrays_at_most_once(design: dict[str, float], k: int, n: int) -> None:
    tiles = mapped(replace(ARRAYS, **design), float(k), float(n))
    assert 0 < tiles.utilization_fraction <= 1
    assert tiles.arrays_count >= 1


@FIXED
@given(design=designs, more=st.integers(1, 2000), k=st.integers(1, 30_000))
def test_more_rows_never_raise_the_energy_of_converters(design: dict[str, float], more: int, k: int) -> None:
    small = replace(ARRAYS, **{**design, "active_rows_count": 0.0})
    large = replace(small, rows_count=small.rows_count + more)
    before, after = (vector_energy_j(arrays, float(k), 100.0)["converter"] for arrays in (small, large))
    assert after <= before


def test_no_read_voltage_no_cell_energy() -> None:
    assert cell_energy_j(replace(ARRAYS, cell=replace(CELL, read_v=0.0))) == 0
    assert cell_energy_j(replace(ARRAYS, cell=None, cell_charge_farad=1e-15, supply_v=0.0)) == 0


def test_charge_of_a_cell_is_c_v_squared() -> None:
    assert cell_energy_j(
        replace(ARRAYS, cell=None, cell_charge_farad=1.2e-15, supply_v=0.8)
    ) == pytest.approx(1.2e-15 * 0.64)


def test_writing_a_cell_and_an_array_by_the_published_forms() -> None:
    # ZigZag's fork for non-volatile memories: 2.2 V, 20 uS, 100 ns: 9.7 pJ; 8 pulses of 20 ns: 15.5 pJ before its 0.7 x 2
    one = replace(ARRAYS, write=Writing(voltage_v=2.2, conductance_siemens=20e-6, pulse_s=100e-9))
    assert write_energy_j(one) / 1e-12 == pytest.approx(9.7, abs=0.05)
    many = replace(
        ARRAYS, write=Writing(voltage_v=2.2, conductance_siemens=20e-6, pulse_s=20e-9, pulses_count=8.0)
    )
    assert write_energy_j(many) * 0.7 * 2 / 1e-12 == pytest.approx(22, abs=0.5)
    assert write_time_s(ARRAYS) == pytest.approx(128 * 8 * 100e-9)


def test_weights_never_leave_their_cells_and_attention_stays_on_the_host() -> None:
    for phase in ("prefill", "decode"):
        work = table(phase_ops(NETWORK, Request(batch=4.0), phase))
        costs, alone = crossbar_costs(ISAAC, work), accelerator_costs(ISAAC.host, work)
        stored = np.array([kind in STORED for kind in work.kinds])
        written = work.kv_written_bytes[0, stored]
        np.testing.assert_array_equal(costs.level_bytes["dram"][0, stored], written)
        assert written.any()
        np.testing.assert_array_equal(costs.time_s[0, ~stored], alone.time_s[0, ~stored])
        for name, joules in alone.energy_j.items():
            np.testing.assert_array_equal(costs.energy_j[name][0, ~stored], joules[0, ~stored])
        assert {"attention", "embedding"} <= {
            kind for kind, is_stored in zip(work.kinds, stored, strict=True) if not is_stored
        }
        assert (costs.energy_j["conversion"][0, ~stored] == 0).all()
        kv_bytes = costs.level_bytes["dram"][0, list(work.kinds).index("attention")]
        assert kv_bytes >= work.kv_bytes[0, list(work.kinds).index("attention")]


def test_streamed_weights_are_brought_and_written_for_every_pass() -> None:
    board = replace(ISAAC, arrays=STREAMED)
    work = table([product(4096, 4096, tokens=1, layers=32)])
    costs = crossbar_costs(board, work)
    weights = 32 * 4096 * 4096
    assert costs.level_bytes["dram"].item() == weights  # at the 8 bits that the cells hold
    written_j = weights * 4 * write_energy_j(STREAMED)
    assert costs.level_energy_j["buffers"].item() == pytest.approx(32 * 8192 * 8e-12 + written_j)
    # 4096 arrays are needed a layer and 20 are there: 205 turns of writing 128 rows, 8 pulses each
    assert costs.limits_s["memory"].item() == pytest.approx(
        max(weights / (273e9 * 0.87), 32 * 205 * write_time_s(STREAMED))
    )
    assert weights_in_cells_count(board) is None
    batch = crossbar_costs(board, table([product(4096, 4096, tokens=8, layers=32)]))
    assert batch.level_energy_j["dram"] == costs.level_energy_j["dram"]


def test_capacity_counts_cells() -> None:
    # 2 chips x 10 arrays x 128 x 128 cells, 4 cells a weight
    assert columns_per_weight(ARRAYS) == 4
    assert weights_held_count(ARRAYS) == 2 * 10 * 128 * 128 / 4
    assert weights_in_cells_count(BOARD) == weights_held_count(ARRAYS)
    pairs = replace(ARRAYS, cells_per_bit_count=2.0)
    assert weights_held_count(pairs) == weights_held_count(ARRAYS) / 2


@FIXED
@given(cell_bits=st.integers(1, 8), weight_bits=st.integers(1, 16))
def test_a_weight_takes_as_many_slices_as_cover_its_bits(cell_bits: int, weight_bits: int) -> None:
    slices = columns_per_weight(replace(ARRAYS, cell_bits=float(cell_bits), weight_bits=float(weight_bits)))
    assert slices * cell_bits >= weight_bits > (slices - 1) * cell_bits


@pytest.mark.parametrize(
    "dearer",
    [
        {"driver_energy_j": 1e-12},
        {"sample_hold_energy_j": 1e-12},
        {"shift_add_energy_j": 1e-12},
        {"logic_energy_j_per_mac": 1e-15},
        {"line_farad": 1e-15},
        {"buffer_energy_j_per_byte": 1e-9},
        {"adc": replace(ADC, energy_over_law_ratio=2.0)},
        {"cell": replace(CELL, read_v=0.4)},
        {"dac_bits": 2.0, "supply_v": 20.0},
    ],
)
def test_dearer_parts_cost_more(dearer: dict[str, Any]) -> None:
    work = table([product(300, 300, tokens=2)])
    before, after = (
        sum(float(part.sum()) for part in crossbar_costs(board, work).energy_j.values())
        for board in (BOARD, replace(BOARD, arrays=replace(ARRAYS, **dearer)))
    )
    assert after > before


@pytest.mark.parametrize("arrays", [ARRAYS, DIGITAL, STREAMED])
def test_a_column_of_designs_equals_a_loop(arrays: Arrays) -> None:
    rows, nodes = np.array([64.0, 100.0, 512.0]), np.array([14e-9, 32e-9, 65e-9])
    work = table([product(700, 300, tokens=3, layers=2), product(64, 4096, tokens=3)])
    designs = replace(arrays, rows_count=column(rows), node_m=column(nodes))
    together = crossbar_costs(replace(BOARD, arrays=designs), work)
    for place, (r, node) in enumerate(zip(rows, nodes, strict=True)):
        alone = crossbar_costs(replace(BOARD, arrays=replace(arrays, rows_count=r, node_m=node)), work)
        np.testing.assert_allclose(
            np.broadcast_to(together.time_s, (3, 2))[place], alone.time_s[0], rtol=1e-12
        )
        for name, joules in alone.energy_j.items():
            np.testing.assert_allclose(
                np.broadcast_to(together.energy_j[name], (3, 2))[place],
                np.broadcast_to(joules, (1, 2))[0],
                rtol=1e-12,
            )


def test_a_tree_adds_in_its_own_time() -> None:
    # (8 bits + 7 levels) x 2 x 47.8 ps, four columns one after another
    shared = replace(DIGITAL, gates=Gates(columns_count=4.0), settle_time_s=0.0)
    assert step_time_s(shared) == pytest.approx(4 * 15 * 2 * 47.8e-12)
    assert conversion_energy_j(shared) == 0


def test_every_chip_draws_its_static_power_beside_the_host() -> None:
    assert static_power_w(BOARD) == pytest.approx(ISAAC.host.static_power_w + 2 * 0.3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows_count": 0.0}, "rows: 0 given"),
        ({"parts_count": 0.0}, "parts: 0 given"),
        ({"cell_bits": 0.0}, "cell_bits: 0 given; expected a number from 1 to 32"),
        ({"dac_bits": 40.0}, "dac_bits: 40 given"),
        ({"columns_count": 3.0}, "columns: 3 given; expected 4 or more, which one weight takes"),
        ({"adc": None}, "adc: expected either 'adc' or 'gates'"),
        ({"gates": Gates(columns_count=1.0)}, "adc: expected either 'adc' or 'gates'"),
        ({"active_inputs_fraction": 0.0}, "active_inputs: 0 given"),
    ],
)
def test_arrays_that_cannot_be_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        replace(ARRAYS, **changes)
    assert told in str(caught.value)


def test_a_cell_that_conducts_more_off_than_on_is_refused() -> None:
    with pytest.raises(NpuwattError, match="g_min: not below g_max"):
        replace(CELL, g_min_siemens=30e-6)


def test_a_cap_that_the_chips_draw_at_rest_is_refused() -> None:
    tight = replace(ISAAC.host, power_cap_w=(ISAAC.host.static_power_w + static_power_w(ISAAC)) / 2)
    with pytest.raises(NpuwattError, match="power_cap"):
        replace(ISAAC, host=tight)
