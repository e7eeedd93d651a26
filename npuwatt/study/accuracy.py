"""How exact the products of a board are over time, and what writing its cells costs: joules, seconds and life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from npuwatt import units
from npuwatt.arrays import Array, Real, column
from npuwatt.device.accuracy import ROOM_K, Accuracy, product_accuracy
from npuwatt.device.converters import lossless_adc_bits
from npuwatt.device.crossbar import Arrays, Crossbar, active_rows, columns_per_weight, series_siemens
from npuwatt.device.digits import GAUSSIAN, Values
from npuwatt.device.drift import LEAST_K, MOST_K, LogLaw, Noise
from npuwatt.device.evaluate import Device
from npuwatt.device.layout import Layout
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.preset.evidence import Evidence
from npuwatt.preset.paths import value_at, with_values
from npuwatt.record import Record, replace
from npuwatt.study.question import NETWORK
from npuwatt.study.reprogramming import Loading, Schedule, loading_of, schedule_of
from npuwatt.study.scenario import Chosen, changes_by_owner, implausible, load_device, load_network
from npuwatt.study.verdicts import verdict_of
from npuwatt.workload.network import Network

MOMENTS = "0s,1min,1h,1day,30day,1year"
SHAPES = ("gaussian", "laplace")
MOST_MOMENTS = 1000
MOST_TRIALS, MOST_TRIAL_ROWS, MOST_TRIAL_CELLS = 4096, 16384, 2**21  # seconds, and some 100 MB
LEAST_CLIP, MOST_CLIP = 0.1, 100.0  # root mean squares of weights
MOST_OFF_SCALE = 1.3  # conductances over those that the laws of their noise are given for
SHORT_LIFE_S = 7 * 86400.0
MOST_S = 1e12
NOT_FINITE = "has no finite signal over noise; expected numbers nearer to those of real cells"
_VARIED = (
    "noise",
    "cell.g_max",
    "cell.g_min",
    "wire",
    "adc.bits",
)  # of arrays, that make products more or less exact


class AccuracyStudy(Record):
    """Accuracy of one board; arrays are (1, T) over moments since programming."""

    device: Chosen[Device]
    network: Chosen[Network]
    layout: Layout
    times_s: tuple[float, ...]
    temperature_k: float
    compensated: Accuracy
    plain: Accuracy  # without drift compensation
    low_db: Array  # each number of the cells alone at an end of its range, added in squares
    high_db: Array
    range_mostly_from: str  # address of the number, or law, that does most to this range
    trial_db: Array | None  # by simulating columns cell by cell
    trials: int
    lossless_bits: float
    converter_loss_db: float  # of the signal over noise right after programming, for having fewer
    loading: Loading | None  # none: cells are written for every pass anyway
    schedule: Schedule | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def verdicts(self) -> list[str]:
        """What the products are good for, at each moment."""
        return [verdict_of(decibels) for decibels in self.compensated.snr_db[0].tolist()]


def accuracy(
    name: str,
    *,
    at: str = MOMENTS,
    temperature: str | None = None,
    distribution: str = "gaussian",
    clip: float | None = None,
    reprogram_every: str | None = None,
    trials: int = 0,
    network: str = NETWORK,
    changes: Sequence[str] = (),
    presets: Sequence[str] = (),
) -> AccuracyStudy:
    """How exact matrix products are in a device's cells, some time after these were programmed.

    Parameters
    ----------
    name
        A device by preset name, alias or path; it must have arrays of analog cells.
    at
        Moments since programming, as in '0s,1h,30day'.
    temperature
        Of the cells, as in '85 degC'; None for 300 K.
    distribution
        How weights are spread: gaussian or laplace.
    clip
        The weight that takes the full range of conductances, in root mean squares of weights; None for
        the largest of a tile.
    reprogram_every
        How often all cells are written again, as in '30day'.
    trials
        Columns to simulate cell by cell beside the closed form; 0 for none.
    network
        What is loaded into the cells, which sets the energy of writing them.
    changes, presets
        As for `npuwatt.compare`.

    Raises
    ------
    NpuwattError
        A device without analog cells, or without anything known about their noise; a moment, temperature or
        number that cannot be.
    """
    times_s = _moments("--at", at)
    temperature_k = ROOM_K if temperature is None else _quantity("--temperature", temperature, "_k")
    interval_s = None
    if reprogram_every is not None:
        interval_s = _quantity("--reprogram-every", reprogram_every, "_s")
        if not 0 < interval_s <= MOST_S:
            raise RequestError(f"--reprogram-every: {shown(reprogram_every)} given; expected a time above 0")
    if distribution not in SHAPES:
        near = did_you_mean(distribution, SHAPES) or f"; expected one of {', '.join(SHAPES)}"
        raise RequestError(f"--distribution: {shown(distribution)} given{near}")
    if not 0 <= trials <= MOST_TRIALS:
        raise RequestError(f"--trials: {trials} given; expected a whole number from 0 to {MOST_TRIALS}")
    if clip is not None and not LEAST_CLIP <= clip <= MOST_CLIP:
        raise RequestError(f"--clip: {clip:g} given; expected a number from {LEAST_CLIP:g} to {MOST_CLIP:g}")
    if not LEAST_K <= temperature_k <= MOST_K:
        raise RequestError(
            f"--temperature: {shown(str(temperature))} given; expected one from {LEAST_K:g} K to {MOST_K:g} K"
        )
    by_device, of_network, _ = changes_by_owner(changes, [name])
    chosen = load_device(name, changes=by_device[name], folders=presets)
    loaded = load_network(network, changes=of_network, folders=presets)
    try:
        with np.errstate(all="ignore"):
            return _studied(
                chosen, loaded, times_s, temperature_k, Values(shape=_shape(distribution)), clip, interval_s, trials,
                implausible(chosen, by_device[name], f"devices.{name}"),
            )  # fmt: skip
    except OverflowError:
        raise RequestError(f"device {name!r}: {NOT_FINITE}") from None
    except NpuwattError as error:
        raise RequestError(*(f"device {name!r}: {fault}" for fault in error.faults)) from error


def _studied(
    chosen: Chosen[Device],
    network: Chosen[Network],
    times_s: tuple[float, ...],
    temperature_k: float,
    weights: Values,
    clip: float | None,
    interval_s: float | None,
    trials: int,
    warnings: Sequence[str],
) -> AccuracyStudy:
    board, arrays, noise = _analog(chosen.record)
    layout = layout_of(arrays, weights=weights, clip=clip)
    compensated, plain = (
        product_accuracy(noise, layout, times_s, temperature_k=temperature_k, is_compensated=is_compensated)
        for is_compensated in (True, False)
    )
    check_finite(compensated, plain)
    low_db, high_db, mostly = _ends(chosen, arrays, weights, clip, times_s, temperature_k)
    trial_db = None
    if trials:
        from npuwatt.device.drift_trials import trial_snr_ratio

        _check_trials(trials, float(np.max(active_rows(arrays))))
        found = trial_snr_ratio(
            noise, layout, times_s, temperature_k=temperature_k, trials=trials, rng=np.random.default_rng(0)
        )
        trial_db = 10 * np.log10(np.atleast_2d(found))
    loading = None if arrays.is_streamed else loading_of(board, network.record)
    schedule = None
    if loading is not None and interval_s is not None:
        oldest = product_accuracy(noise, layout, (interval_s,), temperature_k=temperature_k)
        schedule = schedule_of(arrays, loading, interval_s, oldest.snr_db.item(), chosen.evidence)
    lossless = float(
        np.max(lossless_adc_bits(active_rows(arrays), dac_bits=arrays.dac_bits, cell_bits=_cell_bits(arrays)))
    )
    exact = product_accuracy(
        noise, replace(layout, adc_bits_count=None), times_s[:1], temperature_k=temperature_k
    )
    return AccuracyStudy(
        device=chosen,
        network=network,
        layout=layout,
        times_s=times_s,
        temperature_k=temperature_k,
        compensated=compensated,
        plain=plain,
        low_db=low_db,
        high_db=high_db,
        range_mostly_from=mostly,
        trial_db=trial_db,
        trials=trials,
        lossless_bits=lossless,
        converter_loss_db=float(exact.snr_db[0, 0] - compensated.snr_db[0, 0]),
        loading=loading,
        schedule=schedule,
        notes=tuple(_notes(arrays, noise, layout, compensated, loading, schedule, interval_s)),
        warnings=tuple(warnings),
    )


def check_finite(*found: Accuracy) -> None:
    """Raise NpuwattError where noise is so large that its products are no numbers any more."""
    if any(np.isnan(one.snr_db).any() for one in found):
        raise NpuwattError(NOT_FINITE)


def _check_trials(trials: int, rows: float) -> None:
    if rows > MOST_TRIAL_ROWS:
        raise NpuwattError(f"--trials: {rows:.0f} rows to simulate; expected at most {MOST_TRIAL_ROWS}")
    if trials * rows > MOST_TRIAL_CELLS:
        most = int(MOST_TRIAL_CELLS / rows)
        raise NpuwattError(
            f"--trials: {trials} given; expected at most {most} for columns of {rows:.0f} rows"
        )


def _analog(device: Device) -> tuple[Crossbar, Arrays, Noise]:
    """A board with analog cells whose noise is known; NpuwattError that says what is missing."""
    if device.kind != "crossbar":
        raise NpuwattError(f"is {device.kind}, whose products are exact; expected a crossbar")
    if device.arrays.gates is not None:
        raise NpuwattError("adds bits with gates, so its products are exact; expected analog cells")
    if device.arrays.noise is None:
        raise NpuwattError(
            "nothing is known about the noise of its cells; expected arrays.noise in the preset"
        )
    return device, device.arrays, device.arrays.noise


def layout_of(arrays: Arrays, *, weights: Values = GAUSSIAN, clip: Real | None = None) -> Layout:
    """How a product lies on the arrays of a board; cells that hold charge are on or off."""
    assert arrays.noise is not None  # whoever asks has seen to it
    cell, is_pair = arrays.cell, bool(np.max(arrays.cells_per_bit_count) > 1)
    return Layout(
        rows_count=arrays.rows_count,
        columns_count=np.floor(arrays.columns_count / columns_per_weight(arrays)),
        on_siemens=series_siemens(cell, cell.g_max_siemens) if cell else arrays.noise.scale_siemens,
        off_siemens=series_siemens(cell, cell.g_min_siemens) if cell else 0.0,
        weight_bits=np.maximum(arrays.weight_bits - 1, 1) if is_pair else arrays.weight_bits,
        cell_bits=arrays.cell_bits,
        input_bits=arrays.input_bits,
        dac_bits=arrays.dac_bits,
        adc_bits_count=arrays.adc.bits_count if arrays.adc else None,
        active_rows_count=active_rows(arrays),
        wire_ohm=arrays.wire_ohm,
        is_pair=is_pair,
        weights=weights,
        weight_clip_ratio=clip,
    )


def _ends(
    chosen: Chosen[Device],
    arrays: Arrays,
    weights: Values,
    clip: float | None,
    times_s: Sequence[float],
    temperature_k: float,
) -> tuple[Array, Array, str]:
    """Signal over noise if every number of the cells lies anywhere in its range, in dB: (1, T) each; and the address
    that moves it most.

    Each number alone is put to both its ends; what they lose and what they win adds up in squares, as
    for numbers that know nothing of each other. Numbers of one law move together.
    """
    groups = [group for group in _groups(chosen) if _can_be(arrays, group)]
    points = 1 + 2 * len(groups)
    changes: dict[tuple[str, ...], Array] = {}
    for place, group in enumerate(groups):
        for path, (value, low, high) in group.items():
            values = np.full(points, value)
            values[1 + 2 * place : 3 + 2 * place] = low, high
            changes[path] = column(values)
    varied = with_values(arrays, changes)
    found = product_accuracy(
        varied.noise,
        layout_of(varied, weights=weights, clip=clip),
        times_s,
        temperature_k=temperature_k,
    ).snr_db
    change = found[1:] - found[:1]
    change[np.isnan(change)] = -np.inf  # noise beyond all bounds
    most = int(np.argmax(np.abs(change).max(axis=-1))) // 2 if groups else -1
    mostly = ".".join(("arrays", *_law_of(list(groups[most])))) if groups else ""
    worse, better = (np.square(part).sum(axis=0) for part in (np.minimum(change, 0), np.maximum(change, 0)))
    return found[:1] - np.sqrt(worse), found[:1] + np.sqrt(better), mostly


def _law_of(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The address that numbers of one law share."""
    return paths[0] if len(paths) == 1 else paths[0][:-1]


def _can_be(arrays: Arrays, group: Mapping[tuple[str, ...], tuple[float, float, float]]) -> bool:
    """Whether arrays accept the ends of numbers as long as the others stay: a range may reach beyond."""
    try:
        for end in (1, 2):
            with_values(arrays, {path: ends[end] for path, ends in group.items()})
    except NpuwattError:
        return False
    return True


def _groups(chosen: Chosen[Device]) -> Iterator[dict[tuple[str, ...], tuple[float, float, float]]]:
    """Numbers that move together, each with its value and both its ends."""
    laws: dict[tuple[str, ...], dict[tuple[str, ...], Evidence]] = {}
    for address, item in chosen.evidence.items():
        path = tuple(address.removeprefix("arrays.").split("."))
        if not address.startswith("arrays.") or not ".".join(path).startswith(_VARIED):
            continue
        holder = value_at(chosen.record, ("arrays", *path[:-1]), address)[0] if path[:-1] else None
        law = path[:-1] if isinstance(holder, (tuple, LogLaw)) else path
        laws.setdefault(law, {})[path] = item
    for items in laws.values():
        if len(items) == 1:
            yield {path: (item.value, item.low, item.high) for path, item in items.items()}
            continue
        spread = max(
            (max(item.high / item.value, item.value / item.low) for item in items.values() if item.low > 0),
            default=1.0,
        )
        yield {path: (item.value, item.value / spread, item.value * spread) for path, item in items.items()}


def _notes(
    arrays: Arrays,
    noise: Noise,
    layout: Layout,
    found: Accuracy,
    loading: Loading | None,
    schedule: Schedule | None,
    interval_s: float | None,
) -> Iterator[str]:
    if found.is_extrapolated.any():
        yield "extrapolated: beyond the times or the temperature at which the laws of these cells were measured"
    reach, known = float(np.max(layout.on_siemens)), float(np.max(noise.scale_siemens))
    if not 1 / MOST_OFF_SCALE < reach / known < MOST_OFF_SCALE:
        yield (
            f"cells reach {units.show(reach, '_siemens')}, and their noise is given for {units.show(known, '_siemens')}: "
            "change arrays.noise with arrays.cell"
        )
    if loading is not None and loading.boards_count > 1:
        yield f"the network takes {loading.boards_count:.0f} boards"
    if schedule is not None and schedule.lifetime_s < SHORT_LIFE_S:
        yield f"written that often, cells are worn out in {units.show_time(schedule.lifetime_s)}"
    if interval_s is not None and loading is None:
        yield "cells are written for every pass, so there is nothing to write again on a schedule"
    if arrays.adc is not None and np.any(np.less(arrays.adc.bits_count, 4)) and arrays.adc.form == "survey":
        yield "converters of fewer than 4 bits lie outside the survey; their energy is its 4-bit one by the share of bits"


def _cell_bits(arrays: Arrays) -> Real:
    """Bits of a cell that a sum can show: an analog cell shows no more than the weight has."""
    return np.minimum(arrays.cell_bits, arrays.weight_bits)


def _moments(option: str, text: str) -> tuple[float, ...]:
    parts = text.split(",")
    if len(parts) > MOST_MOMENTS:
        raise RequestError(f"{option}: {len(parts)} moments given; expected at most {MOST_MOMENTS}")
    found = tuple(_quantity(option, part, "_s") for part in parts)
    for part, value in zip(parts, found, strict=True):
        if not 0 <= value <= MOST_S:
            raise RequestError(f"{option}: {shown(part)} given; expected a time from 0 to {MOST_S:.0e} s")
    return found


def _quantity(option: str, text: str, suffix: str) -> float:
    try:
        return units.parse(text, suffix)
    except NpuwattError as error:
        raise RequestError(f"{option}: {error}") from error


def _shape(distribution: str) -> Literal["gaussian", "laplace"]:
    return "laplace" if distribution == "laplace" else "gaussian"
