"""Text with units becomes SI numbers here and nowhere else; names tell which unit they hold."""

from __future__ import annotations

import math
import re

from npuwatt.errors import NpuwattError, shown

OPS_PER_MAC = 2.0
ZERO_C_K = 273.15

# What one unit is worth in SI, and its dimension. 1 MAC is 2 OP or 2 FLOP; a rate may be written per second at once.
_UNITS: dict[str, tuple[float, str]] = {
    "J": (1.0, "J"),
    "Wh": (3600.0, "J"),
    "W": (1.0, "W"),
    "s": (1.0, "s"),
    "min": (60.0, "s"),
    "h": (3600.0, "s"),
    "day": (86400.0, "s"),
    "month": (2629800.0, "s"),  # a twelfth of a year
    "year": (31557600.0, "s"),
    "B": (1.0, "B"),
    "byte": (1.0, "B"),
    "bit": (0.125, "B"),
    "MAC": (1.0, "MAC"),
    "OP": (0.5, "MAC"),
    "FLOP": (0.5, "MAC"),
    "OPS": (0.5, "MAC/s"),
    "FLOPS": (0.5, "MAC/s"),
    "Hz": (1.0, "Hz"),
    "V": (1.0, "V"),
    "S": (1.0, "S"),
    "ohm": (1.0, "ohm"),
    "F": (1.0, "F"),
    "eV": (1.602176634e-19, "J"),
    "K": (1.0, "K"),
    "dB": (1.0, "dB"),
    "um2": (1e-12, "m2"),
    "mm2": (1e-6, "m2"),
    "cm2": (1e-4, "m2"),
    "m2": (1.0, "m2"),
    "m": (1.0, "m"),
    "Pa": (1.0, "Pa"),
    "L": (1.0, "L"),
    "USD": (1.0, "USD"),
    "kg": (1.0, "kg"),
    "gCO2e": (1e-3, "kg"),
}
_OTHER_MONEY = re.compile(
    r"(?<![A-Za-z])[kM]?(EUR|GBP|CNY|JPY|INR|KRW|TWD|CHF|CAD|AUD|SEK)(?![A-Za-z])|[€£¥$]"
)
_PREFIXES = {
    "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
}  # fmt: skip
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}

# Name suffix -> (dimension, an example for error lines). The longest suffix that fits a name is the one that counts.
SUFFIXES: dict[str, tuple[str, str]] = {
    "_bytes_per_s": ("B/s", "GB/s"),
    "_macs_per_s": ("MAC/s", "TFLOPS"),
    "_j_per_byte": ("J/B", "pJ/bit"),
    "_j_per_mac": ("J/MAC", "pJ/MAC"),
    "_macs_per_byte": ("MAC/B", "MAC/B"),
    "_bytes": ("B", "GiB"),
    "_macs": ("MAC", "GMAC"),
    "_j": ("J", "pJ"),
    "_w": ("W", "W"),
    "_s": ("s", "ms"),
    "_hz": ("Hz", "GHz"),
    "_m": ("m", "nm"),
    "_m2": ("m2", "um2"),
    "_v": ("V", "V"),
    "_siemens": ("S", "uS"),
    "_ohm": ("ohm", "ohm"),
    "_farad": ("F", "fF"),
    "_k": ("K", "K or degC"),
    "_db": ("dB", "dB"),
    "_pa": ("Pa", "Pa"),
    "_k_per_w": ("K/W", "K/W"),
    "_per_k": ("1/K", "/K"),
    "_j_per_k": ("J/K", "J/K"),
    "_k_per_s": ("K/s", "K/s"),
    "_w_per_k": ("W/K", "W/K"),
    "_w_per_m2_k": ("W/m2/K", "W/m2/K"),
    "_w_per_m2": ("W/m2", "W/cm2"),
    "_w_per_byte": ("W/B", "mW/GiB"),
    "_l_per_j": ("L/J", "L/kWh"),
    "_per_s": ("1/s", "/s or /day"),
    "_j_per_m2": ("J/m2", "kWh/cm2"),
    "_usd": ("USD", "USD"),
    "_usd_per_s": ("USD/s", "USD/h"),
    "_usd_per_w": ("USD/W", "USD/W"),
    "_usd_per_w_s": ("USD/W/s", "USD/kW/month"),
    "_usd_per_j": ("USD/J", "USD/kWh"),
    "_kg": ("kg", "kgCO2e"),
    "_kg_per_s": ("kg/s", "kgCO2e/h"),
    "_kg_per_j": ("kg/J", "gCO2e/kWh"),
    "_kg_per_m2": ("kg/m2", "gCO2e/cm2"),
    "_kg_per_byte": ("kg/B", "gCO2e/GB"),
    "_fraction": ("1", "0.9 or 90 %"),
    "_ratio": ("1", "1.5"),
    "_count": ("1", "8"),
}
_BY_LENGTH = sorted(SUFFIXES, key=len, reverse=True)
# SI unit -> what a number in it is multiplied by, and the unit that people write.
_USUAL = {
    "MAC/s": (2.0, "OPS"),
    "J/B": (0.125, "J/bit"),
    "L/J": (3.6e6, "L/kWh"),
    "W/B": (2.0**30, "W/GiB"),
    "J/m2": (1e-4 / 3600, "Wh/cm2"),
    "USD/s": (3600.0, "USD/h"),
    "USD/J": (3.6e6, "USD/kWh"),
    "USD/W/s": (2629800.0, "USD/W/month"),
    "kg": (1e3, "gCO2e"),
    "kg/s": (3.6e6, "gCO2e/h"),
    "kg/J": (3.6e9, "gCO2e/kWh"),
    "kg/m2": (0.1, "gCO2e/cm2"),
    "kg/B": (1e12, "gCO2e/GB"),
}
_QUANTITY = re.compile(
    r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*(.*?)\s*", re.ASCII | re.DOTALL
)


def suffix_of(name: str) -> str:
    """The unit suffix that `name` ends in, or '' if it tells none."""
    return next((suffix for suffix in _BY_LENGTH if name.endswith(suffix)), "")


def key_of(name: str) -> str:
    """A field's name as it is written in a preset and an address: without its unit."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix else name


def _one_unit(text: str) -> tuple[float, str] | None:
    """Worth and dimension of `ms`, `GiB` or `pJ`; None if there is no such unit."""
    if text in _UNITS:
        return _UNITS[text]
    for unit, (worth, dimension) in _UNITS.items():
        if text.endswith(unit):
            prefix = text[: -len(unit)]
            if prefix in _PREFIXES and dimension != "m2":
                return _PREFIXES[prefix] * worth, dimension
            if prefix in _BINARY and dimension == "B":
                return _BINARY[prefix] * worth, dimension
    return None


def _unit(text: str) -> tuple[float, str] | None:
    """Worth and dimension of a unit text, a quotient too: `pJ/bit`, `GB/s`, `USD/kW/month`, `%`."""
    if text in ("", "%"):
        return (0.01 if text else 1.0), "1"
    upper, *lower = (part.strip() for part in text.split("/"))
    found = (1.0, "1") if lower and upper in ("", "1") else _one_unit(upper)
    for part in lower:
        below = _one_unit(part)
        if found is None or below is None:
            return None
        found = found[0] / below[0], f"{found[1]}/{below[1]}"
    return found


def parse(text: str | float, suffix: str) -> float:
    """A quantity as its source prints it -> the SI number that a name with `suffix` holds.

    Raises NpuwattError if the unit is missing, unknown or of another kind, or the number is
    not finite. Energy per byte also takes energy per bit (1 pJ/bit = 8 pJ/B).
    """
    dimension, example = SUFFIXES[suffix]
    if isinstance(text, (bool, type(None))) or not isinstance(text, (str, int, float)):
        raise NpuwattError(f"{shown(text)} given; expected a number with a unit like {example}")
    match = (
        _QUANTITY.fullmatch(text if isinstance(text, str) else repr(text)) if len(str(text)) <= 200 else None
    )
    if match is None:
        raise NpuwattError(f"{shown(text)} is not a finite number; expected one like '4 {example}'")
    number, unit = float(match[1]), match[2]
    if suffix == "_k" and unit in ("degC", "°C"):  # the one unit whose zero lies elsewhere
        number, unit = number + ZERO_C_K, "K"
    if not unit and dimension != "1":
        raise NpuwattError(f"{shown(text)} has no unit; expected a unit like {example}")
    found = _unit(unit)
    if found is None and "USD" in dimension and _OTHER_MONEY.search(unit):
        raise NpuwattError(
            f"{shown(text)} is not in USD; expected {example}, converted at a rate of your choice"
        )
    if found is None:
        raise NpuwattError(f"{shown(text)} has an unknown unit; expected a unit like {example}")
    if found[1] != dimension:
        kind = f"in {unit}" if unit else "without a unit"
        raise NpuwattError(f"{shown(text)} is {kind}; expected a unit like {example}")
    value = number * found[0]
    if not math.isfinite(value):
        raise NpuwattError(f"{shown(text)} is not a finite number; expected one like '4 {example}'")
    return value


def si_unit(suffix: str) -> str:
    """The SI unit that a name suffix stands for; '' for a plain number."""
    dimension = SUFFIXES[suffix][0] if suffix else "1"
    return "" if dimension == "1" else dimension


def show(value: float, suffix: str, digits: int = 3) -> str:
    """An SI number for people: `3.2e-11`, '_j_per_byte' -> '32 pJ/B'."""
    return show_in(value, si_unit(suffix), digits)


def show_time(time_s: float, digits: int = 3) -> str:
    """A time for people: in minutes, hours, days or years where it holds several of them, or a whole one."""
    for unit in ("year", "day", "h", "min"):
        count = time_s / _UNITS[unit][0]
        if count >= 2 or count == 1:
            plural = "s" if unit in ("year", "day") and count != 1 else ""
            return f"{float(f'{count:.{digits}g}'):.15g} {unit}{plural}"
    return show(time_s, "_s", digits)


def show_usual(value: float, unit: str, *, is_celsius: bool = False) -> str:
    """An SI number in the unit of the field: rates in OPS (two to a MAC), energy of movement per bit, tariffs per kWh, of an electron in eV."""
    if is_celsius:
        return f"{value - ZERO_C_K:.4g} degC"
    if unit == "s" and value >= 2 * _UNITS["day"][0]:
        return show_time(value)
    scale, usual = _USUAL.get(unit, (1.0, unit))
    if unit == "J" and 0 < abs(value) < 1e-18:  # of one electron: an activation energy
        scale, usual = 1 / _UNITS["eV"][0], "eV"
    return show_in(value * scale, usual, 4)


def show_in(value: float, unit: str, digits: int = 3) -> str:
    """A number for people with an SI prefix before `unit`; a plain number where the unit is none or %."""
    if value == 0:
        return f"0 {unit}".rstrip()
    prefix, scale = "", 1.0
    if unit == "m2":  # a prefix before it would be squared too
        unit, scale = ("mm2", 1e-6) if abs(value) >= 1e-8 else ("um2", 1e-12)
    elif unit and unit != "%" and not unit.startswith(("1/", "USD")):
        size = abs(value) * (1 + 0.5 * 10.0**-digits)
        prefix, scale = next(
            ((p, s) for p, s in reversed(_PREFIXES.items()) if p not in ("µ", "μ") and size >= s),
            ("a", 1e-18),
        )
    text = f"{value / scale:.{digits}g}"
    if "e" in text:
        text = f"{value / scale:.0f}" if 1 <= abs(value / scale) < 1e7 else text
    return f"{text} {prefix}{unit}".rstrip()
