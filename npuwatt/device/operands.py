"""Weights and inputs of a product over the nodes of a quadrature, with the cells and the steps that hold them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, column, row
from npuwatt.device.digits import beyond, node_mass, nodes
from npuwatt.device.layout import (
    Layout,
    active_rows,
    input_spelling,
    weight_scale_ratio,
    weight_spelling,
)
from npuwatt.record import Record

FAR_ROWS = 1.25  # how much more one cell's chance weighs in the wire's losses than its mean: 1/6 over 2/15


class Weights(Record):
    """The weights of a layout at M nodes, and their cells: what does not change with time.

    Weights are shares of the largest. Where one cell holds a signed weight, zero stands at 1/2.
    """

    mass_ratio: Array  # share of weights at each node, (P, M)
    level: npt.NDArray[np.intp]  # of the cell of each digit of a node, (digits, M)
    level_siemens: Array  # that a cell may be meant to hold, lowest first, (P, B)
    level_mass_ratio: Array  # share of cells at each level, each by the square of its worth, (P, B)
    worth_ratio: Array  # of each digit, when full, (digits, 1)
    meant_ratio: Array  # what the cells of a node are meant to give together, over their range, (P, M)
    meant_power_ratio: Array  # mean square of it, (P, 1)
    digit_power_ratio: Array  # mean square of what each digit gives, (P, digits)
    power_ratio: Array  # mean square of weights, (P, 1)
    lost_ratio: Array  # noise over signal of weights beyond the largest, (P, 1)
    excess_ratio: Array  # how far they lie beyond, in the mean of all weights, (P, 1)
    load_siemens: Array  # root mean square over digits and columns of a cell's mean conductance, (P, 1)
    load_spread_ratio: Array  # share of its square that differs between them, (P, 1)


class Inputs(Record):
    """The inputs of a layout by the steps that drive them."""

    step_power_ratio: Array  # mean square of what each step drives, (P, steps)
    worth_ratio: Array  # of one in each step, in root mean squares of inputs, (P, steps)
    lost_ratio: Array  # noise over signal of what is rounded or lies beyond the largest, (P, 1)


def weights_of(layout: Layout) -> Weights:
    """How the weights of a layout are spread and spelled. All design points spell them alike."""
    number, scale = weight_spelling(layout), weight_scale_ratio(layout)
    node = nodes(number)
    is_cut = layout.weight_clip_ratio is None  # the scale is the largest weight there is
    mass = node_mass(node, layout.weights, scale, is_cut=is_cut, is_offset=not layout.is_pair)
    digits, places = np.unique(node.digit_count, return_inverse=True)
    level = places.reshape(node.digit_count.shape)
    worth = node.worth_ratio * (number.base - 1)
    span = layout.on_siemens - layout.off_siemens
    siemens = layout.off_siemens + span * row(digits) / (number.base - 1)
    given = (
        siemens - siemens[:, :1] if layout.is_pair else siemens
    ) / span  # the other cell of a pair is at rest
    weight = node.worth_ratio.T @ node.digit_count - (0.0 if layout.is_pair else 0.5)
    power, excess, lost = mean_over(mass, weight**2), np.zeros((1, 1)), np.zeros((1, 1))
    if not is_cut:
        past, lost = beyond(layout.weights, scale)
        excess = past / scale * (1 if layout.is_pair else 0.5)
        power = power + (lost / np.square(scale) + 2 * past / scale) * (1 if layout.is_pair else 0.25)
    squares = np.zeros((len(digits), mass.shape[-1]))
    for one, value in zip(level, worth, strict=True):
        squares[one, np.arange(mass.shape[-1])] += value**2
    meant = together(level, worth, given)
    means = [(mean_over(mass, given[:, one]), mean_over(mass, given[:, one] ** 2)) for one in level]
    parts = [value * given[:, one] for one, value in zip(level, worth, strict=True)]
    load, spread = _load(layout, mass, means, parts)
    return Weights(
        mass_ratio=mass,
        level=level,
        level_siemens=siemens,
        level_mass_ratio=mass @ squares.T,
        worth_ratio=worth,
        meant_ratio=meant,
        meant_power_ratio=mean_over(mass, meant**2),
        digit_power_ratio=np.concatenate([square for _, square in means], axis=-1),
        power_ratio=power,
        lost_ratio=np.atleast_2d(lost),
        excess_ratio=np.atleast_2d(excess),
        load_siemens=load,
        load_spread_ratio=spread,
    )


def inputs_of(layout: Layout) -> Inputs:
    """How the inputs of a layout are spread and spelled. All design points spell them alike."""
    number, clip = input_spelling(layout), layout.input_clip_ratio
    one = np.ones((1, 1))
    if number is None:
        return Inputs(step_power_ratio=one, worth_ratio=one, lost_ratio=0 * one)
    node = nodes(number)
    mass = node_mass(node, layout.inputs, clip, is_cut=False, is_offset=False)
    past = beyond(layout.inputs, clip)[1]
    return Inputs(
        step_power_ratio=mass @ np.square(node.digit_count).T,
        worth_ratio=node.worth_ratio.T * clip,
        lost_ratio=np.atleast_2d(np.square(clip / number.largest) / 12 + past),
    )


def together(level: npt.NDArray[np.intp], worth: Array, given: Array) -> Array:
    """What the cells of each node give together, each digit by its worth: (P, M)."""
    return np.asarray(sum(value * given[:, one] for one, value in zip(level, worth, strict=True)))


def mean_over(mass: Array, values: Array) -> Array:
    """Mean over nodes or levels of the share `mass`: (P, 1)."""
    return column(np.einsum("pm,pm->p", mass, values))


def _load(
    layout: Layout, mass: Array, means: list[tuple[Array, Array]], parts: list[Array]
) -> tuple[Array, Array]:
    """Mean conductance of cells on a column, and the share of its square that differs by digit and by chance.

    Losses in the wire of a digit's columns follow what that digit's cells hold, and count by what they give.
    """
    span, share = layout.on_siemens - layout.off_siemens, 0.5 if layout.is_pair else 1.0
    rest = layout.off_siemens if layout.is_pair else 0.0
    given, alike, differing = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1))
    for (mean, square), part in zip(means, parts, strict=True):
        load = rest + span * share * mean
        chance = span**2 * share * (square - share * mean**2) / active_rows(layout)
        given = given + part
        alike = alike + load * part
        differing = differing + np.sqrt(load**2 + FAR_ROWS * chance) * part
    power, square = mean_over(mass, given**2), mean_over(mass, differing**2)
    return np.sqrt(square / power), 1 - mean_over(mass, alike * given) ** 2 / (power * square)
