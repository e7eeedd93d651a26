"""What a chip may draw in the next period, by the temperature of the skin: three governors."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never, get_args

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, Real
from npuwatt.handset.network import Allocator, Handset, Trips

Kind: TypeAlias = Literal["none", "trips", "allocator"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Free:
    """No governor: the chip draws what it demands."""

    def allowed_w(self, skin_k: Array, demand_w: Array) -> Array:
        """Power of the next period, (P, 1)."""
        return demand_w


class ByTrips:
    """Trip points: the warmest one passed says which share of its demand the chip may draw."""

    def __init__(self, trips: Trips) -> None:
        self.trips = trips
        self.passed: list[npt.NDArray[np.bool_]] = [np.zeros((1, 1), dtype=bool) for _ in trips.steps]

    def allowed_w(self, skin_k: Array, demand_w: Array) -> Array:
        """Power of the next period, (P, 1). A trip is passed at its temperature, left a hysteresis below it."""
        allowed: Real = demand_w
        for number, trip in enumerate(self.trips.steps):
            left_k = trip.temperature_k - self.trips.hysteresis_k
            passed = skin_k >= np.where(self.passed[number], left_k, trip.temperature_k)
            self.passed[number] = passed
            allowed = np.where(passed, trip.power_fraction * demand_w, allowed)
        return np.asarray(allowed)


class ByAllocator:
    """The PID controller of Linux, power_allocator.

    Below its switch-on temperature it lets everything through and forgets its sum. An error is summed only
    below the cutoff, and only while the sum alone asks for less than the most that can be drawn (here the
    demand), so that it does not wind up. What comes out lies between 0 and the demand.

    Source
    ------
    Linux kernel, Documentation/driver-api/thermal/power_allocator.rst and
    drivers/thermal/gov_power_allocator.c: pid_controller.
    """

    def __init__(self, allocator: Allocator, limit_k: Real) -> None:
        self.allocator = allocator
        self.limit_k = limit_k
        self.summed_k: Array = np.zeros((1, 1))
        self.before_k: Array | None = None

    def allowed_w(self, skin_k: Array, demand_w: Array) -> Array:
        """Power of the next period, (P, 1)."""
        told = self.allocator
        error = np.asarray(self.limit_k - skin_k)
        acts = error <= told.switch_on_rise_k
        more = self.summed_k + error
        summing = (error < told.integral_cutoff_k) & (np.abs(told.integral_gain_w_per_k * more) < demand_w)
        self.summed_k = np.where(summing, more, self.summed_k) * acts
        wanted = (
            told.sustainable_w
            + told.undershoot_gain_w_per_k * np.maximum(error, 0.0)
            + told.overshoot_gain_w_per_k * np.minimum(error, 0.0)
            + told.integral_gain_w_per_k * self.summed_k
        )
        if self.before_k is not None:
            wanted = wanted + told.derivative_gain_w_per_k * (error - self.before_k)
        self.before_k = error
        return np.where(acts, np.minimum(np.maximum(wanted, 0.0), demand_w), demand_w)


Governor: TypeAlias = Free | ByTrips | ByAllocator


def governor_of(handset: Handset, kind: Kind, limit_k: Real) -> Governor:
    """A governor at the start of a course; the allocator holds the skin at `limit_k`, trips have their own."""
    match kind:
        case "none":
            return Free()
        case "trips":
            return ByTrips(handset.trips)
        case "allocator":
            return ByAllocator(handset.allocator, limit_k)
        case _:
            assert_never(kind)
