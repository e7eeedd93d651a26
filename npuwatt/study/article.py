"""An article's own two energies, and what its claims come to under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.device.accelerator import Accelerator, component_of
from npuwatt.device.evaluate import Device, device_costs, host_of
from npuwatt.record import Record, names_of, replace
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import Chosen, load_constants, load_device
from npuwatt.units import suffix_of
from npuwatt.workload.network import Network
from npuwatt.workload.ops import STORED, Op, table
from npuwatt.workload.request import Request, Width

T = TypeVar("T", bound=Record)
NAME = "article"
USUAL_WIDTH = "int8"
_SPENT = ("_j", "_j_per_byte", "_j_per_mac", "_w", "_v")
_FACTORS = ("overhead_ratio", "energy_over_law_ratio")


class Constants(Record):
    """The only two energies there are; every other one is zero."""

    mac_energy_j_per_mac: Real
    dram_energy_j_per_byte: Real
    width: Width

    kind: ClassVar[Literal["constants"]] = "constants"

    def __post_init__(self) -> None:
        require.positive(mac_energy=self.mac_energy_j_per_mac, dram_energy=self.dram_energy_j_per_byte)


def with_article_constants(device: Chosen[Device]) -> Chosen[Device]:
    """A device that spends energy on MACs and on bytes from DRAM alone, as the article counts."""
    chosen = load_constants(NAME, Constants)
    silent = _silenced(device.record)
    record: Device
    if isinstance(silent, Accelerator):
        record = _counting(silent, chosen.record)
    elif silent.kind == "near-bank-pim":
        banks = replace(
            silent.banks,
            mac_energy_j_per_mac=chosen.record.mac_energy_j_per_mac,
            parallelism_ratio=_parallelism(device.record),
        )
        record = replace(silent, host=_counting(silent.host, chosen.record), banks=banks)
    else:
        arrays = replace(silent.arrays, logic_energy_j_per_mac=chosen.record.mac_energy_j_per_mac)
        record = replace(silent, host=_counting(silent.host, chosen.record), arrays=arrays)
    return replace(device, record=record, citations=device.citations | chosen.citations, is_changed=True)


def _parallelism(board: Device) -> Real:
    """What the units of a near-bank board read over what its pins carry, in the power that they have: energies of
    zero would let them all read at once, and time is not the article's to change."""
    from npuwatt.device.nearbank import (
        NearBankPim,
        inside_bandwidth_bytes_per_s,
        outside_bandwidth_bytes_per_s,
    )

    assert isinstance(board, NearBankPim)  # the caller saw to it
    return inside_bandwidth_bytes_per_s(board) / outside_bandwidth_bytes_per_s(board)


def _silenced(record: T) -> T:
    """A record whose energies, powers drawn and overheads are all zero."""
    changes: dict[str, Any] = {}
    for name in names_of(record):
        value = getattr(record, name)
        if isinstance(value, Record) and name != "noise":  # noise spends nothing
            changes[name] = _silenced(value)
        elif isinstance(value, Mapping):
            changes[name] = {
                key: _silenced(inner) if isinstance(inner, Record) else inner for key, inner in value.items()
            }
        elif name.endswith(_FACTORS) or (suffix_of(name) in _SPENT and name != "power_cap_w"):
            changes[name] = 0.0
        elif name.startswith("regulator"):
            changes[name] = 1.0
    return replace(record, **changes)


def _counting(chip: Accelerator, constants: Constants) -> Accelerator:
    levels = dict(chip.levels)
    main = next(iter(levels))
    if component_of(chip, main) == "dram":
        levels[main] = replace(levels[main], read_energy_j_per_byte=constants.dram_energy_j_per_byte)
    mac_energy = dict.fromkeys(chip.mac_energy_j_per_mac, constants.mac_energy_j_per_mac)
    return replace(chip, levels=levels, mac_energy_j_per_mac=mac_energy)


def claims(
    devices: Sequence[Chosen[Device]], network: Network, request: Request, folders: Sequence[str]
) -> dict[str, Any]:
    """The article's two statements recomputed, beside what the sourced constants give.

    `movement_share` is the share of moving weights in the energy of moving and multiplying them.
    With int8 weights used once for each of B tokens it is 10 / (10 + 0.1 B): caches, activations,
    static power and everything else are left out, which is why it says less than it seems to.
    """
    constants = load_constants(NAME, Constants).record
    dram, mac = constants.dram_energy_j_per_byte, constants.mac_energy_j_per_mac
    shares = []
    for device in devices:
        sourced = load_device(device.typed, folders=folders)
        for phase in ("prefill", "decode") if network.decoder else ("prefill",):
            shares.append(
                {
                    "device": device.typed,
                    "phase": phase,
                    "article_fraction": _weight_movement_fraction(
                        phase_ops(network, request, phase), device.record
                    ),
                    "sourced_fraction": _weight_movement_fraction(
                        phase_ops(network, request, phase), sourced.record
                    ),
                }
            )
    return {
        "mac_energy_j": mac,
        "dram_energy_j_per_byte": dram,
        "dram_byte_to_mac_ratio": round(float(dram / mac), 12),
        "movement_share": shares,
        "above_90_percent_up_to_batch": int(np.ceil(dram / mac / 9) - 1),
    }


def _weight_movement_fraction(ops: Sequence[Op], device: Device) -> float:
    """Moving weights over moving and multiplying them, on the board's ordinary processor."""
    weights_only = [
        op._replace(activation_bytes=0.0, kv_read_bytes=0.0, kv_written_bytes=0.0)
        for op in ops
        if op.kind in STORED
    ]
    energy_j = device_costs(_processor(device), table(weights_only)).energy_j
    arithmetic_j = float(energy_j["arithmetic"].sum())
    whole_j = sum(float(part.sum()) for part in energy_j.values())
    return 1 - arithmetic_j / whole_j if whole_j else 0.0


def _processor(device: Device) -> Accelerator:
    """The ordinary processor of a board, with all that a byte costs on its way there."""
    if device.kind != "near-bank-pim":
        return host_of(device)
    from npuwatt.device.nearbank import outside_host

    return outside_host(device)
