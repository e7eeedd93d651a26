"""Converters: the survey's table to its printed digits, laws, edges of the laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.converters import (
    Adc,
    adc_area_m2,
    adc_energy_j,
    adc_time_s,
    dac_energy_j,
    lossless_adc_bits,
    regression_energy_j,
    sram_energy_j,
    survey_energy_j,
)
from npuwatt.errors import NpuwattError

FIXED = settings(derandomize=True, deadline=None)
ADC = Adc(form="survey", bits_count=8.0, columns_count=8.0, rate_hz=1e8)


# hwcomponents-adc 1.0.21, the regression over Murmann's survey, 100 MS/s, to the digits that it prints.
@pytest.mark.parametrize(("bits", "expected_pj"), [(4, 0.92), (6, 1.07), (8, 1.71), (10, 3.31)])
def test_energies_of_the_survey_by_bits_at_32_nm(bits: float, expected_pj: float) -> None:
    assert round(float(survey_energy_j(bits, node_m=32e-9, rate_hz=1e8)) / 1e-12, 2) == expected_pj


@pytest.mark.parametrize(("node_nm", "expected_pj"), [(14, 0.36), (28, 1.33), (65, 6.49), (130, 23.9)])
def test_energies_of_the_survey_by_node_at_8_bits(node_nm: float, expected_pj: float) -> None:
    found = float(survey_energy_j(8, node_m=node_nm * 1e-9, rate_hz=1e8)) / 1e-12
    assert found == pytest.approx(expected_pj, abs=0.05 if node_nm == 130 else 0.005)


def test_below_14_nm_the_regression_goes_on_and_the_law_does_not() -> None:
    assert regression_energy_j(8.0, 7.0, 1e8) == pytest.approx(0.098e-12, abs=0.0005e-12)
    at = {node: float(survey_energy_j(8, node_m=node, rate_hz=1e8)) for node in (4e-9, 7e-9, 14e-9)}
    assert len(set(at.values())) == 1


def test_rate_costs_only_above_a_corner() -> None:
    # The regression's corners: 8 bits 1.07 GS/s, 10 bits 0.114 GS/s.
    for bits, corner_hz in ((8, 1.07e9), (10, 0.114e9)):
        slow, under, over = (
            float(survey_energy_j(bits, node_m=32e-9, rate_hz=share * corner_hz))
            for share in (0.1, 0.98, 1.1)
        )
        assert slow == pytest.approx(under)
        assert over > under


@FIXED
@given(
    bits=st.integers(1, 13),
    node=st.floats(3e-9, 200e-9),
    rate=st.floats(1e5, 1e10),
    share=st.floats(0, 1),
)
def test_more_bits_never_cost_less(bits: int, node: float, rate: float, share: float) -> None:
    fewer, between, more = (
        float(survey_energy_j(b, node_m=node, rate_hz=rate)) for b in (bits, bits + share, bits + 1)
    )
    assert 0 < fewer <= between * (1 + 1e-12)
    assert between <= more * (1 + 1e-12)


def test_under_4_bits_a_conversion_costs_by_the_share_of_its_comparisons() -> None:
    four = survey_energy_j(4, node_m=32e-9, rate_hz=1e8)
    for bits in (1, 2, 3):
        assert survey_energy_j(bits, node_m=32e-9, rate_hz=1e8) == pytest.approx(four * bits / 4)


def test_the_form_of_sram_macros_by_hand() -> None:
    # ZigZag at 28 nm and 0.9 V: (100 x 8 + 0.001 x 4^8) fF x 0.81 V2
    assert sram_energy_j(8.0, node_m=28e-9, supply_v=0.9) == pytest.approx((800 + 65.536) * 0.81e-15)
    sram = Adc(form="sram", bits_count=8.0, columns_count=1.0)
    assert adc_time_s(sram, node_m=28e-9, rows=256.0) == pytest.approx(8 * (0.640 + 0.00653 * 256) * 1e-9)
    assert adc_area_m2(sram, node_m=28e-9) == pytest.approx(256 * 10 ** (1.206 - 0.0369 * 8) * 1e-12)


def test_a_class_of_converters_may_take_more_than_the_law() -> None:
    dear = Adc(
        form="survey",
        bits_count=8.0,
        columns_count=8.0,
        rate_hz=1e8,
        energy_over_law_ratio=3.0,
        area_over_law_ratio=0.5,
    )
    assert adc_energy_j(dear, node_m=32e-9, supply_v=1.0) == pytest.approx(
        3 * adc_energy_j(ADC, node_m=32e-9, supply_v=1.0)
    )
    assert adc_area_m2(dear, node_m=32e-9) == pytest.approx(adc_area_m2(ADC, node_m=32e-9) / 2)
    assert adc_time_s(dear, node_m=32e-9, rows=128.0) == 1e-8


def test_a_column_of_converters_equals_a_loop() -> None:
    bits, nodes, rates = (
        np.array([1.0, 4.0, 6.5, 12.0]),
        np.array([5e-9, 28e-9, 65e-9, 32e-9]),
        np.full(4, 2e8),
    )
    together = survey_energy_j(column(bits), node_m=column(nodes), rate_hz=column(rates))
    alone = [
        float(survey_energy_j(b, node_m=n, rate_hz=r)) for b, n, r in zip(bits, nodes, rates, strict=True)
    ]
    np.testing.assert_allclose(together[:, 0], alone, rtol=1e-12)


def test_lossless_bits_of_256_rows_of_one_by_two_bits() -> None:
    assert lossless_adc_bits(256.0, dac_bits=1.0, cell_bits=2.0) == 10  # log2(256 x 1 x 3 + 1) = 9.6


def test_a_driver_of_one_bit_needs_no_converter() -> None:
    assert dac_energy_j(1.0, supply_v=1.0) == 0
    assert dac_energy_j(8.0, supply_v=0.9) == pytest.approx(50e-15 * 8 * 0.81)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bits_count": 0.5}, "bits: 0.5 given; expected a number from 1 to 14"),
        ({"bits_count": 15.0}, "bits: 15 given; expected a number from 1 to 14"),
        ({"rate_hz": 0.0}, "rate: 0 given; expected a finite number above 0"),
        ({"columns_count": 0.0}, "columns: 0 given"),
    ],
)
def test_what_no_law_covers_is_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        Adc(**{"form": "survey", "bits_count": 8.0, "columns_count": 8.0, "rate_hz": 1e8, **changes})  # type: ignore[arg-type] # one of them is wrong
    assert told in str(caught.value)
