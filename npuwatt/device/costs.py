"""What ops cost on a device: time and what sets it, energy by component, bytes by memory level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from npuwatt.arrays import Array, Real, total
from npuwatt.record import Record

COMPONENTS = ("arithmetic", "conversion", "on_chip", "dram", "links", "overhead", "static")
"""Where energy can go: multipliers; DAC and ADC; caches, buffers and wires; main memory; links between devices;
control and voltage regulators; and what is drawn all the time."""
LOSSES = ("metadata", "imbalance", "kernels")
"""What keeps zeros from saving time: bytes that say where they are, lanes that wait, and imperfect skipping or kernels."""
LIMITS = ("compute", "memory", "on_chip", "link", "conversion", "kernels", "power", "software")
"""What can set the time; kernels: those of zeros, where they are as slow as was measured."""


class OpCosts(Record):
    """Dynamic costs of ops over all devices together, before the power cap; arrays are (..., L)."""

    time_s: Array
    limits_s: dict[str, Array]  # time each limit alone would take
    energy_j: dict[str, Array]  # by component
    level_bytes: dict[str, Array]
    level_energy_j: dict[str, Array]
    metadata_j: Real = 0.0  # of that, for saying and finding where non-zeros are, at the board's input
    lost_s: Mapping[str, Array] = {}  # of time_s, to what keeps zeros from saving more, one of LOSSES

    def owners(self) -> Array:
        """For each op, which of `limits_s` (by its place) takes longest: (..., L)."""
        first, *others = self.limits_s.values()
        best, owner = first, np.zeros(self.time_s.shape)
        for place, times in enumerate(others, start=1):
            owner = np.where(times > best, place, owner)
            best = np.maximum(times, best)
        return owner


class PhaseCosts(Record):
    """One phase (a prefill, or a decode step) of all devices under the power cap; arrays are (P, 1)."""

    time_s: Array
    energy_j: dict[str, Array]  # by component, static included
    limit_s: dict[str, Array]  # time by what sets it; sums to time_s, or is empty where nobody asked
    stretch_ratio: Array  # how much the power cap slows the phase


def phase_costs(
    parts: Iterable[OpCosts],
    *,
    static_power_w: Real,
    clocks_power_w: Real = 0.0,
    power_cap_w: Real,
    devices: Real,
    limits: bool = True,
    overhead_s: Real = 0.0,
    host_s: Real = 0.0,
) -> PhaseCosts:
    """Costs of ops that follow one another, under a cap on mean power.

    A board at its cap lowers its clocks until dynamic energy over time fits beside the static
    power, so a phase lasts at least dynamic energy / (cap - static). The cap acts over
    milliseconds, hence on the phase and not on each op. Clocks that stay up count as on-chip
    movement, whose control they drive. Software adds `overhead_s` on the device
    and then `host_s` beside it, in which the device only waits.
    """
    zero = np.zeros((1, 1))
    unlimited_s = zero
    energy_j: dict[str, Array] = {}
    limit_s: dict[str, Array] = {}
    for part in parts:
        unlimited_s = unlimited_s + total(part.time_s)
        for name, joules in part.energy_j.items():
            energy_j[name] = energy_j.get(name, zero) + total(joules)
        owner = part.owners() if limits else None
        for place, name in enumerate(part.limits_s if limits else ()):
            limit_s[name] = limit_s.get(name, zero) + total(part.time_s * (owner == place))
    dynamic_j = sum(energy_j.values(), start=zero)
    unlimited_s = unlimited_s + overhead_s
    busy_s = np.maximum(unlimited_s, dynamic_j / (devices * (power_cap_w - static_power_w - clocks_power_w)))
    time_s = busy_s + host_s
    energy_j["static"] = devices * static_power_w * time_s
    if np.any(clocks_power_w):
        energy_j["on_chip"] = energy_j.get("on_chip", zero) + devices * clocks_power_w * time_s
    capped = busy_s > unlimited_s * (1 + 1e-9)  # then nothing but the cap sets the time
    limit_s = {name: np.where(capped, 0.0, seconds) for name, seconds in limit_s.items()}
    limit_s["power"] = np.where(capped, busy_s, limit_s.get("power", zero))
    if np.any(overhead_s) or np.any(host_s):
        limit_s["software"] = np.where(capped, 0.0, overhead_s) + host_s
    return PhaseCosts(
        time_s=time_s,
        energy_j={name: energy_j[name] for name in COMPONENTS if name in energy_j},
        limit_s={name: limit_s[name] for name in LIMITS if name in limit_s},
        stretch_ratio=busy_s / unlimited_s,
    )
