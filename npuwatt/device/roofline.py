"""The roofline: an op takes as long as the slower of its arithmetic and its data."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real


def roofline_time_s(
    macs: Array, moved_bytes: Array, *, peak_macs_per_s: Real, bandwidth_bytes_per_s: Real
) -> Array:
    """Time of each op when arithmetic and data movement overlap fully.

    Parameters
    ----------
    macs, moved_bytes : (..., L)
        Multiply-accumulates and bytes of each op.
    peak_macs_per_s, bandwidth_bytes_per_s : scalar, (P, 1) or (..., L)
        The two roofs.

    Source
    ------
    Williams, Waterman, Patterson, "Roofline", Commun. ACM 52(4), 2009.
    """
    return np.maximum(macs / peak_macs_per_s, moved_bytes / bandwidth_bytes_per_s)


def ridge_macs_per_byte(peak_macs_per_s: Real, bandwidth_bytes_per_s: Real) -> Real:
    """Arithmetic intensity (MACs per byte) where a device turns from memory-bound to compute-bound.

    Papers often print operations per byte, which is twice this.
    """
    return peak_macs_per_s / bandwidth_bytes_per_s
