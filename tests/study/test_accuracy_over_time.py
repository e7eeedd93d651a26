"""Accuracy of a board's products over time: published curve, ranges, schedules, verdicts, faults."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.device.accuracy import product_accuracy
from npuwatt.device.crossbar import Crossbar, columns_per_weight, write_energy_j
from npuwatt.errors import NpuwattError
from npuwatt.study.accuracy import AccuracyStudy, accuracy, layout_of
from npuwatt.study.scenario import load_device
from npuwatt.study.verdicts import BANDS, verdict_of

DAY_S, YEAR_S = 86400.0, 31557600.0


@pytest.fixture(scope="module")
def hermes() -> AccuracyStudy:
    return accuracy("ibm-hermes", trials=64, reprogram_every="30day")


def test_moments_are_those_asked_for_in_their_order(hermes: AccuracyStudy) -> None:
    assert hermes.times_s == (0.0, 60.0, 3600.0, DAY_S, 30 * DAY_S, YEAR_S)
    assert accuracy("ibm-hermes", at="1h,0s").times_s == (3600.0, 0.0)


def test_the_study_is_the_product_on_the_arrays_of_the_preset(hermes: AccuracyStudy) -> None:
    board = load_device("ibm-hermes").record
    assert isinstance(board, Crossbar)
    assert board.arrays.noise is not None
    found = product_accuracy(board.arrays.noise, layout_of(board.arrays), hermes.times_s)
    np.testing.assert_array_equal(found.snr_db, hermes.compensated.snr_db)
    # 256 unit cells of a pair a row, signs in the pair
    layout = hermes.layout
    assert (layout.rows_count, layout.columns_count, layout.is_pair) == (256, 256, True)
    assert layout.weight_bits == 7
    assert layout.on_siemens == pytest.approx(20.7e-6)


def test_the_range_holds_the_answer_and_the_simulation_lies_near(hermes: AccuracyStudy) -> None:
    found = hermes.compensated.snr_db
    assert (hermes.low_db < found).all()
    assert (found < hermes.high_db).all()
    assert hermes.trial_db is not None
    assert (abs(hermes.trial_db - found) < 0.7).all()  # 64 columns of 256 cells differ by some tenths


def test_dividing_the_mean_drift_out_helps_once_there_is_some(hermes: AccuracyStudy) -> None:
    won = hermes.compensated.snr_db - hermes.plain.snr_db
    assert (won[0, 2:] > 1).all()
    assert (np.diff(won[0]) > -0.5).all()


def test_only_known_times_at_the_known_temperature_are_no_extrapolation() -> None:
    assert not accuracy("ibm-hermes").compensated.is_extrapolated.any()
    hot = accuracy("ibm-hermes", temperature="85 degC")
    assert hot.compensated.is_extrapolated.all()
    assert any(note.startswith("extrapolated") for note in hot.notes)
    assert (hot.compensated.snr_db <= accuracy("ibm-hermes").compensated.snr_db + 1e-9).all()
    rram = accuracy("isaac-rram", at="1day,2day,3day").compensated.is_extrapolated[0]
    assert rram.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("snr_db", "verdict"),
    [
        (np.inf, "usable as is"),
        (25.0, "usable as is"),
        (24.99, "needs noise-aware training"),
        (15.0, "needs noise-aware training"),
        (14.99, "do not deploy"),
        (-np.inf, "do not deploy"),
    ],
)
def test_verdicts_change_at_the_edges_of_their_bands(snr_db: float, verdict: str) -> None:
    assert verdict_of(snr_db) == verdict
    assert verdict in {name for _, name in BANDS}


def test_fewer_converter_bits_cost_signal_and_lossless_ones_cost_none() -> None:
    few = accuracy("ibm-hermes", changes=["devices.ibm-hermes.arrays.adc.bits=5"])
    many = accuracy("ibm-hermes", changes=["devices.ibm-hermes.arrays.adc.bits=14"])
    assert few.converter_loss_db > 0.5
    assert abs(many.converter_loss_db) < 0.01
    # ISAAC: 128 rows of one by two bits give 385 sums
    assert accuracy("isaac-rram").lossless_bits == 9


def test_weights_of_long_tails_lose_signal_to_their_scale() -> None:
    gaussian, laplace = (
        accuracy("ibm-hermes", distribution=shape).compensated.snr_db[0, 0]
        for shape in ("gaussian", "laplace")
    )
    assert laplace < gaussian - 2
    clipped = accuracy("ibm-hermes", distribution="laplace", clip=4.0).compensated.snr_db[0, 0]
    assert clipped > laplace


def test_writing_a_network_takes_its_cells_and_their_pulses(hermes: AccuracyStudy) -> None:
    board = load_device("ibm-hermes").record
    assert isinstance(board, Crossbar)
    loading, schedule = hermes.loading, hermes.schedule
    assert loading is not None
    assert schedule is not None
    cells = loading.boards_count * 8 * 64 * 256 * 512
    assert 0 < cells - loading.cells_count < 8 * 64 * 256 * 512  # the last board is not full
    assert columns_per_weight(board.arrays) == 2
    spent = loading.cells_count * write_energy_j(board.arrays) / board.host.regulator_efficiency_fraction
    assert loading.energy_j == pytest.approx(spent)
    assert schedule.power_w == pytest.approx(loading.energy_j / (30 * DAY_S))
    assert schedule.downtime_fraction == pytest.approx(loading.time_s / (30 * DAY_S))
    # 1e8 pulses of life, 20 for each writing
    assert schedule.lifetime_s == pytest.approx(1e8 / 20 * 30 * DAY_S)
    assert schedule.snr_db == pytest.approx(hermes.compensated.snr_db[0, 4])


@pytest.mark.parametrize("interval", ["1day", "10day"])
def test_writing_twice_as_often_halves_the_life_and_doubles_the_power(interval: str) -> None:
    once = accuracy("isaac-rram", reprogram_every=interval).schedule
    twice = accuracy(
        "isaac-rram", reprogram_every=interval.replace("1", "0.5", 1).replace("0.50", "5")
    ).schedule
    assert once is not None
    assert twice is not None
    assert (twice.lifetime_s, twice.power_w) == pytest.approx((once.lifetime_s / 2, once.power_w * 2))


def test_cells_worn_out_in_a_week_are_told() -> None:
    changes = ["devices.isaac-rram.arrays.write.endurance=1000"]
    found = accuracy("isaac-rram", reprogram_every="10min", changes=changes)
    assert any(note.startswith("written that often, cells are worn out in") for note in found.notes)
    assert not any("worn out" in note for note in accuracy("isaac-rram", reprogram_every="30day").notes)


def test_cells_that_are_streamed_have_nothing_to_write_again() -> None:
    found = accuracy("sram-analog-cim", reprogram_every="1day")
    assert (found.loading, found.schedule) == (None, None)
    assert any("nothing to write again" in note for note in found.notes)
    assert (np.diff(found.compensated.snr_db) == 0).all()  # powered cells do not age


def test_converters_outside_the_survey_are_told() -> None:
    found = accuracy("ibm-hermes", changes=["devices.ibm-hermes.arrays.adc.bits=3"])
    assert any("fewer than 4 bits lie outside the survey" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("gpu", {}, "device 'gpu': is accelerator, whose products are exact; expected a crossbar"),
        ("pim", {}, "is near-bank-pim, whose products are exact"),
        ("sram-digital-cim", {}, "adds bits with gates"),
        ("mythic-m1076", {}, "nothing is known about the noise of its cells"),
        ("ibm-hermes", {"at": "5"}, "--at: '5' has no unit"),
        ("ibm-hermes", {"at": "-1s"}, "--at: '-1s' given; expected a time from 0 to 1e+12 s"),
        ("ibm-hermes", {"at": "1h,,1day"}, "--at: '' is not a finite number"),
        ("ibm-hermes", {"at": "1s," * 1000 + "1s"}, "1001 moments given; expected at most 1000"),
        (
            "ibm-hermes",
            {"temperature": "500 degC"},
            "--temperature: '500 degC' given; expected one from 233 K to 423 K",
        ),
        (
            "ibm-hermes",
            {"temperature": "85"},
            "--temperature: '85' has no unit; expected a unit like K or degC",
        ),
        ("ibm-hermes", {"distribution": "gausian"}, "did you mean 'gaussian'?"),
        ("ibm-hermes", {"clip": 0.0}, "--clip: 0 given; expected a number from 0.1 to 100"),
        ("ibm-hermes", {"clip": float("nan")}, "--clip: nan given"),
        ("ibm-hermes", {"reprogram_every": "0s"}, "--reprogram-every: '0s' given; expected a time above 0"),
        ("ibm-hermes", {"reprogram_every": "1us"}, "expected more than writing takes"),
        ("ibm-hermes", {"trials": -1}, "--trials: -1 given; expected a whole number from 0 to 4096"),
        ("ibm-hermes", {"network": "nobody"}, "unknown network"),
        ("nobody", {}, "unknown device"),
    ],
)
def test_what_cannot_be_asked_is_one_line(name: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        accuracy(name, **options)  # type: ignore[arg-type] # each option is of its own type
    (fault,) = caught.value.faults
    assert told in fault


def test_the_number_that_matters_most_to_the_range_is_named() -> None:
    found = accuracy("isaac-rram", at="1day")
    assert found.range_mostly_from == "arrays.wire"
    # it alone moves most of the range: with it known exactly there is little left above
    fixed = accuracy("isaac-rram", at="1day", changes=["devices.isaac-rram.arrays.wire=0.5ohm"])
    assert fixed.compensated.snr_db > found.compensated.snr_db + 5


def test_what_holds_writing_back_is_named() -> None:
    usual = accuracy("ibm-hermes").loading
    assert usual is not None
    # 33.6 MB a board over a link of 16 GB/s at 0.8
    assert usual.held_back_by == "link"
    assert usual.time_s == pytest.approx(2.62e-3, rel=0.01)
    write = "devices.ibm-hermes.arrays.write"
    slow = accuracy("ibm-hermes", changes=[f"{write}.pulses=1000", f"{write}.conductance=13uS"]).loading
    assert slow is not None
    assert slow.held_back_by == "pulses"
    assert slow.time_s == pytest.approx(256 * 1000 * 100e-9)
    hungry = accuracy("ibm-hermes", changes=[f"{write}.conductance=1S"]).loading
    assert hungry is not None
    assert hungry.held_back_by == "power"


def test_a_life_has_the_range_of_endurance_and_pulses(hermes: AccuracyStudy) -> None:
    schedule = hermes.schedule
    assert schedule is not None
    # endurance 1e6 to 1e9 around 1e8, 5 to 50 pulses around 20
    assert schedule.lifetime_low_s == pytest.approx(schedule.lifetime_s / 100 * 20 / 50)
    assert schedule.lifetime_high_s == pytest.approx(schedule.lifetime_s * 10 * 20 / 5)


def test_noise_that_was_given_for_other_conductances_is_told() -> None:
    changes = [f"devices.isaac-rram.arrays.cell.{text}" for text in ("g_max=20uS", "g_min=1uS")]
    assert any(
        "change arrays.noise with arrays.cell" in note
        for note in accuracy("isaac-rram", changes=changes).notes
    )
    assert not any("change arrays.noise" in note for note in accuracy("isaac-rram").notes)
