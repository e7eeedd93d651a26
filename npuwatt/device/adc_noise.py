"""What converters add to the error of a product: column sums clipped to their full scale and rounded to their steps."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real, column, total
from npuwatt.device.digits import GAUSSIAN, power_beyond
from npuwatt.device.layout import Layout, active_rows
from npuwatt.device.operands import Inputs, Weights
from npuwatt.record import Record

SERIES = (-1 / np.pi**2, 1 / (4 * np.pi**2), 3 / (4 * np.pi**2) - 1 / 12)
"""Fourier series of the square of the error of rounding beyond its mean of 1/12: cut after the third term, which is
smaller by the sum of those left out, so that a sum of zero is rounded without error."""


class Conversions(Record):
    """The column sums of a product that are converted, one for each digit of the weights and each step of the inputs.

    All are per active row, over the range of conductances. They share one full scale, set when the array was programmed.
    """

    worth_ratio: Array  # square of what one counts in the product, (P, J)
    power_ratio: Array  # mean square, (P, J)
    driven_ratio: Array  # mean square of the inputs that drive it, (P, J)
    full_ratio: Array  # square of the full scale, (P, 1)
    step_ratio: Array  # square of a step of the converter, (P, 1)
    empty_ratio: Array  # share of sums that no cell adds to, (P, J)
    turned_ratio: tuple[
        Array, ...
    ]  # characteristic function of the sums at whole numbers of turns a step, (P, J)


def conversions_of(layout: Layout, weights: Weights, inputs: Inputs) -> Conversions | None:
    """The sums that the converters of a layout are given; None where they tell every sum apart."""
    if layout.adc_bits_count is None:
        return None
    worth = _each(weights.worth_ratio.T, inputs.worth_ratio)
    power = _each(weights.digit_power_ratio, inputs.step_power_ratio)
    full = np.square(layout.adc_clip_ratio) * np.max(power, axis=-1, keepdims=True)
    step = full * np.exp2(2 - 2 * layout.adc_bits_count)
    turns = [2 * np.pi * order / np.sqrt(step) for order, _ in enumerate(SERIES, start=1)]
    if weights.level_shares_ratio and inputs.digit_shares_ratio:
        empty, turned = _turned(weights, inputs, turns, active_rows(layout))
    else:  # smooth sums, as good as Gaussian
        empty, turned = np.zeros((1, 1)), [np.exp(np.square(turn) / -2 * power) for turn in turns]
    return Conversions(
        worth_ratio=np.square(worth),
        power_ratio=power,
        driven_ratio=_each(np.ones_like(weights.worth_ratio.T), inputs.step_power_ratio),
        full_ratio=full,
        step_ratio=step,
        empty_ratio=empty,
        turned_ratio=tuple(turned),
    )


def conversion_noise(sums: Conversions | None, *, growth: Array, cell_noise: Array) -> tuple[Array, Array]:
    """Mean square error of weights that would be as bad as clipped, and as rounded, conversions: (P, 1) each.

    Clipping takes sums for Gaussian. Rounding errs by a twelfth of the square of a step in the mean; by less where
    sums are whole numbers of few cells, or hardly reach half a step. Errors of conversions are taken as independent.

    Parameters
    ----------
    growth : (P, 1)
        By how much the mean square of sums has changed since the full scale was set.
    cell_noise : (P, 1)
        Variance of what a cell gives, over the square of the range of conductances.

    Source
    ------
    Widrow and Kollar, "Quantization Noise", Cambridge 2008, chapters 4 and 5: the mean square error of rounding as a
    Fourier series over the characteristic function of what is rounded.
    """
    if sums is None:
        return np.zeros((1, 1)), np.zeros((1, 1))
    noise = sums.driven_ratio * cell_noise
    power = np.maximum(sums.power_ratio * growth + noise, 1e-300)
    past = power_beyond(GAUSSIAN, np.sqrt(sums.full_ratio / power))[1] * power
    resting, rounded = sums.step_ratio / 12, sums.step_ratio / 12 * (1 - sums.empty_ratio)
    for order, (factor, turned) in enumerate(zip(SERIES, sums.turned_ratio, strict=True), start=1):
        part = factor * sums.step_ratio * np.exp((-2 * (np.pi * order) ** 2 / sums.step_ratio) * noise)
        resting, rounded = resting + part, rounded + part * (turned**growth - sums.empty_ratio)
    rounded = rounded + sums.empty_ratio * np.clip(resting, 0.0, noise)
    return total(past * sums.worth_ratio), total(np.clip(rounded, 0.0, power) * sums.worth_ratio)


def _turned(weights: Weights, inputs: Inputs, turns: list[Array], rows: Real) -> tuple[Array, list[Array]]:
    """Share of empty sums, and the characteristic function of sums over the root of their rows, from that of one row."""
    none, one_row = 1.0 + 0.0 * turns[0], [1.0 + 0.0 * turn for turn in turns]
    levels = list(zip(weights.level_ratio.T, weights.level_shares_ratio, strict=True))
    for digit, of_steps in enumerate(inputs.digit_shares_ratio[1:], start=1):
        for level, of_digits in levels if np.any(weights.level_ratio[:, 0]) else levels[1:]:
            share, size = _each(of_digits, of_steps), digit * column(level) / np.sqrt(rows)
            none = none - share * (size > 0)
            one_row = [
                old - share * (1 - np.cos(turn * size)) for old, turn in zip(one_row, turns, strict=True)
            ]
    return np.abs(none) ** rows, [np.abs(old) ** rows for old in one_row]


def _each(digits: Array, steps: Array) -> Array:
    """Each digit's number times each step's: (P, digits x steps)."""
    return np.repeat(digits, steps.shape[-1], axis=-1) * np.tile(steps, digits.shape[-1])
