"""What writing a network into memory cells costs, once or on a schedule: joules, seconds and life."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from npuwatt.device.crossbar import (
    Arrays,
    Crossbar,
    columns_per_weight,
    weights_held_count,
    write_energy_j,
    write_time_s,
)
from npuwatt.device.evaluate import static_power_w
from npuwatt.errors import NpuwattError
from npuwatt.preset.evidence import Evidence
from npuwatt.record import Record
from npuwatt.units import show_time
from npuwatt.workload.network import Network
from npuwatt.workload.parameters import stored_weights


class Loading(Record):
    """Writing a network into the cells once."""

    boards_count: float
    cells_count: float
    energy_j: float
    time_s: float
    held_back_by: str  # link, power or pulses


class Schedule(Record):
    """Writing it again and again, so that cells never get old."""

    interval_s: float
    power_w: float  # in the mean
    downtime_fraction: float
    snr_db: float  # just before they are written again
    lifetime_s: float  # until cells are worn out; infinite where they do not wear
    lifetime_low_s: float  # if endurance and pulses lie anywhere in their ranges
    lifetime_high_s: float


def loading_of(board: Crossbar, network: Network) -> Loading:
    """Writing all matrices of a network; the power limit of the boards and the link that brings weights hold it back."""
    arrays, host = board.arrays, board.host
    weights = stored_weights(network).matrix
    boards = float(np.ceil(weights / np.max(weights_held_count(arrays))))
    cells = weights * float(np.max(columns_per_weight(arrays) * arrays.copies_count))
    energy_j = cells * float(np.max(write_energy_j(arrays) / host.regulator_efficiency_fraction))
    power_w = boards * float(np.max(host.power_cap_w - static_power_w(board)))
    rate = float(np.max(host.memory.bandwidth_bytes_per_s * host.memory.utilization_fraction))
    if host.link:
        rate = min(rate, float(np.max(host.link.bandwidth_bytes_per_s * host.link.utilization_fraction)))
    times_s = {
        "link": weights * float(np.max(arrays.weight_bits)) / 8 / boards / rate,
        "power": energy_j / power_w,
        "pulses": float(np.max(write_time_s(arrays))),
    }
    slowest = max(times_s, key=lambda name: times_s[name])
    return Loading(
        boards_count=boards,
        cells_count=cells,
        energy_j=energy_j,
        time_s=times_s[slowest],
        held_back_by=slowest,
    )


def schedule_of(
    arrays: Arrays, loading: Loading, interval_s: float, snr_db: float, evidence: Mapping[str, Evidence]
) -> Schedule:
    """What writing all cells every `interval_s` takes; NpuwattError where that is shorter than writing takes."""
    if interval_s <= loading.time_s:
        needed, given = show_time(loading.time_s), show_time(interval_s)
        raise NpuwattError(f"--reprogram-every: {given} given; expected more than writing takes, {needed}")
    endurance = float(np.max(arrays.write.endurance_count))
    programs = endurance / float(np.max(arrays.write.pulses_count)) if endurance else np.inf
    low, high = 1.0, 1.0
    if endurance and (lives := evidence.get("arrays.write.endurance")):
        low, high = lives.low / lives.value, lives.high / lives.value
    if pulses := evidence.get("arrays.write.pulses"):
        low, high = low * pulses.value / pulses.high, high * pulses.value / pulses.low
    return Schedule(
        interval_s=interval_s,
        power_w=loading.energy_j / interval_s,
        downtime_fraction=loading.time_s / interval_s,
        snr_db=snr_db,
        lifetime_s=programs * interval_s,
        lifetime_low_s=programs * interval_s * low,
        lifetime_high_s=programs * interval_s * high,
    )
