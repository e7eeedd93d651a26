"""Signal over noise of products in analog cells: published values, a simulation of the cells, and laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column, row, total
from npuwatt.device.accuracy import PARTS, PLACE_SHARES, PLACES, Accuracy, product_accuracy, wire_loss
from npuwatt.device.digits import Values
from npuwatt.device.drift import Drift, Fit, Heat, LogLaw, Noise, ReadNoise, Refits
from npuwatt.device.drift_trials import arriving_ratio, trial_snr_ratio
from npuwatt.device.layout import Layout, weight_scale_ratio
from npuwatt.errors import NpuwattError
from npuwatt.record import replace

FIXED = settings(derandomize=True, deadline=None, max_examples=40)
DAY_S, YEAR_S = 86400.0, 365.25 * 86400
TIMES_S = (0.0, 60.0, 3600.0, DAY_S, 30 * DAY_S, YEAR_S)


def log_law(slope: float, intercept: float, low: float, high: float) -> LogLaw:
    return LogLaw(slope_ratio=slope, intercept_ratio=intercept, low_ratio=low, high_ratio=high)


# Nandakumar et al., ICECS 2019, and Joshi et al., Nature Communications 11, 2473 (2020), as in IBM's aihwkit.
PCM = Noise(
    scale_siemens=25e-6,
    programming_siemens=(0.26348e-6, 1.9650e-6, -1.1731e-6),
    heat=Heat(activation_energy_j=5e-20, reference_temperature_k=300.0),
    drift=Drift(
        start_s=20.0,
        mean=log_law(-0.0155, 0.0244, 0.049, 0.1),
        spread=log_law(-0.0125, -0.0059, 0.008, 0.045),
    ),
    read=ReadNoise(read_time_s=250e-9, power_ratio=0.0088, exponent_ratio=0.65, cap_ratio=0.2),
)
TILE = Layout(
    rows_count=256.0, columns_count=256.0, on_siemens=25e-6, off_siemens=0.0, weight_bits=8.0, cell_bits=8.0
)
SILENT = Noise(scale_siemens=25e-6, programming_siemens=(0.0,))


def steady(sigma_siemens: float) -> Noise:
    """Cells that are off by as much wherever they stand, and stay so."""
    return Noise(scale_siemens=25e-6, programming_siemens=(sigma_siemens,))


def drifting(mean: float, spread: float, sigma_siemens: float = 0.0) -> Noise:
    """The same, drifting with one exponent wherever they stand."""
    law = Drift(start_s=20.0, mean=log_law(0, mean, 0, 1), spread=log_law(0, spread, 0, 1))
    return replace(steady(sigma_siemens), drift=law, heat=PCM.heat)


def db(ratio: Any) -> Any:
    return 10 * np.log10(ratio)


@pytest.mark.parametrize(
    "published",
    [
        # IBM's aihwkit laws: one-dimensional quadrature, and the simulator itself with exact converters on 512 x 512.
        (16.84, 16.74, 15.95, 14.95, 13.76, 12.88),
        (17.13, 17.06, 16.08, 15.02, 13.84, 12.94),
    ],
)
def test_phase_change_memory_loses_as_much_in_a_year_as_published(published: tuple[float, ...]) -> None:
    assert weight_scale_ratio(TILE) == pytest.approx(4.33, abs=0.006)
    found = product_accuracy(PCM, TILE, TIMES_S)
    np.testing.assert_allclose(found.snr_db, [published], atol=0.35)
    assert not found.is_extrapolated.any()


@pytest.mark.parametrize("bits", [5, 6, 7, 8])
def test_a_converter_that_clips_at_4_sigma_gives_602_decibels_a_bit_less_73(bits: int) -> None:
    # Bennett 1948: 6.02 B + 4.77 - 20 log10(clip / sigma).
    found = product_accuracy(SILENT, replace(TILE, adc_bits_count=float(bits)), (0.0,))
    assert found.snr_db.item() == pytest.approx(6.02 * bits + 4.77 - 20 * math.log10(4), abs=0.35)


def test_inputs_of_8_bits_are_rounded_to_127_steps_a_side() -> None:
    found = product_accuracy(SILENT, replace(TILE, input_bits=8.0, input_clip_ratio=5.0), (0.0,))
    assert found.snr_ratio.item() == pytest.approx(12 * (127 / 5) ** 2, rel=0.01)


def test_wires_take_a_third_of_their_load_and_vary_by_a_45th_of_its_square() -> None:
    loss = wire_loss(column([1e-3]))
    mean = total(loss * PLACE_SHARES).item()
    assert mean == pytest.approx(1e-3 / 3, rel=1e-3)
    assert total((loss - mean) ** 2 * PLACE_SHARES).item() == pytest.approx(1e-6 / 45, rel=1e-2)
    np.testing.assert_allclose(loss, 1e-3 * (PLACES - PLACES**2 / 2), rtol=1e-3)
    assert wire_loss(column([1e9])).max() == pytest.approx(1)  # nothing arrives


def test_what_arrives_past_the_wire_solves_ohms_and_kirchhoffs_laws_at_every_cell() -> None:
    rng = np.random.default_rng(0)
    siemens, volts, wire = rng.uniform(0, 1e-3, 40), rng.normal(size=40), 7.0
    ladder = (
        np.diag(siemens + 2 / wire) - np.diag(np.full(39, 1 / wire), 1) - np.diag(np.full(39, 1 / wire), -1)
    )
    ladder[-1, -1] -= 1 / wire  # the far end is open
    node_volts = np.linalg.solve(ladder, siemens * volts)
    current = node_volts[0] / wire  # into the converter, at zero volt
    arriving = arriving_ratio(siemens.reshape(1, -1), wire)
    assert current == pytest.approx((arriving * siemens * volts).sum())
    np.testing.assert_array_equal(arriving_ratio(row([1e-3, 1e-3]), 0.0), [[1.0, 1.0]])


@FIXED
@given(
    cell_bits=st.integers(1, 8), weight_bits=st.integers(1, 16), is_pair=st.booleans(),
    off=st.floats(0, 20e-6), rows=st.integers(1, 1000),
)  # fmt: skip
def test_without_noise_and_rounding_a_product_is_exact(
    cell_bits: int, weight_bits: int, is_pair: bool, off: float, rows: int
) -> None:
    layout = replace(
        TILE, cell_bits=float(cell_bits), weight_bits=float(weight_bits), is_pair=is_pair, off_siemens=off,
        rows_count=float(rows),
    )  # fmt: skip
    for is_compensated in (True, False):
        found = product_accuracy(SILENT, layout, TIMES_S, is_compensated=is_compensated)
        assert np.isposinf(found.snr_ratio).all() and np.isposinf(found.snr_db).all()
        assert np.isposinf(found.enob_bits).all()


@settings(FIXED, max_examples=60)
@given(
    programming_us=st.floats(0.2, 1.5), ageing=st.floats(0, 1), rows=st.integers(96, 192), cell_bits=st.integers(1, 8),
    weight_bits=st.integers(6, 8), adc_bits=st.one_of(st.none(), st.integers(4, 10)), dac_bits=st.sampled_from([1, 2, 8]),
    wire_ohm=st.floats(0, 1), is_pair=st.booleans(), off_us=st.floats(0, 2), time_s=st.sampled_from(TIMES_S),
    is_raw=st.booleans(), shape=st.sampled_from(["gaussian", "laplace"]),
    clip=st.one_of(st.none(), st.floats(2.5, 4.0)),
)  # fmt: skip
def test_the_closed_form_agrees_with_simulated_cells_within_half_a_decibel(
    programming_us: float, ageing: float, rows: int, cell_bits: int, weight_bits: int, adc_bits: int | None, dac_bits: int,
    wire_ohm: float, is_pair: bool, off_us: float, time_s: float, is_raw: bool, shape: Any, clip: float | None,
) -> None:  # fmt: skip
    assert PCM.read is not None
    is_compensated = not is_raw or not is_pair  # raw single cells err alike in all columns: too few draws
    noise = drifting(0.06 * ageing, 0.02 * ageing, programming_us * 1e-6)
    noise = replace(noise, read=replace(PCM.read, power_ratio=0.0088 * ageing))
    layout = replace(
        TILE, rows_count=float(rows), cell_bits=float(cell_bits), weight_bits=float(weight_bits), input_bits=8.0,
        dac_bits=float(dac_bits), adc_bits_count=None if adc_bits is None else float(adc_bits), wire_ohm=wire_ohm,
        is_pair=is_pair, off_siemens=off_us * 1e-6, weights=Values(shape=shape),
        weight_clip_ratio=clip if shape == "gaussian" else None,  # few draws of a long tail lie beyond a clip
    )  # fmt: skip
    closed = product_accuracy(noise, layout, (time_s,), is_compensated=is_compensated)
    trial = trial_snr_ratio(
        noise,
        layout,
        (time_s,),
        rng=np.random.default_rng(0),
        is_compensated=is_compensated,
        trials=192,
        vectors=512,
    )
    assert closed.snr_db.item() == pytest.approx(db(trial).item(), abs=0.5)


@FIXED
@given(
    sigma=st.floats(1e-8, 2e-6), mean=st.floats(0, 0.1), spread=st.floats(0, 0.04), cell_bits=st.integers(1, 8),
    is_pair=st.booleans(), gap=st.floats(0, 1e-6),
)  # fmt: skip
def test_without_programming_again_a_product_never_gets_better(
    sigma: float, mean: float, spread: float, cell_bits: int, is_pair: bool, gap: float
) -> None:
    # Cells that drift by one exponent wherever they stand, and no wires: these lose less as conductances fall.
    layout = replace(TILE, cell_bits=float(cell_bits), is_pair=is_pair, off_siemens=gap)
    found = product_accuracy(drifting(mean, spread, sigma), layout, TIMES_S).snr_db
    assert (np.diff(found) <= 1e-6).all()  # rounding of numbers that differ by 60 dB
    converted = replace(TILE, adc_bits_count=8.0, input_bits=8.0)
    assert (np.diff(product_accuracy(drifting(mean, spread, sigma), converted, TIMES_S).snr_db) <= 1e-6).all()


@FIXED
@given(time_s=st.floats(1, 1e9), colder=st.floats(233, 423), warmer=st.floats(0, 100))
def test_hotter_is_never_better(time_s: float, colder: float, warmer: float) -> None:
    temperatures = column([colder, min(colder + warmer, 423.0)])
    found = product_accuracy(drifting(0.06, 0.02, 3e-7), TILE, (0.0, time_s), temperature_k=temperatures)
    assert found.snr_db[1, 0] == found.snr_db[0, 0]  # before any time has passed
    assert found.snr_db[1, 1] <= found.snr_db[0, 1]


@FIXED
@given(
    cell_bits=st.integers(1, 8), dac_bits=st.integers(1, 8), is_pair=st.booleans(), clip=st.floats(1, 6),
    sigma=st.floats(0, 2e-6),
)  # fmt: skip
def test_more_converter_bits_never_hurt(
    cell_bits: int, dac_bits: int, is_pair: bool, clip: float, sigma: float
) -> None:
    bits = column(np.arange(1.0, 17.0))
    layout = replace(
        TILE, cell_bits=float(cell_bits), input_bits=8.0, dac_bits=float(dac_bits), is_pair=is_pair,
        adc_bits_count=bits, adc_clip_ratio=clip,
    )  # fmt: skip
    found = product_accuracy(steady(sigma), layout, (0.0,)).snr_db
    assert (np.diff(found, axis=0) > 0).all()
    exact = product_accuracy(steady(sigma), replace(layout, adc_bits_count=None), (0.0,)).snr_db
    assert (found < exact).all()


@FIXED
@given(mean=st.floats(0.001, 0.1), cell_bits=st.integers(1, 8), is_pair=st.booleans(), off=st.floats(0, 1e-5))
def test_dividing_by_the_gain_removes_a_drift_that_all_cells_share(
    mean: float, cell_bits: int, is_pair: bool, off: float
) -> None:
    layout = replace(TILE, cell_bits=float(cell_bits), is_pair=is_pair, off_siemens=off)
    noise = drifting(mean, 0.0)
    raw = product_accuracy(noise, layout, (DAY_S,), is_compensated=False)
    assert product_accuracy(noise, layout, (DAY_S,)).snr_db > 100 + raw.snr_db


@FIXED
@given(ohm=st.floats(0, 10), more=st.floats(0.01, 10), is_pair=st.booleans(), is_compensated=st.booleans())
def test_wires_without_resistance_add_nothing_and_more_of_it_adds_more(
    ohm: float, more: float, is_pair: bool, is_compensated: bool
) -> None:
    layout = replace(TILE, wire_ohm=column([0.0, ohm, ohm + more]), is_pair=is_pair)
    found = product_accuracy(PCM, layout, (0.0,), is_compensated=is_compensated).noise_ratio["wire"]
    assert found[0] == 0
    assert found[1] < found[2]


def test_fewer_active_rows_lose_less_in_the_wire() -> None:
    layout = replace(TILE, wire_ohm=5.0, active_rows_count=column([0.0, 256.0, 64.0]))
    wire = product_accuracy(steady(0.0), layout, (0.0,)).noise_ratio["wire"]
    assert wire[0] == wire[1] > 3 * wire[2]


COLUMNS: dict[str, tuple[float, ...]] = {
    "rows_count": (64.0, 128.0, 256.0),
    "columns_count": (64.0, 128.0, 256.0),
    "on_siemens": (20e-6, 25e-6, 30e-6),
    "off_siemens": (0.0, 1e-6, 2e-6),
    "weight_bits": (4.0, 6.0, 8.0),
    "cell_bits": (1.0, 2.0, 4.0),
    "input_bits": (4.0, 6.0, 8.0),
    "dac_bits": (1.0, 2.0, 8.0),
    "adc_bits_count": (5.0, 7.0, 9.0),
    "adc_clip_ratio": (3.0, 4.0, 5.0),
    "input_clip_ratio": (2.0, 3.0, 4.0),
    "weight_clip_ratio": (2.0, 3.0, 4.0),
    "active_rows_count": (32.0, 48.0, 64.0),
    "wire_ohm": (0.0, 1.0, 3.0),
}


@pytest.mark.parametrize("names", [*((name,) for name in COLUMNS), tuple(COLUMNS)], ids="-".join)
@pytest.mark.parametrize("is_pair", [True, False])
def test_points_equal_a_loop_over_them_and_every_number_counts(names: tuple[str, ...], is_pair: bool) -> None:
    start = replace(TILE, **{name: values[1] for name, values in COLUMNS.items()}, is_pair=is_pair)
    if names == (
        "columns_count",
    ):  # how many weights there are counts where the largest of them sets the scale
        start = replace(start, weight_clip_ratio=None)
    changed: dict[str, Any] = {name: column(COLUMNS[name]) for name in names}
    for values in changed.values():
        values.setflags(write=False)
    temperatures = (280.0, 300.0, 340.0)
    together = product_accuracy(PCM, replace(start, **changed), TIMES_S, temperature_k=column(temperatures))
    for place, temperature in enumerate(temperatures):
        one: dict[str, Any] = {name: COLUMNS[name][place] for name in names}
        alone = product_accuracy(PCM, replace(start, **one), TIMES_S, temperature_k=temperature)
        for part in PARTS:
            np.testing.assert_allclose(
                together.noise_ratio[part][place], alone.noise_ratio[part][0], rtol=1e-9, atol=1e-13
            )
        np.testing.assert_array_equal(together.is_extrapolated[place], alone.is_extrapolated[0])
    cold = product_accuracy(PCM, replace(start, **changed), TIMES_S).snr_db
    assert len(np.unique(cold[:, 0])) == 3


def test_many_points_come_back_in_their_places() -> None:
    rng = np.random.default_rng(0)
    cell_bits, adc_bits = rng.choice([1.0, 2.0, 8.0], 3000), rng.uniform(4, 10, 3000)
    layout = replace(TILE, cell_bits=column(cell_bits), adc_bits_count=column(adc_bits))
    together = product_accuracy(PCM, layout, (0.0, DAY_S)).snr_db
    for place in rng.choice(3000, 20):
        alone = replace(TILE, cell_bits=float(cell_bits[place]), adc_bits_count=float(adc_bits[place]))
        np.testing.assert_allclose(together[place], product_accuracy(PCM, alone, (0.0, DAY_S)).snr_db[0])


def test_parts_add_up_and_tell_effective_bits() -> None:
    found = Accuracy(
        noise_ratio={"read": row([0.06, 0.01]), "wire": row([0.04, 0.0])},
        is_extrapolated=np.zeros((1, 2), dtype=bool),
    )
    np.testing.assert_allclose(found.snr_ratio, [[10, 100]])
    np.testing.assert_allclose(found.snr_db, [[10, 20]])
    np.testing.assert_allclose(found.enob_bits, [[8.24 / 6.02, 18.24 / 6.02]])


def test_answers_beyond_the_laws_are_marked() -> None:
    fits = (Fit(time_s=DAY_S, spread_siemens=(1e-6,)), Fit(time_s=2 * DAY_S, spread_siemens=(1.1e-6,)))
    noise = replace(steady(5e-7), refits=Refits(start_s=1.0, fits=fits), heat=PCM.heat)
    moments = (0.0, DAY_S, 30 * DAY_S)
    found = product_accuracy(noise, TILE, moments, temperature_k=column([300.0, 310.0]))
    np.testing.assert_array_equal(found.is_extrapolated, [[False, False, True], [True, True, True]])
    np.testing.assert_array_equal(
        product_accuracy(noise, TILE, moments).is_extrapolated, found.is_extrapolated[:1]
    )


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: product_accuracy(PCM, TILE, (0.0,), temperature_k=500.0), "temperature: 500 given; expected a number from 233 to 423"),
        (lambda: product_accuracy(PCM, TILE, (0.0, -1.0)), "time: -1 given; expected a finite number, 0 or more"),
        (lambda: replace(TILE, adc_clip_ratio=0.0), "adc_clip: 0 given; expected a finite number above 0"),
        (lambda: replace(TILE, input_clip_ratio=-1.0), "input_clip: -1 given; expected a finite number above 0"),
        (lambda: replace(TILE, weight_clip_ratio=0.0), "weight_clip: 0 given; expected a finite number above 0"),
        (lambda: replace(TILE, adc_bits_count=0.0), "adc_bits: 0 given; expected a number from 1 to 32"),
        (lambda: replace(TILE, off_siemens=25e-6), "off: not below 'on'; expected a smaller conductance"),
        (lambda: Values(histogram_count=(1.0, 0.0)), "histogram.1: 0 given; expected the largest there"),
        (
            lambda: trial_snr_ratio(PCM, TILE, (-1.0,), rng=np.random.default_rng(0)),
            "time: -1 given; expected a finite number, 0 or more",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(ask: Any, said: str) -> None:
    with pytest.raises(NpuwattError) as raised:
        ask()
    assert str(raised.value) == said
