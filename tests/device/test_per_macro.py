"""Figures of one array by itself: by hand, by published chips, and that parts add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npuwatt.arrays import column
from npuwatt.device.converters import adc_area_m2
from npuwatt.device.crossbar import Arrays, Crossbar, vector_energy_j
from npuwatt.device.per_macro import array_area_m2, chip_area_m2, per_macro
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.scenario import load_device

ROOT = Path(library.presets_root())


def arrays_of(name: str) -> Arrays:
    found = load_device(str(ROOT / "devices" / f"{name}.yaml")).record
    assert isinstance(found, Crossbar)
    return found.arrays


def test_area_of_an_isaac_array_is_the_sum_of_the_papers_parts() -> None:
    # Shafiee et al., ISCA 2016: array 25 um2, converter 1200, shift-and-add 60, 128 drivers of 0.167, 128 x 0.039.
    found = array_area_m2(arrays_of("isaac-rram")) / 1e-12
    assert found == pytest.approx(25 + 1200 + 60 + 128 * 0.167 + 128 * 0.039, rel=0.01)
    # 168 tiles of 96 arrays and the parts beside them; the chip is 85.4 mm2 with registers and pads that are left out.
    assert 40 < chip_area_m2(arrays_of("isaac-rram")) / 1e-6 < 85.4


@pytest.mark.parametrize(
    ("name", "published_fj", "bits", "within"),
    [
        # Energy of a MAC at its own bits, as the macros' papers print it, and how far a sum over parts may be off.
        ("sram-analog-cim", 1.03, (1.0, 1.0), 1.2),  # Jia, ISSCC 2021: 1936 TOPS/W of one-bit products
        ("sram-digital-cim", 5.62, (1.0, 4.0), 1.8),  # Chih, ISSCC 2021
        ("hfox-rram", 48.3, (8.0, 4.0), 1.25),  # Correll, VLSI 2022
    ],
)
def test_arrays_of_presets_spend_what_their_macros_do(
    name: str, published_fj: float, bits: tuple[float, float], within: float
) -> None:
    arrays = replace(arrays_of(name), input_bits=bits[0], weight_bits=bits[1])
    found = float(np.max(per_macro(arrays).total_j_per_mac)) / 1e-15
    assert 1 / within < found / published_fj < within


def test_figures_are_two_operations_a_mac_and_one_bit_products_by_both_widths() -> None:
    arrays = arrays_of("isaac-rram")
    found = per_macro(arrays)
    figures = found.figures()
    assert figures["ops_per_j"] * found.total_j_per_mac == pytest.approx(2)
    assert figures["one_bit_ops_per_j"] == pytest.approx(64 * figures["ops_per_j"])
    assert figures["one_bit_ops_per_s_m2"] == pytest.approx(64 * figures["ops_per_s_m2"])
    # 128 x 32 weights, eight steps of 100 ns
    assert found.macs_per_s == pytest.approx(128 * 32 / 800e-9)
    spent = sum(vector_energy_j(arrays, 128.0, 32.0).values())
    assert found.total_j_per_mac * 128 * 32 == pytest.approx(spent)


def test_arrays_that_spend_nothing_have_no_end_of_operations_a_joule() -> None:
    arrays = replace(arrays_of("sram-analog-cim"), supply_v=0.0, shift_add_energy_j=0.0)
    assert per_macro(arrays).figures()["ops_per_j"] == np.inf


def test_shared_converters_take_less_room() -> None:
    arrays = arrays_of("ibm-hermes")
    assert arrays.adc is not None
    shared = replace(arrays, adc=replace(arrays.adc, columns_count=4.0))
    saved = array_area_m2(arrays) - array_area_m2(shared)
    assert saved == pytest.approx(384 * adc_area_m2(arrays.adc, node_m=14e-9))


@pytest.mark.parametrize("name", ["isaac-rram", "sram-digital-cim"])
def test_a_column_of_arrays_equals_a_loop(name: str) -> None:
    arrays = arrays_of(name)
    rows, nodes = np.array([64.0, 200.0, 1000.0]), np.array([14e-9, 22e-9, 65e-9])
    together = per_macro(replace(arrays, rows_count=column(rows), node_m=column(nodes))).figures()
    for place, (r, node) in enumerate(zip(rows, nodes, strict=True)):
        alone = per_macro(replace(arrays, rows_count=r, node_m=node)).figures()
        for name_, value in alone.items():
            np.testing.assert_allclose(np.broadcast_to(together[name_], (3, 1))[place, 0], value, rtol=1e-12)
