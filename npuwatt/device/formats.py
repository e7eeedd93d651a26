"""Bits that numbers with zeros among them take in memory, by format: what is kept, and what says where it was."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.errors import NpuwattError

Format: TypeAlias = Literal["dense", "bitmask", "coordinate", "run-length", "n-m", "ideal"]
FORMATS: tuple[Format, ...] = get_args(Format)
_HALVINGS = 60  # of an interval of 1, to the last bit of a double


def value_bits(
    layout: Format, density: Real, *, bits: Real, index_bits: Real = 0.0, group: tuple[int, int] | None = None
) -> Array:
    """Bits of data for each element, zeros counted: of the non-zeros, and of zeros that a format keeps all the same.

    Parameters as of `stored_bits`.
    """
    density = np.asarray(density, dtype=np.float64)
    if layout == "dense":
        return bits + 0 * density
    if layout == "n-m":
        most, of = _group(group)
        return bits * (most / of) + 0 * density
    if layout == "run-length":
        return run_length_tokens(density, index_bits) * bits
    return density * bits


def metadata_bits(
    layout: Format, density: Real, *, index_bits: Real = 0.0, group: tuple[int, int] | None = None
) -> Array:
    """Bits for each element that say where the data was; parameters as of `stored_bits`."""
    density = np.asarray(density, dtype=np.float64)
    if layout == "bitmask":
        return 1 + 0 * density
    if layout == "coordinate":
        return density * index_bits
    if layout == "run-length":
        return run_length_tokens(density, index_bits) * index_bits
    if layout == "n-m":
        most, of = _group(group)
        return np.asarray((of - 1).bit_length() * (most / of)) + 0 * density
    if layout == "ideal":
        return entropy_bits(density, group)
    return 0 * density


def stored_bits(
    layout: Format, density: Real, *, bits: Real, index_bits: Real = 0.0, group: tuple[int, int] | None = None
) -> Array:
    """Bits that one element takes in the mean, zeros counted, with what says where it was.

    Left out: row pointers of compressed rows and alignment, which a tensor has once a row.

    Parameters
    ----------
    density : any shape
        Share of elements that are not zero, each at random.
    bits : same or scalar
        Of one element of data.
    index_bits : same or scalar
        Of one coordinate, or of one run length; other formats take none.
    group : (N, M)
        Of an N:M pattern: its format keeps N of each M, whatever they are.

    Source
    ------
    Wu et al., "Sparseloop: An Analytical Approach To Sparse Tensor Accelerator Modeling", MICRO 2022, section 3
    (formats); run length as in Chen et al., "Eyeriss", IEEE JSSC 52(1), 2017.
    """
    kept = value_bits(layout, density, bits=bits, index_bits=index_bits, group=group)
    return kept + metadata_bits(layout, density, index_bits=index_bits, group=group)


def run_length_tokens(density: Real, run_bits: Real) -> Array:
    """Tokens for each element where a token holds up to 2^m - 1 zeros and the value behind them.

    A longer run needs tokens whose value is itself a zero: d / (1 - (1 - d)^(2^m)), and 2^-m of nothing but zeros.
    """
    density = np.asarray(density, dtype=np.float64)
    reach = np.exp2(run_bits)
    safe = np.maximum(density, 1e-12)
    found: Array = safe / -np.expm1(reach * np.log1p(-np.minimum(safe, 1 - 1e-16)))
    return found


def entropy_bits(density: Real, group: tuple[int, int] | None = None) -> Array:
    """Least bits for each element that can say where non-zeros are: anywhere at random, or any N of each M."""
    if group is not None:
        from math import comb, log2

        most, of = group
        chosen: Array = log2(comb(of, most)) / of + 0 * np.asarray(density, dtype=np.float64)
        return chosen
    inside = np.clip(np.asarray(density, dtype=np.float64), 1e-300, 1 - 1e-16)
    found: Array = -inside * np.log2(inside) - (1 - inside) * np.log1p(-inside) / np.log(2)
    return found


def break_even_density(layout: Format, *, bits: float, index_bits: float = 0.0) -> float:
    """Density below which a format takes fewer bits than plain storage.

    Raises
    ------
    NpuwattError
        Formats that have none: plain storage itself, and N:M, whose size does not depend on the density.
    """
    if layout in ("dense", "n-m"):
        raise NpuwattError(f"format: {layout} breaks even at no density; expected another")
    low, high = 0.0, 1 - 1e-9
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        saves = float(stored_bits(layout, middle, bits=bits, index_bits=index_bits)) < bits
        low, high = (middle, high) if saves else (low, middle)
    return (low + high) / 2


def _group(group: tuple[int, int] | None) -> tuple[int, int]:
    if group is None:
        raise NpuwattError("format: n-m given for no N:M pattern; expected one like 2:4")
    return group
