"""The roofline: an op takes as long as the slower of its arithmetic and its data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from npuwatt.arrays import Array, Real


def roofline_time_s(limits_s: Mapping[str, Array]) -> Array:
    """Time of each op when arithmetic and every kind of data movement overlap fully: the slowest of them.

    Parameters
    ----------
    limits_s : name -> (..., L)
        Time that each limit alone would take: MACs over the peak, bytes over the bandwidth.

    Source
    ------
    Williams, Waterman, Patterson, "Roofline", Commun. ACM 52(4), 2009.
    """
    return reduce(np.maximum, limits_s.values())


def ridge_macs_per_byte(peak_macs_per_s: Real, bandwidth_bytes_per_s: Real) -> Real:
    """Arithmetic intensity (MACs per byte) where a device turns from memory-bound to compute-bound.

    Papers often print operations per byte, which is twice this.
    """
    return peak_macs_per_s / bandwidth_bytes_per_s
