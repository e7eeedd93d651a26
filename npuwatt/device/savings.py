"""What zeros save, and where: the same ops dense and with zeros, taken apart."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.costs import LOSSES, OpCosts
from npuwatt.device.evaluate import Device, host_of
from npuwatt.device.sparsity import ideal_skipping
from npuwatt.record import Record, replace


class Split(Record):
    """Joules that zeros save by where, below 0 where they cost more; the parts add up to `saved_j`. Arrays are (..., L)."""

    arithmetic_j: Array
    traffic_j: Array  # bytes that are not moved, before those that metadata adds
    static_j: Array  # drawn by time, which perfect skipping without metadata would save
    metadata_j: Array  # brought, decoded and searched, and the time it takes
    imbalance_j: Array  # by time that lanes wait for each other
    kernels_j: Array  # by time that imperfect skipping or measured kernels take

    @property
    def saved_j(self) -> Array:
        """All parts together."""
        return (
            self.arithmetic_j + self.traffic_j + self.static_j
            + self.metadata_j + self.imbalance_j + self.kernels_j
        )  # fmt: skip


def split(
    dense: OpCosts,
    sparse: OpCosts,
    *,
    rest_power_w: Real,
    regulator_efficiency_fraction: Real = 1.0,
    dense_stretch_ratio: Real = 1.0,
    sparse_stretch_ratio: Real = 1.0,
) -> Split:
    """Energy of ops without zeros less that of the same ops with them, by what makes the difference.

    Parameters
    ----------
    dense, sparse
        Costs of the same ops on the same device.
    rest_power_w : scalar or (P, 1)
        What all devices together draw by time: static, and clocks that stay up.
    regulator_efficiency_fraction : scalar or (P, 1)
        Of the device: what arithmetic loses there counts as arithmetic.
    dense_stretch_ratio, sparse_stretch_ratio : scalar or (P, 1)
        How much the power cap slows the phase that each belongs to.
    """
    zero = np.zeros(sparse.time_s.shape)
    before_j, after_j = (sum(costs.energy_j.values(), start=zero) for costs in (dense, sparse))
    before_s, after_s = dense.time_s * dense_stretch_ratio, sparse.time_s * sparse_stretch_ratio
    metadata_s, imbalance_s, kernels_s = (
        sparse.lost_s.get(name, zero) * sparse_stretch_ratio for name in LOSSES
    )
    spared_j = dense.energy_j.get("arithmetic", zero) - sparse.energy_j.get("arithmetic", zero)
    arithmetic_j = spared_j / regulator_efficiency_fraction
    lost_s = metadata_s + imbalance_s + kernels_s
    return Split(
        arithmetic_j=arithmetic_j,
        traffic_j=before_j - after_j - arithmetic_j + sparse.metadata_j,
        static_j=rest_power_w * (before_s - after_s + lost_s),
        metadata_j=-sparse.metadata_j - rest_power_w * metadata_s,
        imbalance_j=-rest_power_w * imbalance_s,
        kernels_j=-rest_power_w * kernels_s,
    )


def ideal(device: Device) -> Device:
    """The device without what holds zero skipping back: no derates, no waiting lanes, perfect skipping.

    Nothing was ever measured to do so: whoever shows its results has to call them ideal.
    """
    host = host_of(device)
    if host.sparsity is None:
        return device
    perfect = replace(host, sparsity=ideal_skipping(host.sparsity))
    return perfect if device is host else replace(device, host=perfect)
