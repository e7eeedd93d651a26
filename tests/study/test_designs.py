"""Many array designs at once equal each alone; what cannot be a product is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import column
from npuwatt.device.crossbar import Arrays, Crossbar
from npuwatt.device.per_macro import array_area_m2
from npuwatt.errors import NpuwattError
from npuwatt.explore.sweep import MACRO, sweep
from npuwatt.preset.paths import with_values
from npuwatt.study.accuracy import accuracy
from npuwatt.study.designs import Designs, designs
from npuwatt.study.scenario import load_device

TIMES_S = (0.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 31557600.0)
AXES: dict[tuple[str, ...], Any] = {
    ("rows",): [64.0, 128.0, 256.0, 512.0, 1000.0],
    ("adc", "bits"): np.arange(4.0, 12.0),
    ("cell_bits",): [1.0, 2.0, 4.0, 8.0],
    ("node",): np.linspace(10e-9, 90e-9, 7),
}


def arrays_of(name: str) -> Arrays:
    found = load_device(name).record
    assert isinstance(found, Crossbar)
    return found.arrays


def numbers(found: Designs, points: int) -> np.ndarray[Any, Any]:
    """Everything a design is asked for, (P, ...)."""
    assert found.accuracy is not None
    columns = [
        found.total_j, found.time_s, found.area_m2, found.mapping.arrays_count, found.mapping.utilization_fraction,
    ]  # fmt: skip
    return np.hstack([*(np.broadcast_to(value, (points, 1)) for value in columns), found.accuracy.snr_ratio])


@pytest.mark.parametrize("name", ["isaac-rram", "ibm-hermes", "hfox-rram"])
def test_a_grid_of_designs_equals_a_loop_on_a_hundred_of_them(name: str) -> None:
    arrays = arrays_of(name)
    grid = [axis.ravel() for axis in np.meshgrid(*AXES.values(), indexing="ij")]
    many = with_values(arrays, {path: column(values) for path, values in zip(AXES, grid, strict=True)})
    together = numbers(designs(many, k=1000, n=300, times_s=TIMES_S), len(grid[0]))
    for place in np.random.default_rng(5).integers(0, len(grid[0]), 100):
        alone = with_values(
            arrays, {path: float(values[place]) for path, values in zip(AXES, grid, strict=True)}
        )
        found = numbers(designs(alone, k=1000, n=300, times_s=TIMES_S), 1)
        np.testing.assert_allclose(together[place], found[0], rtol=1e-9)


def test_gates_are_exact() -> None:
    assert designs(arrays_of("sram-digital-cim"), k=100, n=100).accuracy is None
    assert designs(arrays_of("mythic-m1076"), k=100, n=100).accuracy is None


def test_a_matrix_has_sides() -> None:
    with pytest.raises(NpuwattError, match=r"matrix: 0 x 10 given; expected sides of 1 or more"):
        designs(arrays_of("isaac-rram"), k=0, n=10)


def test_rows_of_a_sweep_tell_of_one_array_if_asked() -> None:
    asked: dict[str, Any] = {"vary": ["devices.isaac-rram.arrays.adc.bits=5,8"]}
    (plain,), (rows,) = (
        list(sweep(["isaac-rram"], **asked, per_macro=per_macro).chunks()) for per_macro in (False, True)
    )
    assert plain == {name: values for name, values in rows.items() if name not in MACRO}
    assert rows["array_snr_db"][0] < rows["array_snr_db"][1]
    board = load_device("isaac-rram").record
    assert isinstance(board, Crossbar)
    found = accuracy("isaac-rram", at="0s,1day,1year").compensated.snr_db[0]
    names = ("array_snr_db", "array_snr_after_1_day_db", "array_snr_after_1_year_db")
    assert [rows[name][1] for name in names] == pytest.approx(found)
    assert rows["array_area_m2"][1] == pytest.approx(float(np.max(array_area_m2(board.arrays))))


@pytest.mark.parametrize("name", ["gpu", "sram-digital-cim"])
def test_what_a_device_has_not_is_left_empty(name: str) -> None:
    (rows,) = sweep([name], vary=["request.batch=1,2"], per_macro=True).chunks()
    assert rows["array_snr_db"] == [None, None]
    assert (rows["array_area_m2"] == [None, None]) == (name == "gpu")
