"""Text with units to SI numbers and back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import NpuwattError
from npuwatt.units import SUFFIXES, key_of, parse, show, show_in, show_time, show_usual, suffix_of

FIXED = settings(derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("4 pJ", "_j", 4e-12),
        ("0.08 kWh", "_j", 288_000),
        ("1 Wh", "_j", 3600),
        ("50 mW", "_w", 0.05),
        ("700W", "_w", 700),
        ("20 ms", "_s", 0.02),
        ("0.781 ns", "_s", 0.781e-9),
        ("2 min", "_s", 120),
        ("1 day", "_s", 86_400),
        ("3 year", "_s", 3 * 365.25 * 86_400),
        ("8 GiB", "_bytes", 8 * 2**30),
        ("8 GB", "_bytes", 8e9),
        ("50 MiB", "_bytes", 50 * 2**20),
        ("16 bit", "_bytes", 2),
        ("51.2 GB/s", "_bytes_per_s", 51.2e9),
        ("3.35 TB/s", "_bytes_per_s", 3.35e12),
        ("8 Gbit/s", "_bytes_per_s", 1e9),
        ("4 pJ/bit", "_j_per_byte", 32e-12),
        ("32 pJ/B", "_j_per_byte", 32e-12),
        ("32 pJ / byte", "_j_per_byte", 32e-12),
        ("0.2 pJ/MAC", "_j_per_mac", 0.2e-12),
        ("0.2 pJ/OP", "_j_per_mac", 0.4e-12),
        ("1 pJ/FLOP", "_j_per_mac", 2e-12),
        ("45 TOPS", "_macs_per_s", 22.5e12),  # 1 MAC is 2 OP
        ("989 TFLOPS", "_macs_per_s", 494.5e12),
        ("1 PFLOPS", "_macs_per_s", 0.5e15),
        ("2 TMAC/s", "_macs_per_s", 2e12),
        ("4.089 GMAC", "_macs", 4.089e9),
        ("8 GFLOP", "_macs", 4e9),
        ("1.5 GHz", "_hz", 1.5e9),
        ("4 nm", "_m", 4e-9),
        ("3 um", "_m", 3e-6),
        ("3 µm", "_m", 3e-6),
        ("3 μm", "_m", 3e-6),
        ("0.25 mm2", "_m2", 0.25e-6),
        ("1200 um2", "_m2", 1200e-12),
        ("300 mV", "_v", 0.3),
        ("25 uS", "_siemens", 25e-6),
        ("1333 ohm", "_ohm", 1333),
        ("0.35 fF", "_farad", 0.35e-15),
        ("300 K", "_k", 300),
        ("85 degC", "_k", 358.15),
        ("85 °C", "_k", 358.15),
        ("0.5 eV", "_j", 0.801088317e-19),
        ("685.06 Pa", "_pa", 685.06),
        ("40 mK/W", "_k_per_w", 0.04),
        ("0.036 /K", "_per_k", 0.036),
        ("0.036 1/K", "_per_k", 0.036),
        ("86 W/cm2", "_w_per_m2", 860_000),
        ("0.36 L/kWh", "_l_per_j", 1e-7),
        ("300 kUSD", "_usd", 300_000),
        ("1.8 USD/h", "_usd_per_s", 0.0005),
        ("0.0826 USD/kWh", "_usd_per_j", 0.0826 / 3.6e6),
        ("40 USD/kW/month", "_usd_per_w_s", 0.04 * 12 / (365.25 * 86_400)),
        ("383.5 gCO2e/kWh", "_kg_per_j", 0.3835 / 3.6e6),
        ("273 kgCO2e", "_kg", 273),
        ("500 gCO2e/cm2", "_kg_per_m2", 5000),
        ("2.75 kWh/cm2", "_j_per_m2", 2.75 * 3.6e10),
        ("65 gCO2e/GB", "_kg_per_byte", 65e-12),
        ("86400 /day", "_per_s", 1),
        ("30 %", "_fraction", 0.3),
        ("0.9", "_fraction", 0.9),
        (0.9, "_fraction", 0.9),
        (8, "_count", 8),
        ("1.5", "_ratio", 1.5),
        ("150 %", "_ratio", 1.5),
        ("  7  W ", "_w", 7),
        ("+7 W", "_w", 7),
        ("-7 W", "_w", -7),
        ("1e3 W", "_w", 1000),
        (".5 W", "_w", 0.5),
        ("5. W", "_w", 5),
        ("0 W", "_w", 0),
    ],
)
def test_a_quantity_as_its_source_prints_it_is_read(text: Any, suffix: str, expected: float) -> None:
    assert parse(text, suffix) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "suffix", "told"),
    [
        ("45", "_w", "has no unit; expected a unit like W"),
        (45, "_w", "has no unit"),
        (4.5, "_bytes_per_s", "has no unit"),
        ("45 W", "_macs_per_s", "in W; expected a unit like TFLOPS"),
        ("45 watts", "_w", "unknown unit"),
        ("45 w", "_w", "unknown unit"),
        ("45 kiW", "_w", "unknown unit"),
        ("45 KB", "_bytes", "unknown unit"),
        ("45 %", "_w", "in %"),
        ("4 pJ/bit", "_j", "in pJ/bit"),
        ("4 pJ", "_j_per_byte", "in pJ"),
        ("4 GB", "_bytes_per_s", "in GB"),
        ("4 TOPS/W", "_macs_per_s", "in TOPS/W"),
        ("4 GB/s/s", "_bytes_per_s", "in GB/s/s"),
        ("4 GB//s", "_bytes_per_s", "unknown unit"),
        ("0.17 EUR/kWh", "_usd_per_j", "is not in USD; expected USD/kWh, converted at a rate of your choice"),
        ("300 k€", "_usd", "is not in USD; expected USD, converted"),
        ("300 kEUR", "_usd", "is not in USD"),
        ("300 kEUR", "_w", "unknown unit"),
        ("0.04 USD/kW", "_usd_per_w_s", "in USD/kW; expected a unit like USD/kW/month"),
        ("4 J/", "_j", "unknown unit"),
        ("4 /s", "_bytes_per_s", "in /s"),
        ("4 1", "_count", "unknown unit"),
        ("4 W W", "_w", "unknown unit"),
        ("W", "_w", "not a finite number"),
        ("", "_w", "not a finite number"),
        ("", "_count", "not a finite number"),
        ("four W", "_w", "not a finite number"),
        ("nan W", "_w", "not a finite number"),
        ("inf W", "_w", "not a finite number"),
        ("-inf", "_count", "not a finite number"),
        (math.nan, "_count", "not a finite number"),
        (math.inf, "_fraction", "not a finite number"),
        ("1e999 W", "_w", "not a finite number"),
        ("1e300 EW", "_w", "not a finite number"),
        ("1_000 W", "_w", "unknown unit"),
        ("1,000 W", "_w", "unknown unit"),
        ("٣ W", "_w", "not a finite number"),
        ("0x10 W", "_w", "unknown unit"),
        ("1..2 W", "_w", "unknown unit"),
        (True, "_count", "expected a number"),
        (None, "_w", "expected a number"),
        ([1], "_w", "expected a number"),
        ({}, "_w", "expected a number"),
        ("8 GiB", "_count", "in GiB"),
    ],
)
def test_what_is_no_quantity_of_its_kind_is_refused(text: Any, suffix: str, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        parse(text, suffix)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


@FIXED
@given(text=st.text(max_size=300), suffix=st.sampled_from(sorted(SUFFIXES)))
def test_any_text_is_a_finite_number_or_one_short_line(text: str, suffix: str) -> None:
    try:
        assert math.isfinite(parse(text, suffix))
    except NpuwattError as error:
        assert len(error.faults) == 1
        assert "\n" not in error.faults[0]
        assert len(error.faults[0]) < 200


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_the_example_of_every_suffix_is_one_that_is_read(suffix: str) -> None:
    _, example = SUFFIXES[suffix]
    for text in example.split(" or "):
        given = text if text[0].isdigit() else f"4 {text}"
        assert parse(given, suffix) > 0


@FIXED
@given(
    suffix=st.sampled_from(sorted(SUFFIXES)),
    value=st.floats(1e-15, 1e15, allow_nan=False),
    sign=st.sampled_from([1, -1]),
)
def test_what_is_shown_is_read_back(suffix: str, value: float, sign: int) -> None:
    assert parse(show(sign * value, suffix, digits=6), suffix) == pytest.approx(sign * value, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "unit", "digits", "expected"),
    [
        (0.0, "W", 3, "0 W"),
        (1234.0, "W", 3, "1.23 kW"),
        (0.0052407, "s", 3, "5.24 ms"),
        (2.69332, "J", 3, "2.69 J"),
        (32e-12, "J/B", 3, "32 pJ/B"),
        (999.4, "W", 3, "999 W"),
        (999.6, "W", 3, "1 kW"),
        (999_600.0, "B", 3, "1 MB"),
        (0.9996, "s", 3, "1 s"),
        (0.9994, "s", 3, "999 ms"),
        (-1500.0, "W", 3, "-1.5 kW"),
        (3.35e12, "B/s", 3, "3.35 TB/s"),
        (98.765, "%", 3, "98.8 %"),
        (1.5, "", 3, "1.5"),
        (8.03e9, "", 3, "8.03e+09"),
        (123_456.0, "", 3, "123456"),
        (6.4e-6, "", 2, "6.4e-06"),
        (189.69, "", 4, "189.7"),
    ],
)
def test_a_number_for_people_has_a_prefix_and_three_digits(
    value: float, unit: str, digits: int, expected: str
) -> None:
    assert show_in(value, unit, digits) == expected


@pytest.mark.parametrize(
    ("name", "key", "suffix"),
    [
        ("read_energy_j_per_byte", "read_energy", "_j_per_byte"),
        ("bandwidth_bytes_per_s", "bandwidth", "_bytes_per_s"),
        ("peak_macs_per_s", "peak", "_macs_per_s"),
        ("adc_energy_j", "adc_energy", "_j"),
        ("adc_time_s", "adc_time", "_s"),
        ("capacity_bytes", "capacity", "_bytes"),
        ("tile_count", "tile", "_count"),
        ("hidden", "hidden", ""),
        ("kv_heads", "kv_heads", ""),
    ],
)
def test_the_key_of_a_field_is_its_name_without_its_unit(name: str, key: str, suffix: str) -> None:
    assert key_of(name) == key
    assert suffix_of(name) == suffix


def test_energies_of_an_electron_are_shown_in_electron_volts() -> None:
    assert show_usual(0.6 * 1.602176634e-19, "J") == "600 meV"
    assert show_usual(5.6e-15, "J") == "5.6 fJ"


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("300000 USD", "_usd"),
        ("1.8 USD/h", "_usd_per_s"),
        ("0.0826 USD/kWh", "_usd_per_j"),
        ("0.04 USD/W/month", "_usd_per_w_s"),
        ("273 kgCO2e", "_kg"),
        ("383.5 gCO2e/kWh", "_kg_per_j"),
        ("500 gCO2e/cm2", "_kg_per_m2"),
        ("2.75 kWh/cm2", "_j_per_m2"),
        ("65 gCO2e/GB", "_kg_per_byte"),
        ("3 gCO2e/h", "_kg_per_s"),
    ],
)
def test_money_and_carbon_are_shown_as_people_write_them(text: str, suffix: str) -> None:
    assert show_usual(parse(text, suffix), SUFFIXES[suffix][0]) == text


def test_long_times_are_shown_in_minutes_hours_days_and_years() -> None:
    times_s = (0.0, 90.0, 60.0, 3600.0, 7200.0, 86400.0, 86400.0 * 30, 31557600.0, 31557600.0 * 7.5, 4e-6)
    shown = ["0 s", "90 s", "1 min", "1 h", "2 h", "1 day", "30 days", "1 year", "7.5 years", "4 us"]
    assert [show_time(time_s) for time_s in times_s] == shown
