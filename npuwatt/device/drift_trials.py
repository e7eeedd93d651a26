"""A product in analog cells, simulated cell by cell: the twin that the closed form of `accuracy.py` is held to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, row
from npuwatt.device.accuracy import ROOM_K
from npuwatt.device.digits import Spelling, Values
from npuwatt.device.drift import (
    LEAST_K,
    MOST_K,
    Noise,
    age_s,
    drift_exponents,
    drift_folds,
    programmed_siemens,
    read_siemens,
    share_of_scale,
)
from npuwatt.device.layout import (
    Layout,
    active_rows,
    input_spelling,
    weight_scale_ratio,
    weight_spelling,
    wire_ohm,
)
from npuwatt.record import Record


class Cells(Record):
    """Cells, and what sets each apart from others of its technology: standard normal draws, (columns, rows)."""

    target_siemens: Array
    programmed_count: Array
    drifting_count: Array


class Slice(Record):
    """The cells of one digit of the weights: those of positive and of negative weights, or one kind for both."""

    sides: tuple[Cells, ...]
    worth_ratio: float  # of a full digit, over the largest weight


class Step(Record):
    """Voltages of the rows in one step, over that of the least input, (vectors, rows)."""

    volts_ratio: Array
    worth_ratio: float  # of one such voltage, in root mean squares of inputs


def trial_snr_ratio(
    noise: Noise,
    layout: Layout,
    times_s: Sequence[float],
    *,
    rng: np.random.Generator,
    temperature_k: float = ROOM_K,
    is_compensated: bool = True,
    trials: int = 64,
    vectors: int = 256,
) -> Array:
    """Signal over noise of products of `vectors` random inputs with `trials` columns of random weights: (1, T).

    Weights are spelled in slices, written, aged, read and loaded by the wire of their column; inputs are driven
    step by step; each current is clipped and rounded; slices and steps are joined as numbers and compared
    with the exact product. Layout and noise are one design, without columns of design points.
    """
    require.within(LEAST_K, MOST_K, temperature=temperature_k)
    require.not_negative(time=min(times_s))
    weights, slices = _written(layout, (trials, int(active_rows(layout))), rng)
    inputs, steps = _driven(layout, (vectors, int(active_rows(layout))), rng)
    exact, full = inputs @ weights.T, _full_scale(layout, slices, steps)
    meant = [_net(tuple(cells.target_siemens for cells in part.sides)) for part in slices]
    found = []
    for time_s in times_s:
        age = age_s(noise, time_s, temperature_k)
        nets = [
            _net(tuple(_reaching(layout, noise, cells, age, rng) for cells in part.sides)) for part in slices
        ]
        gain = _gain(slices, nets, meant) if is_compensated else 1.0
        product = np.zeros_like(exact)
        for part, net in zip(slices, nets, strict=True):
            for step in steps:
                current = step.volts_ratio @ net.T  # Ohm and Kirchhoff: I = sum V G along each column
                product += part.worth_ratio * step.worth_ratio * _converted(layout, current, full, rng) / gain
        error = (product - _at_zero(layout, slices, steps)) * _weight_ratio(layout) - exact
        found.append(np.sum(exact**2) / np.sum(error**2))
    return row(found)


def cells_for(target_siemens: Array, rng: np.random.Generator) -> Cells:
    """Cells that are meant to hold conductances, drawn at random from their technology."""
    one, other = rng.standard_normal((2, *target_siemens.shape))
    return Cells(target_siemens=target_siemens, programmed_count=one, drifting_count=other)


def read_cells_siemens(noise: Noise, cells: Cells, age_s: Real, rng: np.random.Generator) -> Array:
    """One reading of cells some time after they were programmed, at the temperature of their laws: (columns, rows)."""
    centre, spread = programmed_siemens(noise, cells.target_siemens, age_s)
    held = np.maximum(centre + spread * cells.programmed_count, 0.0)
    g = share_of_scale(noise, cells.target_siemens)
    if noise.drift is not None:
        mean, differing = drift_exponents(noise.drift, g)
        held = held * np.exp(-(mean + differing * cells.drifting_count) * drift_folds(noise.drift, age_s))
    ratio, added = read_siemens(noise, g, age_s)
    one, other = rng.standard_normal((2, *held.shape))
    return np.asarray(held * (1 + ratio * one) + added * other)


def arriving_ratio(conductance_siemens: Array, wire: Real) -> Array:
    """Share of each cell's current that arrives at the foot of its column, the first row: (columns, rows).

    By reciprocity, the voltage at the cell's place on the wire if the foot were at one volt and all rows at rest.
    Found from the far end on, by Ohm's law along each piece of wire and Kirchhoff's sum at each cell.
    """
    volts, current = np.ones(conductance_siemens.shape[0]), np.zeros(conductance_siemens.shape[0])
    along = np.empty_like(conductance_siemens.T)
    for place in reversed(range(len(along))):
        along[place] = volts
        current = current + conductance_siemens[:, place] * volts
        volts = volts + wire * current
    return np.asarray((along / volts).T)


def _written(layout: Layout, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Array, list[Slice]]:
    """Random weights in their root mean squares, (columns, rows), and the cells that hold them."""
    number, scale = weight_spelling(layout), float(weight_scale_ratio(layout))
    meant = _draws(layout.weights, shape, rng) / scale
    if layout.weight_clip_ratio is None:  # the scale is the largest weight there is
        while np.any(beyond := np.abs(meant) > 1):
            meant[beyond] = _draws(layout.weights, (int(beyond.sum()),), rng) / scale
    place = meant if layout.is_pair else (meant + 1) / 2
    code = np.clip(np.rint(place * number.largest), -number.largest, number.largest)
    code = code if layout.is_pair else np.maximum(code, 0.0)
    stored = code / number.largest if layout.is_pair else 2 * code / number.largest - 1
    slices = []
    span = layout.on_siemens - layout.off_siemens
    for digit, worth in _digits(code, number):
        sides = (digit, -digit) if layout.is_pair else (digit,)
        most = number.base - 1
        cells = tuple(
            cells_for(layout.off_siemens + span * np.maximum(side, 0.0) / most, rng) for side in sides
        )
        slices.append(Slice(sides=cells, worth_ratio=worth * most / number.largest))
    return np.where(np.abs(meant) > 1, meant, stored) * scale, slices


def _driven(layout: Layout, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Array, list[Step]]:
    """Random inputs in their root mean squares, (vectors, rows), and the steps that drive them."""
    inputs = _draws(layout.inputs, shape, rng)
    number = input_spelling(layout)
    if number is None:
        return inputs, [Step(volts_ratio=inputs, worth_ratio=1.0)]
    unit = float(layout.input_clip_ratio) / number.largest
    code = np.clip(np.rint(inputs / unit), -number.largest, number.largest)
    return inputs, [
        Step(volts_ratio=digit, worth_ratio=worth * unit) for digit, worth in _digits(code, number)
    ]


def _reaching(layout: Layout, noise: Noise, cells: Cells, age: Real, rng: np.random.Generator) -> Array:
    """Conductance by which each row reaches the converter."""
    siemens = read_cells_siemens(noise, cells, age, rng)
    return siemens * arriving_ratio(siemens, wire_ohm(layout))


def _net(sides: tuple[Array, ...]) -> Array:
    """What a pair of columns gives together, or a column alone."""
    return sides[0] - sides[1] if len(sides) > 1 else sides[0]


def _gain(slices: list[Slice], nets: list[Array], meant: list[Array]) -> float:
    """The gain of the whole array that fits its products best."""
    held = sum(part.worth_ratio * net for part, net in zip(slices, nets, strict=True))
    target = sum(part.worth_ratio * net for part, net in zip(slices, meant, strict=True))
    return float(np.sum(held * target) / np.sum(np.square(target)))


def _full_scale(layout: Layout, slices: list[Slice], steps: list[Step]) -> float:
    """Full scale of the converter: so many root mean squares of the busiest sum of currents."""
    nets = [_net(tuple(cells.target_siemens for cells in part.sides)) for part in slices]
    sums = (step.volts_ratio @ net.T for net in nets for step in steps)
    return float(layout.adc_clip_ratio * max(np.sqrt(np.mean(one**2)) for one in sums))


def _converted(layout: Layout, current: Array, full: float, rng: np.random.Generator) -> Array:
    """Currents as the converter tells them: clipped to its full scale and rounded to its steps.

    Where these stand against the levels of a sum is any man's guess: columns are off by a step or so.
    """
    if layout.adc_bits_count is None:
        return current
    levels = np.exp2(layout.adc_bits_count)
    least = 2 * full / levels
    place = rng.random(current.shape)
    steps = np.clip(np.rint(current / least + place) - place, -levels / 2, levels / 2)
    return np.asarray(steps * least)


def _at_zero(layout: Layout, slices: list[Slice], steps: list[Step]) -> Array:
    """What cells of a weight of zero give, if one cell holds a signed weight: (vectors, 1)."""
    if layout.is_pair:
        return np.zeros((1, 1))
    driven = sum(step.worth_ratio * step.volts_ratio.sum(axis=-1, keepdims=True) for step in steps)
    off = sum(part.worth_ratio for part in slices) * layout.off_siemens
    return np.asarray(driven * (off + (layout.on_siemens - layout.off_siemens) / 2))


def _weight_ratio(layout: Layout) -> Real:
    """Weight, in root mean squares, that a siemens in the difference from zero stands for."""
    span = layout.on_siemens - layout.off_siemens
    return weight_scale_ratio(layout) / (span if layout.is_pair else span / 2)


def _digits(code: Array, number: Spelling) -> list[tuple[Array, float]]:
    """Digits of whole numbers, each with their sign, and what a one in them is worth; the lowest first."""
    base, rest, found = float(number.base), np.abs(code), []
    for place in range(number.digits):
        rest, digit = np.divmod(rest, base)
        found.append((np.copysign(digit, code), base**place))
    return found


def _draws(values: Values, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random values in their root mean squares."""
    if values.histogram_count:
        counts = np.asarray(values.histogram_count, dtype=np.float64)
        bins = rng.choice(len(counts), shape, p=counts / counts.sum()) + rng.random(shape)
        edges = np.arange(len(counts) + 1)
        squares = np.sum(counts * (edges[1:] ** 3 - edges[:-1] ** 3) / 3) / counts.sum()
        return np.asarray(bins * rng.choice((-1.0, 1.0), shape) / np.sqrt(squares))
    if values.shape == "laplace":
        return rng.laplace(scale=np.sqrt(0.5), size=shape)
    return rng.standard_normal(shape)
