"""Heat of one chip: flux through its die, the coolant it needs, its temperature with leakage fed back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.record import Record

_NEWTON_STEPS = 60  # quadratic; near runaway each step still halves the error


class Leakage(Record):
    """Power that leaks through a die, growing with its temperature: flux exp(growth (T - reference))."""

    flux_w_per_m2: Real  # at the reference temperature
    growth_per_k: Real
    reference_k: Real

    def __post_init__(self) -> None:
        require.not_negative(flux=self.flux_w_per_m2, growth=self.growth_per_k)
        require.positive(reference=self.reference_k)


class Junction(Record):
    """Where a chip settles; infinite temperature and leakage where it runs away."""

    temperature_k: Array
    leakage_w: Array
    gain_ratio: Array  # leakage that one watt of leakage adds: beta R P_leak, below 1 where a chip settles
    runs_away: npt.NDArray[np.bool_]


def heat_flux_w_per_m2(power_w: Real, area_m2: Real) -> Real:
    """Power over die area. Information, not a limit: parts well above the rules of thumb ship with air cooling.

    `area_m2` is the die itself, without the share of wafer that its making loses.
    """
    require.not_negative(power=power_w)
    require.positive(area=area_m2)
    return power_w / area_m2


def coolant_needed_k(*, junction_limit_k: Real, power_w: Real, resistance_k_per_w: Real) -> Real:
    """Warmest coolant that keeps a junction at its limit: T_j,max - R P; scalars or (P, 1)."""
    require.positive(junction_limit=junction_limit_k, resistance=resistance_k_per_w)
    require.not_negative(power=power_w)
    return junction_limit_k - resistance_k_per_w * power_w


def leakage_w(leakage: Leakage, *, area_m2: Real, temperature_k: Real) -> Array:
    """Leaked power of a die at a temperature; scalars or (P, 1), watts.

    Source
    ------
    HotSpot, University of Virginia, temperature.c: 1.5e4 W/m2 at 383.15 K, growing by 0.036 per kelvin.
    """
    growth = np.exp(leakage.growth_per_k * (temperature_k - leakage.reference_k))
    return np.asarray(leakage.flux_w_per_m2 * area_m2 * growth)


def junction(
    leakage: Leakage, *, coolant_k: Real, resistance_k_per_w: Real, power_w: Real, area_m2: Real
) -> Junction:
    """The fixed point of T = T_coolant + R (P + P_leak(T)), the cooler of its two.

    With y the rise that leakage alone adds, times beta, the fixed point is y = c exp(y) where
    c = beta R P_leak(T_coolant + R P). It has a solution for c up to 1/e, where the gain reaches 1;
    beyond, each watt of leakage brings more than another one, and the chip runs away. That is
    reported, not raised, so that a sweep may cross it.

    Parameters
    ----------
    coolant_k, resistance_k_per_w, power_w, area_m2 : scalar or (P, 1)
        `power_w` is without leakage; the resistance is from junction to coolant.
    """
    require.positive(coolant=coolant_k, resistance=resistance_k_per_w, area=area_m2)
    require.not_negative(power=power_w)
    without_k = coolant_k + resistance_k_per_w * power_w
    first_w = leakage_w(leakage, area_m2=area_m2, temperature_k=without_k)
    first_gain = np.asarray(leakage.growth_per_k * resistance_k_per_w * first_w)
    runs_away = first_gain >= np.exp(-1.0)
    gain = _lower_root(np.where(runs_away, 0.0, first_gain))
    leaked_w = np.where(runs_away, np.inf, first_w * np.exp(gain))
    return Junction(
        temperature_k=np.asarray(without_k + resistance_k_per_w * leaked_w),
        leakage_w=leaked_w,
        gain_ratio=np.where(runs_away, np.inf, gain),
        runs_away=runs_away,
    )


def _lower_root(c: Array) -> Array:
    """y = c exp(y), the root below 1, by Newton from 0, which never oversteps it: y - c exp(y) is concave."""
    y = np.zeros_like(c)
    for _ in range(_NEWTON_STEPS):
        grown = c * np.exp(y)
        y = np.minimum(y + (grown - y) / np.maximum(1.0 - grown, 1e-12), 1.0)
    return y
