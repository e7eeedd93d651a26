"""How exact a product in analog memory cells is: signal over noise, by quadrature over what weights may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real, column, row, side_by_side, total
from npuwatt.device.adc_noise import Conversions, conversion_noise, conversions_of
from npuwatt.device.drift import LEAST_K, MOST_K, Noise, age_s, conductance_moments, is_beyond_law
from npuwatt.device.layout import Layout, active_rows, wire_ohm
from npuwatt.device.operands import Inputs, Weights, inputs_of, mean_over, together, weights_of
from npuwatt.record import Record, names_of

ROOM_K = 300.0
CHUNK = 1024  # points at once, so that what they need stays in the processor's cache
MOST_LOAD = 9e4  # of a column's wire by its cells: beyond it nothing arrives, and cosh would overflow
_GAUSS = np.polynomial.legendre.leggauss(6)
PLACES, PLACE_SHARES = (row(_GAUSS[0]) + 1) / 2, row(_GAUSS[1]) / 2
"""Places along a column from 0 to 1, and the share of cells that each stands for."""
PARTS = ("programming", "drift", "read", "wire", "clipping", "input", "adc_clipping", "adc_rounding")
"""What keeps a product from being exact. Programming includes relaxation, drift its mean and its spread; clipping is
of weights; input is the rounding and clipping of inputs."""


class Accuracy(Record):
    """Noise over signal of a product by part, (P, T): T moments since programming."""

    noise_ratio: dict[str, Array]
    is_extrapolated: npt.NDArray[np.bool_]  # beyond the times or off the temperature of the cell's laws

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


class _Plan(Record):
    """What does not change with time."""

    layout: Layout
    weights: Weights
    inputs: Inputs
    sums: Conversions | None


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
    found = {name: np.zeros((points, len(times_s))) for name in PARTS}
    flags = np.zeros((points, len(times_s)), dtype=bool)
    if points == 1:  # moments take the place of design points
        moments = column(times_s)
        parts = _moment(noise, _plan(layout), _age(given, moments), is_compensated)
        flags = flags | is_beyond_law(noise, moments, temperature_k).T
        return Accuracy(
            noise_ratio={name: zero + parts[name].T for name, zero in found.items()}, is_extrapolated=flags
        )
    for index in _alike(layout, points):
        some = _taken(given, index)
        plan = _plan(some[1])
        for place, time_s in enumerate(times_s):
            here = slice(place, place + 1)
            flags[index, here] = is_beyond_law(some[0], time_s, some[2])
            for name, part in _moment(some[0], plan, _age(some, time_s), is_compensated).items():
                found[name][index, here] = part
    return Accuracy(noise_ratio=found, is_extrapolated=flags)


def wire_loss(load: Array) -> Array:
    """Share of a cell's current that the wire of its column takes, at `PLACES` from the converter: (P, L).

    `load` is the mean conductance of a cell times the resistance of the column times its rows. The column is
    a line that leaks evenly along its length; for small loads the loss is load (x - x^2 / 2), in the mean a third of
    the load. Cells at rest load the wire too, for their rows are held at zero volt.
    """
    rate = np.sqrt(np.minimum(load, MOST_LOAD))
    return 2 * np.sinh(rate * (1 - PLACES / 2)) * np.sinh(rate * PLACES / 2) / np.cosh(rate)


def _plan(layout: Layout) -> _Plan:
    weights, inputs = weights_of(layout), inputs_of(layout)
    sums = conversions_of(layout, weights, inputs)
    return _Plan(layout=layout, weights=weights, inputs=inputs, sums=sums)


def _moment(noise: Noise, plan: _Plan, age: Real, is_compensated: bool) -> dict[str, Array]:
    """Noise over signal at one moment, by part: (P, 1) each."""
    layout, weights = plan.layout, plan.weights
    mean, variances = conductance_moments(noise, weights.level_siemens, age)
    span = layout.on_siemens - layout.off_siemens
    if layout.is_pair:  # the other cell has noise of its own
        mean, variances = mean - mean[:, :1], [one + one[:, :1] for one in variances]
    programming, drift, read = (mean_over(weights.level_mass_ratio, one) / span**2 for one in variances)
    held = together(weights.level, weights.worth_ratio, mean / span)
    square = mean_over(weights.mass_ratio, held**2)
    shared = mean_over(weights.mass_ratio, held * weights.meant_ratio)
    gain = shared / weights.meant_power_ratio
    load = weights.load_siemens * gain * wire_ohm(layout) * active_rows(layout) ** 2
    kept = 1 - total(wire_loss(load) * PLACE_SHARES)
    unsure = programming + drift + read + np.maximum(square - gain * shared, 0.0)  # about the gain
    clipping, rounding = conversion_noise(
        plan.sums,
        growth=(gain * kept) ** 2,
        cell_noise=unsure * kept**2 / np.sum(np.square(weights.worth_ratio)),
    )
    # What is divided out: first by what cells hold, then by what the wire leaves of it.
    divisor, wired, spread = (gain, kept, weights.load_spread_ratio) if is_compensated else (1.0, 1.0, 0.0)
    end = _end_error(weights, held / divisor * (kept / wired), layout.is_pair)
    held_power, bias = square / divisor**2, (square / divisor - shared) / divisor
    errors = {
        "programming": programming / divisor**2,
        "drift": drift / divisor**2 + _no_less(held_power - 2 * shared / divisor + weights.meant_power_ratio),
        "read": read / divisor**2,
        "wire": _no_less(_wire_noise(load, held_power, bias, wired, spread)),
        # Largest weights err by their clipping and by what their cells lack, the same way.
        "clipping": _no_less(weights.lost_ratio * weights.power_ratio - 2 * end * weights.excess_ratio),
        "input": plan.inputs.lost_ratio * weights.power_ratio,
        "adc_clipping": clipping / (divisor * wired) ** 2,
        "adc_rounding": rounding / (divisor * wired) ** 2,
    }
    return {name: error / weights.power_ratio for name, error in errors.items()}


def _wire_noise(load: Array, held_power: Array, bias: Array, wired: Real, spread: Real) -> Array:
    """What wires add to the mean square error of weights, beyond the share `wired` of currents that is divided out.

    Cells are off by `bias`, as a mean product with what they hold, and lose that too. Of a load, which is a root
    mean square, the share `spread` of its square differs from column to column: no common gain gives that back.
    """
    loss = wire_loss(load)
    kept = 1 - total(loss * PLACE_SHARES)
    slope = (1 - load * kept**2 - kept) / 2  # of what arrives, by the logarithm of the load
    apart = total(((1 - loss) / wired - 1) ** 2 * PLACE_SHARES) + spread * (slope / wired) ** 2
    return held_power * apart - 2 * bias * (1 - kept / wired)


def _no_less(difference: Array) -> Array:
    """A mean square that was found as a difference, which rounding may take below zero."""
    return np.maximum(difference, 0.0)


def _end_error(weights: Weights, held: Array, is_pair: bool) -> Array:
    """How far cells of the largest weight are off in the mean, outwards; of both ends where one cell holds a sign."""
    off = held - weights.meant_ratio
    return off[:, -1:] if is_pair else (off[:, -1:] - off[:, :1]) / 2


def _age(given: tuple[Noise, Layout, Real], time_s: Real) -> Real:
    return age_s(given[0], time_s, given[2])


def _alike(layout: Layout, points: int) -> Iterator[npt.NDArray[np.intp]]:
    """Places of design points that spell weights and inputs alike, a chunk at a time."""
    bits = (
        layout.weight_bits,
        layout.cell_bits,
        layout.dac_bits,
        0.0 if layout.input_bits is None else layout.input_bits,
    )
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
