"""What the model of chips is worth on chips it never saw: `python tests/benchmarks/chips.py [FILE]` (npuwatt[fit]).

Every chip is left out once. On the others the form is chosen, again by leaving each of them out, then fitted, and so
are the intervals. Prints how far the predictions of the chips left out are off, those furthest off, what each term
buys, and the constants of a fit to all chips as the preset states them. FILE is one that `validate --chips` takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from npuwatt.arrays import Array
from npuwatt.audit.chip_rows import CLASSES, VOLTAGE_V, Chips, read_chips
from npuwatt.audit.chips import CONSTANTS, built_in, interval_score
from npuwatt.device.macro import (
    Flags,
    MacroConstants,
    conversion_farad,
    converter_levels,
    mac_energy_j,
    size_ratio,
)
from npuwatt.record import replace
from npuwatt.study.scenario import load_constants

SAME = {
    "zz-AIMC1": "uiuc-033",
    "cl-Jia": "uiuc-005",
    "cl-Sinangil": "uiuc-002",
}  # the same silicon under two names
FITTED = (
    "cell_capacitance_farad",
    "gate_capacitance_farad",
    "serial_fraction",
    "current_ratio",
    "level_capacitance_farad",
)
START = np.array([np.log(2e-15), np.log(1.5e-15), 0.0, np.log(4.0), np.log(0.4e-15)])
LEAST_CHIPS = 5  # of all chips, which stand beside those of a class when its interval is made
TAIL = 1.2816  # standard deviations between which a normal law has four fifths


class Form(NamedTuple):
    """A candidate: what a conversion takes, and the node below which an adder tree shrinks no further."""

    converter: str
    digital_floor_m: float


FORMS = [Form(converter, floor) for converter in ("none", "levels", "bits") for floor in (14e-9, 28e-9)]
SHIPPED = Form("levels", 28e-9)
Energy = Callable[[Array], Array]


class Data:
    """Measured rows of a file, and which chip each belongs to."""

    def __init__(self, path: str) -> None:
        self.chips: Chips = read_chips(path)
        self.rows = np.flatnonzero(np.isfinite(self.chips.measured_j))
        silicon = [SAME.get(name, name) for name in self.chips.silicon]
        self.names, self.group = np.unique(np.array(silicon)[self.rows], return_inverse=True)
        self.log = np.log(self.chips.measured_j[self.rows])
        self.weight = 1 / np.sqrt(np.bincount(self.group)[self.group])  # a chip's rows share one vote
        first = np.array([np.argmax(self.group == place) for place in range(len(self.names))])
        self.classes = self.chips.classes[self.rows][first]
        self.constants = load_constants(CONSTANTS, MacroConstants).record

    def energy(self, form: Form, without: str = "") -> Energy:
        """Logarithm of predicted energies as a function of the fitted numbers."""
        macros = self.chips.macros
        if without == "supply voltage":
            macros = replace(macros, voltage_v=np.full_like(macros.voltage_v, VOLTAGE_V))
        if without == "node":
            macros = replace(macros, node_m=np.full_like(macros.node_m, 28e-9))

        def logs(values: Array) -> Array:
            record = with_values(self.constants, values, form, without)
            energy = mac_energy_j(macros, record)
            if form.converter == "bits":
                own_farad = (
                    record.level_capacitance_farad * np.log2(converter_levels(macros)) / macros.rows_count
                )
                more_farad = np.where(macros.is_digital, 0.0, own_farad - conversion_farad(macros, record))
                energy = energy + macros.voltage_v**2 * size_ratio(macros, record) * more_farad
            found: Array = np.log(energy[self.rows])
            return found

        return logs

    def fit(self, energy: Energy, keep: Flags) -> Array:
        """The numbers under which the kept rows are least far off, in logarithms and robustly."""

        def residuals(values: Array) -> Array:
            off: Array = ((energy(values) - self.log) * self.weight)[keep]
            return off

        found: Array = least_squares(residuals, START, loss="soft_l1", f_scale=0.5).x
        return found

    def left_out(self, energy: Energy, among: Sequence[int]) -> Array:
        """Median log of measured over predicted of each chip by a fit to the others, and of its size: (G, 2)."""
        found = np.full((len(self.names), 2), np.nan)
        for place in among:
            keep = np.isin(self.group, [other for other in among if other != place])
            off = (self.log - energy(self.fit(energy, keep)))[self.group == place]
            found[place] = np.median(off), np.median(np.abs(off))
        return found


GONE: dict[str, dict[str, float]] = {  # a term, and the constants under which it does nothing
    "input bits that share a step": {"serial_fraction": 1.0},
    "steps of input bits": {"serial_fraction": 0.0},
    "current through cells": {"current_ratio": 1.0, "magnetic_ratio": 1.0},
    "magnetic cells": {"magnetic_ratio": 1.0},
    "floor of analog nodes": {"analog_floor_m": 1e-9},
    "floor of adder trees": {"digital_floor_m": 14e-9},
    "supply voltage": {},
    "node": {},
}


def with_values(record: MacroConstants, values: Array, form: Form, without: str = "") -> MacroConstants:
    """Constants with the fitted numbers, which are logarithms but for the logit of a share; one term may be gone."""
    numbers = dict(zip(FITTED, np.exp(np.clip(values, -50, 50)).tolist(), strict=True))
    odds = numbers["serial_fraction"]
    numbers["serial_fraction"] = odds / (1 + odds)
    if form.converter == "none":
        numbers["level_capacitance_farad"] = 0.0
    return replace(record, **(numbers | {"digital_floor_m": form.digital_floor_m} | GONE.get(without, {})))


def ends(off: Array, classes: Array, name: str) -> tuple[float, float]:
    """The interval of a class in logarithms of measured over predicted.

    Four fifths of a normal law whose mean and variance are those of the class's chips and of five chips that stand for all.
    """
    weights = (classes == name) + LEAST_CHIPS / len(off)
    mean = np.average(off, weights=weights)
    spread = np.sqrt(np.average((off - mean) ** 2, weights=weights))
    return float(mean - TAIL * spread), float(mean + TAIL * spread)


class Nested(NamedTuple):
    """What each chip got that nothing had seen; arrays are (G,)."""

    chosen: list[Form]
    sizes: Array  # median absolute log of measured over predicted
    inside: Array  # share of its rows in the interval
    scores: Array


def nested(data: Data) -> Nested:
    """Leave each chip out of everything: choice of the form, fit, width of the interval."""
    everyone = range(len(data.names))
    chosen, sizes, inside, scores = [], [], [], []
    energies = {form: data.energy(form) for form in FORMS}
    for place in everyone:
        others = [other for other in everyone if other != place]
        off = {form: data.left_out(energy, others) for form, energy in energies.items()}
        form = min(FORMS, key=lambda one: float(np.mean(off[one][others, 1])))
        values = data.fit(energies[form], data.group != place)
        own = data.group == place
        rest = (data.log - energies[form](values))[own]
        low, high = ends(off[form][others, 0], data.classes[others], str(data.classes[place]))
        chosen.append(form)
        sizes.append(np.median(np.abs(rest)))
        inside.append(np.mean((low <= rest) & (rest <= high)))
        scores.append(np.mean(interval_score(np.full(len(rest), low), np.full(len(rest), high), rest)))
    return Nested(chosen, np.array(sizes), np.array(inside), np.array(scores))


def main(path: str) -> None:
    """Print everything."""
    data = Data(path)
    found = nested(data)
    print(f"{len(data.names)} chips, {len(data.log)} operating points\n")
    _print_nested(data, found)
    everyone = range(len(data.names))
    off = data.left_out(data.energy(SHIPPED), everyone)
    print("\n| furthest off | class | measured over predicted |\n|:--|:--|--:|")
    for place in np.argsort(-off[:, 1])[:8]:
        print(f"| {data.names[place]} | {data.classes[place]} | {np.exp(off[place, 0]):.3g} |")
    print("\n| without | median | p90 | geometric mean |\n|:--|--:|--:|--:|")
    print(f"| nothing | {_factors(off[:, 1])} |")
    for term, form in (("converter", FORMS[1]), ("levels: in proportion to bits", FORMS[5])):
        print(f"| {term} | {_factors(data.left_out(data.energy(form), everyone)[:, 1])} |")
    for term in GONE:
        print(f"| {term} | {_factors(data.left_out(data.energy(SHIPPED, term), everyone)[:, 1])} |")
    _print_preset(data, off)


def _factors(sizes: Array) -> str:
    factors = np.exp(sizes)
    return f"{np.median(factors):.2f} | {np.quantile(factors, 0.9):.2f} | {np.exp(np.mean(sizes)):.2f}"


def _print_nested(data: Data, found: Nested) -> None:
    print("| chips left out | chips | median | p90 | geometric mean | within 2x | in interval | score |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    for name in ("all", *CLASSES):
        own = (data.classes == name) | (name == "all")
        if own.any():
            sizes, inside, scores = found.sizes[own], found.inside[own], found.scores[own]
            shares = f"{np.mean(sizes <= np.log(2)):.2f} | {np.mean(inside):.2f} | {np.mean(scores):.2f}"
            print(f"| {name} | {own.sum()} | {_factors(sizes)} | {shares} |")
    print(
        f"| a converter regression alone | 40 points | {data.constants.peers_ratio['converter-regression']:g} |"
    )
    print(f"| ZigZag's converter form | 40 points | {data.constants.peers_ratio['zigzag-converter']:g} |\n")
    for form in FORMS:
        if count := found.chosen.count(form):
            print(
                f"chosen {count} times: converter {form.converter}, floor of adder trees {form.digital_floor_m * 1e9:g} nm"
            )


def fitted(data: Data) -> tuple[Array, Array]:
    """The numbers of a fit to all chips, and their standard errors by leaving each chip out."""
    energy = data.energy(SHIPPED)
    count = len(data.names)
    each = [data.fit(energy, data.group != place) for place in range(count)]
    return data.fit(energy, data.group >= 0), np.sqrt((count - 1) * np.var(np.array(each), axis=0))


def intervals(data: Data, off: Array) -> dict[str, tuple[float, float]]:
    """Least and greatest measured over predicted of each class, from chips left out."""
    found = {name.replace(" ", "-"): np.exp(ends(off, data.classes, name)) for name in CLASSES}
    lows, highs = zip(*found.values(), strict=True)
    found["other"] = np.array([min(lows), max(highs)])  # a technology that is not known may be any
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def _print_preset(data: Data, off: Array) -> None:
    values, errors = fitted(data)
    record, *around = (
        with_values(data.constants, values + tail * errors, SHIPPED) for tail in (0, -TAIL, TAIL)
    )
    print("\nconstants of a fit to all chips, and four fifths of a normal law around them")
    for name in FITTED:
        value, low, high = (getattr(one, name) for one in (record, *around))
        print(f"{name}: {value:.3g} ({low:.3g} to {high:.3g})")
    found = intervals(data, off[:, 0])
    for side, name in enumerate(("low", "high")):
        print(f"{name}: {{{', '.join(f'{key}: {ends[side]:.3g}' for key, ends in found.items())}}}")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else built_in())
