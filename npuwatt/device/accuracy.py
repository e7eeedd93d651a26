"""How exact a product in analog memory cells is: signal over noise, by quadrature over what weights may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real, column, row, side_by_side, total
from npuwatt.device.digits import Values, node_mass, nodes, power_beyond, share_beyond
from npuwatt.device.drift import LEAST_K, MOST_K, Noise, age_s, conductance_moments, is_beyond_law
from npuwatt.device.layout import (
    Layout,
    active_rows,
    input_spelling,
    weight_scale_ratio,
    weight_spelling,
    wire_ohm,
)
from npuwatt.record import Record, names_of

ROOM_K = 300.0
CHUNK = 1024  # points at once, so that what they need stays in the processor's cache
MOST_LOAD = 9e4  # of a column's wire by its cells: beyond it nothing arrives, and cosh would overflow
GAUSSIAN = Values()
_GAUSS = np.polynomial.legendre.leggauss(6)
PLACES, PLACE_SHARES = (row(_GAUSS[0]) + 1) / 2, row(_GAUSS[1]) / 2
"""Places along a column from 0 to 1, and the share of cells that each stands for."""
PARTS = ("programming", "drift", "read", "wire", "clipping", "input", "adc_clipping", "adc_rounding")
"""What keeps a product from being exact. Programming includes relaxation, drift its mean and its spread; clipping is
of weights; input is the rounding and clipping of inputs."""


class Accuracy(Record):
    """Noise over signal of a product by part, (P, T): T moments since programming."""

    noise_ratio: dict[str, Array]
    is_extrapolated: npt.NDArray[np.bool_]  # beyond the times and the temperature that the cell's laws were fitted at

    @property
    def snr_ratio(self) -> Array:
        """Power of the exact product over that of its error; infinite where there is none."""
        with np.errstate(divide="ignore"):
            return np.asarray(1 / sum(self.noise_ratio.values()))

    @property
    def snr_db(self) -> Array:
        """The same in decibels."""
        return np.asarray(10 * np.log10(self.snr_ratio))

    @property
    def enob_bits(self) -> Array:
        """Bits of an ideal converter that adds as much noise."""
        return (self.snr_db - 1.76) / 6.02


class Weights(Record):
    """The weights of a layout over M nodes, and the cells that hold them: what does not change with time.

    Weights are shares of the largest. Where one cell holds a signed weight, zero stands at 1/2.
    """

    mass_ratio: Array  # share of weights at each node, (P, M)
    level_siemens: Array  # that a cell may be meant to hold, lowest first, (P, B)
    level: npt.NDArray[np.intp]  # of the cell of each digit of a node, (digits, M)
    worth_ratio: Array  # of each digit, when full, (digits, 1)
    meant_ratio: Array  # what the cells of a node are meant to give together, (P, M)
    level_mass_ratio: Array  # share of cells at each level, each by the square of its worth, (P, B)
    sum_power_ratio: Array  # mean square of what cells of each digit give, (P, digits)
    meant_power_ratio: Array  # mean square of `meant`, (P, 1)
    power_ratio: Array  # mean square of weights, (P, 1)
    lost_ratio: Array  # noise over signal of weights beyond the largest, (P, 1)
    cell_ratio: Array  # conductance of each level over the range of them, (P, B)
    level_shares_ratio: tuple[Array, ...]  # for each level, the share of cells of each digit, (P, digits)
    column_siemens: Array  # mean conductance of cells on a column, as far as it loads what counts, (P, 1)
    column_spread_ratio: Array  # share of that load's square which no common gain removes, (P, 1)


class Inputs(Record):
    """The inputs of a layout by the steps that drive them."""

    sum_power_ratio: Array  # mean square of what each step drives, (P, steps)
    worth_ratio: Array  # of one in each, in root mean squares of inputs, (P, steps)
    digit_shares_ratio: tuple[Array, ...]  # for each digit, its share in each step, (P, steps)
    lost_ratio: Array  # noise over signal of what is rounded or lies beyond the largest, (P, 1)


def product_accuracy(
    noise: Noise,
    layout: Layout,
    times_s: Sequence[float],
    *,
    temperature_k: Real = ROOM_K,
    is_compensated: bool = True,
) -> Accuracy:
    """Signal over noise of a matrix product, at moments since its weights were programmed.

    Errors of cells add up as their products do, so that the number of rows cancels but for wires and for the largest
    weight. One gain, found from products that are known, is divided out (`is_compensated`); columns are alike
    here, so that a gain for each would win at most one part in `rows`.

    Parameters
    ----------
    times_s
        T moments.
    temperature_k : scalar or (P, 1)
        Of the cells ever since they were programmed.

    Returns
    -------
    Accuracy
        By `PARTS`.

    Raises
    ------
    NpuwattError
        A time below 0, or a temperature that no memory is made for.
    """
    require.within(LEAST_K, MOST_K, temperature=temperature_k)
    for time_s in times_s:
        require.not_negative(time=time_s)
    given = noise, layout, temperature_k
    points = _points(given)
    shape = points, len(times_s)
    flags = (is_beyond_law(noise, time_s, temperature_k) for time_s in times_s)
    is_extrapolated = np.broadcast_to(side_by_side(flags).astype(bool), shape)
    if points == 1:  # moments take the place of design points
        parts = _moment(noise, layout, _weights(layout), _inputs(layout), _age(given, column(times_s)), is_compensated)
        spread = {name: np.broadcast_to(part, shape[::-1]).T for name, part in parts.items()}
        return Accuracy(noise_ratio=spread, is_extrapolated=is_extrapolated)
    found = {name: np.empty(shape) for name in PARTS}
    for index in _alike(layout, points):
        some = _taken(given, index)
        weights, inputs = _weights(some[1]), _inputs(some[1])
        for place, time_s in enumerate(times_s):
            parts = _moment(some[0], some[1], weights, inputs, _age(some, time_s), is_compensated)
            for name, part in parts.items():
                found[name][index, place : place + 1] = part
    return Accuracy(noise_ratio=found, is_extrapolated=is_extrapolated)


def wire_loss(load: Array) -> Array:
    """Share of a cell's current that the wire of its column takes, at `PLACES` from the converter: (P, L).

    `load` is the mean conductance of a cell times the resistance of the column times its rows. The column is
    a line that leaks evenly along its length; for small loads the loss is load (x - x^2 / 2), in the mean a third of
    the load. Cells at rest load the wire too, for their rows are held at zero volt.
    """
    rate = np.sqrt(np.minimum(load, MOST_LOAD))
    return 2 * np.sinh(rate * (1 - PLACES / 2)) * np.sinh(rate * PLACES / 2) / np.cosh(rate)


def _moment(
    noise: Noise, layout: Layout, weights: Weights, inputs: Inputs, age: Real, is_compensated: bool
) -> dict[str, Array]:
    """Noise over signal at one moment, by part: (P, 1) each."""
    mean, variances = conductance_moments(noise, weights.level_siemens, age)
    span = layout.on_siemens - layout.off_siemens
    if layout.is_pair:
        mean, variances = mean - mean[:, :1], tuple(one + one[:, :1] for one in variances)
    held = _together(weights.level, weights.worth_ratio, mean, span)
    programming, drift, read = (_mean(weights.level_mass_ratio, one) / span**2 for one in variances)
    square, shared = _mean(weights.mass_ratio, held**2), _mean(weights.mass_ratio, held * weights.meant_ratio)
    gain = shared / weights.meant_power_ratio
    load = weights.column_siemens * gain * wire_ohm(layout) * active_rows(layout) ** 2
    loss = wire_loss(load)
    kept = 1 - total(loss * PLACE_SHARES)
    unsure = programming + drift + read + np.maximum(square - gain * shared, 0.0)  # about the gain
    unsure = unsure / np.sum(np.square(weights.worth_ratio))  # of a cell
    clipping, rounding = _adc_noise(layout, weights, inputs, (gain * kept) ** 2, unsure * kept**2)
    divisor = gain if is_compensated else 1.0
    if is_compensated:
        loss = 1 - (1 - loss) / kept
        clipping, rounding = clipping / (gain * kept) ** 2, rounding / (gain * kept) ** 2
    square, shared = square / divisor**2, shared / divisor
    bias = square - 2 * shared + weights.meant_power_ratio
    wire = square * total(loss**2 * PLACE_SHARES) - 2 * (square - shared) * total(loss * PLACE_SHARES)
    if is_compensated:
        wire = wire + square * weights.column_spread_ratio * np.square((1 - load * kept**2 - kept) / (2 * kept))
    errors = {
        "programming": programming / divisor**2,
        "drift": drift / divisor**2 + np.maximum(bias, 0.0),  # differences of sums, which rounding may take below 0
        "read": read / divisor**2,
        "wire": np.maximum(wire, 0.0),
        "adc_clipping": clipping,
        "adc_rounding": rounding,
    }
    lost = {"clipping": weights.lost_ratio, "input": inputs.lost_ratio}
    return {name: lost[name] if name in lost else errors[name] / weights.power_ratio for name in PARTS}


def _adc_noise(
    layout: Layout, weights: Weights, inputs: Inputs, growth: Array, unsure: Array
) -> tuple[Array, Array]:
    """Mean square error of weights that would be as bad as clipped, and as rounded, conversions of column sums.

    All conversions share one full scale, set when the array was programmed. Since then the mean square of
    sums has changed by `growth`, and each cell adds `unsure` by noise. Digits of weights and steps of inputs join afterwards,
    each by its worth. Rounding errs by a twelfth of the square of a step in the mean, and by less where sums
    are whole numbers of few cells, or hardly reach half a step.

    Source
    ------
    Widrow and Kollar, "Quantization Noise", Cambridge 2008, chapters 4 and 5: the error's mean square as a
    Fourier series over the characteristic function of what is rounded.
    """
    if layout.adc_bits_count is None:
        return np.zeros((1, 1)), np.zeros((1, 1))
    slices, steps = weights.worth_ratio.shape[0], inputs.worth_ratio.shape[-1]
    worth = np.square(np.repeat(weights.worth_ratio.T, steps, axis=-1) * np.tile(inputs.worth_ratio, slices))
    sums = np.repeat(weights.sum_power_ratio, steps, axis=-1) * np.tile(inputs.sum_power_ratio, slices)
    full = np.square(layout.adc_clip_ratio) * np.max(sums, axis=-1, keepdims=True)
    noise = np.tile(inputs.sum_power_ratio, slices) * unsure
    power = np.maximum(sums * growth + noise, 1e-300)
    past = power_beyond(GAUSSIAN, np.sqrt(full / power))[1] * power
    square = full * np.exp2(2 - 2 * layout.adc_bits_count)  # of a step
    empty = _whole_sums(layout, weights, inputs, np.inf)
    resting, rounded = square / 12, square / 12 * (1 - empty)
    for order in (1, 2, 3):
        turns = 2 * np.pi * order / np.sqrt(square)
        part = (-1) ** order * square / (np.pi * order) ** 2 * np.exp(np.square(turns) / -2 * noise)
        whole = _whole_sums(layout, weights, inputs, turns * np.sqrt(growth))
        resting, rounded = resting + part, rounded + part * (whole - empty)
    rounded = rounded + empty * np.clip(resting, 0.0, noise)
    return total(past * worth), total(np.clip(rounded, 0.0, power) * worth)


def _whole_sums(layout: Layout, weights: Weights, inputs: Inputs, turns: Real) -> Array:
    """Characteristic function of column sums over the root of their rows, at `turns`, without noise: (P, conversions).

    At infinity, the share of sums that no cell adds anything to.
    """
    steps, slices = inputs.worth_ratio.shape[-1], weights.worth_ratio.shape[0]
    if not weights.level_shares_ratio or not inputs.digit_shares_ratio:  # so many levels that sums are smooth
        sums = np.repeat(weights.sum_power_ratio, steps, axis=-1) * np.tile(inputs.sum_power_ratio, slices)
        return np.exp(np.square(turns) / -2 * sums)
    rows, turned = active_rows(layout), np.zeros((1, 1))
    for digit, of_steps in enumerate(inputs.digit_shares_ratio):
        for level, of_slices in zip(weights.cell_ratio.T, weights.level_shares_ratio, strict=True):
            both = np.repeat(of_slices, steps, axis=-1) * np.tile(of_steps, slices)
            size = digit * column(level) / np.sqrt(rows)
            turned = turned + both * np.where(size > 0, 1 - np.cos(turns * size) if np.all(np.isfinite(turns)) else 1.0, 0.0)
    return np.abs(1 - turned) ** rows


def _weights(layout: Layout) -> Weights:
    number, scale = weight_spelling(layout), weight_scale_ratio(layout)
    node, is_cut = nodes(number), layout.weight_clip_ratio is None  # cut: the scale is the largest weight there is
    mass = node_mass(node, layout.weights, scale, is_cut=is_cut, is_offset=not layout.is_pair)
    digits, level = np.unique(node.digit_count, return_inverse=True)
    level = level.reshape(node.digit_count.shape)
    worth = node.worth_ratio * (number.base - 1)
    span = layout.on_siemens - layout.off_siemens
    siemens = layout.off_siemens + span * row(digits) / (number.base - 1)
    first = siemens[:, :1] if layout.is_pair else 0.0
    meant = _together(level, worth, siemens - first, span)
    cell = (siemens - first) / span
    sums = side_by_side(_mean(mass, cell[:, one] ** 2) for one in level)
    weight = node.worth_ratio.T @ node.digit_count - (0.0 if layout.is_pair else 0.5)
    power, lost = _mean(mass, weight**2), np.zeros((1, 1))
    if not is_cut:
        whole, lost = power_beyond(layout.weights, scale)
        power = power + (whole / np.square(scale) - share_beyond(layout.weights, scale)) / (1 if layout.is_pair else 4)
    shares = np.zeros((len(digits), mass.shape[-1]))
    for one, value in zip(level, worth, strict=True):
        shares[one, np.arange(mass.shape[-1])] += value**2
    load, spread = _column_load(layout, mass, cell, level, worth)
    return Weights(
        mass_ratio=mass,
        level_siemens=siemens,
        level=level,
        worth_ratio=worth,
        meant_ratio=meant,
        level_mass_ratio=mass @ shares.T,
        sum_power_ratio=sums,
        meant_power_ratio=_mean(mass, meant**2),
        power_ratio=power,
        lost_ratio=np.atleast_2d(lost),
        cell_ratio=cell,
        level_shares_ratio=tuple(mass @ (level == one).T for one in range(len(digits) if len(digits) <= 8 else 0)),
        column_siemens=load,
        column_spread_ratio=spread,
    )


def _column_load(
    layout: Layout, mass: Array, cell: Array, level: npt.NDArray[np.intp], worth: Array
) -> tuple[Array, Array]:
    """Mean conductance of the cells on a column that would load it as the columns of all digits do together, and
    the share of its square that differs from digit to digit and from column to column: (P, 1) each."""
    span, share = layout.on_siemens - layout.off_siemens, 0.5 if layout.is_pair else 1.0  # a pair has one cell at rest
    alike, differing, given = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1))
    for one, value in zip(level, worth, strict=True):
        mean, square = share * _mean(mass, cell[:, one]), share * _mean(mass, cell[:, one] ** 2)
        load = span * mean + (layout.off_siemens if layout.is_pair else 0.0)
        chance = 1.25 * span**2 * (square - mean**2) / active_rows(layout)  # 5/4: those far away weigh more
        part = value * cell[:, one]
        given, alike, differing = given + part, alike + load * part, differing + np.sqrt(load**2 + chance) * part
    power, square = _mean(mass, given**2), _mean(mass, differing**2)
    common = _mean(mass, alike * given) ** 2 / power
    return np.sqrt(square / power), 1 - common / square


def _inputs(layout: Layout) -> Inputs:
    number, clip = input_spelling(layout), layout.input_clip_ratio
    if number is None:
        one = np.ones((1, 1))
        return Inputs(sum_power_ratio=one, worth_ratio=one, digit_shares_ratio=(), lost_ratio=np.zeros((1, 1)))
    node = nodes(number)
    mass = node_mass(node, layout.inputs, clip, is_cut=False, is_offset=False)
    return Inputs(
        sum_power_ratio=mass @ np.square(node.digit_count).T,
        worth_ratio=node.worth_ratio.T * clip,
        digit_shares_ratio=tuple(
            mass @ (node.digit_count == one).T for one in range(number.base if number.base <= 8 else 0)
        ),
        lost_ratio=np.atleast_2d(np.square(clip / number.largest) / 12 + power_beyond(layout.inputs, clip)[1]),
    )


def _together(level: npt.NDArray[np.intp], worth: Array, siemens: Array, span: Real) -> Array:
    """What the cells of each node give together, each digit by its worth, over the range of conductances: (P, M)."""
    parts = (value * siemens[:, one] for one, value in zip(level, worth, strict=True))
    return np.asarray(sum(parts) / span)


def _mean(mass: Array, values: Array) -> Array:
    """Mean over the nodes: (P, 1)."""
    return column(np.einsum("pm,pm->p", mass, values))


def _age(given: tuple[Noise, Layout, Real], time_s: Real) -> Real:
    return age_s(given[0], time_s, given[2])


def _alike(layout: Layout, points: int) -> Iterator[npt.NDArray[np.intp]]:
    """Places of design points that spell weights and inputs alike, a chunk at a time."""
    bits = layout.weight_bits, layout.cell_bits, layout.dac_bits, 0.0 if layout.input_bits is None else layout.input_bits
    table = np.broadcast_to(side_by_side(bits), (points, len(bits)))
    kinds, kind = np.unique(table, axis=0, return_inverse=True)
    for one in range(len(kinds)):
        places = np.flatnonzero(kind.reshape(-1) == one)
        yield from (places[start : start + CHUNK] for start in range(0, len(places), CHUNK))


def _points(value: Any) -> int:
    """How many design points a record holds, or others inside it."""
    if isinstance(value, Record):
        value = tuple(getattr(value, name) for name in names_of(value))
    if isinstance(value, tuple):
        return max(map(_points, value), default=1)
    return value.shape[0] if getattr(value, "ndim", 0) == 2 else 1


def _taken(value: Any, index: npt.NDArray[np.intp]) -> Any:
    """A record with only some of its design points."""
    if isinstance(value, Record):
        return type(value)(**{name: _taken(getattr(value, name), index) for name in names_of(value)})
    if isinstance(value, tuple):
        return tuple(_taken(one, index) for one in value)
    return value[index] if getattr(value, "ndim", 0) == 2 and len(value) > 1 else value
