"""How a product is laid onto an analog array: which conductance a weight becomes, and what lies between it and a number."""

from __future__ import annotations

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.device.digits import GAUSSIAN, Spelling, Values, largest_ratio, spelling
from npuwatt.errors import NpuwattError
from npuwatt.record import Record


class Layout(Record):
    """Cells, drivers, wires and converters of one array, and the values that pass through them."""

    rows_count: Real
    columns_count: Real  # weights side by side, which share one scale with those above and below
    on_siemens: Real
    off_siemens: Real
    weight_bits: Real  # of a magnitude where cells come in pairs, else of a signed weight
    cell_bits: Real
    input_bits: Real | None = None  # sign included; none: exact
    dac_bits: Real = 1.0
    adc_bits_count: Real | None = None  # none: every sum is told apart
    adc_clip_ratio: Real = 4.0  # full scale of the converter, in root mean squares of the busiest column sum
    input_clip_ratio: Real = 4.0  # full scale of an input, in root mean squares of inputs
    weight_clip_ratio: Real | None = None  # the same of a weight; none: the largest weight of the array
    active_rows_count: Real = 0.0  # read at once; 0: all
    wire_ohm: Real = 0.0  # of a column, for each cell on it
    is_pair: bool = True  # a weight is the difference of two cells; else one holds it, zero in the middle
    weights: Values = GAUSSIAN
    inputs: Values = GAUSSIAN

    def __post_init__(self) -> None:
        require.positive(rows=self.rows_count, columns=self.columns_count, on=self.on_siemens)
        require.not_negative(off=self.off_siemens, active_rows=self.active_rows_count, wire=self.wire_ohm)
        bits = {"weight_bits": self.weight_bits, "cell_bits": self.cell_bits, "dac_bits": self.dac_bits}
        given = {"input_bits": self.input_bits, "adc_bits": self.adc_bits_count}
        require.within(1.0, 32.0, **bits, **{name: n for name, n in given.items() if n is not None})
        require.positive(adc_clip=self.adc_clip_ratio, input_clip=self.input_clip_ratio)
        if self.weight_clip_ratio is not None:
            require.positive(weight_clip=self.weight_clip_ratio)
        if np.any(np.greater_equal(self.off_siemens, self.on_siemens)):
            raise NpuwattError("off: not below 'on'; expected a smaller conductance")


def weight_scale_ratio(layout: Layout) -> Real:
    """The weight that takes the whole range of conductances, in root mean squares of weights: scalar or (P, 1)."""
    if layout.weight_clip_ratio is not None:
        return layout.weight_clip_ratio
    return largest_ratio(layout.weights, layout.rows_count * layout.columns_count)


def weight_spelling(layout: Layout) -> Spelling:
    """Weights in slices, one cell (or pair) each. All points of a layout spell them alike."""
    return spelling(float(np.max(layout.weight_bits)), float(np.max(layout.cell_bits)))


def input_spelling(layout: Layout) -> Spelling | None:
    """Magnitudes of inputs in steps, one after another; the sign is the polarity of the voltage."""
    if layout.input_bits is None:
        return None
    return spelling(max(float(np.max(layout.input_bits)) - 1, 1.0), float(np.max(layout.dac_bits)))


def wire_ohm(layout: Layout) -> Real:
    """Resistance of a column between one active row and the next, which are spread evenly over it."""
    return layout.wire_ohm * layout.rows_count / active_rows(layout)


def active_rows(layout: Layout) -> Real:
    """Rows whose currents add up in one conversion."""
    rows = np.where(np.equal(layout.active_rows_count, 0), layout.rows_count, layout.active_rows_count)
    return np.minimum(rows, layout.rows_count)
