"""What a memory cell's conductance is, some time after it was programmed: noise of programming, drift, noise of reading."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.device.normal import normal_density, normal_tail, polynomial
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

LEAST_K, MOST_K = (
    233.0,
    423.0,
)  # -40 to 150 degrees Celsius: what packaged memories are specified for, at most
MOST_ACTIVATION_J = 5 * 1.602176634e-19  # beyond any process in a cell that is written by less than 5 V
BOLTZMANN_J_PER_K = 1.380649e-23
LEAST_SHARE = 1e-7  # laws in ln g take any smaller conductance for this share of their scale
SURE_Z = 8.0  # so many standard deviations above zero, no cell is cut off there


class LogLaw(Record):
    """slope ln(g) + intercept, kept between low and high; g is conductance over the scale of the noise."""

    slope_ratio: Real
    intercept_ratio: Real
    low_ratio: Real
    high_ratio: Real

    def __post_init__(self) -> None:
        if np.any(np.greater(self.low_ratio, self.high_ratio)):
            raise NpuwattError("low: above 'high'; expected low <= high")

    def at(self, g: Array) -> Array:
        """The law at shares `g`."""
        return np.clip(self.slope_ratio * np.log(g) + self.intercept_ratio, self.low_ratio, self.high_ratio)


class Drift(Record):
    """G (T/start)^-nu with T = t + start: the amorphous phase of phase-change memory relaxes. nu differs by device."""

    start_s: Real
    mean: LogLaw
    spread: LogLaw  # standard deviation of nu between devices
    above_ratio: tuple[Real, ...] = ()  # mean of nu as a polynomial in g, at g of `knee` and more
    knee_ratio: Real = 1.0

    def __post_init__(self) -> None:
        require.positive(start=self.start_s, knee=self.knee_ratio)
        require.not_negative(spread=self.spread.low_ratio)


class Relaxation(Record):
    """What is added to every conductance, in ln(t/start) from `start` on: a mean, and a spread between devices."""

    start_s: Real
    mean_siemens: Real  # for each factor of e in time
    spread_siemens: Real  # at the start
    growth_siemens: Real  # of the spread, for each factor of e in time

    def __post_init__(self) -> None:
        require.positive(start=self.start_s)
        require.not_negative(spread=self.spread_siemens, growth=self.growth_siemens)


class Fit(Record):
    """The spread of conductances as it was measured at a later time: a polynomial in g."""

    time_s: Real
    spread_siemens: tuple[Real, ...]

    def __post_init__(self) -> None:
        if not self.spread_siemens:
            raise NpuwattError("spread: is empty; expected one number or more")


class Refits(Record):
    """Later measurements of the spread, the earliest first, after that of programming at `start`.

    Between them the spread follows ln(t). Beyond the last, where nothing was measured, it goes on as it rose from the
    first to the last, times `beyond`.
    """

    start_s: Real
    fits: tuple[Fit, ...]
    beyond_ratio: Real = 1.0

    def __post_init__(self) -> None:
        require.positive(start=self.start_s)
        require.not_negative(beyond=self.beyond_ratio)
        if not self.fits:
            raise NpuwattError("fits: is empty; expected one or more")
        times = (self.start_s, *(fit.time_s for fit in self.fits))
        if any(np.any(np.greater_equal(first, then)) for first, then in pairwise(times)):
            raise NpuwattError("fits: times do not rise from 'start' on; expected the earliest first")


class ReadNoise(Record):
    """Noise of one reading: a share Q of the conductance and an amount beside it, both growing as
    sqrt(ln((T + read_time) / (2 read_time))) since programming if `read_time` is given (1/f noise)."""

    read_time_s: Real | None = None
    polynomial_ratio: tuple[Real, ...] = ()  # Q in powers of g
    power_ratio: Real = 0.0  # Q also has power g^-exponent, at most cap
    exponent_ratio: Real = 0.0
    cap_ratio: Real = 1.0
    added_siemens: tuple[Real, ...] = ()  # in powers of ln g

    def __post_init__(self) -> None:
        if self.read_time_s is not None:
            require.positive(read_time=self.read_time_s)
        require.not_negative(power=self.power_ratio, exponent=self.exponent_ratio, cap=self.cap_ratio)


class Heat(Record):
    """Heat speeds up time, by Arrhenius' law."""

    activation_energy_j: Real
    reference_temperature_k: Real  # at which the laws of the cell were measured

    def __post_init__(self) -> None:
        require.within(0.0, MOST_ACTIVATION_J, activation_energy=self.activation_energy_j)
        require.within(LEAST_K, MOST_K, reference_temperature=self.reference_temperature_k)


class Noise(Record):
    """One technology of memory cell. Laws are in g, the conductance that was meant over `scale`."""

    scale_siemens: Real
    programming_siemens: tuple[Real, ...]  # standard deviation in powers of g, never below 0
    heat: Heat | None = None
    drift: Drift | None = None
    relaxation: Relaxation | None = None
    refits: Refits | None = None
    read: ReadNoise | None = None
    is_stable: bool = False  # needs no law over time, as SRAM that is powered

    def __post_init__(self) -> None:
        require.positive(scale=self.scale_siemens)
        if not self.programming_siemens:
            raise NpuwattError("programming: is empty; expected one number or more")


def age_s(noise: Noise, time_s: Real, temperature_k: Real) -> Real:
    """Time since programming as long as it would have to be at the temperature of the cell's laws."""
    if noise.heat is None:
        return time_s
    colder = 1 / noise.heat.reference_temperature_k - 1 / np.asarray(temperature_k)
    return time_s * np.exp(noise.heat.activation_energy_j / BOLTZMANN_J_PER_K * colder)


def is_beyond_law(noise: Noise, time_s: Real, temperature_k: Real) -> npt.NDArray[np.bool_]:
    """Whether an answer rests on more than what was measured: another temperature, or a time after the last law."""
    if noise.is_stable:
        return np.zeros((1, 1), dtype=bool)
    is_hot = True if noise.heat is None else np.not_equal(temperature_k, noise.heat.reference_temperature_k)
    if noise.drift is not None or noise.relaxation is not None:
        return np.atleast_2d(is_hot)
    last_s = 0.0 if noise.refits is None else noise.refits.fits[-1].time_s
    return np.atleast_2d(np.greater(age_s(noise, time_s, temperature_k), last_s) | is_hot)


def share_of_scale(noise: Noise, target_siemens: Array) -> Array:
    """g: conductance over the scale of the laws, as laws in ln g can take it."""
    return np.maximum(target_siemens / noise.scale_siemens, LEAST_SHARE)


def programmed_siemens(noise: Noise, target_siemens: Array, age_s: Real) -> tuple[Array, Array]:
    """Mean and standard deviation of conductances before drift, as if below zero were possible: (P, Q)."""
    g = target_siemens / noise.scale_siemens
    mean, spread = target_siemens, _spread_siemens(noise, g, age_s)
    if noise.relaxation is not None:
        law = noise.relaxation
        folds = np.log(np.maximum(age_s / law.start_s, 1.0))
        mean = mean + law.mean_siemens * folds
        spread = np.hypot(spread, law.spread_siemens + law.growth_siemens * folds)
    return mean, spread


def drift_exponents(law: Drift, g: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of the drift exponent nu at shares `g`."""
    mean = law.mean.at(g)
    if law.above_ratio:
        mean = np.where(g >= law.knee_ratio, polynomial(law.above_ratio, g), mean)
    return mean, law.spread.at(g)


def drift_folds(law: Drift, age_s: Real) -> Array:
    """ln(T/start): what an exponent is multiplied with."""
    return np.asarray(np.log1p(age_s / law.start_s))


def read_siemens(noise: Noise, g: Array, age_s: Real) -> tuple[Array, Array]:
    """Read noise as a share of the conductance, and what is beside it in siemens: standard deviations."""
    law = noise.read
    if law is None:
        return 0.0 * g, 0.0 * g
    ratio = np.minimum(law.power_ratio * g**-law.exponent_ratio, law.cap_ratio)
    if law.polynomial_ratio:
        ratio = ratio + polynomial(law.polynomial_ratio, g)
    added = polynomial(law.added_siemens, np.log(g)) if law.added_siemens else 0.0 * g
    growth: Real = 1.0
    if law.read_time_s is not None:
        since_s = age_s + (noise.drift.start_s if noise.drift else 0.0)
        growth = np.sqrt(np.log(np.maximum((since_s + law.read_time_s) / (2 * law.read_time_s), 1.0)))
    return np.maximum(ratio, 0.0) * growth, np.maximum(added, 0.0) * growth


def conductance_moments(noise: Noise, target_siemens: Array, age_s: Real) -> tuple[Array, list[Array]]:
    """Mean of read conductances over many cells, and their variance by what causes it.

    Programming noise that would take a cell below zero leaves it at zero. Drift of a device with
    normal nu is lognormal, hence closed forms throughout.

    Parameters
    ----------
    target_siemens : (1, Q) or (P, Q)
        What the cells were meant to hold.
    age_s : scalar or (P, 1)
        Time since programming, at the temperature of the laws.

    Returns
    -------
    mean, [programming, drift, read]
        Siemens, and siemens squared; (P, Q).

    Source
    ------
    Nandakumar et al., "Phase-change memory models for deep learning training and inference", ICECS 2019, as in IBM's
    aihwkit inference noise models: order and form of the noises.
    """
    centre, spread = programmed_siemens(noise, target_siemens, age_s)
    z = np.clip(centre / np.maximum(spread, 1e-30), -SURE_Z, SURE_Z)
    beyond = normal_tail(np.abs(z))
    below = np.where(z < 0, 1 - beyond, beyond)
    excess = normal_density(z) - z * below  # what cutting at zero adds to the mean, over the spread
    mean = np.where(z < SURE_Z, spread * (z + excess), centre)
    programming = spread**2 * (1 - below - z * excess - excess**2)
    drift = np.zeros((1, 1))
    g = share_of_scale(noise, target_siemens)
    if noise.drift is not None:
        folds = drift_folds(noise.drift, age_s)
        exponent, differing = drift_exponents(noise.drift, g)
        widening = np.square(differing * folds)
        kept = np.exp(widening / 2 - exponent * folds)
        drift = (mean**2 + programming) * kept**2 * np.expm1(widening)
        mean, programming = mean * kept, programming * kept**2
    ratio, added = read_siemens(noise, g, age_s)
    read = (mean**2 + programming + drift) * ratio**2 + added**2
    return mean, [programming, drift, read]


def _spread_siemens(noise: Noise, g: Array, age_s: Real) -> Array:
    """Standard deviation of the spread that was fitted, at g and some time after programming."""
    first = np.maximum(polynomial(noise.programming_siemens, g), 0.0)
    if noise.refits is None:
        return first
    spread = before = first
    start = np.log(noise.refits.start_s)
    reached = np.log(np.maximum(age_s, noise.refits.start_s))
    for fit in noise.refits.fits:
        until, later = np.log(fit.time_s), np.maximum(polynomial(fit.spread_siemens, g), 0.0)
        spread = spread + np.clip((reached - start) / (until - start), 0.0, 1.0) * (later - before)
        start, before = until, later
    rise = np.maximum(before - first, 0.0) / (start - np.log(noise.refits.start_s))
    return np.asarray(spread + np.maximum(reached - start, 0.0) * rise * noise.refits.beyond_ratio)
