"""How long a full battery feeds a session, and what goes on after it as it ended."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, total
from npuwatt.handset.network import Battery
from npuwatt.record import Record

_LAST = 3  # the course goes on as in its last third


class Charge(Record):
    """What a battery feeds of a course of T periods, and for how long it then feeds what the last third of it draws."""

    fed_fraction: Array  # (P, T): of each period
    after_s: Array  # (P, 1): beyond the course; 0 where the battery does not last as long, infinite where nothing is drawn
    period_s: float

    @property
    def life_s(self) -> Array:
        """All in all, (P, 1)."""
        return self.amount(np.ones_like(self.fed_fraction))

    def amount(self, rates: Array) -> Array:
        """What comes of rates of (P, T) over the life of the battery, (P, 1)."""
        with np.errstate(invalid="ignore"):
            after = np.where(self.after_s > 0.0, self.after_s * last(rates), 0.0)
        return np.asarray(total(rates * self.fed_fraction) * self.period_s + after)


def last(rates: Array) -> Array:
    """Mean over the last third of a course, (P, 1)."""
    return np.asarray(np.mean(rates[:, -max(rates.shape[-1] // _LAST, 1) :], axis=-1, keepdims=True))


def charge(battery: Battery, *, power_w: Array, period_s: float) -> Charge:
    """How far a full battery feeds a course and what follows it.

    Parameters
    ----------
    power_w : (P, T)
        What arrives at the parts, all of them together, in each period.
    """
    drawn_j = power_w * period_s
    before_j = np.cumsum(drawn_j, axis=-1) - drawn_j
    full_j = battery.energy_j * battery.efficiency_fraction
    with np.errstate(divide="ignore", invalid="ignore"):
        fed = np.where(
            drawn_j > 0.0, np.clip((full_j - before_j) / drawn_j, 0.0, 1.0), 1.0 * (before_j < full_j)
        )
        after_s = np.maximum(full_j - total(drawn_j), 0.0) / last(power_w)
    return Charge(fed_fraction=fed, after_s=after_s, period_s=period_s)
