"""Converters at the edge of an array: what turning a column's current into a number costs, and how many bits it takes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.record import Record

SURVEY_BITS = 4.0  # the survey's regression holds from here on
MOST_BITS = 14.0  # beyond it no converter of the survey is fast enough for an array
FINEST_NODE_M = 14e-9  # below it neither law has data, and nothing is gained
REFERENCE_NODE_M = 28e-9  # of the SRAM form
DAC_FARAD_PER_BIT = 50e-15


class Adc(Record):
    """The analog-to-digital converters of an array.

    `survey` is the regression over published converters, `sram` the form fitted to three SRAM macros, which sets its
    own rate and follows the supply. `energy_over_law_ratio` says what this class of converter takes over the law.
    """

    form: Literal["survey", "sram"]
    bits_count: Real
    columns_count: Real  # that share one converter
    rate_hz: Real = 0.0  # conversions a second; 0 in the sram form
    energy_over_law_ratio: Real = 1.0
    area_over_law_ratio: Real = 1.0

    def __post_init__(self) -> None:
        require.within(1.0, MOST_BITS, bits=self.bits_count)
        require.whole(1, columns=self.columns_count)
        if self.form == "survey":
            require.positive(rate=self.rate_hz)
        require.not_negative(
            rate=self.rate_hz,
            energy_over_law=self.energy_over_law_ratio,
            area_over_law=self.area_over_law_ratio,
        )


def adc_energy_j(adc: Adc, *, node_m: Real, supply_v: Real) -> Real:
    """Energy of one conversion: scalar or (P, 1)."""
    if adc.form == "sram":
        return sram_energy_j(adc.bits_count, node_m=node_m, supply_v=supply_v) * adc.energy_over_law_ratio
    return survey_energy_j(adc.bits_count, node_m=node_m, rate_hz=adc.rate_hz) * adc.energy_over_law_ratio


def adc_time_s(adc: Adc, *, node_m: Real, rows: Real) -> Real:
    """Time of one conversion: of the rate given, or in the SRAM form of a column of `rows` cells.

    Source
    ------
    ZigZag, zigzag-dse 3.9.1, imc_array.py: 28 nm, scaled with the node.
    """
    if adc.form == "survey":
        return 1 / adc.rate_hz
    return adc.bits_count * (0.640e-9 + 0.00653e-9 * rows) * _of_reference(node_m)


def adc_area_m2(adc: Adc, *, node_m: Real) -> Real:
    """Area of one converter: scalar or (P, 1).

    Source
    ------
    hwcomponents-adc 1.0.21 (survey); ZigZag, zigzag-dse 3.9.1, imc_array.py, 28 nm (sram).
    """
    bits = adc.bits_count
    if adc.form == "sram":
        law_m2 = np.exp2(bits) * 10 ** (1.206 - 0.0369 * bits) * 1e-12 * _of_reference(node_m)
    else:
        law_pj = survey_energy_j(bits, node_m=node_m, rate_hz=adc.rate_hz) / 1e-12
        logs = 0.9932795 * np.log(_nm(node_m)) + 0.1807154 * np.log(adc.rate_hz) + 0.2991243 * np.log(law_pj)
        law_m2 = np.exp(1.346192 + logs) * 1e-12
    return law_m2 * adc.area_over_law_ratio


def survey_energy_j(bits: Real, *, node_m: Real, rate_hz: Real) -> Array:
    """Energy of one conversion by the regression over the converter survey.

    Between whole bits the logarithm of the energy is interpolated. Below 4 bits, where the
    regression ends, a conversion costs its 4-bit energy by the share of its comparisons, bits/4, as
    in successive approximation. Nodes below 14 nm count as 14 nm.

    Source
    ------
    Murmann, ADC performance survey 1997-2025; regression of hwcomponents-adc 1.0.21, whose authors
    call it the best possible; 20 % of it is leakage.
    """
    asked = np.asarray(bits, dtype=np.float64)
    known = np.maximum(asked, SURVEY_BITS)
    lower = np.floor(known)
    share = known - lower
    below, above = (regression_energy_j(b, _nm(node_m), rate_hz) for b in (lower, lower + 1))
    found: Array = below ** (1 - share) * above**share * np.minimum(asked / SURVEY_BITS, 1.0)
    return found


def regression_energy_j(bits: Real, node_nm: Real, rate_hz: Real) -> Real:
    sndr_db = 6.0206 * bits + 1.7609
    fom_db = np.minimum(
        213.7806687348118 - 2.8719030399529957 * np.log(rate_hz),
        128.3068287398817 + 3.2205115113775 * np.ceil(bits),
    )
    scale = 24.579419355273362 + 1.8800369206815004 * np.log(node_nm) - 2.8291256050594527 * np.log(bits)
    return 0.5e-12 * 10 ** ((sndr_db - fom_db) / 10) * np.exp(scale)


def sram_energy_j(bits: Real, *, node_m: Real, supply_v: Real) -> Real:
    """Energy of one conversion in an SRAM macro: comparators by the bit, capacitors by the level.

    Source
    ------
    ZigZag, zigzag-dse 3.9.1, imc_array.py: (100 B + 0.001 4^B) fF V^2 at 28 nm, checked by its
    authors on three chips; scaled with the node here.
    """
    return (100e-15 * bits + 1e-18 * 4.0**bits) * supply_v**2 * _of_reference(node_m)


def dac_energy_j(bits: Real, *, supply_v: Real) -> Real:
    """Energy of driving one row with a value of more than one bit; one bit needs a driver alone.

    Source
    ------
    ZigZag, zigzag-dse 3.9.1, imc_array.py: 50 fF a bit.
    """
    return np.where(np.greater(bits, 1), DAC_FARAD_PER_BIT * bits * supply_v**2, 0.0)


def lossless_adc_bits(rows: Real, *, dac_bits: Real, cell_bits: Real) -> Array:
    """Bits that tell every sum apart which `rows` cells can give."""
    levels = rows * (np.exp2(dac_bits) - 1) * (np.exp2(cell_bits) - 1) + 1
    found: Array = np.ceil(np.log2(levels))
    return found


def _nm(node_m: Real) -> Real:
    return np.maximum(node_m, FINEST_NODE_M) / 1e-9


def _of_reference(node_m: Real) -> Real:
    return np.maximum(node_m, FINEST_NODE_M) / REFERENCE_NODE_M
