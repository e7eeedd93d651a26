"""A measurement file -> constants of devices and of a serving stack, within their physical bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npuwatt.arrays import Array
from npuwatt.audit.constants import (
    DEVICE_CONSTANTS,
    METRICS,
    MOVEMENT,
    STACK_CONSTANTS,
    TARGETS,
    Constant,
    Flags,
    Part,
    constants_of,
    parts_of,
    predicted,
    residuals,
    with_constants,
)
from npuwatt.audit.measurements import read_measurements
from npuwatt.audit.runs import Names, sorted_into_kinds
from npuwatt.device.evaluate import Device
from npuwatt.device.stack import IDEAL, Stack
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.preset.paths import with_values
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen, load_device, load_stack

REPEATABILITY = 0.1  # of a run, as a log ratio: two runs of one configuration differ by this
ROBUST_SCALE = 3 * REPEATABILITY  # from where on a residual counts for less and less
LEAST_ROWS_PER_CONSTANT = 2
UNSEEN = 1e-3  # a constant whose whole range moves the residuals by less than this (root of their squares)
POOR = 0.25  # of its range: a standard error above this leaves a constant poorly identified
MOST_ROWS = 100_000
STARTS = 8  # a robust loss has more than one valley


class Fitted(NamedTuple):
    """What a least-squares solver found."""

    values: Array  # (N,)
    jacobian: Array  # (M, N), of the residuals as given
    cost: float


Solver = Callable[[Callable[[Array], Array], Array, float], Fitted]
"""Minimises a robust sum of squares of residuals over the unit cube: residuals, start, scale -> Fitted."""


class Calibration(Record):
    """Constants fitted on a file, and how well they predict shapes that they were not fitted on."""

    devices: tuple[Chosen[Device], ...]  # that were fitted
    stack: Chosen[Stack]
    parts: tuple[Part, ...]  # of all devices, held ones too
    constants: tuple[Constant, ...]
    places: Array  # (N,) of the fitted values in their ranges
    errors: Array  # (N,) standard errors, in ranges
    unseen: tuple[Constant, ...]  # that no row depends on: left as they were
    is_partial: bool  # only some of the constants that have a range were fitted
    used: tuple[Flags, ...]  # rows of each part that the fit saw
    inside: tuple[dict[str, Array], ...]  # log of predicted over measured, of the fit to all rows
    outside: tuple[dict[str, Array], ...]  # the same, each shape predicted by a fit that left it out
    spread: tuple[
        dict[str, Array], ...
    ]  # the same, small batches predicted by a fit on large ones and the reverse
    hardware: tuple[dict[str, Array], ...]  # the same, of the fitted devices with no software at all
    swapped: tuple[dict[str, Array], ...]  # the same, of each device with the constants of another one

    def value(self, constant: Constant, place: float) -> float:
        """A constant in SI."""
        return constant.low + place * (constant.high - constant.low)

    def remarks(self) -> list[str]:
        """For each constant what its fit leaves open, '' where nothing."""
        found = []
        for place, error in zip(self.places, self.errors, strict=True):
            at_end = min(place, 1 - place) < 0.005
            found.append("at the end of its range" if at_end else "poorly identified" if error > POOR else "")
        return found


def calibrate(
    path: str,
    *,
    solve: Solver,
    devices: Sequence[str],
    hold: Sequence[str] = (),
    stack: str = "vllm-0.11",
    only: Sequence[str] = (),
    input_tokens: float | None = None,
    folders: Sequence[str] = (),
    progress: Callable[[str], None] = lambda what: None,
) -> Calibration:
    """Fit the constants of devices and of a stack to measured runs.

    Parameters
    ----------
    path
        A measurement file; rows of other devices are left aside.
    solve
        The least-squares solver.
    devices, hold
        Presets to fit, and presets whose rows count for the stack while they stay as they are.
    only
        Addresses to fit, as `h100-sxm.clocks_power` or `vllm-0.11.step_time`; empty for all that can be.
    progress
        Hears what is being done.

    Raises
    ------
    NpuwattError
        Too few rows, an address that does not exist or that no row depends on, a name that is unknown.
    """
    software = load_stack(stack, folders=folders)
    fitted = {(found := load_device(name, folders=folders)).preset.name: found for name in devices}
    held = {(found := load_device(name, folders=folders)).preset.name: found for name in hold}
    names = Names(folders, (fitted | held).values())
    parts: list[Part] = []
    for rows in read_measurements(path, chunk_rows=MOST_ROWS):
        if parts or len(rows.lines) == MOST_ROWS:
            raise NpuwattError(f"{path}: more than {MOST_ROWS - 1} rows; expected fewer to calibrate on")
        chunk = sorted_into_kinds(rows, stack=stack, input_tokens=input_tokens, names=names)
        parts = parts_of(chunk, fitted | held)
    seen = {part.device.preset.name for part in parts}
    for name in (*fitted, *held):
        if name not in seen:
            raise NpuwattError(f"{path}: has no run on {name} that can be predicted; expected some")
    constants = [one for name in fitted for one in _device_constants(fitted[name])]
    constants += constants_of(software, STACK_CONSTANTS)
    constants = _chosen(constants, only)
    used = _used(parts)
    unseen = _unseen(constants, parts, used, software)
    if only and unseen:
        raise NpuwattError(
            *(
                f"--fit {one.address}: no run in {path} depends on it; expected another, or runs that do"
                for one in unseen
            )
        )
    constants = [one for one in constants if one not in unseen]
    count = sum(int(flags.sum()) for flags in used)
    if count < LEAST_ROWS_PER_CONSTANT * len(constants) or not constants:
        raise NpuwattError(
            f"{path}: {count} runs to fit {len(constants)} constants; expected at least "
            f"{LEAST_ROWS_PER_CONSTANT * max(len(constants), 1)}, or fewer constants by --fit"
        )

    def fit(keep: Sequence[Flags], begin: Array) -> Fitted:
        masks = [flags & kept for flags, kept in zip(used, keep, strict=True)]
        return solve(lambda values: residuals(values, constants, parts, masks, software), begin, ROBUST_SCALE)

    everything = [np.ones_like(flags) for flags in used]
    progress("fitting all rows")
    whole = min((fit(everything, start) for start in _starts(len(constants))), key=lambda found: found.cost)
    inside = _errors(whole.values, constants, parts, software)
    outside = [{name: values.copy() for name, values in part.items()} for part in inside]
    spread = [{name: values.copy() for name, values in part.items()} for part in inside]
    shapes = sorted({shape for part in parts for shape in part.shapes})
    for shape in shapes if len(shapes) > 1 else []:
        progress(f"leaving out {shape}")
        own = [np.array([[name == shape] for name in part.shapes]) for part in parts]
        _replace(outside, own, fit([~flags for flags in own], whole.values), constants, parts, software)
    middle = [np.exp(np.mean(np.log(np.asarray(part.work.batch)))) for part in parts]
    for what, is_large in (("large", True), ("small", False)):
        progress(f"leaving out {what} batches")
        own = [
            (np.asarray(part.work.batch) > mid) == is_large for part, mid in zip(parts, middle, strict=True)
        ]
        _replace(spread, own, fit([~flags for flags in own], whole.values), constants, parts, software)
    best, _ = with_constants(whole.values, constants, parts, software)
    return Calibration(
        devices=tuple(fitted.values()),
        stack=software,
        parts=tuple(parts),
        constants=tuple(constants),
        places=whole.values,
        errors=_standard_errors(whole, inside, used),
        unseen=tuple(unseen),
        is_partial=bool(only),
        used=tuple(used),
        inside=tuple(inside),
        outside=tuple(outside),
        spread=tuple(spread),
        hardware=tuple(_ratios(part, device, IDEAL) for part, device in zip(parts, best, strict=True)),
        swapped=tuple(_swapped(whole.values, constants, parts, software)),
    )


def _starts(count: int) -> Array:
    """Where fits begin, one a row: the middle of all ranges, and places spread over them, the same each time."""
    return np.vstack(
        [np.full((1, count), 0.5), np.random.default_rng(1).uniform(0.05, 0.95, (STARTS - 1, count))]
    )


def _device_constants(device: Chosen[Device]) -> list[Constant]:
    movement = next((path for path in MOVEMENT if path in device.evidence), None)
    return constants_of(device, (*DEVICE_CONSTANTS, *([movement] if movement else [])))


def _chosen(constants: Sequence[Constant], only: Sequence[str]) -> list[Constant]:
    known = {one.address: one for one in constants}
    for address in only:
        if address not in known:
            near = did_you_mean(address, known) or f"; expected some of {', '.join(known)}"
            raise NpuwattError(f"--fit {shown(address)}: not a constant that can be fitted{near}")
    return [known[address] for address in only] if only else list(constants)


def _used(parts: Sequence[Part]) -> list[Flags]:
    """Rows to fit on: all but overhead-bound ones, where those are the exception. Where they are most of the
    rows, what bounds them is the stack itself."""
    bound = np.concatenate([part.overhead_bound for part in parts])
    if 2 * bound.sum() > bound.size:
        return [np.ones_like(part.overhead_bound) for part in parts]
    return [~part.overhead_bound for part in parts]


def _unseen(
    constants: Sequence[Constant], parts: Sequence[Part], used: Sequence[Flags], stack: Chosen[Stack]
) -> list[Constant]:
    """Constants whose whole range moves nothing."""
    found = []
    middle = np.full(len(constants), 0.5)
    for place, one in enumerate(constants):
        ends = []
        for end in (0.01, 0.99):
            values = middle.copy()
            values[place] = end
            ends.append(residuals(values, constants, parts, used, stack)[len(constants) :])
        if np.linalg.norm(ends[1] - ends[0]) < UNSEEN:
            found.append(one)
    return found


def _ratios(part: Part, device: Device, stack: Stack) -> dict[str, Array]:
    """Log of predicted over measured, by metric."""
    truth = dict(part.measured)
    return {
        name: np.log(values / truth[name])
        for name, values in predicted(part, device, stack).items()
        if name in METRICS
    }


def _errors(
    values: Array, constants: Sequence[Constant], parts: Sequence[Part], stack: Chosen[Stack]
) -> list[dict[str, Array]]:
    devices, software = with_constants(values, constants, parts, stack)
    return [_ratios(part, device, software) for part, device in zip(parts, devices, strict=True)]


def _replace(
    errors: list[dict[str, Array]], own: Sequence[Flags], found: Fitted, constants: Sequence[Constant],
    parts: Sequence[Part], stack: Chosen[Stack],
) -> None:  # fmt: skip
    """Put in the errors of rows that a fit did not see."""
    fresh = _errors(found.values, constants, parts, stack)
    for place, (flags, values) in enumerate(zip(own, fresh, strict=True)):
        errors[place] = {name: np.where(flags, values[name], old) for name, old in errors[place].items()}


def _swapped(
    values: Array, constants: Sequence[Constant], parts: Sequence[Part], stack: Chosen[Stack]
) -> list[dict[str, Array]]:
    """Errors of each device with the shares and energies of another one, its clocks by their power caps."""
    places = dict(zip(constants, values, strict=True))
    found = []
    for part in parts:
        name = part.device.preset.name
        other = next((one.device for one in parts if one.device.preset.name != name), None)
        changes = {}
        for one in places if other else ():
            if one.owner == name and (twin := _twin(one, places, other)) is not None:
                changes[one.path] = twin * _scale(one, part.device, other)
        _, software = with_constants(values, constants, parts, stack)
        device = with_values(part.device.record, changes) if changes else part.device.record
        found.append(_ratios(part, device, software))
    return found


def _twin(one: Constant, places: Mapping[Constant, float], other: Chosen[Device] | None) -> float | None:
    for twin, place in places.items():
        if other is not None and twin.owner == other.preset.name and twin.path == one.path:
            return twin.low + place * (twin.high - twin.low)
    return None


def _scale(one: Constant, device: Chosen[Any], other: Chosen[Any] | None) -> float:
    if other is None or one.path != ("clocks_power",):
        return 1.0
    return float(device.record.power_cap_w / other.record.power_cap_w)


def _standard_errors(whole: Fitted, inside: Sequence[Mapping[str, Array]], used: Sequence[Flags]) -> Array:
    """Of each constant, in ranges: from the curvature at the solution and the spread of the residuals."""
    left = np.concatenate(
        [values[name][flags] for values, flags in zip(inside, used, strict=True) for name in TARGETS]
    )
    left = left[np.isfinite(left)]
    spread = 1.4826 * np.median(np.abs(left))  # of a normal distribution with this median
    curvature = whole.jacobian.T @ whole.jacobian
    found: Array = spread * np.sqrt(np.maximum(np.diag(np.linalg.pinv(curvature)), 0.0))
    return found
