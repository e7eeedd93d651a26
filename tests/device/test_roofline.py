"""The roofline, and the ridge point of the first TPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import Array, Real, column, row
from npuwatt.device.accelerator import Accelerator
from npuwatt.device.roofline import ridge_macs_per_byte, roofline_time_s
from npuwatt.preset import library
from npuwatt.study.scenario import load_device

FIXED = settings(derandomize=True, deadline=None)

amounts = st.floats(min_value=1e-3, max_value=1e15)
gains = st.floats(min_value=1, max_value=100)


def time_s(macs: Array, moved: Array, *, peak_macs_per_s: Real, bandwidth_bytes_per_s: Real) -> Array:
    return roofline_time_s({"compute": macs / peak_macs_per_s, "memory": moved / bandwidth_bytes_per_s})


def test_tpu_v1_ridge_point() -> None:
    # Jouppi et al., ISCA 2017, figure 5: 1350 operations (MACs) per byte of weights; 92 TOPS, 34 GB/s.
    chip = load_device(str(Path(library.presets_root(), "devices", "tpu-v1.yaml"))).record
    assert isinstance(chip, Accelerator)
    ridge = ridge_macs_per_byte(chip.peak_macs_per_s["int8"], chip.memory.bandwidth_bytes_per_s)
    assert ridge == pytest.approx(1350, rel=0.01)


@FIXED
@given(macs=amounts, moved=amounts, peak=amounts, bandwidth=amounts)
def test_no_op_is_faster_than_either_roof(macs: float, moved: float, peak: float, bandwidth: float) -> None:
    found = time_s(np.array([macs]), np.array([moved]), peak_macs_per_s=peak, bandwidth_bytes_per_s=bandwidth)
    assert found >= macs / peak
    assert found >= moved / bandwidth


@FIXED
@given(macs=amounts, moved=amounts, peak=amounts, bandwidth=amounts, gain=gains)
def test_more_of_either_roof_is_never_slower(
    macs: float, moved: float, peak: float, bandwidth: float, gain: float
) -> None:
    ops = np.array([macs]), np.array([moved])
    slow = time_s(*ops, peak_macs_per_s=peak, bandwidth_bytes_per_s=bandwidth)
    assert time_s(*ops, peak_macs_per_s=peak, bandwidth_bytes_per_s=gain * bandwidth) <= slow
    assert time_s(*ops, peak_macs_per_s=gain * peak, bandwidth_bytes_per_s=bandwidth) <= slow


@FIXED
@given(moved=amounts, peak=amounts, bandwidth=amounts)
def test_at_the_ridge_point_arithmetic_and_data_take_equally_long(
    moved: float, peak: float, bandwidth: float
) -> None:
    macs = moved * ridge_macs_per_byte(peak, bandwidth)
    assert macs / peak == pytest.approx(moved / bandwidth)


def test_a_column_of_roofs_equals_a_loop_over_them() -> None:
    macs, moved = row([1e9, 5e12, 3.0]), row([4e9, 1e6, 9e9])
    peaks, bandwidths = column([1e12, 4e13]), column([1e11, 3e12])
    for array in (macs, moved, peaks, bandwidths):
        array.flags.writeable = False
    together = time_s(macs, moved, peak_macs_per_s=peaks, bandwidth_bytes_per_s=bandwidths)
    assert together.shape == (2, 3)
    for place, (peak, bandwidth) in enumerate([(1e12, 1e11), (4e13, 3e12)]):
        alone = time_s(macs, moved, peak_macs_per_s=peak, bandwidth_bytes_per_s=bandwidth)
        np.testing.assert_array_equal(together[place : place + 1], alone)
