"""Chips as truth: the model by hand and by law, what a file may leave out, how errors are counted."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import Array
from npuwatt.audit.chip_rows import CLASSES, Chips, read_chips
from npuwatt.audit.chips import (
    CONSTANTS,
    JudgedChips,
    built_in,
    by_class,
    factor_limit,
    group_means,
    group_medians,
    interval_score,
    judge,
    judged_chips,
    statistics,
)
from npuwatt.device.macro import MacroConstants, Macros, conversion_farad, mac_energy_j
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.scenario import load_constants

SHIPPED = load_constants(CONSTANTS, MacroConstants).record
ROUND = replace(
    SHIPPED, cell_capacitance_farad=2e-15, level_capacitance_farad=0.5e-15, gate_capacitance_farad=1.5e-15,
    serial_fraction=0.5, current_ratio=5.0, magnetic_ratio=10.0, analog_floor_m=14e-9, digital_floor_m=28e-9,
)  # fmt: skip
HEADER = (
    "chip_id,device,node_nm,array_rows,rows_active,voltage_V,input_bits,weight_bits,adc_bits,compute_model"
)
ROW = "mine,SRAM (6T),65,256,8,1,3,2,4,QR"
RESULTS = "tops_w,e_per_mac_fJ,e_invocation_pJ,t_invocation_ns,tops,tops_mm2,area_mm2"
BENCHMARK: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "chips.py"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def macros(**values: Any) -> Macros:
    usual: dict[str, Any] = {
        "node_m": 65e-9, "voltage_v": 1.0, "input_bits_count": 3.0, "weight_bits_count": 2.0, "adc_bits_count": 4.0,
        "rows_count": 8.0, "is_digital": False, "is_current": False, "is_magnetic": False,
    }  # fmt: skip
    return Macros(**{name: np.array([value]).ravel() for name, value in (usual | values).items()})


def energy_j(**values: Any) -> float:
    return float(mac_energy_j(macros(**values), ROUND)[0])


def chips(*lines: str) -> Chips:
    Path("chips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_chips("chips.csv")


def predicted(*lines: str) -> Array:
    return judge(chips(*lines)).predicted_j


def flags_of(found: Chips) -> list[set[str]]:
    return [{name for name, where in found.flags.items() if where[row]} for row in range(len(found.lines))]


def with_cell(name: str, cell: str, row: str = ROW) -> str:
    cells = row.split(",")
    cells[HEADER.split(",").index(name)] = cell
    return ",".join(cells)


def test_an_analog_macro_by_hand() -> None:
    # 3 input bits in 1 + 0.5 * 2 = 2 steps, each over 2 cells of 2 fF; 16 levels of 0.5 fF shared by 8 rows; 1 V, 65 nm.
    assert energy_j() == pytest.approx(65 / 28 * (2 * 2 * 2e-15 + 16 * 0.5e-15 / 8))
    # Four rows of one bit sum to 0 .. 4: five levels, however many bits the converter has. 7 nm counts as 14.
    few = {"input_bits_count": 1.0, "weight_bits_count": 1.0, "rows_count": 4.0, "adc_bits_count": 6.0}
    assert energy_j(**few, node_m=7e-9, voltage_v=0.5) == pytest.approx(
        0.25 * 0.5 * (2e-15 + 5 * 0.5e-15 / 4)
    )


def test_a_digital_macro_by_hand() -> None:
    # 1.5 fF for each product of two bits at 0.9 V; 22 nm counts as 28.
    bits = {"input_bits_count": 8.0, "weight_bits_count": 4.0, "voltage_v": 0.9, "is_digital": True}
    assert energy_j(**bits, node_m=22e-9) == pytest.approx(0.81 * 32 * 1.5e-15)
    assert energy_j(**bits, node_m=56e-9) == pytest.approx(2 * 0.81 * 32 * 1.5e-15)


def test_cells_that_pass_current_take_more_and_magnetic_ones_most() -> None:
    none = {"adc_bits_count": 0.0, "rows_count": 1e9}  # so that cells are all there is
    charge, current = (energy_j(**none, is_current=passes) for passes in (False, True))
    assert current == pytest.approx(5 * charge, rel=1e-6)
    assert energy_j(**none, is_current=True, is_magnetic=True) == pytest.approx(50 * charge, rel=1e-6)


def test_the_fitted_charges_are_those_of_circuits() -> None:
    # ZigZag-IMC at 28 nm: a NOR2 multiplies with 0.35 fF, a full adder has 4.2 fF, of which not all switches each time.
    assert 0.35e-15 < SHIPPED.gate_capacitance_farad < 4.55e-15
    # Word and bit line of a cell at 28 nm: 0.35 fF each; drivers, precharge and summing come on top.
    assert 0.7e-15 < SHIPPED.cell_capacitance_farad < 7e-15
    # Unit capacitors of SAR converters are drawn at a few tenths of a femtofarad and more.
    assert 0.1e-15 < SHIPPED.level_capacitance_farad < 2e-15


organisations = st.fixed_dictionaries(
    {
        "node_m": st.floats(3e-9, 2e-7),
        "voltage_v": st.floats(0.3, 2),
        "input_bits_count": st.floats(1, 16),
        "weight_bits_count": st.floats(1, 16),
        "adc_bits_count": st.floats(0, 14),
        "rows_count": st.floats(1, 4096),
        "is_digital": st.booleans(),
        "is_current": st.booleans(),
        "is_magnetic": st.booleans(),
    }
)


@given(given_=organisations, gain=st.floats(1, 10))
@settings(derandomize=True, deadline=None)
@pytest.mark.parametrize(
    "name", ["voltage_v", "node_m", "input_bits_count", "weight_bits_count", "adc_bits_count"]
)
def test_more_of_it_never_takes_less(name: str, given_: dict[str, Any], gain: float) -> None:
    assert energy_j(**given_ | {name: given_[name] * gain}) >= energy_j(**given_) * (1 - 1e-12)


@given(given_=organisations, gain=st.floats(1, 100))
@settings(derandomize=True, deadline=None)
def test_more_active_rows_never_raise_the_share_of_the_converter(given_: dict[str, Any], gain: float) -> None:
    few, many = macros(**given_), macros(**given_ | {"rows_count": given_["rows_count"] * gain})
    assert conversion_farad(many, ROUND)[0] <= conversion_farad(few, ROUND)[0] * (1 + 1e-12)


@given(points=st.lists(organisations, min_size=2, max_size=5))
@settings(derandomize=True, deadline=None)
def test_many_macros_equal_a_loop_over_them(points: list[dict[str, Any]]) -> None:
    together = macros(**{name: [point[name] for point in points] for name in points[0]})
    np.testing.assert_allclose(mac_energy_j(together, ROUND), [energy_j(**point) for point in points])


def test_results_of_a_chip_never_enter_its_prediction() -> None:
    header, plain = f"{HEADER},{RESULTS}", predicted(HEADER, ROW)
    count = len(RESULTS.split(","))
    for value in ("0.001", "1", "7e8"):
        assert predicted(header, f"{ROW},{','.join([value] * count)}").tolist() == plain.tolist()
        for place in range(count):
            cells = [""] * count
            cells[place] = value
            assert predicted(header, f"{ROW},{','.join(cells)}").tolist() == plain.tolist()


MISSING = {
    "voltage_V": ("0.8", "voltage_V: 0.8 taken"),
    "input_bits": ("8", "input_bits: 8 taken"),
    "weight_bits": ("8", "weight_bits: 8 taken"),
    "adc_bits": ("6", "adc_bits: 6 taken"),
    "rows_active": ("256", "rows_active: array_rows taken"),
    "compute_model": ("QS", "compute_model: charge taken"),
}


@pytest.mark.parametrize(("name", "default", "flag"), [(name, *rest) for name, rest in MISSING.items()])
def test_what_is_missing_is_taken_by_default_and_flagged(name: str, default: str, flag: str) -> None:
    stated = predicted(HEADER, with_cell(name, default))
    empty = chips(HEADER, with_cell(name, ""))
    assert judge(empty).predicted_j.tolist() == stated.tolist()
    assert flags_of(empty) == [{flag, "nothing measured"}]
    place = HEADER.split(",").index(name)
    without = [
        ",".join(cell for at, cell in enumerate(line.split(",")) if at != place) for line in (HEADER, ROW)
    ]
    absent = chips(*without)
    assert judge(absent).predicted_j.tolist() == stated.tolist()
    assert flags_of(absent) == flags_of(empty)


def test_a_bare_row_is_predicted_all_the_same() -> None:
    found = chips("chip_id,device,node_nm", "a,SRAM,28", "b,RRAM,28", "c,digital SRAM,28")
    alike = ("b,RRAM,28,,64,0.8,8,4,6,IS", "a,SRAM,28,,64,0.8,8,8,6,QR", "c,SRAM,28,,64,0.8,8,8,,DIMC")
    b, a, c = predicted(HEADER, *alike)
    assert judge(found).predicted_j.tolist() == [a, b, c]
    assert "weight_bits: 4 taken" in flags_of(found)[1]  # what noise leaves of a conductance
    assert {"rows_active: 64 taken", "compute_model: current taken"} <= flags_of(found)[1]
    assert flags_of(found)[2] == {
        "voltage_V: 0.8 taken", "input_bits: 8 taken", "weight_bits: 8 taken", "nothing measured",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("device", "model", "name"),
    [
        ("SRAM (6T)", "QR", "SRAM analog"),
        ("SRAM analog", "", "SRAM analog"),
        ("SRAM (6T+D)", "", "SRAM digital"),
        ("SRAM (6T)", "DIMC", "SRAM digital"),
        ("Digital SRAM", "", "SRAM digital"),
        ("SRAM (8T+DAC)", "QS", "SRAM analog"),
        ("RRAM (ReRAM+Par)", "IS", "RRAM"),
        ("ReRAM", "", "RRAM"),
        ("PCM (PCM+cross)", "IS", "PCM"),
        ("STT-MRAM", "", "MRAM"),
        ("eDRAM (1T1C)", "QR", "eDRAM"),
        ("NOR-flash (NOR-F)", "IS", "flash"),
        ("eFlash (6T+4FGT)", "IS", "flash"),
        ("FeFET", "", "other"),
    ],
)
def test_a_device_tells_its_class(device: str, model: str, name: str) -> None:
    found = chips(HEADER, with_cell("device", device, with_cell("compute_model", model)))
    assert found.classes.tolist() == [name]
    assert found.macros.is_digital.tolist() == [name == "SRAM digital"]
    assert ("technology not known" in flags_of(found)[0]) == (name == "other")


def test_a_measured_energy_is_native_whatever_its_operations_are() -> None:
    header = HEADER + ",tops_w,e_per_mac_fJ,ops_definition,confidence"
    bare = with_cell("weight_bits", "")
    found = chips(
        header,
        f"{ROW},100,,native,",  # 2 operations at 100 TOPS/W
        f"{ROW},100,,1b-normalised: a product of bits is 2 OPs,",  # and 3 x 2 products of bits
        f"{ROW},100,7,,",
        f"{ROW},,7,1b-normalised,",
        f"{bare},100,,1-bit normalised,",
        f"{bare},100,7,1b normalised,check: twice as much elsewhere",
        f"{ROW},,,,",
    )
    want = [20e-15, 120e-15, 20e-15, 7e-15, np.nan, 7e-15, np.nan]
    np.testing.assert_allclose(found.measured_j, want)
    assert "nothing measured: normalised to 1 bit, and its bits are not told" in flags_of(found)[4]
    assert "doubtful by its own remarks" in flags_of(found)[5]
    assert flags_of(found)[6] == {"nothing measured"}
    assert flags_of(found)[0] == set()


def judged_by_hand(measured: list[float], silicon: list[str]) -> JudgedChips:
    """Predictions of 1 pJ between 0.5 and 4 pJ."""
    count = len(measured)
    own = replace(chips(HEADER, *[ROW] * count), measured_j=np.array(measured) * 1e-12, silicon=silicon)
    ones = np.full(count, 1e-12)
    return replace(judge(own), predicted_j=ones, low_j=0.5 * ones, high_j=4 * ones)


def test_several_rows_of_a_chip_count_once() -> None:
    found = statistics(judged_by_hand([8, 8, 8, 2, 1 / 3, np.nan], ["a", "a", "a", "b", "c", "d"]))
    assert found is not None
    assert (found.chips, found.rows) == (3, 5)
    assert found.median_ratio == pytest.approx(3)  # of 8, 2 and 3
    assert found.within_2x_fraction == pytest.approx(1 / 3)
    assert found.coverage_fraction == pytest.approx(1 / 3)
    assert found.p90_ratio == pytest.approx(3 + 0.8 * 5)


def test_coverage_and_score_by_hand() -> None:
    width = np.log(8)
    found = statistics(judged_by_hand([1, 8, 0.25], ["a", "b", "c"]))
    assert found is not None
    assert found.coverage_fraction == pytest.approx(1 / 3)
    # Each miss is by a factor of 2 and counts 2 / 0.2 times.
    assert found.score_ratio == pytest.approx(width + (0 + 10 * np.log(2) + 10 * np.log(2)) / 3)
    values = interval_score(np.zeros(3), np.ones(3), np.array([0.5, 2.0, -0.5]))
    np.testing.assert_allclose(values, [1, 11, 6])


def test_rows_of_one_silicon_under_two_names_are_one_chip() -> None:
    header = HEADER + ",same_as,tops_w"
    found = statistics(judge(chips(header, f"{ROW},,10", with_cell("chip_id", "other") + ",mine,10")))
    assert found is not None
    assert (found.chips, found.rows) == (1, 2)


@given(values=st.lists(st.tuples(st.integers(0, 4), st.floats(-5, 5)), min_size=1, max_size=30))
@settings(derandomize=True, deadline=None)
def test_medians_and_means_by_group_equal_a_loop(values: list[tuple[int, float]]) -> None:
    _, groups = np.unique([group for group, _ in values], return_inverse=True)
    numbers = np.array([value for _, value in values])
    each = [numbers[groups == group] for group in range(groups.max() + 1)]
    np.testing.assert_allclose(group_medians(numbers, groups), [np.median(one) for one in each])
    np.testing.assert_allclose(group_means(numbers, groups), [np.mean(one) for one in each], atol=1e-12)


@pytest.mark.parametrize("text", ["", "0.5", "nan", "inf", "two", "1_0", "-3"])
def test_a_limit_that_is_no_factor_is_refused(text: str) -> None:
    with pytest.raises(NpuwattError, match=r"^--max-factor: .* expected a number from 1"):
        factor_limit(text)


def test_the_selection_names_its_publications_and_holds_no_results_but_what_is_measured() -> None:
    text = [
        line for line in Path(built_in()).read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    rows = list(csv.DictReader(text))
    assert len({row["chip_id"] for row in rows}) == SHIPPED.left_out.chips_count
    for row in rows:
        assert len(row["name"]) > 20
        assert row["venue_year"][-4:].isdigit()
    banned = {"e_invocation_pJ", "t_invocation_ns", "tops", "tops_mm2", "area_mm2"}
    assert not banned & set(rows[0])
    assert np.isfinite(read_chips(built_in()).measured_j).all()


def test_every_class_has_an_interval() -> None:
    assert set(SHIPPED.low_ratio) == set(SHIPPED.high_ratio) == {name.replace(" ", "-") for name in CLASSES}
    assert set(by_class(judged_chips())) <= set(CLASSES)
    for name, low in SHIPPED.low_ratio.items():
        assert low < 1 < SHIPPED.high_ratio[name]


@pytest.fixture(scope="module")
def data() -> Any:
    return BENCHMARK["Data"](built_in())


def test_the_selection_gives_the_constants_of_the_preset(data: Any) -> None:
    form = BENCHMARK["SHIPPED"]
    values = data.fit(data.energy(form), data.group >= 0)
    refit = BENCHMARK["with_values"](SHIPPED, values, form)
    for name in BENCHMARK["FITTED"]:
        assert getattr(SHIPPED, name) == pytest.approx(getattr(refit, name), rel=0.02), name


def test_chips_left_out_give_the_intervals_of_the_preset_and_lie_within_two_in_the_median(data: Any) -> None:
    off = data.left_out(data.energy(BENCHMARK["SHIPPED"]), range(len(data.names)))
    for name, (low, high) in BENCHMARK["intervals"](data, off[:, 0]).items():
        assert SHIPPED.low_ratio[name] == pytest.approx(low, rel=0.02), name
        assert SHIPPED.high_ratio[name] == pytest.approx(high, rel=0.02), name
    assert np.exp(np.median(off[:, 1])) <= 2.0
    inside = []
    for place in range(len(data.names)):
        others = np.arange(len(data.names)) != place
        low, high = BENCHMARK["ends"](off[others, 0], data.classes[others], str(data.classes[place]))
        inside.append(low <= off[place, 0] <= high)
    assert 0.7 <= np.mean(inside) <= 0.9
