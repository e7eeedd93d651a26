"""Any device: its costs, its power, and what it can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, assert_never

import numpy as np

from npuwatt.arrays import Real
from npuwatt.device.accelerator import Accelerator, accelerator_costs
from npuwatt.device.costs import OpCosts
from npuwatt.device.sparsity import weight_ratios
from npuwatt.record import replace
from npuwatt.workload.ops import OpTable

if TYPE_CHECKING:
    from npuwatt.device.crossbar import Crossbar
    from npuwatt.device.nearbank import NearBankPim

Device: TypeAlias = "Accelerator | NearBankPim | Crossbar"


def device_type(kind: str) -> type[Device] | None:
    """The record that `kind:` in a preset names; a kind is imported only when it is asked for."""
    if kind == "accelerator":
        return Accelerator
    if kind == "near-bank-pim":
        from npuwatt.device.nearbank import NearBankPim

        return NearBankPim
    if kind == "crossbar":
        from npuwatt.device.crossbar import Crossbar

        return Crossbar
    return None


KINDS = ("accelerator", "near-bank-pim", "crossbar")


def host_of(device: Device) -> Accelerator:
    """The ordinary processor of a board: itself, or the one beside the computing memory."""
    return device if isinstance(device, Accelerator) else device.host


def device_costs(device: Device, ops: OpTable, devices: Real = 1.0) -> OpCosts:
    """Time and dynamic energy of each op on `devices` boards; the most loaded board sets the time."""
    costs = _even_costs(device, ops, devices)
    if np.all(np.equal(ops.uneven, 1)):
        return costs
    limits_s, lost_s = (
        {name: seconds * ops.uneven for name, seconds in times.items()}
        for times in (costs.limits_s, costs.lost_s)
    )
    return replace(costs, time_s=costs.time_s * ops.uneven, limits_s=limits_s, lost_s=lost_s)


def _even_costs(device: Device, ops: OpTable, devices: Real) -> OpCosts:
    if isinstance(device, Accelerator):
        return accelerator_costs(device, ops, devices)
    if device.kind == "near-bank-pim":
        from npuwatt.device.nearbank import nearbank_costs

        return nearbank_costs(device, ops, devices)
    if device.kind == "crossbar":
        from npuwatt.device.crossbar import crossbar_costs

        return crossbar_costs(device, ops, devices)
    assert_never(device)


def static_power_w(device: Device) -> Real:
    """Power that one board draws whatever it does."""
    host = host_of(device)
    if isinstance(device, Accelerator):
        return host.static_power_w
    if device.kind == "near-bank-pim":
        return host.static_power_w + device.banks.parts_count * device.banks.standby_power_w
    return host.static_power_w + device.arrays.parts_count * device.arrays.static_power_w


def rest_power_w(device: Device) -> Real:
    """Power that one board draws while a request runs, whatever it does: static, and clocks that stay up."""
    return static_power_w(device) + host_of(device).clocks_power_w


def weights_in_cells_count(device: Device) -> Real | None:
    """Weights one board holds in cells that compute, apart from its main memory; None if they lie in main memory."""
    if device.kind == "crossbar" and not device.arrays.is_streamed:
        from npuwatt.device.crossbar import weights_held_count

        return weights_held_count(device.arrays)
    return None


def kept_weights_ratio(device: Device, ops: OpTable) -> Real:
    """Bytes of each op's weights as they lie in main memory, zeros left out where the device can, over all: (..., L)."""
    if device.kind == "near-bank-pim":
        from npuwatt.device.nearbank import kept_blocks

        return kept_blocks(ops)
    sparsity = host_of(device).sparsity
    if sparsity is None:
        return 1.0
    values, metadata = weight_ratios(sparsity, ops)
    return values + metadata
