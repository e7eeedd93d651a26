"""One network over several equal devices: what each holds, and what they must send each other."""

from __future__ import annotations

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.record import Record
from npuwatt.workload.ops import Op

MOST_DEVICES = 1_000_000.0


class Sharing(Record):
    """How equal devices split one network and its sequences.

    Within a group every matrix is cut over all devices (tensor parallel). Groups work on their own
    part of the sequences: data-parallel ones hold copies, pipeline stages hold different layers.
    Experts are cut like all else, or lie whole on devices across the data-parallel groups.
    """

    data_parallel_count: Real = 1.0
    pipeline_count: Real = 1.0
    expert_parallel: bool = False

    def __post_init__(self) -> None:
        require.positive(data_parallel=self.data_parallel_count, pipeline=self.pipeline_count)

    @property
    def groups(self) -> Real:
        """Parts into which the sequences are dealt, each passing all layers on its own."""
        return self.data_parallel_count * self.pipeline_count


ALONE = Sharing()
"""One group, tensor parallel."""


def most_loaded_ratio(touched_fraction: Real, experts: Real, devices: Real) -> Real:
    """Distinct experts touched on the most loaded device over the mean, when each device holds experts / devices.

    Each of a device's experts is touched with the same chance, so their number is nearly normal, and
    the expected greatest of n such numbers lies at the quantile (n - 3/8) / (n + 1/4).

    Source
    ------
    Blom, "Statistical estimates and transformed beta-variables", 1958; the normal quantile by
    Tukey's lambda distribution, 4.91 (p^0.14 - (1 - p)^0.14), within 1 % here.
    """
    share = (devices - 0.375) / (devices + 0.25)
    sigmas = 4.91 * (share**0.14 - (1 - share) ** 0.14)
    held = experts / devices
    mean = np.maximum(held * touched_fraction, 1e-300)
    spread = np.sqrt(held * touched_fraction * (1 - touched_fraction))
    return np.minimum(1 + sigmas * spread / mean, held / np.minimum(mean, held))


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
    devices = np.maximum(devices, 1.0)  # a pipeline stage on part of a device has nobody to sum with
    sent, messages = 2 * (devices - 1), 2 * np.ceil(np.log2(devices))
    return Op(
        "all_reduce",
        "all-reduce",
        "",
        layers=layers,
        link_bytes=sent * sums_bytes,
        link_steps=layers * messages,
    )
