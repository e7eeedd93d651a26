"""How a handset warms, as one or two saturating exponentials, and which of their constants a series tells.

A body of several nodes that starts at one temperature and takes constant power warms as a sum of
a (1 - exp(-t / tau)). Two of them stand for the parts near the chip and for the whole device.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace

FAST_S = (1.0, 120.0)
"""Least and most of the fast constant: die and package."""
SLOW_S = (200.0, 2000.0)
"""Least and most of the slow one: mass and surface of a device, about R C = 4 K/W x 170 J/K and wide around it."""
START_K = 0.5
"""How far the start may lie from the first reading."""
WORSE_RATIO = 1.1
"""What fits no worse than this many times the best is held possible."""
MOST_RMS_K = 1.0
"""Off by more than this, two exponentials do not describe the readings, and their constants mean nothing."""
KNOWN_RATIO = 2.0
"""A constant is identified if what is possible of it spans no more than this and reaches no bound."""
LEAST_READINGS = 6
"""One over the numbers of two exponentials: start, two rises, two constants."""
_ROUNDS, _STEPS, _SLOW_STEPS = 6, 13, 91
_CHUNK = 2**16


class Warming(Record):
    """T(t) = start + the sum of rise (1 - exp(-t / time constant)), and how far it is off the readings."""

    start_k: float
    rises_k: tuple[float, ...]
    time_constants_s: tuple[float, ...]
    rms_k: float


class Possible(Record):
    """What the readings leave possible of two exponentials, each from its least to its most.

    Each time constant in turn is set from bound to bound, and all else is what then fits best. So the spans of
    the constants are whole; those of rises and slope are the least they can be.
    """

    rms_k: float  # up to which a fit is held possible
    fast_constant_s: tuple[float, float]
    fast_rise_k: tuple[float, float]
    slow_constant_s: tuple[float, float]
    slow_rise_k: tuple[float, float]
    slow_slope_k_per_s: tuple[float, float]  # slow rise over slow constant: the slope that it starts with

    @property
    def identified(self) -> dict[str, bool]:
        """Which of the constants the readings tell: none where nothing fits, no rise whose time constant ends at a bound."""
        is_fitted = self.rms_k <= MOST_RMS_K
        found = {
            "fast constant": _is_known(self.fast_constant_s, FAST_S),
            "fast rise": _is_off(self.fast_constant_s, FAST_S) and _is_known(self.fast_rise_k),
            "slow constant": _is_known(self.slow_constant_s, SLOW_S),
            "slow rise": _is_off(self.slow_constant_s, SLOW_S) and _is_known(self.slow_rise_k),
            "slow slope": _is_known(self.slow_slope_k_per_s),
        }
        return {name: known and is_fitted for name, known in found.items()}


def warming_k(warming: Warming, time_s: Array) -> Array:
    """Temperature at each time, in the shape of `time_s`."""
    pairs = zip(warming.rises_k, warming.time_constants_s, strict=True)
    return sum(
        (rise * -np.expm1(-time_s / tau) for rise, tau in pairs), np.full(time_s.shape, warming.start_k)
    )


def one_exponential(time_s: Array, temperature_k: Array) -> Warming:
    """The saturating exponential that fits best, its constant anywhere from the least fast to the most slow.

    Parameters
    ----------
    time_s, temperature_k : (N,)
        Readings at constant power; the first at time 0.

    Raises
    ------
    NpuwattError
        Fewer than 6 readings, over less than 120 s, not in order of time, not finite, or all late.
    """
    _check(time_s, temperature_k)
    none = np.empty((1, 0))
    fit = _best_beside(time_s, temperature_k - temperature_k[0], none, (FAST_S[0], SLOW_S[1]))
    return _warming(fit, 0, time_s, temperature_k)


def two_exponentials(time_s: Array, temperature_k: Array) -> Warming:
    """The two saturating exponentials that fit best within their bounds; parameters and errors as of one."""
    _check(time_s, temperature_k)
    rise_k = temperature_k - temperature_k[0]
    slow = np.geomspace(*SLOW_S, _SLOW_STEPS)
    for _ in range(_ROUNDS):
        fit = _best_beside(time_s, rise_k, slow[:, np.newaxis], FAST_S)
        best = int(np.argmin(fit.rms_k))
        slow = np.geomspace(slow[max(best - 1, 0)], slow[min(best + 1, len(slow) - 1)], _STEPS)
    return _warming(fit, best, time_s, temperature_k)


def possible(time_s: Array, temperature_k: Array, *, resolution_k: float) -> Possible:
    """What two exponentials may be, given readings (as of `one_exponential`) rounded to `resolution_k`.

    A fit that is off by less than readings are by being rounded, resolution / sqrt(12), is as good as any.
    """
    require.positive(resolution=resolution_k)
    best = two_exponentials(time_s, temperature_k)
    allowed_k = max(WORSE_RATIO * best.rms_k, resolution_k / np.sqrt(12))
    rise_k = temperature_k - temperature_k[0]
    fast, slow = (
        np.append(np.geomspace(*bounds_s, 2 * _SLOW_STEPS), tau_s)[:, np.newaxis]
        for bounds_s, tau_s in zip((FAST_S, SLOW_S), best.time_constants_s, strict=True)
    )
    by_slow = _best_beside(time_s, rise_k, slow, FAST_S)
    by_fast = _best_beside(time_s, rise_k, fast, SLOW_S)
    held = np.append(by_slow.rms_k, by_fast.rms_k) <= allowed_k
    fast_s, slow_s = np.concatenate([by_slow.tau_s, by_fast.tau_s[:, ::-1]])[held].T
    fast_k, slow_k = np.concatenate([by_slow.rise_k, by_fast.rise_k[:, ::-1]])[held].T
    return Possible(
        rms_k=float(allowed_k),
        fast_constant_s=_span(fast_s),
        fast_rise_k=_span(fast_k),
        slow_constant_s=_span(slow_s),
        slow_rise_k=_span(slow_k),
        slow_slope_k_per_s=_span(slow_k / slow_s),
    )


class _Fits(Record):
    """One fit for each of G choices of time constants."""

    tau_s: Array  # (G, E)
    start_k: Array  # (G,), over the first reading
    rise_k: Array  # (G, E)
    rms_k: Array  # (G,)


def _best_beside(time_s: Array, rise_k: Array, others_s: Array, bounds_s: tuple[float, float]) -> _Fits:
    """For each row of constants (G, E - 1) the one that fits best beside them, by finer and finer grids."""
    rows = np.arange(len(others_s))
    tried = np.tile(np.geomspace(*bounds_s, 5 * _STEPS), (len(rows), 1))
    for _ in range(_ROUNDS):
        others = np.repeat(others_s, tried.shape[1], axis=0)
        fits = _linear(time_s, rise_k, np.column_stack([tried.ravel(), others]))
        best = np.argmin(fits.rms_k.reshape(tried.shape), axis=1)
        chosen = rows * tried.shape[1] + best
        low, high = np.maximum(best - 1, 0), np.minimum(best + 1, tried.shape[1] - 1)
        tried = np.geomspace(tried[rows, low], tried[rows, high], _STEPS, axis=1)
    return _Fits(
        tau_s=fits.tau_s[chosen],
        start_k=fits.start_k[chosen],
        rise_k=fits.rise_k[chosen],
        rms_k=fits.rms_k[chosen],
    )


def _linear(time_s: Array, rise_k: Array, tau_s: Array) -> _Fits:
    """Least squares of the start and of rises that are not negative, for each row of time constants (G, E).

    The optimum leaves some numbers free and holds the others at a bound; of all such choices, few as they
    are, the best that lies within the bounds is the optimum.
    """
    rows, terms = tau_s.shape
    products, toward = _products(time_s, rise_k, tau_s)
    found, least = np.zeros((rows, 1 + terms)), np.full(rows, np.inf)
    for held in product((np.nan, -START_K, START_K), *((np.nan, 0.0),) * terms):
        numbers = np.tile(held, (rows, 1))
        free = np.isnan(held)
        if free.any():
            own, rest = products[:, free], toward[:, free]
            rest = rest - own[..., ~free] @ numbers[0, ~free]
            numbers[:, free] = _solved(own[..., free], rest)
        square = np.einsum("ge,gef,gf->g", numbers, products, numbers) - 2 * np.sum(numbers * toward, axis=-1)
        within = (np.abs(numbers[:, 0]) <= START_K) & (numbers[:, 1:] >= 0).all(axis=-1) & (square < least)
        found, least = np.where(within[:, np.newaxis], numbers, found), np.where(within, square, least)
    mean = np.maximum(least + np.sum(rise_k**2), 0.0) / len(time_s)
    return _Fits(tau_s=tau_s, start_k=found[:, 0], rise_k=found[:, 1:], rms_k=np.sqrt(mean))


def _solved(matrices: Array, right: Array) -> Array:
    """The solution of each row's equations; NpuwattError where readings cannot tell its terms apart."""
    try:
        return np.asarray(np.linalg.solve(matrices, right[..., np.newaxis])[..., 0])
    except np.linalg.LinAlgError:
        raise NpuwattError(
            f"time: too few readings in the first {SLOW_S[1]:.0f} s to tell time constants apart; expected 3 or more"
        ) from None


def _products(time_s: Array, rise_k: Array, tau_s: Array) -> tuple[Array, Array]:
    """Sums over readings of each pair of the terms 1 and 1 - exp(-t / tau), (G, 1 + E, 1 + E), and of each with the rise."""
    chunk = max(1, _CHUNK // len(time_s))  # rows whose terms stay in cache together
    products, toward = [], []
    for first in range(0, len(tau_s), chunk):
        part = tau_s[first : first + chunk]
        terms = np.ones((len(part), 1 + part.shape[1], len(time_s)))
        terms[:, 1:] = -np.expm1(-time_s / part[..., np.newaxis])
        products.append(terms @ np.swapaxes(terms, -1, -2))
        toward.append(terms @ rise_k)
    return np.concatenate(products), np.concatenate(toward)


def _warming(fits: _Fits, at: int, time_s: Array, temperature_k: Array) -> Warming:
    """One of the fits, its error from the readings: sums of products lose the digits of a small one."""
    fit = Warming(
        start_k=float(temperature_k[0] + fits.start_k[at]),
        rises_k=tuple(fits.rise_k[at].tolist()),
        time_constants_s=tuple(fits.tau_s[at].tolist()),
        rms_k=0.0,
    )
    return replace(fit, rms_k=float(np.sqrt(np.mean((warming_k(fit, time_s) - temperature_k) ** 2))))


def _span(values: Array) -> tuple[float, float]:
    return float(values.min()) + 0.0, float(values.max()) + 0.0  # no -0


def _is_known(span: tuple[float, float], bounds: tuple[float, float] = (0.0, np.inf)) -> bool:
    """Whether a span is narrow and off its bounds, which say nothing of the readings."""
    low, high = span
    return _is_off(span, bounds) and high <= KNOWN_RATIO * low


def _is_off(span: tuple[float, float], bounds: tuple[float, float]) -> bool:
    return bounds[0] * 1.001 < span[0] and span[1] < bounds[1] * 0.999


def _check(time_s: Array, temperature_k: Array) -> None:
    if time_s.ndim != 1 or time_s.shape != temperature_k.shape or len(time_s) < LEAST_READINGS:
        raise NpuwattError(
            f"readings: {len(time_s)} times and {len(temperature_k)} temperatures; expected {LEAST_READINGS} pairs or more"
        )
    if not (np.isfinite(time_s).all() and np.isfinite(temperature_k).all()):
        raise NpuwattError("readings: one is not finite; expected numbers")
    if time_s[0] != 0 or (np.diff(time_s) <= 0).any():
        raise NpuwattError(
            "time: not from 0 upwards; expected each reading later than the one before, the first at 0 s"
        )
    if time_s[-1] < FAST_S[1]:
        raise NpuwattError(f"time: {time_s[-1]:.6g} s of readings; expected at least {FAST_S[1]:.0f} s")
