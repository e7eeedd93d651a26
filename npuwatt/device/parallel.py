"""One network over several equal devices: what each holds, and what they must send each other."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.workload.ops import Op

MOST_DEVICES = 1_000_000.0


def smallest_count(
    weight_bytes: Real, cache_bytes: Real, *, capacity_bytes: Real, cache_shards: float
) -> Array:
    """Fewest devices that hold weights / n + cache / min(n, cache_shards); infinity if no number does.

    A cache can be split over at most as many devices as it has heads; beyond that each keeps a copy.
    """
    together = np.ceil((weight_bytes + np.asarray(cache_bytes)) / capacity_bytes)
    room = capacity_bytes - np.asarray(cache_bytes) / cache_shards
    copied = np.where(room > 0, np.ceil(weight_bytes / np.where(room > 0, room, 1.0)), np.inf)
    count = np.maximum(1.0, np.where(together <= cache_shards, together, np.maximum(copied, cache_shards)))
    return np.asarray(np.where(count <= MOST_DEVICES, count, np.inf))


def cache_copies(devices: Real, cache_shards: float) -> Array:
    """How many times over the devices together hold the cache."""
    return devices / np.minimum(devices, cache_shards)


def all_reduce(*, layers: float, sums_bytes: Real, devices: Real) -> Op:
    """Sums of partial results at the end of each layer, by recursive halving and doubling.

    Each of n devices sends 2 (n - 1) / n of what is summed, in 2 ceil(log2 n) messages that follow
    one another. `sums_bytes` is what all layers together sum up.

    Source
    ------
    Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH",
    Int. J. High Perform. Comput. Appl. 19(1), 2005, section 4.5; tensor parallelism as in Shoeybi
    et al., "Megatron-LM", arXiv 1909.08053.
    """
    sent, messages = 2 * (devices - 1), 2 * np.ceil(np.log2(devices))
    return Op(
        "all_reduce", "all-reduce", "", layers, link_bytes=sent * sums_bytes, link_steps=layers * messages
    )
