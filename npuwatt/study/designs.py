"""Arrays of cells by themselves, one or a hundred thousand: mapping, energy, time, area, and accuracy over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.accuracy import ROOM_K, Accuracy, product_accuracy
from npuwatt.device.crossbar import Arrays, Mapping, mapped, vector_energy_j
from npuwatt.device.per_macro import array_area_m2, per_macro
from npuwatt.errors import NpuwattError
from npuwatt.record import Record
from npuwatt.study.accuracy import layout_of

AGES_S = {
    "array_snr_db": 0.0,
    "array_snr_after_1_day_db": 86400.0,
    "array_snr_after_1_year_db": 31557600.0,
}


class Designs(Record):
    """One vector times a K x N matrix in the arrays of each design; scalars or (P, 1), accuracy (P, T)."""

    mapping: Mapping
    energy_j: dict[str, Real]  # by part, of the whole product
    area_m2: Real  # of the arrays that the matrix takes
    accuracy: Accuracy | None  # none: gates add exactly, or nothing is known about the noise of the cells

    @property
    def total_j(self) -> Real:
        """Energy of the product."""
        return sum(self.energy_j.values(), start=0.0)

    @property
    def time_s(self) -> Real:
        """Time of the product."""
        return self.mapping.time_s


def macro_figures(arrays: Arrays) -> dict[str, Array]:
    """One array by itself, as rows of a sweep tell it: (P, 1) each; no accuracy where nothing is known about it."""
    alone = per_macro(arrays)
    figures = alone.figures()
    found = {
        "array_ops_per_j": figures["ops_per_j"],
        "array_ops_per_s_m2": figures["ops_per_s_m2"],
        "array_area_m2": alone.area_m2,
    }
    if arrays.noise is not None and arrays.gates is None:
        snr_db = product_accuracy(arrays.noise, layout_of(arrays), tuple(AGES_S.values())).snr_db
        found |= {name: snr_db[:, place : place + 1] for place, name in enumerate(AGES_S)}
    return {name: np.atleast_2d(value) for name, value in found.items()}


def designs(
    arrays: Arrays,
    *,
    k: float,
    n: float,
    times_s: Sequence[float] = (0.0,),
    temperature_k: Real = ROOM_K,
) -> Designs:
    """What a product costs and how exact it is in one design, or in many whose numbers are (P, 1) columns.

    Parameters
    ----------
    arrays
        Numbers may be columns of design points, laid over by `npuwatt.preset.paths.with_values`.
    k, n
        Sides of the matrix.
    times_s
        T moments since its cells were written.

    Raises
    ------
    NpuwattError
        A side below 1, or a moment or temperature that cannot be.
    """
    if not (k >= 1 and n >= 1):
        raise NpuwattError(f"matrix: {k:g} x {n:g} given; expected sides of 1 or more")
    mapping = mapped(arrays, k, n)
    accuracy = None
    if arrays.noise is not None and arrays.gates is None:
        accuracy = product_accuracy(
            arrays.noise,
            layout_of(arrays),
            times_s,
            temperature_k=np.asarray(temperature_k, dtype=np.float64),
        )
    return Designs(
        mapping=mapping,
        energy_j=vector_energy_j(arrays, k, n),
        area_m2=mapping.arrays_count * array_area_m2(arrays),
        accuracy=accuracy,
    )
