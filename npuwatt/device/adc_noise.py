"""What converters add to the error of a product: column sums clipped to their full scale and rounded to their steps."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, total
from npuwatt.device.digits import GAUSSIAN, beyond
from npuwatt.device.layout import Layout
from npuwatt.device.operands import Inputs, Weights
from npuwatt.record import Record


class Conversions(Record):
    """The column sums of a product that are converted, one for each digit of the weights and each step of the inputs.

    All are per active row, over the range of conductances. They share one full scale, set when the array was programmed.
    """

    worth_ratio: Array  # square of what one counts in the product, (P, J)
    power_ratio: Array  # mean square of the sum, (P, J)
    driven_ratio: Array  # mean square of the inputs that drive it, (P, J)
    full_ratio: Array  # square of the full scale, (P, 1)
    step_ratio: Array  # square of a step of the converter, (P, 1)


def conversions_of(layout: Layout, weights: Weights, inputs: Inputs) -> Conversions | None:
    """The sums that the converters of a layout are given; None where they tell every sum apart."""
    if layout.adc_bits_count is None:
        return None
    power = _each(weights.digit_power_ratio, inputs.step_power_ratio)
    full = np.square(layout.adc_clip_ratio) * np.max(power, axis=-1, keepdims=True)
    return Conversions(
        worth_ratio=np.square(_each(weights.worth_ratio.T, inputs.worth_ratio)),
        power_ratio=power,
        driven_ratio=_each(np.ones_like(weights.worth_ratio.T), inputs.step_power_ratio),
        full_ratio=full,
        step_ratio=full * np.exp2(2 - 2 * layout.adc_bits_count),
    )


def conversion_noise(sums: Conversions | None, *, growth: Array, cell_noise: Array) -> tuple[Array, Array]:
    """Mean square error of weights that would be as bad as clipped, and as rounded, conversions: (P, 1) each.

    Clipping takes sums for Gaussian. Rounding errs evenly over a step, whatever the sum: columns are off by a
    step or so, hence a converter that could tell whole numbers of cells apart wins nothing by their being whole. Errors
    of conversions are independent.

    Parameters
    ----------
    growth : (P, 1)
        By how much the mean square of sums has changed since the full scale was set.
    cell_noise : (P, 1)
        Variance of what a cell gives, over the square of the range of conductances.

    Source
    ------
    Bennett, "Spectra of quantized signals", Bell System Technical Journal 27, 1948: a twelfth of a step's square.
    """
    if sums is None:
        return np.zeros((1, 1)), np.zeros((1, 1))
    power = np.maximum(sums.power_ratio * growth + sums.driven_ratio * cell_noise, 1e-300)
    past = beyond(GAUSSIAN, np.sqrt(sums.full_ratio / power))[1] * power
    return total(past * sums.worth_ratio), total(sums.step_ratio / 12 * sums.worth_ratio)


def _each(digits: Array, steps: Array) -> Array:
    """Each digit's number times each step's: (P, digits x steps)."""
    return np.repeat(digits, steps.shape[-1], axis=-1) * np.tile(steps, digits.shape[-1])
