"""Handsets against a battery that was read while a phone answered: exponentials fitted to it, and what a preset predicts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from npuwatt.arrays import Array
from npuwatt.audit.csv_columns import CELSIUS, NOT_NEGATIVE, Columns, Rows, read_rows
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.handset.body import HOTTEST_K
from npuwatt.handset.exponentials import (
    FAST_S,
    LEAST_READINGS,
    Possible,
    Warming,
    one_exponential,
    possible,
    two_exponentials,
)
from npuwatt.handset.network import Decoding, Handset
from npuwatt.handset.thermal import course
from npuwatt.preset import library
from npuwatt.record import Record, replace
from npuwatt.study.ranges import difference_ends, ranged_numbers, varied
from npuwatt.study.scenario import Chosen, load_constants, load_handset

HANDSET, NODE, DECODING = "large-phone", "battery", "phone-decoding"
POWER = f"{DECODING}.power"
MOST_READINGS, MOST_S = 4000, 86400.0
COLUMNS = Columns(
    texts=(),
    numbers={"time_s": NOT_NEGATIVE, "battery_c": CELSIUS},
    required=("time_s", "battery_c"),
    row_is="reading",
    elsewhere={
        "task": "measured runs are read without --phones",
        "chip_id": "published chips are read with --chips",
    },
)
ZERO_C_K = 273.15
_STEPS_K = (1.0, 0.1, 0.01, 0.001)  # that a sensor may read in
_PIECES = 1800  # of a course at most: nothing throttles, so that they may be longer than a governor's period
_VARIED = (  # numbers that heat depends on
    POWER, "handset.nodes.", "handset.links.", "handset.surface.", "handset.leakage.", "handset.other",
)  # fmt: skip


class Readings(Record):
    """Temperatures of a battery from the start of its work on; arrays are (N,)."""

    time_s: Array
    battery_k: Array
    resolution_k: float  # the coarsest step that all readings are whole numbers of


class Predicted(Record):
    """A node of a handset at the time of each reading, without any fit; arrays are (N,)."""

    handset: Chosen[Handset]
    decoding: Chosen[Decoding]
    room_k: float
    mid_k: Array
    low_k: Array  # each number alone at an end of its range, added in squares
    high_k: Array
    mostly_from: str  # address of the number that does most to the range at the last reading


class _Held(Record):
    """What a prediction is made of."""

    handset: Handset
    decoding: Decoding


class JudgedPhone(Record):
    """Readings beside what is fitted to them and what is not."""

    readings: Readings
    one: Warming
    two: Warming
    possible: Possible
    predicted: Predicted


def built_in() -> str:
    """The readings that come with npuwatt."""
    return os.path.join(library.presets_root(), "measured", "phone-temperature.csv")


def judged_phone(
    path: str | None = None, *, handset: str = HANDSET, folders: Sequence[str] = ()
) -> JudgedPhone:
    """Fit one and two exponentials to the readings of a file, and predict them by a handset that knows nothing of them.

    Parameters
    ----------
    path
        A CSV file with columns time_s and battery_c; the built-in one without a path.
    handset
        Preset name or path; it needs a node `battery`.

    Raises
    ------
    NpuwattError
        A faulty file, readings that tell nothing, no such handset, or one without that node.
    """
    chosen = load_handset(handset, folders=folders)
    if NODE not in chosen.record.nodes:
        raise RequestError(
            f"--handset {shown(handset)}: its nodes are {', '.join(chosen.record.nodes)}; expected one of them called {NODE}"
        )
    path = path or built_in()
    readings = read_readings(path)
    time_s, battery_k = readings.time_s, readings.battery_k
    with _naming(f"--handset {shown(handset)}"):
        prediction = predicted(chosen, time_s, room_k=float(battery_k[0]))
    with _naming(_label(path)):
        return JudgedPhone(
            readings=readings,
            one=one_exponential(time_s, battery_k),
            two=two_exponentials(time_s, battery_k),
            possible=possible(time_s, battery_k, resolution_k=readings.resolution_k),
            predicted=prediction,
        )


def read_readings(path: str) -> Readings:
    """All readings of a file; '-' is standard input.

    Raises
    ------
    NpuwattError
        A faulty file, with a line for each fault; readings out of order, too few, too many or over too short a time.
    """
    label = _label(path)
    rows = next(read_rows(path, COLUMNS, chunk_rows=MOST_READINGS + 1))
    if len(rows.lines) > MOST_READINGS:
        raise NpuwattError(f"{label}: more than {MOST_READINGS} readings; expected fewer, as every tenth")
    if faults := list(_faults(rows, label)):
        raise NpuwattError(*faults)
    celsius = rows.numbers["battery_c"]
    return Readings(
        time_s=rows.numbers["time_s"], battery_k=celsius + ZERO_C_K, resolution_k=_resolution_k(celsius)
    )


def predicted(chosen: Chosen[Handset], time_s: Array, *, room_k: float) -> Predicted:
    """The battery of a handset that decodes from time 0 on, by its preset and the published power of a phone, unfitted.

    All of it starts as warm as the room. The chip draws what the rest in use leaves of the phone's power, its
    leakage a share of that. Each number alone is put to both its ends; what they add and take counts in squares.
    """
    decoding = load_constants(DECODING, Decoding)
    inputs = ranged_numbers(decoding, DECODING, ("decoding",)) + ranged_numbers(
        chosen, "handset", ("handset",)
    )
    points, usable = varied(
        _Held(handset=chosen.record, decoding=decoding.record),
        [item for item in inputs if item.address.startswith(_VARIED)],
    )
    battery_k = _battery_k(points, time_s, room_k)
    low_k, high_k = np.array([difference_ends(values) for values in battery_k.T]).T
    moved_k = np.abs(battery_k[1:, -1] - battery_k[0, -1])
    return Predicted(
        handset=chosen,
        decoding=decoding,
        room_k=room_k,
        mid_k=battery_k[0],
        low_k=low_k,
        high_k=high_k,
        mostly_from=usable[int(np.argmax(moved_k)) // 2].address,
    )


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Faults of what is done within, with the place where a user finds their cause."""
    try:
        yield
    except NpuwattError as error:
        raise RequestError(*(f"{place}: {fault}" for fault in error.faults)) from error


def _label(path: str) -> str:
    return "standard input" if path == "-" else path


def _battery_k(held: _Held, time_s: Array, room_k: float) -> Array:
    """The battery at each time, (P, N): straight lines between the ends of pieces."""
    handset, power_w = held.handset, held.decoding.power_w
    period_s = max(float(np.max(handset.control_period_s)), float(time_s[-1]) / _PIECES)
    heat_w = np.maximum(power_w - handset.other_w, 0.0)
    with np.errstate(all="ignore"):
        found = course(
            replace(handset, control_period_s=period_s), power_w=heat_w, rated_w=heat_w, ambient_k=room_k,
            duration_s=float(time_s[-1]), series=False, watched=NODE,
        )  # fmt: skip
    if found.runs_away.any():
        raise RequestError(
            f"runs away: with {np.min(power_w):g} to {np.max(power_w):g} W its die passes {HOTTEST_K - ZERO_C_K:.0f} degC "
            f"within {time_s[-1]:g} s; expected a handset that stands what a phone draws, or cooler readings"
        )
    after = np.clip(np.searchsorted(found.time_s, time_s), 1, len(found.time_s) - 1)
    share = (time_s - found.time_s[after - 1]) / (found.time_s[after] - found.time_s[after - 1])
    return found.watched_k[:, after - 1] * (1.0 - share) + found.watched_k[:, after] * share


def _resolution_k(celsius: Array) -> float:
    """The coarsest usual step that all readings are whole numbers of."""
    return next(
        (step for step in _STEPS_K if np.all(np.abs(celsius / step - np.round(celsius / step)) < 1e-6)),
        _STEPS_K[-1],
    )


def _faults(rows: Rows, label: str) -> Iterator[str]:
    """What is wrong with readings as a series; the first fault of each kind."""
    time_s = rows.numbers["time_s"]
    if time_s[0] != 0:
        yield f"{label}:{rows.lines[0]}: time_s: {time_s[0]:g} given; expected 0 at the first reading"
    late = np.flatnonzero(np.diff(time_s) <= 0)
    if len(late):
        before, here = time_s[late[0] : late[0] + 2]
        yield (
            f"{label}:{rows.lines[late[0] + 1]}: time_s: {here:g} given after {before:g}; "
            "expected each reading later than the one before"
        )
    elif len(time_s) < LEAST_READINGS:
        yield (
            f"{label}: {len(time_s)} readings; expected {LEAST_READINGS} or more, one over the constants of two "
            "exponentials"
        )
    elif not FAST_S[1] <= time_s[-1] <= MOST_S:
        yield f"{label}: {time_s[-1]:g} s of readings; expected {FAST_S[1]:g} to {MOST_S:g} s"
